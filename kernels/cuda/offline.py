"""The text of CUDA kernels to PTX and cubins, with no GPU and no driver.

Arithmetic is exactly IEEE as on the CPU: no ``fastmath``, and no multiplication and addition becomes one ``fma``.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gpuarray.kernels import cache
from gpuarray.kernels.errors import GPUArrayError

ENTRY = "kernel"
"""The name of the one entry of every cubin."""


SHARED_BY_DEFAULT = 48 * 1024
"""Bytes of shared memory that a block has without asking."""


class CompilationError(GPUArrayError, RuntimeError):
    """CUDA's compiler or assembler refused a kernel: a defect of the generated text, or versions that do not fit."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """One generated kernel: all that its machine code depends on."""

    source: str
    """The text of ``def kernel(...)``; its globals are `device.namespace`."""
    parameters: tuple[str, ...]
    """Numba's name of each parameter's type: ``uint64`` for a place in memory, else a number's dtype."""
    threads: int
    """Most threads in a block."""
    blocks: int = 1
    """Blocks that are to fit a multiprocessor at once: with `threads`, the limit on registers."""


@dataclass(frozen=True, slots=True)
class Resources:
    """What one thread and one block of a kernel take, as the assembler says it."""

    registers: int
    spills: int
    """Bytes of registers stored to and loaded from local memory."""
    stack: int
    shared: int


@functools.cache
def numba_cuda() -> Any:
    """``numba.cuda``, which is imported nowhere else: with NVVM where the assembler's toolkit has the only one, and
    whatever it warns of, which beside a NumPy newer than itself it does.

    Raises ImportError without Numba-CUDA.
    """
    _name_toolkit()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from numba import cuda

        if not hasattr(np, "row_stack") and os.environ.get("NUMBA_ENABLE_CUDASIM") != "1":
            # NumPy 2.5 has dropped what Numba-CUDA 0.30 names when it first compiles: it is there until then
            np.row_stack = np.vstack
            try:
                from numba.cuda.np import arrayobj  # noqa: F401
            finally:
                del np.row_stack
    return cuda


def _name_toolkit() -> None:
    """Say in $CUDA_HOME where CUDA is if nothing does, and no wheel has NVVM: Numba looks there alone."""
    if "CUDA_HOME" in os.environ or "CUDA_PATH" in os.environ:
        return
    tool = assembler()
    if tool is None or any(_has_nvvm(folder) for root in _wheels() for folder in root.glob("*")):
        return
    home = Path(tool).resolve().parents[1]
    if _has_nvvm(home):
        os.environ["CUDA_HOME"] = str(home)


def _has_nvvm(folder: Path) -> bool:
    return any(found for place in ("nvvm/lib*", "nvvm/bin*", "lib*") for found in folder.glob(f"{place}/*nvvm*"))


def _wheels() -> list[Path]:
    """Where NVIDIA's wheels are installed."""
    found = importlib.util.find_spec("nvidia")
    return [Path(root) for root in found.submodule_search_locations or ()] if found else []


@contextmanager
def _without_contraction() -> Iterator[None]:
    """Pass ``-fma=0`` to NVVM, for which Numba has no option of its own; under Numba's compiler lock."""
    from numba.cuda.core.compiler_lock import global_compiler_lock
    from numba.cuda.cudadrv import nvvm

    with global_compiler_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        compile_ir, calls = nvvm.compile_ir, []

        def exact(irs: Any, **options: Any) -> Any:
            calls.append(options)
            return compile_ir(irs, **{**options, "fma": False})

        nvvm.compile_ir = exact
        try:
            yield
        finally:
            nvvm.compile_ir = compile_ir
        if not calls:
            raise CompilationError("this numba-cuda compiles in another way, in which arithmetic is not exact")


def ptx(kernel: Kernel, capability: tuple[int, int]) -> str:
    """The kernel as PTX for a compute capability.

    Raises ImportError without Numba-CUDA, and `CompilationError` where the text does not compile.
    """
    cuda = numba_cuda()
    from numba.core.errors import NumbaError

    from gpuarray.kernels.cuda import device

    if os.environ.get("NUMBA_ENABLE_CUDASIM") == "1":
        raise CompilationError("Numba's CUDA simulator is on, which compiles nothing; unset NUMBA_ENABLE_CUDASIM")
    names = device.namespace() | {"__name__": "gpuarray_cuda"}
    exec(compile(kernel.source, "<kernel>", "exec"), names)
    types = tuple(getattr(cuda.types, name) for name in kernel.parameters)
    try:
        with _without_contraction():
            text, _ = cuda.compile_ptx(
                names["kernel"], types, cc=capability, launch_bounds=(kernel.threads, kernel.blocks)
            )
    except NumbaError as error:
        raise CompilationError(f"Numba cannot compile this kernel: {error}\n{kernel.source}") from error
    (entry,) = re.findall(r"\.visible \.entry (\w+)", text)
    return str(text.replace(entry, ENTRY))


@functools.cache
def assembler() -> str | None:
    """The path of ``ptxas``: of NVIDIA's wheels, of $CUDA_HOME, or of $PATH; None where there is none."""
    name = "ptxas.exe" if os.name == "nt" else "ptxas"
    folders = []
    for root in _wheels():
        folders += sorted(root.glob("*/bin"), reverse=True)
    folders += [Path(os.environ[v]) / "bin" for v in ("CUDA_HOME", "CUDA_PATH") if v in os.environ]
    folders.append(Path("/usr/local/cuda/bin"))
    return next((str(f / name) for f in folders if (f / name).is_file()), shutil.which(name))


def ptxas_version() -> str:
    """The assembler's release, as "12.9"; empty where there is none."""
    tool = assembler()
    if tool is None:
        return ""
    said = subprocess.run([tool, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"release ([\d.]+)", said)
    return found[1] if found else ""


def assemble(text: str, capability: tuple[int, int], folder: Path | None = None) -> tuple[bytes, Resources]:
    """PTX to a cubin, and what it takes of a multiprocessor.

    Raises `CompilationError` where there is no assembler or it refuses.
    """
    tool = assembler()
    if tool is None:
        raise CompilationError("there is no ptxas; install numba-cuda[cu12] or the CUDA toolkit, or set CUDA_HOME")
    with tempfile.TemporaryDirectory(prefix="gpuarray-ptx-", dir=folder) as work:
        source, target = Path(work) / "kernel.ptx", Path(work) / "kernel.cubin"
        command = [tool, "-v", "-O3", f"-arch=sm_{_arch(capability)}", "-o", str(target), str(source)]
        source.write_text(text)
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        newest = re.search(r"Unsupported \.version.*current version is '([\d.]+)'", done.stderr)
        if done.returncode and newest:
            # a compiler newer than the assembler; kernels use nothing that came with the newest versions
            source.write_text(re.sub(r"(?m)^\.version .*$", f".version {newest[1]}", text))
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise CompilationError(f"ptxas refuses a kernel for sm_{_arch(capability)}: {done.stderr.strip()[:2000]}")
        return target.read_bytes(), resources(done.stderr)


def _arch(capability: tuple[int, int]) -> str:
    return f"{capability[0]}{capability[1]}"


def resources(log: str) -> Resources:
    """What ``ptxas -v`` says of the one kernel in its log.

    >>> resources("0 bytes stack frame, 8 bytes spill stores, 4 bytes spill loads; Used 32 registers, 368 bytes cmem")
    Resources(registers=32, spills=12, stack=0, shared=0)
    """

    def number(pattern: str) -> int:
        found = re.search(pattern, log)
        return int(found[1]) if found else 0

    spills = number(r"(\d+) bytes spill stores") + number(r"(\d+) bytes spill loads")
    return Resources(
        number(r"Used (\d+) registers"), spills, number(r"(\d+) bytes stack frame"), number(r"(\d+) bytes smem")
    )


@functools.cache
def _surroundings() -> bytes:
    """What machine code depends on beside the kernel: versions, and the code that kernels call."""
    from importlib.metadata import PackageNotFoundError, version

    digest = hashlib.sha256()
    for package in ("numba-cuda", "numba", "llvmlite", "numpy", "nvidia-cuda-nvcc-cu12", "cuda-toolkit"):
        try:
            digest.update(f"{package} {version(package)};".encode())
        except PackageNotFoundError:
            digest.update(f"{package} -;".encode())
    tool = assembler()
    digest.update(f"{tool} {Path(tool).stat().st_mtime_ns if tool else 0}".encode())
    here = Path(__file__).parent
    called = [here / name for name in ("device.py", "intrinsics.py", "offline.py", "positions.py")]
    for path in (*called, here.parent / "scalar.py", here.parent / "philox.py"):
        digest.update(path.read_bytes())
    return digest.digest()


def key_of(kernel: Kernel, capability: tuple[int, int]) -> str:
    """The name of a kernel's files in the cache folder."""
    digest = hashlib.sha256(_surroundings())
    digest.update(repr((kernel, capability)).encode())
    return "c" + digest.hexdigest()[:32]


_lock = threading.Lock()
_locks: dict[str, threading.Lock] = {}


def cubin(kernel: Kernel, capability: tuple[int, int]) -> Path:
    """The path of the kernel's cubin in the cache folder; compiles it on the first call on a machine.

    Any number of threads and processes may ask at once. What is on disk is used only where its checksum holds.
    """
    key = key_of(kernel, capability)
    with _lock:
        lock = _locks.setdefault(key, threading.Lock())
    with lock:
        path = cache.folder() / f"{key}.cubin"
        if not _sound(path):
            content, _ = assemble(ptx(kernel, capability), capability)
            cache._write(path, content)
            cache._write(path.with_suffix(".sum"), _checksum(content))
        return path


def ready(kernel: Kernel, capability: tuple[int, int]) -> bool:
    """Whether `cubin` would compile nothing."""
    return _sound(cache.folder() / f"{key_of(kernel, capability)}.cubin")


def _checksum(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode()


def _sound(path: Path) -> bool:
    try:
        return path.with_suffix(".sum").read_bytes() == _checksum(path.read_bytes())
    except OSError:
        return False


def measure(kernel: Kernel, capability: tuple[int, int]) -> Resources:
    """Registers, spills and shared memory of a kernel; from nothing, whatever the cache holds."""
    return assemble(ptx(kernel, capability), capability)[1]


def available() -> bool:
    """Whether kernels can be compiled here: Numba-CUDA with its NVVM, and an assembler."""
    try:
        cuda = numba_cuda()
        from numba.cuda.cudadrv import nvvm
    except ImportError:
        return False
    if not hasattr(cuda, "compile_ptx") or not hasattr(nvvm, "is_available"):
        return False
    return bool(nvvm.is_available()) and assembler() is not None
