"""`executor=` with the executors of real libraries, and Ray by way of dask: each in a process of its own.

SCOOP is not among them: its futures work in the one thread that its main greenlet belongs to, and a run hands out tasks
from several (``greenlet.error: Cannot switch to a different thread``, SCOOP 0.7).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("other_executors.py")
ROOT = PROGRAM.parents[2]
PROCESSES = {"mpi4py": ["mpiexec", "-n", "3"]}


def available(name: str) -> None:
    """Skip where a library, or what starts its processes, is missing."""
    if find_spec(name) is None:
        pytest.skip(f"{name} is not installed; pip install 'gpuarray-engine[executors]'")
    if name == "mpi4py" and shutil.which("mpiexec") is None:
        pytest.skip("there is no mpiexec: install an MPI (Debian: openmpi-bin)")
    if name == "ray" and find_spec("pyarrow") is None:
        pytest.skip("Dask-on-Ray imports dask.dataframe, which needs pyarrow")


@pytest.mark.heavy
@pytest.mark.parametrize("name", ["loky", "mpi4py", "ipyparallel", "distributed", "ray"])
def test_the_same_bits_from_other_peoples_processes(name, tmp_path):
    available(name)
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        # Open MPI: as many processes as are asked for, in containers that run as root too
        "OMPI_MCA_rmaps_base_oversubscribe": "1",
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
        "IPYTHONDIR": str(tmp_path),
        "RAY_AUTH_MODE": "disabled",
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    module = ["-m", "mpi4py.futures"] if name == "mpi4py" else []
    command = [*PROCESSES.get(name, []), sys.executable, *module, str(PROGRAM), name]
    done = subprocess.run(
        command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert "the same bits, from" in done.stdout
