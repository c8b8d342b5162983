"""The array users hold: a handle on one node of the graph.

What plans and runs is imported when something is first computed: many processes only build.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator
from types import GenericAlias
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from gpuarray import config
from gpuarray.checks import check_device, check_dtype, check_order, refuse_masked
from gpuarray.chunking import Chunks as ChunksLike
from gpuarray.chunking import contiguous_chunks, normalize_chunks
from gpuarray.errors import ImplicitComputeError
from gpuarray.graph.grid import Chunks
from gpuarray.graph.leaves import Const, Source
from gpuarray.graph.move import Rechunk
from gpuarray.graph.node import Flat, Node, flatten, mark_origin, unflatten
from gpuarray.installed import Installed
from gpuarray.kernels.devices import array_on_gpu
from gpuarray.readers import ArrayReader, DeviceReader

if TYPE_CHECKING:
    from gpuarray.views import View


class NDArray(Installed):
    """A lazy, blocked array with NumPy's interface.

    >>> import gpuarray as ga
    >>> x = ga.ones((2000, 50_000), chunks=(500, 50_000))
    >>> (x + 1).sum(axis=1)
    gpuarray.NDArray(shape=(2000,), dtype=float64, chunks=((500, 500, 500, 500),))
    >>> (x[:2, :5] + 1).sum(axis=1).compute()
    array([10., 10.])

    Operations build a graph and compute nothing; `compute` runs it and returns a NumPy array. Small arrays print their
    elements. Make one with `asarray`, `from_zarr`, `from_npy`, `random.default_rng` or the creation functions.
    """

    __slots__ = ("__weakref__", "_node", "_value", "view_of")
    __array_priority__ = 1000
    last_write: ClassVar[object] = object()
    """Another one after every write to any array: views that have seen it are up to date."""
    __class_getitem__: Any = classmethod(GenericAlias)
    """``NDArray[Any, dtype]`` in annotations, as of NumPy's class."""

    def __init__(self, node: Node) -> None:
        mark_origin(node)
        self._node = node
        self._value: np.ndarray[Any, Any] | None = None
        self.view_of: View | None = None

    @property
    def node(self) -> Node:
        """The step of the graph that this array stands for."""
        return self._node if self.view_of is None else self._current()

    def _current(self) -> Node:
        """The node, after what was written to the array that this is a view of."""
        if self.view_of is not None:
            self.view_of.refresh(self)
        return self._node

    def stand_for(self, node: Node) -> None:
        """Stand for new values, as everything does that is written to; so does the array that this is a view of."""
        if self.view_of is not None:
            self.view_of.refresh(self)
        self.rebind(node)
        if self.view_of is not None:
            self.view_of.written(self)
        NDArray.last_write = object()

    def rebind(self, node: Node) -> None:
        """Stand for a node; not what this is a view of."""
        self._node, self._value = node, None

    # What it is.

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes."""
        return self._node.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the elements."""
        return self._node.dtype

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self._node.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self._node.shape)

    @property
    def itemsize(self) -> int:
        """Bytes of one element."""
        return self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        """Bytes that all elements would take."""
        return self.size * self.dtype.itemsize

    @property
    def chunks(self) -> Chunks:
        """Lengths of the chunks along each axis: a sequence per axis that compares with a tuple."""
        return self._current().chunks

    @property
    def chunksize(self) -> tuple[int, ...]:
        """The largest length of a chunk along each axis."""
        return tuple(c.largest for c in self.chunks)

    @property
    def numblocks(self) -> tuple[int, ...]:
        """Number of chunks along each axis."""
        return tuple(len(c) for c in self.chunks)

    @property
    def npartitions(self) -> int:
        """Number of chunks."""
        return math.prod(self.numblocks)

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of an array without dimensions")
        return self.shape[0]

    # Running.

    def compute(
        self, *, device: bool = False, executor: Any = None, scheduler: str | None = None
    ) -> np.ndarray[Any, Any]:
        """The result as a NumPy array.

        >>> import gpuarray as ga
        >>> (ga.arange(5) ** 2).compute()
        array([ 0,  1,  4,  9, 16])

        Parameters
        ----------
        device : leave the result in the memory where it is computed: an array of CuPy if that is a GPU's
        executor, scheduler : settings (see `gpuarray.config`) for this run alone: any `concurrent.futures.Executor`;
            ``"threads"``, or ``"single-threaded"`` for debugging

        Raises MemoryLimitError, before anything runs, where the result or a task does not fit the memory limit.
        """
        if not isinstance(device, bool | np.bool_):
            raise TypeError(
                f"device={device!r} says whether the result stays where it is computed, so it is True or False; "
                "gpuarray.config.set(device=...) says where that is"
            )
        from gpuarray import run

        with run.where(executor, scheduler):
            if device:
                made: np.ndarray[Any, Any] = run.compute_on_device(self.node)
                return made
            node = self.node
            if self._value is not None:
                return self._value.copy()
            return run.compute_nodes([node])[0]

    def to_numpy(self) -> np.ndarray[Any, Any]:
        """`compute`, by the name that plotting libraries look for."""
        return self.compute()

    def persist(self) -> NDArray:
        """Compute now and keep the chunks in memory (spilled to disk if they must be); returns an array of them.

        >>> import gpuarray as ga
        >>> y = (ga.arange(6, chunks=2) * 2).persist()
        >>> y[2:4].compute()
        array([4, 6])
        """
        from gpuarray import run

        return NDArray(run.persist_nodes([self.node])[0])

    def rechunk(self, chunks: ChunksLike = "auto") -> NDArray:
        """The same array cut into other chunks: an int, a tuple with an entry per axis, a dict of axes, or "auto".

        >>> import gpuarray as ga
        >>> ga.ones((6, 4), chunks=(3, 4)).rechunk((2, 2)).chunks
        ((2, 2, 2), (2, 2))

        In a dict or tuple, None keeps an axis as it is and -1 makes it one chunk. Raises ChunkError for chunks that
        do not fit the shape.
        """
        cut = normalize_chunks(chunks, self.shape, self.dtype, previous=self.chunks)
        return self if cut == self.chunks else NDArray(Rechunk(cut, self.node))

    # Conversions.

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        limit = config.get().implicit_compute_limit
        if self.nbytes > limit:
            from gpuarray.cluster.sizes import format_bytes

            raise ImplicitComputeError(
                f"converting an array of shape {self.shape} and dtype {self.dtype} to NumPy would compute "
                f"{format_bytes(self.nbytes)}, more than implicit_compute_limit={format_bytes(limit)}. "
                "Call .compute() if you want it in memory, .to_zarr() to write it, or raise the limit with "
                "gpuarray.config.set(implicit_compute_limit=...)."
            )
        if copy is False:
            raise ValueError("a lazy array cannot be converted to NumPy without computing a copy; use copy=None")
        result = self.compute()
        return result if dtype is None else result.astype(dtype, copy=False)

    def item(self, *args: Any) -> Any:
        """One element as a Python scalar: the only one, or that at an index, flat or one for each axis.

        >>> import gpuarray as ga
        >>> ga.asarray([[1, 2], [3, 4]]).item(2)
        3

        Raises ValueError for an array with several elements and no index, IndexError out of range.
        """
        if not args:
            if self.size != 1:
                raise ValueError(
                    f"only an array with one element is a scalar, this one has shape {self.shape}; say which with "
                    "item(index)"
                )
            return self._scalar("item").item()
        index = args[0] if len(args) == 1 and isinstance(args[0], tuple) else args
        return (self.ravel() if len(index) == 1 else self)[index].item()

    def tolist(self) -> Any:
        """The elements as nested lists of Python scalars."""
        return np.asarray(self).tolist()

    def _scalar(self, what: str) -> np.ndarray[Any, Any]:
        """The one element; computed once and remembered, because conditions and loops ask again."""
        if self.size != 1:
            if what == "bool":
                raise ValueError(
                    f"the truth value of an array of shape {self.shape} is ambiguous; use a.any() or a.all()"
                )
            raise TypeError(
                f"only arrays with one element can be converted by {what}(), this one has shape {self.shape}"
            )
        node = self._current()
        if self._value is None:
            from gpuarray import run

            found = run.element(node)
            self._value = run.compute_nodes([node])[0] if found is None else found
        return self._value.reshape(())

    def __bool__(self) -> bool:
        return bool(self._scalar("bool"))

    def __int__(self) -> int:
        return int(self._scalar("int"))

    def __float__(self) -> float:
        return float(self._scalar("float"))

    def __complex__(self) -> complex:
        return complex(self._scalar("complex"))

    def __index__(self) -> int:
        if self.dtype.kind not in "iu" or self.ndim != 0:
            raise TypeError(
                f"only integer arrays without dimensions are indices; this one has shape {self.shape} "
                f"and dtype {self.dtype}"
            )
        return operator.index(self._scalar("index")[()])

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickled, (flatten(self.node),)

    __hash__ = None  # type: ignore[assignment]  # == gives an array

    # Indexing.

    def __getitem__(self, key: Any) -> NDArray:
        from gpuarray.indexing import getitem

        return getitem(self, key)

    def __setitem__(self, key: Any, value: Any) -> None:
        """Stand for a copy with the selection replaced, which arrays that are views of this one see."""
        from gpuarray.indexing import setitem

        made = setitem(self, key, value)
        if made is not self.node:
            self.stand_for(made)

    def __iter__(self) -> Iterator[NDArray]:
        if not self.shape:
            raise TypeError("iteration over an array without dimensions")
        return (self[i] for i in range(self.shape[0]))


def _unpickled(flat: Flat) -> NDArray:
    return NDArray(unflatten(flat))


def as_node(obj: Any, like: np.dtype[Any] | None = None) -> Node:
    """The node of anything NumPy would take: an `NDArray`, an array, a scalar, a list.

    `like`: the dtype for a Python scalar, which is weak.
    """
    if isinstance(obj, NDArray):
        return obj.node
    if isinstance(obj, (bool, int, float, complex)) and not isinstance(obj, np.generic):
        dtype = np.asarray(obj).dtype if like is None else like
        return Const.of(dtype.type(obj) if dtype.kind in "iuf" and not isinstance(obj, complex) else obj, dtype)
    refuse_masked(obj)
    array = np.asarray(obj)
    if array.ndim == 0:
        check_dtype(array.dtype)
        return Const.of(array, array.dtype)
    return asarray(array).node


def asarray(
    obj: Any,
    dtype: Any = None,
    chunks: ChunksLike = "auto",
    *,
    order: Any = None,
    device: Any = None,
    copy: bool | None = None,
) -> NDArray:
    """An `NDArray` of anything NumPy takes; a NumPy array is not copied, nor is one of CuPy or another on a GPU.

    >>> import gpuarray as ga
    >>> ga.asarray([[1, 2], [3, 4]], chunks=1).chunks
    ((1, 1), (1, 1))

    Parameters
    ----------
    obj : array, nested lists, scalar, or `NDArray`
    dtype : dtype of the result; None takes it from `obj`
    chunks : as in `NDArray.rechunk`
    order : "C", "F", "A" or "K", which changes nothing: `compute` gives arrays in C order
    device : None or "cpu", for the array API standard: `gpuarray.config` says where a run computes
    copy : True copies the data now, so that later writes to `obj` are not seen; None copies where it must, False never

    Raises UnsupportedDTypeError for object arrays and records, TypeError for masked arrays, ChunkError for chunks that
    do not fit, ValueError for a device, an order, or where ``copy=False`` and a copy is needed.
    """
    check_device(device)
    check_order(order)
    if isinstance(obj, NDArray):
        return _again(obj, dtype, chunks, copy)
    refuse_masked(obj)
    there = array_on_gpu(obj)
    if there is not None:
        return _of_device(there, dtype, chunks, copy)
    array = np.array(obj, dtype=dtype, copy=copy)
    check_dtype(array.dtype)
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    automatic = isinstance(chunks, str) and chunks == "auto"
    cut = contiguous_chunks(array) if automatic else normalize_chunks(chunks, array.shape, array.dtype)
    return NDArray(Source(ArrayReader(array), array.shape, array.dtype, cut))


def _of_device(array: Any, dtype: Any, chunks: ChunksLike, copy: bool | None) -> NDArray:
    """`asarray` of an array of CuPy, whose memory is shared."""
    check_dtype(array.dtype)
    wanted = array.dtype if dtype is None else np.dtype(dtype)
    if copy is False and wanted != array.dtype:
        raise ValueError(f"dtype={wanted} makes a copy of an array of {array.dtype}; use copy=None")
    cut = normalize_chunks(chunks, array.shape, array.dtype)
    made = NDArray(Source(DeviceReader(array.copy() if copy else array), array.shape, array.dtype, cut))
    return made if wanted == array.dtype else made.astype(wanted)


def _again(x: NDArray, dtype: Any, chunks: ChunksLike, copy: bool | None) -> NDArray:
    """`asarray` of what is one already; a copy is another handle, because only handles can be written to."""
    made = x if isinstance(chunks, str) and chunks == "auto" else x.rechunk(chunks)
    if dtype is not None and np.dtype(dtype) != made.dtype:
        if copy is False:
            raise ValueError(f"dtype={np.dtype(dtype)} makes a copy of an array of {x.dtype}; use copy=None")
        made = made.astype(dtype)
    return NDArray(made.node) if copy and made is x else made


def install(name: str, method: Callable[..., Any] | property) -> None:
    """Give `NDArray` a method; the modules of functions call this so that each is written once."""
    setattr(NDArray, name, method)
