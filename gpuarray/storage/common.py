"""What all kinds of storage share: how runs are written, what may not be overwritten, how errors name a place."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from gpuarray.checks import check_dtype
from gpuarray.cluster.task import StaysHere
from gpuarray.errors import StorageError, UnsupportedDTypeError
from gpuarray.graph.grid import Chunks, Region
from gpuarray.graph.leaves import Source
from gpuarray.graph.node import Node, toposort

PathLike = str | os.PathLike[str]


class Sink(Protocol):
    """Where a run writes a result (see `gpuarray.sinks.ArraySink`), with the steps around the run."""

    units: Chunks | None
    in_memory: bool
    write_nbytes: int

    @property
    def nbytes(self) -> int: ...

    def target(self, region: Region, backend: Any) -> Any: ...

    def write(self, region: Region, array: np.ndarray[Any, Any]) -> None: ...

    def begin(self) -> None:
        """Make the place; called once, when the plan stands."""

    def commit(self) -> None:
        """Everything is written: make it look so."""

    def abort(self) -> None:
        """The run failed: leave nothing that looks whole."""


class StorageSink(StaysHere):
    """A sink outside memory; the base of the others."""

    units: Chunks | None = None
    in_memory = False
    nbytes = 0
    write_nbytes = 0

    def target(self, region: Region, backend: Any) -> Any:
        return None

    def begin(self) -> None:
        """Make the place; called once, when the plan stands."""

    def commit(self) -> None:
        """Everything is written: make it look so."""

    def abort(self) -> None:
        """The run failed: leave nothing that looks whole."""


def write_all(nodes: Sequence[Node], sinks: Sequence[Any]) -> None:
    """Compute nodes into sinks, in one run. Nothing is touched before the plan is known to fit."""
    from gpuarray import run

    plan = run.make_plan(nodes, sinks)
    pending = list(sinks)
    try:
        for sink in sinks:
            sink.begin()
        run.execute(plan)
        while pending:
            pending[0].commit()
            del pending[0]
    except BaseException:
        for sink in pending:
            sink.abort()
        raise


class Pending:
    """A write that was asked for with ``compute=False``: `compute` performs it."""

    def __init__(self, node: Node, sink: Any, result: Any) -> None:
        self._node, self._sink, self._result = node, sink, result

    def compute(self) -> Any:
        """Write, and return the lazy array that reads what was written."""
        write_all([self._node], [self._sink])
        return self._result()

    def __repr__(self) -> str:
        return f"<write to {self._sink.name}, pending; .compute() performs it>"


def readers_of(node: Node) -> list[Any]:
    """Where a computation reads from."""
    return [n.reader for n in toposort(node) if isinstance(n, Source)]


def refuse_own_source(node: Node, place: Place, what: str) -> None:
    """Refuse to write over what the computation reads, which would change it under the tasks that come later."""
    for reader in readers_of(node):
        at = getattr(reader, "place", None)
        if at is not None and place.overlaps(at):
            raise StorageError(
                f"{what} is also read by the computation that is to be written there. Write to another place and "
                "rename it afterwards, or compute() first if it fits in memory."
            )


class Place:
    """Where data is: a file, or a path inside a store. Two are compared by what they share."""

    def __init__(self, root: Any, path: str = "") -> None:
        self.root, self.path = root, path.strip("/")

    def overlaps(self, other: Place) -> bool:
        if isinstance(self.root, str) and isinstance(other.root, str):
            mine, theirs = os.path.join(self.root, self.path, ""), os.path.join(other.root, other.path, "")
        elif self.root is other.root or (type(self.root) is type(other.root) and bool(self.root == other.root)):
            mine, theirs = self.path + "/" * bool(self.path), other.path + "/" * bool(other.path)
        else:
            return False
        return mine.startswith(theirs) or theirs.startswith(mine)


def public_name(place: object) -> str:
    """A path or URL for messages: without the user, password and query of a URL.

    >>> public_name("s3://key:secret@host/data.zarr?token=1")
    's3://host/data.zarr'
    """
    return re.sub(r"([a-zA-Z][a-zA-Z0-9+.-]*://)(?:[^/\s]*@)?([^?#\s]*)(?:[?#]\S*)?", r"\1\2", str(place))


def as_path(path: object, function: str) -> Path:
    """A path argument, or a TypeError that says what it should be."""
    if not isinstance(path, (str, os.PathLike)) or not isinstance(os.fspath(path), str):
        raise TypeError(f"{function} takes a path, not {type(path).__name__}")
    if "\0" in os.fspath(path):
        raise StorageError(f"the path {os.fspath(path)!r} contains a null character")
    return Path(os.fspath(path)).expanduser()


def check_stored_dtype(dtype: np.dtype[Any], place: str) -> None:
    """Refuse dtypes that no chunk can hold, naming where they were found."""
    try:
        check_dtype(dtype)
    except UnsupportedDTypeError as error:
        raise UnsupportedDTypeError(f"{place}: {error}") from None
    if dtype.itemsize == 0:
        raise UnsupportedDTypeError(f"{place}: elements of dtype {dtype} have no bytes")


def check_shape(shape: Sequence[Any], dtype: np.dtype[Any], place: str) -> tuple[int, ...]:
    """A stored shape, or a StorageError if no array has it."""
    size = dtype.itemsize
    for n in shape:
        if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 0:
            raise StorageError(f"{place}: the shape {tuple(shape)} has a length that is no count of elements")
        size *= max(1, int(n))
    if size > np.iinfo(np.int64).max:
        raise StorageError(f"{place}: the shape {tuple(shape)} of {dtype} is more than any machine can address")
    return tuple(int(n) for n in shape)
