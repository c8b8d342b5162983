"""Nodes with nothing below them: data that exists, constants, coordinates, and results of earlier stages."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from gpuarray.graph.grid import Chunks, Region, Shape, one_chunk
from gpuarray.graph.node import Node
from gpuarray.kernels.program import Affine


class Reader(Protocol):
    """Where a `Source` gets its data. Compared by identity; picklable; `read` is called from several threads.

    A reader with a true attribute ``in_pieces`` has a method ``read_into(region, out)`` as well, which fills an array
    in C order; a region is read at about the same cost by several calls. So it reaches a device without a copy.
    """

    name: str
    in_memory: bool
    """`read` returns views: reading costs nothing and holds nothing."""

    def read(self, region: Region) -> np.ndarray[Any, Any]: ...

    def read_nbytes(self, region: Region) -> int:
        """Bytes that `read` fills for a region, transient buffers included."""

    def disk_nbytes(self, region: Region) -> int:
        """Bytes that `read` takes from storage (before decompression: what is known without reading)."""


class Source(Node):
    """Data that exists already: a NumPy array, a zarr array, a file."""

    __slots__ = ("reader",)

    def __init__(self, reader: Reader, shape: Shape, dtype: np.dtype[Any], chunks: Chunks) -> None:
        self.reader = reader
        self.shape, self.dtype, self.chunks, self.inputs = shape, dtype, chunks, ()

    @property
    def label(self) -> str:
        return self.reader.name


class Const(Node):
    """One typed value: a scalar argument of a kernel."""

    __slots__ = ("data",)

    def __init__(self, data: bytes, dtype: np.dtype[Any]) -> None:
        # The bytes, not the value: 0.0 and -0.0 are two constants, and a NaN equals itself.
        self.data = data
        self.shape, self.dtype, self.chunks, self.inputs = (), dtype, (), ()

    @classmethod
    def of(cls, value: Any, dtype: np.dtype[Any]) -> Const:
        made: Const = cls(np.asarray(value, dtype).tobytes(), dtype)
        return made

    @property
    def value(self) -> Any:
        return np.frombuffer(self.data, self.dtype)[0]

    def evaluate(self, backend: Any, out: Region, *inputs: Any) -> Any:
        array = backend.empty((), self.dtype)
        array[...] = self.value
        return array


class Index(Node):
    """The integers ``offset + sum(strides[a] * i[a])``: coordinates, counted inside the kernel and never stored."""

    __slots__ = ("offset", "strides")

    def __init__(self, shape: Shape, offset: int, strides: tuple[int, ...], chunks: Chunks | None) -> None:
        self.offset, self.strides = offset, strides
        self.shape, self.dtype, self.inputs = shape, np.dtype(np.int64), ()
        self.chunks = one_chunk(shape) if chunks is None else chunks

    def affine(self, out: Region) -> Affine:
        """Its values over a region, as a kernel takes them."""
        offset = self.offset + sum(s * r.start for s, r in zip(self.strides, out, strict=True))
        return Affine(offset, tuple(s * r.step for s, r in zip(self.strides, out, strict=True)))


class Stored(Node):
    """The result of an earlier stage, held in chunks by the cluster; `parts` as in `Node.parts`."""

    __slots__ = ("_parts", "holder", "output", "stage")

    def __init__(
        self,
        stage: int,
        output: int,
        shape: Shape,
        dtype: np.dtype[Any],
        parts: tuple[np.dtype[Any], ...] | None,
        chunks: Chunks,
        holder: Any = None,
    ) -> None:
        self.stage, self.output, self._parts, self.holder = stage, output, parts, holder
        self.shape, self.dtype, self.chunks, self.inputs = shape, dtype, chunks, ()

    @property
    def parts(self) -> tuple[np.dtype[Any], ...] | None:
        return self._parts

    @property
    def label(self) -> str:
        return f"stage {self.stage}"
