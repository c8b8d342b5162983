"""``boundary=``: what lies past the ends of the axes, in all the ways it may be written."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, get_args

import numpy as np

from gpuarray.errors import StencilError
from gpuarray.kernels.stencils.program import MODES, Edge, Edges, Mode

DEFAULT: Mode = "fixed"

ELSEWHERE = {
    "wrap": "periodic",
    "grid-wrap": "periodic",
    "circular": "periodic",
    "cyclic": "periodic",
    "edge": "nearest",
    "replicate": "nearest",
    "clamp": "nearest",
    "extend": "nearest",
    "mirror": "reflect",
    "grid-mirror": "symmetric",
    "half-sample": "symmetric",
    "neumann": "symmetric",
    "dirichlet": "fixed",
    "grid-constant": "constant",
    "fill": "constant",
    "zeros": "constant",
    "zero": "constant",
    "valid": "fixed",
}
"""Names that other libraries have for the modes."""

WAYS = (
    f"one of {', '.join(map(repr, MODES))}; a number, which stands past the ends; a tuple with one of these for each "
    "axis, or a pair of them for its two ends; or a dict of fields"
)


def normalize(boundary: Any, names: Sequence[str], ndim: int, dtypes: Sequence[np.dtype[Any]]) -> Edges:
    """The edges of every field, axis and side.

    >>> import numpy as np
    >>> edges = normalize(("periodic", (0, "nearest")), ["u"], 2, [np.dtype("float32")])
    >>> edges[0][0][0].mode, edges[0][1]
    ('periodic', (Edge(mode='constant', value=np.float32(0.0)), Edge(mode='nearest', value=0)))

    None is "fixed". Raises StencilError for what is no boundary, a field or axis that there is not, and a number that
    a field's dtype cannot hold.
    """
    if isinstance(boundary, Mapping):
        for name in boundary:
            if name not in names:
                raise StencilError(
                    f"boundary= has a field {name!r}, and there {_are(names)}; name a parameter that is an array"
                )
        given = [boundary.get(name) for name in names]
    else:
        given = [boundary] * len(names)
    return tuple(_of_field(b, n, ndim, np.dtype(d)) for b, n, d in zip(given, names, dtypes, strict=True))


def _are(names: Sequence[str]) -> str:
    return f"is only {names[0]!r}" if len(names) == 1 else f"are only {', '.join(map(repr, names))}"


def _of_field(boundary: Any, name: str, ndim: int, dtype: np.dtype[Any]) -> tuple[tuple[Edge, Edge], ...]:
    if not isinstance(boundary, (tuple, list)):
        return (_of_axis(boundary, name, dtype),) * ndim
    if len(boundary) != ndim:
        axes = "1 axis" if ndim == 1 else f"{ndim} axes"
        pairs = f"; a pair for the two ends of an axis stands in a tuple of axes: ({tuple(boundary)!r},)"
        raise StencilError(
            f"boundary={boundary!r} has {len(boundary)} entries for {axes}: write one for each axis"
            f"{pairs if ndim == 1 and len(boundary) == 2 else ''}"
        )
    return tuple(_of_axis(entry, name, dtype) for entry in boundary)


def _of_axis(entry: Any, name: str, dtype: np.dtype[Any]) -> tuple[Edge, Edge]:
    if not isinstance(entry, (tuple, list)):
        edge = _edge(entry, name, dtype)
        return edge, edge
    if len(entry) != 2:
        raise StencilError(f"boundary= has {entry!r} for an axis: write a pair, for its low and its high end")
    low, high = (_edge(e, name, dtype) for e in entry)
    if (low.mode == "periodic") != (high.mode == "periodic"):
        raise StencilError(
            f'boundary= has {tuple(entry)!r} for an axis: one that is periodic is so at both ends; write "periodic" '
            "alone"
        )
    return low, high


def _edge(entry: Any, name: str, dtype: np.dtype[Any]) -> Edge:
    if entry is None:
        return Edge(DEFAULT)
    if isinstance(entry, Edge):
        return Edge(entry.mode, _value(entry.value, name, dtype)) if entry.mode == "constant" else Edge(entry.mode)
    if isinstance(entry, str):
        if entry in get_args(Mode):
            mode: Mode = entry  # type: ignore[assignment]
            return Edge(mode, dtype.type(0)) if mode == "constant" else Edge(mode)
        meant = ELSEWHERE.get(entry.lower().replace("_", "-"), entry.lower() if entry.lower() in MODES else None)
        raise StencilError(f"boundary={entry!r} is no mode; write {f'{meant!r}' if meant else WAYS}")
    if isinstance(entry, np.ndarray) and entry.ndim == 0:
        entry = entry[()]
    if isinstance(entry, (int, float, complex)) or (isinstance(entry, np.generic) and entry.dtype.kind in "biufc"):
        return Edge("constant", _value(entry, name, dtype))
    raise StencilError(f"boundary={entry!r} is no boundary; write {WAYS}")


def _value(number: Any, name: str, dtype: np.dtype[Any]) -> Any:
    """A constant in the field's dtype. Raises StencilError where that is another number."""
    kind = "i" if isinstance(number, int) else np.asarray(number).dtype.kind
    whole = kind in "biu" or (kind == "f" and math.isfinite(number) and float(number).is_integer())
    if dtype.kind in "biu":
        if dtype.kind == "b":
            low, high = 0, 1
        else:
            low, high = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
        fits = whole and low <= int(number) <= high
        made = dtype.type(int(number)) if fits else None
    else:
        fits, made = kind != "c" or dtype.kind == "c", dtype.type(0)
        try:
            with np.errstate(all="ignore"):
                made = np.asarray(complex(number) if kind == "c" else float(number)).astype(dtype)[()] if fits else made
            fits = fits and bool(np.isfinite(made) or not np.isfinite(complex(number)))
        except OverflowError:  # an integer beyond all floats
            fits = False
    if not fits:
        raise StencilError(
            f"boundary={number!r} does not fit the field {name} of dtype {dtype}; write a number that it can hold, or "
            f"pass {name}.astype(...) of another dtype"
        )
    return made
