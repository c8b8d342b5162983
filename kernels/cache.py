"""Generated kernels: Python modules in a cache folder, compiled once per machine.

`load` turns source text into a compiled function. The text is its own key: equal text, versions and CPU give the same
module name, so processes share what they compile and an upgrade never meets an old kernel. Numba's machine code lies
beside each module, under a checksum: a damaged file is rebuilt, not run, and one that is gone is made again
(`gpuarray.kernels.pruning` removes what nobody uses).
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import importlib.util
import os
import platform
import stat
import sys
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from gpuarray.kernels import pruning

Kernel = Callable[[int], None]

_lock = threading.Lock()
_chosen: Path | None = None
_folder: Path | None = None
_private: tempfile.TemporaryDirectory[str] | None = None
_loaded: dict[str, Loaded] = {}
_locks: dict[str, threading.Lock] = {}


class Loaded(NamedTuple):
    """A compiled ``void kernel(int64)``."""

    call: Kernel
    """From Python, with the GIL released."""
    address: int
    """From another kernel."""


def set_folder(path: str | os.PathLike[str] | None) -> None:
    """Keep generated kernels in `path` from now on; None: the default (see `folder`)."""
    global _chosen, _folder
    with _lock:
        _chosen = None if path is None else Path(path)
        _folder = None


def folder() -> Path:
    """Where generated kernels lie: what `set_folder` said, else $GPUARRAY_CACHE_DIRECTORY, else the user's cache.

    Numba's cache files hold machine code, so a folder that another user owns or can write to is not used, and one that
    cannot be written to either: a private temporary folder, gone at exit, takes its place.
    """
    global _folder, _private
    with _lock:
        if _folder is None:
            wanted = _chosen or _default()
            if _usable(wanted):
                _folder = wanted
            else:
                _private = _private or tempfile.TemporaryDirectory(prefix="gpuarray-", ignore_cleanup_errors=True)
                _folder = Path(_private.name)
        return _folder


def _default() -> Path:
    if named := os.environ.get("GPUARRAY_CACHE_DIRECTORY"):
        return Path(named) / "kernels"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "gpuarray" / "kernels"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home())) / "gpuarray" / "Cache" / "kernels"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gpuarray" / "kernels"


def _usable(path: Path) -> bool:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = path.stat()
        if not stat.S_ISDIR(status.st_mode):
            return False
        if hasattr(os, "getuid") and (status.st_uid != os.getuid() or status.st_mode & 0o022):
            return False
        with tempfile.TemporaryFile(dir=path):
            return True
    except (OSError, RuntimeError):
        return False


@functools.cache
def _surroundings() -> bytes:
    """What a kernel depends on beside its text: versions, the CPU, and the code it calls."""
    import llvmlite
    import numba
    import numpy as np
    from llvmlite import binding

    digest = hashlib.sha256()
    parts = (platform.python_version(), np.__version__, numba.__version__, llvmlite.__version__)
    cpu = (binding.get_host_cpu_name(), binding.get_host_cpu_features().flatten())
    digest.update(repr((parts, cpu)).encode())
    here = Path(__file__).parent
    for path in (*(here / name for name in _CALLED), *sorted((here / "functions").glob("*.py"))):
        digest.update(path.read_bytes())
    return digest.digest()


_CALLED = (
    *("cache.py", "intrinsics.py", "jitable.py", "philox.py", "philox_cpu.py"),
    *("pointers.py", "reduce_loops.py", "scalar.py"),
)
"""Modules whose code becomes part of kernels."""


def key_of(source: str) -> str:
    """The name of the module that holds this text."""
    return "k" + hashlib.sha256(_surroundings() + source.encode()).hexdigest()[:32]


def ready(source: str) -> bool:
    """Whether `load` would take milliseconds: this process has compiled the text, or the folder holds it."""
    key = key_of(source)
    return key in _loaded or (folder() / f"{key}.sum").exists()


def load(source: str) -> Loaded:
    """The compiled ``kernel`` of a generated module; any number of threads and processes may ask at once."""
    key = key_of(source)
    with _lock:
        lock = _locks.setdefault(key, threading.Lock())
    with lock:
        if key not in _loaded:
            _loaded[key] = _load(key, source)
    return _loaded[key]


def _load(key: str, source: str) -> Loaded:
    """From disk where that is sound; a kernel that cannot be stored is compiled in memory."""
    path = folder() / f"{key}.py"
    try:
        _write(path, source.encode())
        # Numba's cache knows a module by its time and size: the name is a hash of the text, so one time will do for all
        os.utime(path, (0, 0))
        fresh = not _sound(key, path)
        if fresh:
            _forget(key, path)
        try:
            kernel = _compile(key, path, source)
        except Exception:
            _forget(key, path)
            kernel, fresh = _compile(key, path, source), True
        if fresh or kernel.stats.cache_misses:
            _seal(key, path)
            pruning.prune(path.parent)
        else:
            pruning.mark_used(path.parent / f"{key}.sum")
    except Exception:  # no room or no right to write, or another process removes what this one writes
        kernel = _compile(key, path, source.replace("cache=True", "cache=False"))
    return _entry(kernel)


def _entry(kernel: Any) -> Loaded:
    (compiled,) = kernel.overloads.values()
    address = compiled.library.get_pointer_to_function(compiled.fndesc.llvm_cfunc_wrapper_name)
    return Loaded(kernel, address)


def _compile(key: str, path: Path, source: str) -> Any:
    """Run the module's text; its decorator compiles or loads the kernel."""
    name = f"gpuarray_kernel_{key}"
    spec = importlib.util.spec_from_loader(name, None, origin=str(path))
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    module.__file__ = str(path)
    sys.modules[name] = module  # Numba's cache pickles by module name
    exec(compile(source, str(path), "exec"), module.__dict__)
    return module.kernel


def _files(key: str, path: Path) -> list[Path]:
    """Numba's files of one module."""
    return sorted((path.parent / "__pycache__").glob(f"{key}.*.nb?"))


def _checksums(key: str, path: Path) -> str:
    return "".join(f"{hashlib.sha256(f.read_bytes()).hexdigest()}  {f.name}\n" for f in _files(key, path))


def _sound(key: str, path: Path) -> bool:
    try:
        return (path.parent / f"{key}.sum").read_text() == _checksums(key, path) != ""
    except (OSError, UnicodeDecodeError):
        return False


def _seal(key: str, path: Path) -> None:
    _write(path.parent / f"{key}.sum", _checksums(key, path).encode())


def _forget(key: str, path: Path) -> None:
    for file in (path.parent / f"{key}.sum", *_files(key, path)):
        with suppress(OSError):
            file.unlink()


def _write(path: Path, content: bytes) -> None:
    """Replace a file in one step, unless it has this content already."""
    with suppress(OSError):
        if path.read_bytes() == content:
            return
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.stem, suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.replace(temporary, path)
    except OSError:
        with suppress(OSError):
            os.unlink(temporary)
        raise


def ctypes_function(address: int) -> Any:
    """A kernel's address as a function that Python can call; the GIL is released during the call."""
    return ctypes.CFUNCTYPE(None, ctypes.c_int64)(address)
