"""Settings: one frozen object, read in one place.

A setting comes from the first of these that has it:

1. `set`, in a ``with`` block or for the whole process
2. the environment: ``GPUARRAY_DEVICE_MEMORY="8 GiB"``, and so for every setting
3. a YAML file, ``$GPUARRAY_CONFIG`` or ``~/.config/gpuarray/config.yaml``: ``device_memory: 8 GiB``
4. the default

The environment and the file are read once, when a setting is first needed.
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from gpuarray import _config_values as values_of
from gpuarray.cluster.host import available_memory, available_threads
from gpuarray.errors import ConfigError

HOST_FRACTION = 0.6
"""Of the memory available when a run starts, the part it may use where `host_memory` is None."""

_PREFIX = "GPUARRAY_"
_FILE_VARIABLE = "GPUARRAY_CONFIG"


def _setting(default: Any, parse: Callable[[object, str], Any]) -> Any:
    return field(default=default, metadata={"parse": parse})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Every setting, checked. `get` returns the one in force.

    >>> from gpuarray import config
    >>> config.get().chunk_bytes
    67108864

    Parameters
    ----------
    device : ``"auto"`` (a GPU if there is one), ``"cpu"``, ``"cuda"``, ``"cuda:N"``; ``"cuda:0,1"`` or ``"cuda:all"``
        share the tasks out among several; ``"fake"`` is device memory played on the CPU, for tests
    device_memory : bytes that a run may hold on one device; None: 90 % of what it has free
    host_memory : bytes that a run may hold in host memory; None: 60 % of what is available when it starts
    spill_directory : where chunks go that fit in neither, in a private folder; None: the system's temporary folder
    chunk_bytes : the size that ``chunks="auto"`` aims at
    threads : CPU threads; None: one for every processor this process may run on
    progress : True, False, or ``"auto"``: a bar after half a second on a terminal and in a notebook
    implicit_compute_limit : the largest array that ``numpy.asarray(x)`` computes without being asked to
    scheduler : ``"threads"`` of this process, ``"single-threaded"`` for debugging; ``"auto"``: the open
        `gpuarray.cluster.Cluster` if there is one, threads otherwise
    executor : a `concurrent.futures.Executor` that tasks are computed by, in place of all of those
    compile : ``"auto"`` compiles a kernel where the work is worth it; ``"always"``, ``"never"``
    cache_directory : where compiled kernels are kept; None: the platform's folder for caches
    """

    device: str = _setting("auto", values_of.device)
    device_memory: int | None = _setting(None, values_of.size)
    host_memory: int | None = _setting(None, values_of.host_size)
    spill_directory: str | None = _setting(None, values_of.directory)
    chunk_bytes: int = _setting(64 << 20, values_of.size)
    threads: int | None = _setting(None, values_of.threads)
    progress: bool | Literal["auto"] = _setting("auto", values_of.progress)
    implicit_compute_limit: int = _setting(1 << 30, values_of.size)
    scheduler: str = _setting("auto", values_of.scheduler)
    executor: Any = _setting(None, values_of.executor)  # noqa: RUF009  # it is field(), as above
    compile: str = _setting("auto", values_of.compile)
    cache_directory: str | None = _setting(None, values_of.directory)

    def host_limit(self) -> int:
        """Bytes that a run which starts now may hold in host memory."""
        return self.host_memory or max(1, int(HOST_FRACTION * available_memory()))

    def thread_count(self) -> int:
        """CPU threads that a run may use."""
        return self.threads or available_threads()

    def spill_path(self) -> Path:
        """The folder in which a run makes a private one for chunks that fit in no memory; it may not exist yet."""
        return Path(self.spill_directory or tempfile.gettempdir())

    def cache_path(self) -> Path:
        """The folder for compiled kernels; it may not exist yet."""
        return Path(self.cache_directory) if self.cache_directory is not None else _default_cache(os.environ)


_FIELDS = {f.name: f for f in fields(Settings)}


def _parse(name: str, value: object, source: str) -> Any:
    """`value` in the form that `Settings` holds; None is the default."""
    if name not in _FIELDS:
        import difflib

        near = difflib.get_close_matches(name, _FIELDS, n=1)
        way_out = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(_FIELDS)}"
        raise ConfigError(f"{source}: there is no setting {name!r}; {way_out}")
    if value is None:
        return _FIELDS[name].default
    try:
        return _FIELDS[name].metadata["parse"](value, name)
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}") from None


def _home(environ: Mapping[str, str], variable: str, *fallback: str) -> Path | None:
    """The folder that `variable` names, or one in the home folder; None for a user without a home."""
    if os.path.isabs(given := environ.get(variable, "")):  # the XDG rule: a relative path is ignored
        return Path(given)
    try:
        return Path.home().joinpath(*fallback)
    except RuntimeError:
        return None


def _default_cache(environ: Mapping[str, str]) -> Path:
    if sys.platform == "darwin":
        folder = _home(environ, "", "Library", "Caches")
    elif sys.platform == "win32":
        folder = _home(environ, "LOCALAPPDATA", "AppData", "Local")
    else:
        folder = _home(environ, "XDG_CACHE_HOME", ".cache")
    return (folder or Path(tempfile.gettempdir())) / "gpuarray"


def _from_environment(environ: Mapping[str, str]) -> Iterator[tuple[str, object, str]]:
    for variable, text in sorted(environ.items()):
        if variable.startswith(_PREFIX) and variable != _FILE_VARIABLE and text:
            yield variable.removeprefix(_PREFIX).lower(), text, f"environment variable {variable}"


def _from_file(environ: Mapping[str, str]) -> Iterator[tuple[str, object, str]]:
    """(name, value, source) for each line of the settings file; yaml is imported only where there is one."""
    if given := environ.get(_FILE_VARIABLE):
        path = Path(given).expanduser()
        if not path.is_file():
            raise ConfigError(f"{_FILE_VARIABLE}={given!r} is no file; name a YAML file or unset the variable")
    else:
        folder = _home(environ, "XDG_CONFIG_HOME", ".config")
        if folder is None or not (path := folder / "gpuarray" / "config.yaml").is_file():
            return
    from gpuarray._config_file import read

    yield from read(path)


def _read(environ: Mapping[str, str]) -> dict[str, tuple[Any, str]]:
    """Every setting outside `set`: name -> (value, where it came from)."""
    found = {name: (f.default, "default") for name, f in _FIELDS.items()}
    for read in (_from_file, _from_environment):
        for name, value, source in read(environ):
            found[name] = (_parse(name, value, source), source)
    return found


class _Process:
    """What holds for every thread: the environment and the file, under what `set` did as a function."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._found = _read(environ)
        self._calls: list[tuple[weakref.ref[set] | None, dict[str, Any]]] = []
        self._merge()

    def add(self, call: set, values: dict[str, Any]) -> None:
        self._calls.append((weakref.ref(call), values))
        self._merge()

    def remove(self, values: dict[str, Any]) -> None:
        self._calls = [(call, theirs) for call, theirs in self._calls if theirs is not values]
        self._merge()

    def _merge(self) -> None:
        """A call whose object is gone can never become a block: it is joined with its neighbour, so the list stays
        as short as there are objects alive."""
        calls: list[tuple[weakref.ref[set] | None, dict[str, Any]]] = [(None, {})]
        for call, values in self._calls:
            if call is not None and call() is not None:
                calls.append((call, values))
            elif calls[-1][0] is None:
                calls[-1] = (None, {**calls[-1][1], **values})
            else:
                calls.append((None, values))
        self._calls = calls
        over = {name: (value, "config.set") for _, values in calls for name, value in values.items()}
        found = self._found | over
        self.settings = Settings(**{name: value for name, (value, _) in found.items()})
        self.sources = {name: source for name, (_, source) in found.items()}


class _Block:
    """What the `with` blocks around the running code have set."""

    __slots__ = ("_merged", "_under", "values")

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = values
        self._under: Settings | None = None
        self._merged: Settings | None = None

    def over(self, under: Settings) -> Settings:
        if self._under is not under or self._merged is None:
            self._under, self._merged = under, replace(under, **self.values)
        return self._merged


_lock = threading.RLock()
_process: _Process | None = None
_block: ContextVar[_Block | None] = ContextVar("gpuarray_settings", default=None)


def _load() -> _Process:
    global _process
    with _lock:
        if _process is None:
            _process = _Process(os.environ)
        return _process


def get() -> Settings:
    """The settings in force here.

    >>> from gpuarray import config
    >>> config.get().device
    'auto'

    A thread that is started inside a ``with config.set(...)`` block does not see the block: read the settings
    before starting it, and pass them on.

    Raises
    ------
    ConfigError
        if the environment or the settings file holds a bad value.
    """
    process = _process or _load()
    block = _block.get()
    return process.settings if block is None else block.over(process.settings)


def sources() -> dict[str, str]:
    """Where each setting in force comes from: ``default``, a file and line, an environment variable, ``config.set``.

    >>> from gpuarray import config
    >>> with config.set(threads=2):
    ...     config.sources()["threads"]
    'config.set'
    """
    block = _block.get()
    return {**(_process or _load()).sources, **dict.fromkeys(block.values if block else (), "config.set")}


def reset() -> None:
    """Forget what `set` did for the process and read the environment and the file again, at the next need.

    >>> from gpuarray import config
    >>> config.set(threads=2)
    set(threads=2)
    >>> config.reset()
    >>> config.sources()["threads"]
    'default'
    """
    global _process
    with _lock:
        _process = None


class set:
    """Change settings: for a ``with`` block, or, called as a function, for the process.

    >>> from gpuarray import config
    >>> with config.set(device_memory="8 GiB", device="cpu"):
    ...     config.get().device_memory
    8589934592
    >>> config.get().device_memory is None
    True

    A block holds for the code inside it alone: other threads and asynchronous tasks do not see it. Inside a block
    a call as a function lasts to the end of that block. None stands for the default.

    Parameters
    ----------
    **values : names and values of `Settings`; sizes are bytes or texts such as ``"8 GiB"``

    Raises
    ------
    ConfigError
        if there is no such setting or its value makes no sense; then nothing is changed.
    """

    def __init__(self, **values: Any) -> None:
        self._values = {name: _parse(name, value, "config.set") for name, value in values.items()}
        self._around: list[_Block | None] = []
        self._outer = _block.get()
        if self._outer is not None:
            _block.set(_Block({**self._outer.values, **self._values}))
            return
        with _lock:
            _load().add(self, self._values)

    def __enter__(self) -> Settings:
        if not self._around:
            self._undo()
        outer = _block.get()
        self._around.append(outer)
        _block.set(_Block({**(outer.values if outer else {}), **self._values}))
        return get()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        _block.set(self._around.pop())

    def __repr__(self) -> str:
        return f"set({', '.join(f'{name}={value!r}' for name, value in self._values.items())})"

    def _undo(self) -> None:
        """Take back what the call did, now that it turns out to be the head of a block."""
        if self._outer is not None:
            _block.set(self._outer)
            self._outer = None
        else:
            with _lock:
                _load().remove(self._values)
