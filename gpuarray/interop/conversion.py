"""NumPy's other ways to make an array of something, and questions about types and memory."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import numpy as np

from gpuarray.array import NDArray, asarray
from gpuarray.chunking import Chunks
from gpuarray.elementwise import into
from gpuarray.numeric import array_equal
from gpuarray.reductions import all as every


def asanyarray(
    a: Any, dtype: Any = None, order: Any = None, *, device: Any = None, copy: bool | None = None
) -> NDArray:
    """`asarray`: lazy arrays have no subclasses to let through.

    >>> import gpuarray as ga
    >>> ga.asanyarray([1, 2])
    array([1, 2])

    Arguments as in `numpy.asanyarray`.
    """
    return asarray(a, dtype, order=order, device=device, copy=copy)


def ascontiguousarray(a: Any, dtype: Any = None) -> NDArray:
    """`asarray` with at least one dimension: `compute` gives arrays in one piece anyway.

    >>> import gpuarray as ga
    >>> ga.ascontiguousarray(3)
    array([3])

    Arguments as in `numpy.ascontiguousarray`.
    """
    made = asarray(a, dtype)
    return made if made.ndim else made.reshape(1)


def asfortranarray(a: Any, dtype: Any = None) -> NDArray:
    """`asarray` with at least one dimension: how a lazy array lies in memory is not said.

    >>> import gpuarray as ga
    >>> ga.asfortranarray([[1, 2]])
    array([[1, 2]])

    Arguments as in `numpy.asfortranarray`.
    """
    return ascontiguousarray(a, dtype)


def asarray_chkfinite(a: Any, dtype: Any = None, order: Any = None) -> NDArray:
    """`asarray` of what holds no NaN and no infinity, which a run finds out now.

    >>> import gpuarray as ga
    >>> ga.asarray_chkfinite([1.0, 2.0])
    array([1., 2.])

    Arguments as in `numpy.asarray_chkfinite`. Raises ValueError for NaN and infinities.
    """
    from gpuarray.elementwise import apply

    made = asarray(a, dtype, order=order)
    if made.dtype.kind in "fc" and not every(apply("isfinite", made)):
        raise ValueError("array must not contain infs or NaNs; gpuarray.isfinite(x) says where there are any")
    return made


def require(a: Any, dtype: Any = None, requirements: Any = None) -> NDArray:
    """`asarray`; what may be required of memory is true of what `compute` gives.

    >>> import gpuarray as ga
    >>> ga.require([1, 2], "f4", ["C", "W"])
    array([1., 2.], dtype=float32)

    Arguments as in `numpy.require`. Raises ValueError for "F": results are in C order.
    """
    wanted = {requirements} if isinstance(requirements, str) else set(requirements or ())
    wrong = {str(r).upper() for r in wanted} - {"C", "C_CONTIGUOUS", "CONTIGUOUS", "A", "ALIGNED", "W", "WRITEABLE"}
    if wrong := wrong - {"O", "OWNDATA", "E", "ENSUREARRAY"}:
        raise ValueError(f"requirements={sorted(wrong)}: results are aligned, writeable and in C order, nothing else")
    return asarray(a, dtype)


def fromiter(iter: Iterable[Any], dtype: Any, count: int = -1, *, chunks: Chunks = "auto") -> NDArray:
    """An array of what an iterable gives, read to its end now.

    >>> import gpuarray as ga
    >>> ga.fromiter((n * n for n in range(4)), int)
    array([0, 1, 4, 9])

    Arguments as in `numpy.fromiter`, and `chunks`. Raises ValueError for fewer elements than `count`.
    """
    return asarray(np.fromiter(iter, dtype, count), chunks=chunks)


def frombuffer(
    buffer: Any, dtype: Any = float, count: int = -1, offset: int = 0, *, chunks: Chunks = "auto"
) -> NDArray:
    """An array of bytes in memory, which are not copied.

    >>> import gpuarray as ga
    >>> ga.frombuffer(bytes([1, 2, 3]), dtype="u1")
    array([1, 2, 3], dtype=uint8)

    Arguments as in `numpy.frombuffer`, and `chunks`. Raises ValueError for bytes that are no whole number of elements.
    """
    return asarray(np.frombuffer(buffer, dtype, count, offset), chunks=chunks)


def fromstring(string: str, dtype: Any = float, count: int = -1, *, sep: str, chunks: Chunks = "auto") -> NDArray:
    """An array of the numbers in a text.

    >>> import gpuarray as ga
    >>> ga.fromstring("1 2 3", dtype=int, sep=" ")
    array([1, 2, 3])

    Arguments as in `numpy.fromstring`, and `chunks`. Raises ValueError for text that is no number.
    """
    return asarray(np.fromstring(string, dtype, count, sep=sep), chunks=chunks)


def fromfile(
    file: Any, dtype: Any = float, count: int = -1, sep: str = "", offset: int = 0, *, chunks: Chunks = "auto"
) -> NDArray:
    """An array of the bytes of a file, or of the numbers in a text file, read now.

    >>> import os, tempfile
    >>> import gpuarray as ga
    >>> name = os.path.join(tempfile.mkdtemp(), "x.bin")
    >>> ga.arange(3).compute().tofile(name)
    >>> ga.fromfile(name, dtype=int)
    array([0, 1, 2])

    Arguments as in `numpy.fromfile`, and `chunks`. A file larger than memory: ``asarray(numpy.memmap(name, dtype))``.
    """
    return asarray(np.fromfile(file, dtype, count, sep, offset), chunks=chunks)


def loadtxt(fname: Any, *args: Any, chunks: Chunks = "auto", **kwargs: Any) -> NDArray:
    """An array of a text file, read now.

    >>> import gpuarray as ga
    >>> ga.loadtxt(["1 2", "3 4"])
    array([[1., 2.],
           [3., 4.]])

    Arguments as in `numpy.loadtxt`, and `chunks`. A file larger than memory: convert it once to zarr or ``.npy``.
    """
    return asarray(np.loadtxt(fname, *args, **kwargs), chunks=chunks)


def genfromtxt(fname: Any, *args: Any, chunks: Chunks = "auto", **kwargs: Any) -> NDArray:
    """An array of a text file in which values may be missing, read now.

    >>> import gpuarray as ga
    >>> ga.genfromtxt(["1,2", "3,"], delimiter=",")
    array([[ 1.,  2.],
           [ 3., nan]])

    Arguments as in `numpy.genfromtxt`, and `chunks`. Raises TypeError for columns of different types.
    """
    return asarray(np.genfromtxt(fname, *args, **kwargs), chunks=chunks)


def load(file: Any, *, chunks: Chunks = "auto") -> NDArray:
    """A ``.npy`` file as an array that is read as it is needed.

    >>> import os, tempfile
    >>> import gpuarray as ga
    >>> name = os.path.join(tempfile.mkdtemp(), "x.npy")
    >>> ga.save(name, ga.arange(3))
    >>> ga.load(name).sum().compute()
    array(3)

    The same as `from_npy`, with its errors; ``.npz`` files are refused.
    """
    from gpuarray.storage import from_npy

    if str(file).endswith(".npz"):
        raise ValueError(f"{file!r} holds several arrays: numpy.load reads it, gpuarray.asarray takes each of them")
    made: NDArray = from_npy(file, chunks)
    return made


def save(file: str | os.PathLike[str], arr: Any) -> None:
    """Write an array to a ``.npy`` file, chunk by chunk.

    >>> import os, tempfile
    >>> import gpuarray as ga
    >>> ga.save(os.path.join(tempfile.mkdtemp(), "x.npy"), [1, 2])

    The ending ``.npy`` is added where there is none, and a file that is there is replaced, as `numpy.save` does.
    """
    name = os.fspath(file)
    asarray(arr).to_npy(name if name.endswith(".npy") else name + ".npy", overwrite=True)


def copyto(dst: NDArray, src: Any, casting: Any = "same_kind", where: Any = True) -> None:
    """Make an array stand for the values of another, everywhere or where a mask is true.

    >>> import gpuarray as ga
    >>> x = ga.zeros(3)
    >>> ga.copyto(x, [1, 2, 3], where=[True, False, True])
    >>> x
    array([1., 0., 3.])

    Arguments as in `numpy.copyto`. Raises TypeError for a cast that `casting` does not allow or where `dst` is no
    `NDArray`, ValueError for shapes that do not broadcast.
    """
    if not isinstance(dst, NDArray):
        raise TypeError(
            f"dst is a {type(dst).__name__}, not a gpuarray.NDArray; gpuarray.store writes into NumPy arrays"
        )
    into(dst, asarray(src), casting, where)


def array_equiv(a1: Any, a2: Any) -> NDArray:
    """Whether two arrays have the same elements once they are broadcast: an array that ``if`` computes.

    >>> import gpuarray as ga
    >>> bool(ga.array_equiv([1, 1], [[1], [1]]))
    True

    Arguments as in `numpy.array_equiv`.
    """
    x, y = asarray(a1), asarray(a2)
    try:
        np.broadcast_shapes(x.shape, y.shape)
    except ValueError:
        return asarray(False)
    return every(x == y) if x.shape != y.shape else array_equal(x, y)


def may_share_memory(a: Any, b: Any, max_work: Any = None) -> bool:
    """Whether writing to one could change the other: only where they are the same array.

    >>> import gpuarray as ga
    >>> x = ga.zeros(3)
    >>> ga.may_share_memory(x, x[1:]), ga.may_share_memory(x, x)
    (False, True)
    """
    return a is b


shares_memory = may_share_memory


def common_type(*arrays: Any) -> type[Any]:
    """The floating-point or complex type that can hold all arrays.

    >>> import gpuarray as ga
    >>> ga.common_type(ga.arange(2), ga.ones(2, dtype="f4"))
    <class 'numpy.float64'>

    Raises TypeError for arrays that are not numeric.
    """
    return np.common_type(*(np.empty(0, asarray(a).dtype) for a in arrays))


def min_scalar_type(a: Any, /) -> np.dtype[Any]:
    """The smallest dtype that holds a scalar; of an array its dtype.

    >>> import gpuarray as ga
    >>> ga.min_scalar_type(300), ga.min_scalar_type(ga.ones(2))
    (dtype('uint16'), dtype('float64'))
    """
    if isinstance(a, NDArray):
        return a.dtype if a.ndim else np.min_scalar_type(a.compute())
    return np.min_scalar_type(a)


def isfortran(a: Any) -> bool:
    """Whether an array lies in Fortran order: a lazy array never does.

    >>> import gpuarray as ga
    >>> ga.isfortran(ga.ones((2, 2)))
    False
    """
    return False if isinstance(a, NDArray) else np.isfortran(a)


def isscalar(element: Any) -> bool:
    """Whether something is a scalar; an array without dimensions is none.

    >>> import gpuarray as ga
    >>> ga.isscalar(3), ga.isscalar(ga.asarray(3))
    (True, False)
    """
    return np.isscalar(element)
