"""The CPU image, built and run: health, a scheduler with two workers of which one is killed, a right answer.

It needs podman or Docker, and to be asked for: with TEST_IMAGE, an image that is there (``make docker`` makes
``gpuarray:cpu``), or TEST_BASE_IMAGE, a base from which it is built; where there is no Docker engine, by buildah.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

pytestmark = [pytest.mark.heavy, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
BASE = os.environ.get("TEST_BASE_IMAGE")
IMAGE = os.environ.get("TEST_IMAGE", "gpuarray:tests")
PROGRAM = """
import os, time
import numpy as np
import gpuarray as ga

def slow(block):
    print("a task", flush=True)
    limit = time.monotonic() + 90
    while not os.path.exists("/shared/killed") and time.monotonic() < limit:
        time.sleep(0.05)
    return block * 2

if __name__ == "__main__":
    with ga.cluster.Cluster(os.environ["SCHEDULER"]) as cluster:
        assert len(cluster.workers) == 2, cluster.workers
        x = ga.random.default_rng(0).random((400, 300), chunks=(50, 60))
        y = x.persist()  # on both workers: what dies with one must be made again
        print("ready", flush=True)
        found = (ga.map_blocks(slow, y, dtype=float) - y.mean(axis=0)).compute()
        left = len(cluster.workers)
    y = x.compute()
    wanted = (2 * x - x.mean(axis=0)).compute()
    assert left == 1, left
    assert np.array_equal(found, wanted)
    print("the same bits, with", left, "worker left", flush=True)
"""


@cache
def engine() -> str:
    """The command that runs containers here; skips where none does."""
    tried = []
    for name in ("podman", "docker"):
        if shutil.which(name) is None:
            tried.append(f"{name} is not installed")
            continue
        done = subprocess.run([name, "info"], capture_output=True, text=True, timeout=60, check=False)
        if done.returncode == 0:
            return name
        tried.append(f"`{name} info` fails: {done.stderr.strip().splitlines()[-1:]}")
    pytest.skip(f"no containers can be run: {'; '.join(tried)}")


def call(*arguments: str, timeout: float = 120) -> str:
    done = subprocess.run([engine(), *arguments], capture_output=True, text=True, timeout=timeout, check=False)
    assert done.returncode == 0, f"{arguments}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout


def options() -> list[str]:
    """The host's network: a private one needs kernel modules that a container in a container may lack."""
    made = ["--network", "host"]
    if engine() == "podman":
        made += ["--no-healthcheck"]  # podman has systemd call it
        # no more than this process may have: podman's own default is more, which a container in a container is denied
        for name, number in (("nofile", resource.RLIMIT_NOFILE), ("nproc", resource.RLIMIT_NPROC)):
            hard = resource.getrlimit(number)[1]
            most = 4096 if hard == resource.RLIM_INFINITY else min(hard, 4096)
            made += [f"--ulimit={name}={most}:{most}"]
        if shutil.which("runc"):
            made = ["--runtime", "runc", *made]
    return made


def build() -> None:
    """`make docker`, or the same with buildah."""
    arguments = ["--file", "docker/Dockerfile", "--tag", IMAGE, "--build-arg", f"BASE_IMAGE={BASE}"]
    command = ["docker", "build"]
    if engine() == "podman":
        if shutil.which("buildah") is None:
            pytest.skip("podman needs buildah to build an image; install it, or set TEST_IMAGE")
        command = [
            "buildah",
            "bud",
            "--isolation=chroot",
            "--format=docker",
            "--volume=/etc/ssl/certs:/etc/ssl/certs:ro",
        ]
    done = subprocess.run(
        [*command, *arguments, "."], cwd=ROOT, capture_output=True, text=True, timeout=1800, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]


@pytest.fixture(scope="module")
def image() -> str:
    if "TEST_IMAGE" not in os.environ and BASE is None:
        pytest.skip("containers take minutes: ask for them with TEST_IMAGE=gpuarray:cpu after `make docker`")
    engine()
    if BASE is not None:
        build()
    return IMAGE


@contextlib.contextmanager
def running(image: str, *command: str, mount: Path | None = None, **environment: str) -> Iterator[str]:
    """A container in the background; its name."""
    name = f"gpuarray-test-{uuid.uuid4().hex[:10]}"
    given = [f"--env={key}={value}" for key, value in environment.items()]
    given += [f"--volume={mount}:/shared:z"] if mount else []
    call("run", "--detach", "--name", name, *options(), "--cap-drop=ALL", *given, image, *command)
    try:
        yield name
    finally:
        subprocess.run([engine(), "rm", "--force", name], capture_output=True, timeout=120, check=False)


def until(name: str, text: str, seconds: float = 90) -> str:
    """What a container has printed, once `text` is in it."""
    limit = time.monotonic() + seconds
    while True:
        done = subprocess.run([engine(), "logs", name], capture_output=True, text=True, timeout=60, check=False)
        printed = done.stdout + done.stderr
        if text in printed:
            return printed
        state = json.loads(call("inspect", name))[0]["State"]["Status"]
        assert state != "exited", f"{name} has ended: {printed[-3000:]}"
        assert time.monotonic() < limit, f"{name} has not said {text!r} in {seconds:g} s: {printed[-3000:]}"
        time.sleep(0.2)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def health_check() -> list[str]:
    """The image's own command."""
    about = json.loads(call("image", "inspect", IMAGE))[0]
    found = about.get("Healthcheck") or about["Config"]["Healthcheck"]
    kind, *command = found["Test"]
    assert kind == "CMD"
    return command


def healthy(name: str) -> bool:
    command = [engine(), "exec", name, *health_check()]
    return subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 0


def test_the_image_says_what_it_is(image):
    about = json.loads(call("image", "inspect", image))[0]
    assert about["Config"]["User"] == "10001"
    assert health_check()[-1].endswith("gpuarray-health")
    told = call("run", "--rm", *options(), image, "gpuarray", "info", "--json")
    assert json.loads(told)
    assert "No broken requirements" in call("run", "--rm", *options(), image, "python", "-m", "pip", "check")


def test_nothing_in_the_image_belongs_to_its_user_but_what_it_writes(image):
    script = (
        "id -u; touch /opt/gpuarray/x && echo writable; touch /var/spool/gpuarray/x /var/cache/gpuarray/x && echo ours"
    )
    printed = call("run", "--rm", *options(), image, "sh", "-c", f"{script} 2>/dev/null")
    assert printed.split() == ["10001", "ours"]


def test_a_worker_is_killed_and_the_answer_is_right(image, tmp_path):
    tmp_path.chmod(0o777)
    (tmp_path / "program.py").write_text(PROGRAM)
    port, dashboard = free_port(), free_port()
    address = f"tcp://127.0.0.1:{port}"
    scheduler = [f"--port={port}", f"--dashboard-address=127.0.0.1:{dashboard}"]
    worker = ["dask", "worker", address, "--host=127.0.0.1", "--nworkers=1", "--nthreads=1", "--memory-limit=0"]
    worker += ["--no-dashboard", "--no-nanny"]
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(
            running(
                image, "dask", "scheduler", "--host=127.0.0.1", *scheduler,
                GPUARRAY_HEALTH=f"http://127.0.0.1:{dashboard}/health",
            )
        )  # fmt: skip
        until(first, "Scheduler at")
        assert healthy(first)
        workers = [stack.enter_context(running(image, *worker, mount=tmp_path)) for _ in range(2)]
        for name in workers:
            until(name, "Registered to")
        client = stack.enter_context(running(image, "python", "/shared/program.py", mount=tmp_path, SCHEDULER=address))
        until(client, "ready")
        for name in workers:
            until(name, "a task")  # under way, and waiting
        call("kill", workers[0])
        (tmp_path / "killed").touch()
        until(client, "the same bits, with 1 worker left", 180)
    with running(image, "sleep", "60", GPUARRAY_HEALTH=f"http://127.0.0.1:{dashboard}/health") as idle:
        assert not healthy(idle)
