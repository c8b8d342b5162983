"""What is built, installed and imported, away from the source tree; and what an import costs."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import gpuarray

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ("gpuarray", "kernels", "cluster")
OPTIONAL = {"cupy", "cupyx", "dask_cuda", "rmm", "kvikio", "mpi4py"}
HEAVY = ("numba", "distributed", "zarr", "dask", "yaml", "tqdm", "matplotlib", "h5py", "xarray", "scipy", "cupy")
LATE = ("gpuarray.run", "gpuarray.executors", "gpuarray.plan", "gpuarray.display", "gpuarray.kernels.stencils.compiled")
"""What comes when something is first computed or shown."""

IMPORT_EVERYTHING = f"""
import importlib, pathlib, pkgutil, sys
import gpuarray
optional = {OPTIONAL!r}
names = [m.name for m in pkgutil.walk_packages(gpuarray.__path__, "gpuarray.") if not m.name.endswith("__main__")]
for name in names:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in optional:
            raise
assert "kernels" not in sys.modules and "cluster" not in sys.modules, "imported under another project's name"
print(pathlib.Path(gpuarray.__file__).parent)
print(len(names))
"""


def run(*command: object, cwd: Path, **environment: str) -> str:
    """Run a command away from the caller's Python path; its standard output."""
    variables = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env={**variables, **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def copy_sources(folder: Path) -> Path:
    """What a build needs, symbolic links and all: building in the tree itself would leave files there."""
    folder.mkdir(parents=True)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    for name in SOURCES:
        shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def modules() -> set[str]:
    """Every Python file of the three rooms, as installed."""
    found = set()
    for top in SOURCES:
        for folder, _, files in os.walk(ROOT / top):  # os.walk stays out of the links
            at = Path("gpuarray" if top == "gpuarray" else f"gpuarray/{top}") / Path(folder).relative_to(ROOT / top)
            found |= {(at / name).as_posix() for name in files if name.endswith(".py")}
    return found


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an sdist, the wheel built from it, and in ``direct/`` the wheel built from the tree."""
    folder = tmp_path_factory.mktemp("build")
    tree = copy_sources(folder / "tree")
    build = (sys.executable, "-m", "build", "--no-isolation")
    run(*build, "--outdir", folder, tree, cwd=folder)
    run(*build, "--wheel", "--outdir", folder / "direct", tree, cwd=folder)
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    (path,) = built.glob("*.whl")
    return path


def new_environment(folder: Path) -> Path:
    """A fresh environment that sees the dependencies of this one, but not what is installed here editable."""
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder.parent)
    python = folder / "bin" / "python"
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).strip())
    here = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (site / "dependencies.pth").write_text("".join(f"{path}\n" for path in sorted(here)))
    return python


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment in which the wheel is installed."""
    python = new_environment(tmp_path_factory.mktemp("venv") / "env")
    run(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel, cwd=wheel.parent)
    return python


def test_every_folder_of_modules_is_a_package() -> None:
    folders = {str(Path(name).parent) for name in modules()}
    assert {f"{folder}/__init__.py" for folder in folders} <= modules()


def test_wheel_holds_the_package_and_nothing_else(wheel: Path, built: Path) -> None:
    (direct,) = (built / "direct").glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert names == set(zipfile.ZipFile(direct).namelist())
    package = {name for name in names if ".dist-info/" not in name}
    stubs = {f"gpuarray/{path.name}" for path in (ROOT / "gpuarray").glob("*.pyi")}
    assert stubs
    assert package == modules() | stubs | {"gpuarray/py.typed"}
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_sdist_has_no_top_level_kernels_or_cluster(built: Path) -> None:
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        members = archive.getmembers()
    assert all(member.isfile() or member.isdir() for member in members), "links do not survive everywhere"
    names = {member.name.partition("/")[2] for member in members if member.isfile()}
    assert modules() | {"gpuarray/py.typed", "LICENSE", "README.md", "pyproject.toml"} <= names
    assert not {name for name in names if name.startswith(("kernels/", "cluster/"))}


def test_installed_wheel_imports_everything(installed: Path, tmp_path: Path) -> None:
    where, count = run(installed, "-W", "error::RuntimeWarning", "-c", IMPORT_EVERYTHING, cwd=tmp_path).split()
    assert Path(where).is_relative_to(installed.parents[1])
    others = {name for name in modules() if not name.endswith("__main__.py")} - {"gpuarray/__init__.py"}
    assert int(count) == len(others), "all but gpuarray itself and what is run"


def test_installed_command(installed: Path, tmp_path: Path) -> None:
    command = installed.with_name("gpuarray")
    assert run(command, "--version", cwd=tmp_path) == f"gpuarray {gpuarray.__version__}\n"
    assert "what works" in run(command, "info", cwd=tmp_path)
    metadata = "import importlib.metadata as m; print(m.version('gpuarray-engine'))"
    assert run(installed, "-c", metadata, cwd=tmp_path).strip() == gpuarray.__version__


def test_editable_install(tmp_path: Path) -> None:
    tree = copy_sources(tmp_path / "tree")
    python = new_environment(tmp_path / "env")
    pip = (sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index")
    run(*pip, "--no-build-isolation", "--editable", tree, cwd=tmp_path)
    for cwd in (tmp_path, tree):
        where, _ = run(python, "-c", IMPORT_EVERYTHING, cwd=cwd).split()
        assert Path(where) == tree / "gpuarray"


def test_runs_from_the_root_without_installation() -> None:
    where, _ = run(sys.executable, "-c", IMPORT_EVERYTHING, cwd=ROOT).split()
    assert Path(where) == ROOT / "gpuarray"


def test_import_brings_nothing_heavy() -> None:
    late = (*HEAVY, *SOURCES[1:], *LATE)
    code = f"import sys, gpuarray; print([name for name in {late!r} if name in sys.modules])"
    assert run(sys.executable, "-c", code, cwd=ROOT).strip() == "[]"


def test_import_brings_few_modules() -> None:
    """Those that arrays are made with; the time that takes is measured by the benchmarks."""
    code = "import sys, numpy; before = len(sys.modules); import gpuarray; print(len(sys.modules) - before)"
    assert int(run(sys.executable, "-c", code, cwd=ROOT)) <= 200


def imported(path: Path) -> Iterator[str]:
    """The absolute names that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} imports relatively"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_kernels_import_numpy_numba_and_cupy_only() -> None:
    allowed = {"numpy", "numba", "llvmlite", "cupy", "cupyx", *sys.stdlib_module_names}  # numba is made of llvmlite
    for path in (ROOT / "kernels").rglob("*.py"):
        more = {"pytest"} if path.name.startswith("testing") else set()  # tests that whoever writes a backend inherits
        for name in imported(path):
            top = name.partition(".")[0]
            assert name.startswith("gpuarray.kernels") or top in allowed | more, f"{path} imports {name}"


def test_cluster_never_imports_the_engine() -> None:
    for path in (ROOT / "cluster").rglob("*.py"):
        for name in imported(path):
            if name.partition(".")[0] == "gpuarray":
                assert re.match(r"gpuarray\.(kernels|cluster)\b", name), f"{path} imports {name}"


def test_changelog_knows_the_version() -> None:
    headings = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == "Unreleased" or headings[0] == gpuarray.__version__
    assert gpuarray.__version__ in headings or headings == ["Unreleased"]


def test_the_readme_never_installs_the_other_gpuarray() -> None:
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")):
        text = path.read_text()
        assert not re.search(r"^[ $]*pip install gpuarray\b(?!-engine)", text, re.MULTILINE), path


def test_extras_name_what_they_install() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    for name, needs in extras.items():
        for need in needs:
            if need.startswith("gpuarray-engine["):
                used = re.search(r"\[(.+)\]", need)
                assert used is not None
                assert set(used[1].split(",")) <= set(extras), f"{name} asks for {need}"
            else:
                assert re.search(r"[<>=]=", need) or need.startswith("types-"), f"{name}: {need} has no bound"
