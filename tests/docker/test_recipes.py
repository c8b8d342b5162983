"""The recipes of docs/clusters, run as they are written: over a real SSH server, in a real SLURM, in PBS where there is
one, and with the commands of the Kubernetes pods.

Servers run on the loopback address, with keys and folders of their own, and end with the test.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

import gpuarray as ga

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="servers as Linux has them"),
]

ROOT = Path(__file__).parents[2]
RECIPES = ROOT / "docs" / "clusters"
SECONDS = 120
SIZE = 1000


def needed(*modules: str) -> None:
    for name in modules:
        if find_spec(name) is None:
            pytest.skip(f"{name} is not installed; pip install 'gpuarray-engine[recipes]'")


def tool(name: str, package: str) -> str:
    """A server's program, which need not be on the PATH of everybody."""
    found = shutil.which(name, path=os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/sbin"]))
    if found is None:
        pytest.skip(f"there is no {name} (Debian: {package})")
    return found


def free_ports(number: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        found = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(number)]
        return [server.getsockname()[1] for server in found]


@contextlib.contextmanager
def serving(*command: str, log: Path, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """A server in the foreground of a process of ours."""
    with (
        open(log, "wb") as out,
        subprocess.Popen(command, stdout=out, stderr=out, env={**os.environ, **environment}) as process,
    ):
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()


def until(what: str, done: object, *logs: Path) -> None:
    """Wait for something to become true."""
    assert callable(done)
    limit = time.monotonic() + SECONDS
    while not done():
        assert time.monotonic() < limit, f"{what}: {[log.read_text()[-2000:] for log in logs]}"
        time.sleep(0.1)


def recipe(name: str, *words: str, folder: Path, **environment: str) -> str:
    """What a recipe prints; it computes what this process does."""
    words = ("--memory", "64 MiB", "--size", str(SIZE), *words)
    printed = run(str(RECIPES / name), *words, folder=folder, PYTHONPATH=str(ROOT), **environment)
    assert "at tls://127.0.0.1:" in printed
    return printed


def run(*words: str, folder: Path, **environment: str) -> str:
    """What a program prints that standardizes as the recipes do."""
    done = subprocess.run(
        [sys.executable, *words],
        env={**os.environ, **environment},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=2 * SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    x = ga.random.default_rng(0).random((SIZE, SIZE))
    assert f"{float(abs((x - x.mean()) / x.std()).max()):.6f}; " in done.stdout
    assert (folder / "report.html").exists()
    return done.stdout


def left_over(words: str) -> list[int]:
    """Processes with these words in their command lines."""
    psutil = pytest.importorskip("psutil")
    return [p.pid for p in psutil.process_iter(["cmdline"]) if words in " ".join(p.info["cmdline"] or ())]


def address(printed: str) -> str:
    return printed.partition(" at ")[2].partition(">")[0]


# SSH


@contextlib.contextmanager
def ssh_server(home: Path) -> Iterator[None]:
    """A server that lets in whoever has the key in `home`, whose configuration calls it by two names."""
    sshd, keygen = tool("sshd", "openssh-server"), tool("ssh-keygen", "openssh-client")
    settings, log, (port,) = home / ".ssh", home / "sshd.log", free_ports(1)
    settings.mkdir(mode=0o700)
    for key in (settings / "id_ed25519", home / "host"):
        subprocess.run([keygen, "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True, timeout=60)
    (home / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {home}/host\nPidFile none\nStrictModes no\nUsePAM no\n"
        f"AuthorizedKeysFile {settings}/id_ed25519.pub\nPasswordAuthentication no\nSetEnv PYTHONPATH={ROOT}\n"
    )
    user = subprocess.run(["id", "-un"], check=True, capture_output=True, text=True, timeout=60).stdout.strip()
    (settings / "config").write_text(
        f"Host one two\n  HostName 127.0.0.1\n  Port {port}\n  User {user}\n  IdentityFile {settings}/id_ed25519\n"
    )
    (settings / "known_hosts").write_text(f"[127.0.0.1]:{port} {(home / 'host.pub').read_text()}")
    arguments = [sshd, "-f", str(home / "sshd_config")]
    tested = subprocess.run([*arguments, "-t"], capture_output=True, text=True, timeout=60, check=False)
    if tested.returncode:
        pytest.skip(f"sshd does not run here: {tested.stderr}")
    with serving(*arguments, "-D", "-e", log=log):
        until("sshd listens", lambda: "listening" in log.read_text(), log)
        yield


def test_ssh(tmp_path: Path) -> None:
    needed("asyncssh", "cryptography")
    tool("openssl", "openssl")
    make = [line.strip() for line in (RECIPES / "ssh.py").read_text().splitlines() if line.startswith("    mkdir ")]
    make += [line.strip() for line in (RECIPES / "ssh.py").read_text().splitlines() if line.startswith("    openssl ")]
    assert len(make) == 2
    home = {"HOME": str(tmp_path)}
    subprocess.run(
        ["bash", "-ec", "\n".join(make)], env={**os.environ, **home}, check=True, capture_output=True, timeout=60
    )
    assert (tmp_path / ".config/gpuarray/tls/key.pem").stat().st_mode & 0o77 == 0
    with ssh_server(tmp_path):
        printed = recipe("ssh.py", "one", "one", "two", "--threads", "1", "--interface", "lo", folder=tmp_path, **home)
        assert "2 workers of 1 threads" in printed
        until("they end", lambda: not left_over(f"dask_spec {address(printed)}"))


# Queues


@contextlib.contextmanager
def slurm(folder: Path) -> Iterator[dict[str, str]]:
    """A cluster of one node that claims to have much, two GPUs among it; the environment for its commands."""
    munged, controller, node = tool("munged", "munge"), tool("slurmctld", "slurmctld"), tool("slurmd", "slurmd")
    for command in ("sbatch", "scancel", "sinfo", "squeue"):
        tool(command, "slurm-client")
    me, host = (
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout.strip()
        for command in (["id", "-un"], ["hostname", "-s"])
    )
    first, second = free_ports(2)
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o600)
    for name in ("state", "spool"):
        (folder / name).mkdir()
    # any two devices do as GPUs: SLURM only counts them
    (folder / "gres.conf").write_text("Name=gpu File=/dev/null\nName=gpu File=/dev/zero\n")
    (folder / "slurm.conf").write_text(
        f"ClusterName=test\nSlurmctldHost={host}(127.0.0.1)\nSlurmUser={me}\nSlurmdUser={me}\n"
        f"AuthType=auth/munge\nAuthInfo=socket={folder}/munge.sock\nCredType=cred/munge\nMpiDefault=none\n"
        f"ProctrackType=proctrack/pgid\nTaskPlugin=task/none\nReturnToService=2\nKillWait=5\n"
        f"SlurmctldPort={first}\nSlurmdPort={second}\nSlurmctldPidFile={folder}/slurmctld.pid\n"
        f"SlurmdPidFile={folder}/slurmd.pid\nSlurmdSpoolDir={folder}/spool\nStateSaveLocation={folder}/state\n"
        "SlurmdParameters=config_overrides\nSelectType=select/cons_tres\nSelectTypeParameters=CR_Core\n"
        f"JobAcctGatherType=jobacct_gather/none\nGresTypes=gpu\n"
        f"NodeName={host} NodeAddr=127.0.0.1 CPUs=16 RealMemory=200000 Gres=gpu:2 State=UNKNOWN\n"
        "PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP\n"
    )
    given = {"SLURM_CONF": str(folder / "slurm.conf")}
    names = {name: str(folder / f"munge.{name.partition('-')[0]}") for name in ("key-file", "pid-file", "seed-file")}
    identity = [f"--{name}={path}" for name, path in names.items()] + [f"--socket={folder}/munge.sock"]
    logs = [folder / f"{name}.out" for name in ("munged", "slurmctld", "slurmd")]

    def idle() -> bool:
        asked = subprocess.run(
            ["sinfo", "--noheader", "--format=%T"], env={**os.environ, **given}, capture_output=True, timeout=60
        )
        return asked.stdout.strip() == b"idle"

    with contextlib.ExitStack() as stack:
        stack.enter_context(serving(munged, "--foreground", "--force", *identity, log=logs[0]))
        until("munged listens", (folder / "munge.sock").exists, logs[0])
        stack.enter_context(serving(controller, "-D", "-c", log=logs[1], **given))
        stack.enter_context(serving(node, "-D", "-N", host, log=logs[2], **given))
        until("SLURM has a node", idle, *logs)
        yield given


def test_slurm(tmp_path: Path) -> None:
    needed("dask_jobqueue", "cryptography")
    with slurm(tmp_path) as given:
        jobs = tmp_path / "jobs"
        printed = recipe(
            "slurm.py", "--jobs", "2", "--interface", "lo", "--folder", str(jobs), folder=tmp_path, **given
        )
        assert "2 workers of 8 threads" in printed
        environment = {**os.environ, **given}

        def queue() -> bytes:
            return subprocess.run(
                ["squeue", "--noheader"], env=environment, check=True, capture_output=True, timeout=60
            ).stdout

        until("the jobs end", lambda: not queue())
        assert not left_over(address(printed))
        assert not [path for path in jobs.iterdir() if "key" in path.name], "keys are left behind"
        # a job for a GPU: that SLURM takes it, and what the worker would see
        script = subprocess.run(
            [sys.executable, str(RECIPES / "slurm.py"), "--gpus", "--show", "--folder", str(jobs)],
            env={**environment, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=SECONDS, check=True,
        ).stdout  # fmt: skip
        lines = [line for line in script.splitlines() if not line.endswith(".pem")]
        asked = [line for line in lines if line.startswith(("#!", "#SBATCH"))]
        assert any("dask_cuda.cli worker" in line for line in lines)
        (tmp_path / "job.sh").write_text("\n".join([*asked, 'echo "sees $CUDA_VISIBLE_DEVICES"']) + "\n")
        subprocess.run(
            ["sbatch", "--wait", f"--output={tmp_path}/seen", str(tmp_path / "job.sh")],
            env=environment, check=True, capture_output=True, timeout=SECONDS,
        )  # fmt: skip
        assert (tmp_path / "seen").read_text() == "sees 0\n"


# Kubernetes, without one: what its operator makes of our resources is held against Kubernetes' own schemas, and the
# commands of the pods are run, on the loopback address.


def pods() -> tuple[dict[str, Any], dict[str, Any], list[dict[str, Any]]]:
    """What the operator makes of kubernetes.yaml: the scheduler's deployment, a worker's, and everything else."""
    cluster, policy = yaml.safe_load_all((RECIPES / "kubernetes.yaml").read_text())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from dask_kubernetes.operator.controller import controller as operator
    spec, name, none = cluster["spec"], cluster["metadata"]["name"], ({}, {})
    scheduler = operator.build_scheduler_deployment_spec(name, spec["scheduler"]["spec"], *none)
    worker = operator.build_worker_deployment_spec(
        f"{name}-default", "gpuarray", name, "0123456789", spec["worker"]["spec"], *none
    )
    service = operator.build_scheduler_service_spec(name, spec["scheduler"]["service"], *none)
    return scheduler, worker, [service, policy]


def test_kubernetes_takes_what_the_operator_makes() -> None:
    needed("dask_kubernetes", "kubernetes_validate")
    import kubernetes_validate

    scheduler, worker, others = pods()
    version = kubernetes_validate.latest_version()
    for made in (scheduler, worker, *others):
        kubernetes_validate.validate(made, version, strict=True)
    worker["spec"]["template"]["spec"]["containers"][0]["volumeMount"] = []
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(worker, version, strict=True)
    labels = scheduler["spec"]["template"]["metadata"]["labels"]
    assert others[0]["spec"]["selector"].items() <= labels.items()
    for part in (scheduler, worker):
        there = part["spec"]["template"]["metadata"]["labels"]
        assert others[1]["spec"]["podSelector"]["matchLabels"].items() <= there.items()


def test_the_commands_of_the_pods(tmp_path: Path) -> None:
    needed("dask_kubernetes")
    deployments = pods()[:2]
    port, dashboard = free_ports(2)
    address = f"tcp://127.0.0.1:{port}"
    elsewhere = {
        "0.0.0.0": "127.0.0.1",
        "0.0.0.0:8787": f"127.0.0.1:{dashboard}",
        "8786": str(port),
        ":8788": "127.0.0.1:0",
    }
    logs = [tmp_path / "scheduler.log", tmp_path / "worker.log"]
    with contextlib.ExitStack() as stack:
        for made, log in zip(deployments, logs, strict=True):
            (container,) = made["spec"]["template"]["spec"]["containers"]
            given = {variable["name"]: variable["value"] for variable in container.get("env", ())}
            words = [elsewhere.get(word, word) for word in container["args"]]
            for name, value in given.items():
                words = [word.replace(f"$({name})", value) for word in words]
            assert words[0] == "dask"
            if "DASK_SCHEDULER_ADDRESS" in given:
                assert given["DASK_SCHEDULER_ADDRESS"].endswith(":8786")
                given["DASK_SCHEDULER_ADDRESS"] = address
                words += ["--host", "127.0.0.1"]
            command = [sys.executable, "-m", *words]
            stack.enter_context(serving(*command, log=log, PYTHONPATH=str(ROOT), **given))
        until("the worker is there", lambda: "Registered to" in logs[1].read_text(), *logs)
        program = f"from common import standardize; standardize({address!r}, size={SIZE}, host_memory='64 MiB')"
        printed = run("-c", program, folder=tmp_path, PYTHONPATH=os.pathsep.join([str(ROOT), str(RECIPES)]))
        assert "<Cluster: 1 workers of" in printed
