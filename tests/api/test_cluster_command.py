"""The command ``gpuarray cluster``."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

pytest.importorskip("distributed")

from distributed import Client

import gpuarray as ga
from gpuarray import cli
from gpuarray.cluster.command import add_parsers, scheduler_command, worker_command
from gpuarray.errors import ClusterError, ConfigError

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


def test_workers_beside_their_scheduler_listen_here():
    def listens(command):
        return command[command.index("--host") + 1] if "--host" in command else None

    assert listens(worker_command(parsed("worker", "127.0.0.1:8786"), 0)) == "127.0.0.1"
    assert listens(worker_command(parsed("worker", "localhost:8786"), 2)) == "127.0.0.1"
    assert listens(worker_command(parsed("worker", "tls://127.0.0.1:8786", *TLS), 0)) == "127.0.0.1"
    assert listens(worker_command(parsed("worker", "tls://10.0.0.5:8786", *TLS), 0)) is None
    assert (
        listens(worker_command(parsed("worker", "127.0.0.1:8786", "--host", "0.0.0.0", "--insecure"), 0)) == "0.0.0.0"
    )
    assert listens(worker_command(parsed("worker", "127.0.0.1:8786", "--host", "10.0.0.6", *TLS), 0)) == "10.0.0.6"
    with pytest.raises(ConfigError, match=r"--host 0\.0\.0\.0 is not this machine alone"):
        worker_command(parsed("worker", "127.0.0.1:8786", "--host", "0.0.0.0"), 0)
    command = worker_command(parsed("worker", "tls://10.0.0.5:8786", *TLS), 0)
    assert command[command.index("--dashboard-address") + 1] == "127.0.0.1:0"


def test_a_scheduler_file_that_leads_beyond_this_machine(tmp_path, monkeypatch):
    """What it says is no reason to go there without TLS."""
    file = tmp_path / "s.json"
    file.write_text('{"address": "tcp://10.0.0.5:8786"}')
    with pytest.raises(ConfigError, match=r"tcp://10\.0\.0\.5:8786 is not this machine alone"):
        worker_command(parsed("worker", "--scheduler-file", str(file)), 0)
    monkeypatch.setattr("gpuarray.cluster.command._APPEARS", 0.0)
    with pytest.raises(ClusterError, match="there is no scheduler file"):
        worker_command(parsed("worker", "--scheduler-file", str(tmp_path / "none.json")), 0)


def test_workers_on_gpus_and_on_processors(tmp_path):
    command = worker_command(parsed("worker", "127.0.0.1:8786", "--nthreads", "2", "--nworkers", "3"), 0)
    assert command[1:5] == ["-m", "dask", "worker", "tcp://127.0.0.1:8786"]
    assert command[-2:] == ["--nworkers", "3"]
    file = tmp_path / "s.json"
    file.write_text('{"address": "tcp://127.0.0.1:8786"}')
    command = worker_command(parsed("worker", "--scheduler-file", str(file)), 2)
    assert command[1:6] == ["-m", "dask", "cuda", "worker", "tcp://127.0.0.1:8786"]
    assert command[command.index("--device-memory-limit") + 1] == "0"
    assert "cuda" not in worker_command(parsed("worker", "--scheduler-file", str(file), "--device", "cpu"), 2)


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


def listening(process):
    """The addresses on which a process and those that it has started wait for others."""
    psutil = pytest.importorskip("psutil", "6.0")
    tree, found = psutil.Process(process.pid), set()
    for one in [tree, *tree.children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            try:
                found |= {c.laddr.ip for c in one.net_connections(kind="inet") if c.status == psutil.CONN_LISTEN}
            except psutil.AccessDenied:
                pytest.skip("this system does not tell who listens where")
    return found


@contextlib.contextmanager
def started(*words):
    process = subprocess.Popen(
        [sys.executable, "-m", "gpuarray", "cluster", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    with process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(180)
            finally:
                process.kill()


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_scheduler_and_a_worker_that_only_this_machine_reaches(tmp_path):
    file = str(tmp_path / "scheduler.json")
    data = np.arange(100_000.0)
    scheduler = ["scheduler", "--port", "0", "--dashboard-address", "127.0.0.1:0", "--scheduler-file", file]
    with (
        started("worker", "--scheduler-file", file, "--nthreads", "1") as worker,  # before there is a file
        started(*scheduler) as process,
    ):
        deadline = time.monotonic() + 180
        while not os.path.exists(file) or not listening(worker):
            assert process.poll() is worker.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        with Client(scheduler_file=file, timeout=180, set_as_default=False) as client:
            client.wait_for_workers(1, timeout=180)
            with ga.cluster.Cluster(client):
                np.testing.assert_array_equal((ga.asarray(data, chunks=10_000) * 2).compute(), data * 2)
                assert listening(process) == listening(worker) == {"127.0.0.1"}


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_local_workers_and_a_scheduler_file(tmp_path):
    file = tmp_path / "scheduler.json"
    words = ["local", "--workers", "1", "--threads", "1", "--no-dashboard", "--scheduler-file", str(file)]
    with started(*words) as process:
        deadline = time.monotonic() + 180
        while not file.exists() or not file.read_text().endswith("\n"):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert json.loads(file.read_text())["address"].startswith("tcp://127.0.0.1:")
        data = np.arange(100_000.0)
        with ga.cluster.Cluster(scheduler_file=file) as cluster:
            assert len(cluster.workers) == 1
            np.testing.assert_array_equal((ga.asarray(data, chunks=10_000) * 2).persist().compute(), data * 2)
            assert listening(process) == {"127.0.0.1"}
        process.send_signal(signal.SIGINT)
        assert process.wait(180) == 0
        assert "1 workers at tcp://127.0.0.1:" in process.stdout.read()
