"""Transforms along several axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gpuarray import config
from gpuarray.array import NDArray, asarray
from gpuarray.elementwise import cast, into
from gpuarray.fft.arguments import checked_axes, checked_length, checked_norm, real_array
from gpuarray.fft.passes import Step, result_dtype, room, run


def groups(axes: Sequence[int], lengths: Sequence[int], itemsize: int) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Axes that are transformed by one task, the last axes first; as many as stay well within a chunk."""
    made: list[tuple[tuple[int, ...], tuple[int, ...]]] = []
    most = min(config.get().chunk_bytes // 2, room() // 8)
    size = itemsize
    for axis, n in zip(reversed(axes), reversed(lengths), strict=True):
        size *= n
        if made and size <= most and axis not in made[-1][0]:
            first, second = made[-1]
            made[-1] = ((axis, *first), (n, *second))
        else:
            made.append(((axis,), (n,)))
            size = itemsize * n
    return made


def along_several(kind: str, a: NDArray, s: Any, axes: Any, norm: Any, out: Any) -> NDArray:
    """`kind` is what happens along the last of the axes; the others have a complex transform in the same direction."""
    chosen, wanted = checked_axes(a, s, axes, kind + "n")
    scale = checked_norm(norm)
    dtype = result_dtype(kind, a.dtype)
    if not chosen:
        if kind in ("rfft", "irfft"):
            raise IndexError(f"{kind}n takes at least one axis, got axes={axes} for an array of shape {a.shape}")
        return into(out, NDArray(cast(a.node, dtype)))
    lengths = [a.shape[i] if n is None else n for i, n in zip(chosen, wanted, strict=True)]
    if kind == "irfft" and wanted[-1] is None:
        lengths[-1] = 2 * (lengths[-1] - 1)
    lengths = [checked_length(n) for n in lengths]
    found = groups(chosen, lengths, max(8, dtype.itemsize))
    simple = {"rfft": "fft", "irfft": "ifft"}.get(kind, kind)
    steps = [Step(kind if k == 0 else simple, at, of, scale) for k, (at, of) in enumerate(found)]
    if kind == "irfft":  # the real transform comes last
        steps.reverse()
    return into(out, NDArray(run(a.node, steps)))


def fftn(a: Any, s: Any = None, axes: Any = None, norm: str | None = None, out: Any = None) -> NDArray:
    """Discrete Fourier transform along several axes, all by default.

    >>> import gpuarray as ga
    >>> ga.fft.fftn([[1.0, 0.0], [0.0, 0.0]]).compute()
    array([[1.+0.j, 1.+0.j],
           [1.+0.j, 1.+0.j]])

    Parameters
    ----------
    a : array, real or complex
    s : the length along each of the axes (-1: the array's); without `axes` it is for the last ones
    axes : the axes; one that is named twice is transformed twice
    norm, out : as in `fft`

    Axes that do not fit in memory together are transformed one after the other, with one pass over the array for each
    and its chunks cut anew in between. Raises as `fft`, and ValueError where `s` and `axes` differ in length.
    """
    return along_several("fft", asarray(a), s, axes, norm, out)


def ifftn(a: Any, s: Any = None, axes: Any = None, norm: str | None = None, out: Any = None) -> NDArray:
    """Inverse of `fftn`.

    >>> import gpuarray as ga
    >>> ga.fft.ifftn([[4, 0], [0, 0]]).compute()
    array([[1.+0.j, 1.+0.j],
           [1.+0.j, 1.+0.j]])

    Arguments as in `fftn`.
    """
    return along_several("ifft", asarray(a), s, axes, norm, out)


def rfftn(a: Any, s: Any = None, axes: Any = None, norm: str | None = None, out: Any = None) -> NDArray:
    """Transform of real numbers along several axes; of the last of them half is left out, as in `rfft`.

    >>> import gpuarray as ga
    >>> ga.fft.rfftn(ga.ones((4, 6))).shape
    (4, 4)

    Arguments as in `fftn`. Raises TypeError for complex numbers.
    """
    return along_several("rfft", real_array(a, "rfftn"), s, axes, norm, out)


def irfftn(a: Any, s: Any = None, axes: Any = None, norm: str | None = None, out: Any = None) -> NDArray:
    """Inverse of `rfftn`: real numbers.

    >>> import gpuarray as ga
    >>> ga.fft.irfftn(ga.fft.rfftn(ga.ones((4, 6)))).shape
    (4, 6)

    Arguments as in `fftn`; `s` holds lengths of the result.
    """
    return along_several("irfft", asarray(a), s, axes, norm, out)


def fft2(a: Any, s: Any = None, axes: Any = (-2, -1), norm: str | None = None, out: Any = None) -> NDArray:
    """Discrete Fourier transform along two axes, the last two by default; see `fftn`.

    >>> import gpuarray as ga
    >>> ga.fft.fft2(ga.ones((2, 2))).compute()
    array([[4.+0.j, 0.+0.j],
           [0.+0.j, 0.+0.j]])
    """
    return along_several("fft", asarray(a), s, axes, norm, out)


def ifft2(a: Any, s: Any = None, axes: Any = (-2, -1), norm: str | None = None, out: Any = None) -> NDArray:
    """Inverse of `fft2`; see `fftn`.

    >>> import gpuarray as ga
    >>> ga.fft.ifft2(ga.ones((2, 2))).compute()
    array([[1.+0.j, 0.+0.j],
           [0.+0.j, 0.+0.j]])
    """
    return along_several("ifft", asarray(a), s, axes, norm, out)


def rfft2(a: Any, s: Any = None, axes: Any = (-2, -1), norm: str | None = None, out: Any = None) -> NDArray:
    """Transform of real numbers along two axes; see `rfftn`.

    >>> import gpuarray as ga
    >>> ga.fft.rfft2(ga.ones((2, 2))).compute()
    array([[4.+0.j, 0.+0.j],
           [0.+0.j, 0.+0.j]])
    """
    return along_several("rfft", real_array(a, "rfft2"), s, axes, norm, out)


def irfft2(a: Any, s: Any = None, axes: Any = (-2, -1), norm: str | None = None, out: Any = None) -> NDArray:
    """Inverse of `rfft2`: real numbers; see `irfftn`.

    >>> import gpuarray as ga
    >>> ga.fft.irfft2([[4, 0], [0, 0]]).compute()
    array([[1., 1.],
           [1., 1.]])
    """
    return along_several("irfft", asarray(a), s, axes, norm, out)
