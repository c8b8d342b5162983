"""The command ``gpuarray cluster``."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

pytest.importorskip("distributed")

import gpuarray as ga
from gpuarray import cli
from gpuarray.cluster.command import add_parsers, scheduler_command, worker_command
from gpuarray.errors import ConfigError

TLS = ["--tls-ca-file", "a", "--tls-cert", "b", "--tls-key", "c"]


def parsed(*words):
    parser = argparse.ArgumentParser()
    add_parsers(parser.add_subparsers())
    options, options_rest = parser.parse_known_args(["cluster", *words])
    options.rest = options_rest
    return options


def test_a_scheduler_listens_here():
    command = scheduler_command(parsed("scheduler", "--idle-timeout", "5 minutes"))
    assert command[1:4] == ["-m", "dask", "scheduler"]
    assert command[command.index("--host") + 1] == "127.0.0.1"
    assert command[command.index("--dashboard-address") + 1] == "127.0.0.1:8787"
    assert command[-2:] == ["--idle-timeout", "5 minutes"]
    assert "--no-dashboard" in scheduler_command(parsed("scheduler", "--no-dashboard"))


def test_beyond_this_machine_only_with_tls():
    with pytest.raises(ConfigError, match=r"--host 0\.0\.0\.0 is not this machine alone"):
        scheduler_command(parsed("scheduler", "--host", "0.0.0.0"))
    with pytest.raises(ConfigError, match="--tls-key is missing"):
        scheduler_command(parsed("scheduler", "--host", "0.0.0.0", *TLS[:4]))
    assert "tls" in scheduler_command(parsed("scheduler", "--host", "0.0.0.0", *TLS))
    assert "tls" not in scheduler_command(parsed("scheduler", "--host", "0.0.0.0", "--insecure"))
    with pytest.raises(ConfigError, match=r"tcp://10\.0\.0\.5:8786 is not this machine alone"):
        worker_command(parsed("worker", "10.0.0.5:8786"), 0)
    with pytest.raises(ConfigError, match=r"tls://10\.0\.0\.5:8786 is not"):
        worker_command(parsed("worker", "tls://10.0.0.5:8786"), 0)
    assert "--tls-ca-file" in worker_command(parsed("worker", "tls://10.0.0.5:8786", *TLS), 0)


def test_workers_on_gpus_and_on_processors():
    command = worker_command(parsed("worker", "127.0.0.1:8786", "--nthreads", "2", "--nworkers", "3"), 0)
    assert command[1:5] == ["-m", "dask", "worker", "tcp://127.0.0.1:8786"]
    assert command[-2:] == ["--nworkers", "3"]
    command = worker_command(parsed("worker", "--scheduler-file", "s.json"), 2)
    assert command[1:5] == ["-m", "dask", "cuda", "worker"]
    assert command[command.index("--device-memory-limit") + 1] == "0"
    assert "cuda" not in worker_command(parsed("worker", "--scheduler-file", "s.json", "--device", "cpu"), 2)


BAD = [
    ["scheduler", "--port", "banana"],
    ["scheduler", "--port", "99999"],
    ["worker"],
    ["worker", "127.0.0.1:1", "--scheduler-file", "s.json"],
    ["worker", "not an address"],
    ["worker", "127.0.0.1:1", "--nthreads", "0"],
    ["worker", "127.0.0.1:1", "--nthreads", "many"],
    ["worker", "127.0.0.1:1", "--device", "cuda"],
]


@pytest.mark.parametrize("words", BAD, ids=" ".join)
def test_bad_words_are_one_line(words, capsys, monkeypatch):
    monkeypatch.setattr("gpuarray.cluster.command.gpu_count", lambda: 0)
    assert cli.main(["cluster", *words]) == 1
    error = capsys.readouterr().err
    assert error.startswith("gpuarray: ")
    assert error.count("\n") == 1


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_local_workers_and_a_scheduler_file(tmp_path):
    file = tmp_path / "scheduler.json"
    command = [sys.executable, "-m", "gpuarray", "cluster", "local", "--workers", "1", "--threads", "1"]
    process = subprocess.Popen(
        [*command, "--no-dashboard", "--scheduler-file", str(file)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    try:
        deadline = time.monotonic() + 60
        while not file.exists() or not file.read_text().endswith("\n"):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert json.loads(file.read_text())["address"].startswith("tcp://127.0.0.1:")
        data = np.arange(100_000.0)
        with ga.cluster.Cluster(scheduler_file=file) as cluster:
            assert len(cluster.workers) == 1
            np.testing.assert_array_equal((ga.asarray(data, chunks=10_000) * 2).persist().compute(), data * 2)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)
    assert process.returncode == 0
    assert "1 workers at tcp://127.0.0.1:" in process.stdout.read()
    process.stdout.close()
