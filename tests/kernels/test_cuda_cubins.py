"""What CUDA kernels take of a multiprocessor, and the cache of their cubins; no GPU is needed."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpuarray.kernels import cache
from gpuarray.kernels.cuda import calls, launch, offline, registers
from gpuarray.kernels.cuda.offline import CompilationError, Kernel

ARCH = (9, 0)
TABLE = Path(__file__).with_name("cuda_registers.json")

compiles = pytest.mark.skipif(
    importlib.util.find_spec("numba_cuda") is None, reason="needs numba-cuda: pip install 'numba-cuda[cu12]'"
)


@pytest.fixture(autouse=True)
def _only_where_it_can_and_should(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("slow") and "slow" not in request.config.getoption("markexpr"):
        pytest.skip("takes minutes of compiling; run it with -m slow")
    if request.node.get_closest_marker("skipif") and not offline.available():
        pytest.skip("Numba-CUDA has no NVVM or no ptxas here")


# Registers


def recorded() -> dict[str, Any]:
    return json.loads(TABLE.read_text())["kernels"]


DEFAULT = [
    *("elementwise arithmetic float64", "elementwise exp float32", "strided arithmetic float32"),
    *("stencil 2-D 5 points float64", "stencil 3-D 7 points float32", "4 steps 2-D 5 points float64"),
    *("sum float64 along", "max float32 across", "var float64 merge", "sum float64 stack"),
    *("4 steps 1-D 3 points float32", "2 steps 3-D 7 points float64", "scan sum float64 rows 32"),
    "gather 8 parts, 3 axes, 16 bytes",
]


def check_resources(name: str, arch: str, found: offline.Resources) -> None:
    registers_, spills, shared = recorded()[name][arch]
    assert found.spills <= spills, f"{name} spills {found.spills} bytes on {arch}"
    assert found.registers <= registers_ + 8, f"{name} takes {found.registers} registers on {arch}, not {registers_}"
    assert found.shared <= max(shared, 1) * 1.25, f"{name} takes {found.shared} bytes of shared memory, not {shared}"


def test_the_table_is_of_these_kernels_and_none_spills() -> None:
    assert set(recorded()) == set(registers.cases())
    for name, row in recorded().items():
        assert set(row) == {f"sm_{a}{b}" for a, b in registers.CAPABILITIES}
        for arch, (count, spills, shared) in row.items():
            assert 0 < count <= 255, (name, arch)
            assert spills == 0, (name, arch)
            assert shared <= offline.SHARED_BY_DEFAULT, (name, arch)


@compiles
@pytest.mark.parametrize("name", DEFAULT)
def test_registers(name: str) -> None:
    check_resources(name, "sm_90", offline.measure(registers.cases()[name](), (9, 0)))


@compiles
@pytest.mark.parametrize("arch", [(7, 0), (8, 0)])
def test_registers_of_older_architectures(arch: tuple[int, int]) -> None:
    name = "stencil 2-D 5 points float64"
    check_resources(name, f"sm_{arch[0]}{arch[1]}", offline.measure(registers.cases()[name](), arch))


@compiles
@pytest.mark.slow
@pytest.mark.parametrize("name", list(registers.cases()))
def test_registers_of_all(name: str) -> None:
    for (a, b), kernel in ((c, registers.cases()[name]()) for c in registers.CAPABILITIES):
        check_resources(name, f"sm_{a}{b}", offline.measure(kernel, (a, b)))


# The cache of cubins


SMALL = Kernel("def kernel(p, n):\n    store(np.int64, p, np.uint64(0), n)\n", ("uint64", "int64"), 32)


@pytest.fixture
def folder(tmp_path: Path) -> Any:
    cache.set_folder(tmp_path / "cubins")
    yield tmp_path / "cubins"
    cache.set_folder(None)


@compiles
def test_cubins_are_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not offline.ready(SMALL, ARCH)
    path = offline.cubin(SMALL, ARCH)
    assert path.parent == folder
    assert path.read_bytes()[:4] == b"\x7fELF"
    assert offline.ready(SMALL, ARCH)
    assert not offline.ready(SMALL, (8, 0))
    with monkeypatch.context() as patched:
        patched.setattr(offline, "ptx", lambda *_: pytest.fail("compiled again"))
        assert offline.cubin(SMALL, ARCH) == path
    for broken in (b"", b"\x7fELF and nothing else"):
        path.write_bytes(broken)
        assert not offline.ready(SMALL, ARCH)
        assert len(offline.cubin(SMALL, ARCH).read_bytes()) > 100


def test_a_key_is_of_all_that_the_code_depends_on() -> None:
    other = [
        Kernel(SMALL.source + " ", SMALL.parameters, 32),
        Kernel(SMALL.source, ("uint64", "int32"), 32),
        Kernel(SMALL.source, SMALL.parameters, 64),
        Kernel(SMALL.source, SMALL.parameters, 32, blocks=2),
    ]
    keys = {offline.key_of(k, ARCH) for k in (SMALL, *other)} | {offline.key_of(SMALL, (8, 0))}
    assert len(keys) == 6


@compiles
def test_what_does_not_compile_says_so() -> None:
    bad = Kernel("def kernel(p):\n    store(np.int64, p, np.uint64(0), no_such_name)\n", ("uint64",), 32)
    with pytest.raises(CompilationError, match="no_such_name"):
        offline.ptx(bad, ARCH)
    with pytest.raises(CompilationError, match="sm_90"):
        offline.assemble(".version 8.0\n.target sm_90\nnonsense", ARCH)


@compiles
def test_ptx_of_a_newer_compiler_is_assembled() -> None:
    text = offline.ptx(SMALL, ARCH)
    newer = re.sub(r"(?m)^\.version .*$", ".version 99.9", text)
    assert newer != text
    assert offline.assemble(newer, ARCH)[0] == offline.assemble(text, ARCH)[0]


def test_without_an_assembler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offline, "assembler", lambda: None)
    with pytest.raises(CompilationError, match="numba-cuda"):
        offline.assemble("", ARCH)
    assert not offline.available()


def test_importing_imports_neither_numba_nor_cupy() -> None:
    names = "calls, device, elementwise_code, launch, offline, reduction_code, registers, simulated, sweep_code"
    code = f"import sys; from gpuarray.kernels.cuda import {names}; print({{'numba', 'cupy'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


class _Device:
    """As much of CuPy as `launch` calls."""

    def __init__(self) -> None:
        self.launched: list[Any] = []
        self.paths: list[str] = []
        self.cuda = self

    id = 0
    compute_capability = "90"

    def Device(self) -> _Device:
        return self

    def RawModule(self, *, path: str) -> _Device:
        self.paths.append(path)
        return self

    def get_function(self, name: str) -> _Device:
        assert name == "kernel"
        return self

    def __call__(self, grid: Any, block: Any, args: Any) -> None:
        self.launched.append((grid, block, args))


@compiles
def test_launching(folder: Path) -> None:
    """The arguments have the sizes of the kernel's parameters, which is all that a launch checks on a GPU."""
    device = _Device()
    program = registers.arithmetic("float32")
    x = np.zeros((5, 7), np.float32)
    call = calls.elementwise(
        program, [x, x, 2], [x], lambda array, offset: np.uint64(array.ctypes.data + offset), lambda array: True
    )
    assert call is not None
    launch.Launcher(device).run([call, call])
    assert len(device.launched) == 2
    assert len(device.paths) == 1
    grid, block, arguments = device.launched[0]
    assert (grid, block) == ((1, 1, 1), (256, 1, 1))
    parameters = re.findall(r"\.param \.(\w+)", offline.ptx(call.kernel, ARCH).split(")")[0])
    assert [np.dtype(a.dtype).itemsize * 8 for a in arguments] == [int(re.sub(r"\D", "", p)) for p in parameters]
