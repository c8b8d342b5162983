"""Plans and tasks as bytes, for other processes."""

from __future__ import annotations

import io
import pickle
from typing import Any

from gpuarray.cluster.task import StaysHere
from gpuarray.kernels.errors import TaskError

try:  # what distributed and loky use: functions of a script or a notebook have no module to be imported from
    from cloudpickle import Pickler
except ImportError:
    from pickle import Pickler


class Returned:
    """Stands, in another process, for a sink that stays in the process that made the plan."""

    units = None
    in_memory = False
    nbytes = write_nbytes = 0

    def __init__(self, number: int) -> None:
        self.number = number

    def target(self, region: Any, backend: Any) -> None:
        return None

    def write(self, region: Any, array: Any) -> None:
        raise TaskError("internal error: a result that should have been sent back was to be written by a worker")


class _Pickler(Pickler):
    def __init__(self, file: io.BytesIO, sinks: list[Any]) -> None:
        super().__init__(file, protocol=5)
        self._sinks = sinks

    def persistent_id(self, obj: Any) -> int | None:
        if not isinstance(obj, StaysHere) or not obj.stays_here:
            return None
        for number, sink in enumerate(self._sinks):
            if sink is obj:
                return number
        self._sinks.append(obj)
        return len(self._sinks) - 1


class _Unpickler(pickle.Unpickler):
    def persistent_load(self, number: Any) -> Returned:
        return Returned(number)


def dumps(thing: Any, sinks: list[Any]) -> bytes:
    """A thing as bytes. Sinks that stay here are appended to `sinks`; `Returned` stands for them.

    Raises TaskError, naming the cause, where something cannot be pickled.
    """
    file = io.BytesIO()
    try:
        _Pickler(file, sinks).dump(thing)
    except (RecursionError, MemoryError):
        raise
    except Exception as error:
        raise TaskError(
            f"the computation cannot be sent to other processes: {error} ({type(error).__name__}). Functions and "
            "sources must be picklable: no open files, locks or connections in them"
        ) from error
    return file.getvalue()


def loads(data: Any) -> Any:
    """What `dumps` was given. Only for bytes that came from a process of the same cluster."""
    return _Unpickler(io.BytesIO(data)).load()
