"""The table of reductions: one row each, found by NumPy's name. To add one, write a row at the end.

``mean``, ``std`` and the ``nan`` forms are composed of these.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from gpuarray.kernels.errors import UnsupportedDTypeError
from gpuarray.kernels.reduction import Reduction, State, StateCode, merge_tree
from gpuarray.kernels.row import BOOL, FLOAT64, INT64, DType, kinds, real_type

__all__ = ["REDUCTIONS", "Reduction", "State", "StateCode", "merge_tree"]

# Dtypes.


def _accumulator(dtype: DType) -> DType:
    """Single and half precision are summed in double precision, and rounded once."""
    if dtype.kind == "f":
        return FLOAT64
    return np.dtype(np.complex128) if dtype.kind == "c" else dtype


def _sum_operand(dtype: DType, requested: DType | None) -> DType:
    if requested is not None:
        return requested
    if dtype.kind in "biu" and dtype.itemsize < 8:
        return np.dtype(np.uint64 if dtype.kind == "u" else np.int64)
    return dtype


def _var_operand(dtype: DType, requested: DType | None) -> DType:
    if requested is not None and requested.kind not in "fc":
        raise UnsupportedDTypeError(f"var is computed in a floating or complex dtype, not in {requested}")
    return requested or (dtype if dtype.kind in "fc" else FLOAT64)


def _same_operand(dtype: DType, requested: DType | None) -> DType:
    return dtype


def _bool_operand(dtype: DType, requested: DType | None) -> DType:
    return BOOL


def _extreme(operand: DType, largest: bool) -> tuple[Any, ...]:
    """The value above (or below) which there is none."""
    sign = 1 if largest else -1
    if operand.kind == "b":
        return (np.bool_(largest),)
    if operand.kind in "iu":
        info = np.iinfo(operand)
        return (operand.type(info.max if largest else info.min),)
    if operand.kind in "mM":
        limit = np.iinfo(np.int64)
        return (np.array(limit.max if largest else limit.min + 1, np.int64).view(operand)[()],)
    return (operand.type(complex(sign * math.inf, sign * math.inf) if operand.kind == "c" else sign * math.inf),)


def _missing(operand: DType, largest: bool) -> tuple[Any, ...]:
    """NaN, which fmin and fmax pass over."""
    if operand.kind in "fc":
        return (operand.type(complex(math.nan, math.nan) if operand.kind == "c" else math.nan),)
    return (np.array("nat", operand)[()],) if operand.kind in "mM" else _extreme(operand, largest)


# Whole arrays.


def _fold_arrays(function: str, merge: str) -> dict[str, Any]:
    """A fold whose elements and states combine by the function `merge`; `function` folds an axis."""

    def reduce_arrays(xp: Any, reduction: Reduction, x: Any, mask: Any) -> State:
        (dtype,) = reduction.state(x.dtype)
        if mask is not None:
            x = xp.where(mask, x, reduction.start(x.dtype)[0].astype(x.dtype))
        if x.dtype != dtype:
            # in a cast of NumPy's own, the length of its buffer would decide where sums are cut
            x = x.astype(dtype)
        return (_folded(xp, function, x, dtype),)

    def merge_arrays(xp: Any, s: State, t: State) -> State:
        return (getattr(xp, merge)(s[0], t[0]),)

    return {
        "reduce_arrays": reduce_arrays,
        "merge_arrays": merge_arrays,
        "finish_arrays": lambda xp, state: state[0],
    }


def _folded(xp: Any, function: str, x: Any, dtype: DType) -> Any:
    if function in ("sum", "prod"):
        # NumPy takes no time unit here; without a dtype it would widen integers
        return getattr(xp, function)(x, axis=-1, dtype=None if dtype.kind == "m" else dtype)
    if function in ("fmin", "fmax"):
        return getattr(xp, function).reduce(x, axis=-1)
    return getattr(xp, function)(x, axis=-1)


def _count_arrays(xp: Any, reduction: Reduction, x: Any, mask: Any) -> State:
    return (xp.sum(x if mask is None else x & mask, axis=-1, dtype=INT64),)


def _magnitude2(xp: Any, x: Any) -> Any:
    """|x|**2 without the square root in between."""
    return x.real * x.real + x.imag * x.imag if x.dtype.kind == "c" else x * x


def _var_arrays(xp: Any, reduction: Reduction, x: Any, mask: Any) -> State:
    """Two passes over a block that is in the cache: the mean, then the deviations from it."""
    _, mean_dtype, m2_dtype = reduction.state(x.dtype)
    x = x.astype(mean_dtype)
    if mask is None:
        count = xp.full(x.shape[:-1], x.shape[-1], dtype=INT64)
        mean = xp.sum(x, axis=-1) / max(x.shape[-1], 1)
        return count, mean, xp.sum(_magnitude2(xp, x - mean[..., None]), axis=-1)
    count = xp.sum(mask, axis=-1, dtype=INT64)
    mean = xp.sum(xp.where(mask, x, mean_dtype.type(0)), axis=-1) / xp.maximum(count, 1)
    deviation = _magnitude2(xp, x - mean[..., None])
    return count, mean, xp.sum(xp.where(mask, deviation, m2_dtype.type(0)), axis=-1)


def _merge_var(xp: Any, s: State, t: State) -> State:
    """Chan, Golub, LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances", 1982."""
    count = s[0] + t[0]
    share = t[0] / xp.maximum(count, 1)
    delta = t[1] - s[1]
    mean = xp.where(t[0] == 0, s[1], xp.where(s[0] == 0, t[1], s[1] + delta * share))
    between = xp.where((s[0] == 0) | (t[0] == 0), 0.0, _magnitude2(xp, delta) * s[0] * share)
    return count, mean, s[2] + t[2] + between


def _finish_var(xp: Any, state: State, correction: float = 0.0) -> Any:
    return state[2] / xp.maximum(state[0] - float(correction), 0.0)


def _arg_arrays(xp: Any, reduction: Reduction, x: Any, index: Any) -> State:
    at = getattr(xp, reduction.name)(x, axis=-1)[..., None]
    return xp.take_along_axis(x, at, axis=-1)[..., 0], xp.take_along_axis(index, at, axis=-1)[..., 0]


def _merge_arg(better: str) -> Callable[[Any, State, State], State]:
    """NaN is better than any number; of equals, the one with the lower index."""

    def merge_arrays(xp: Any, s: State, t: State) -> State:
        s_nan, t_nan = xp.isnan(s[0]), xp.isnan(t[0])
        equal = (s[0] == t[0]) | (s_nan & t_nan)
        wins = (t_nan & ~s_nan) | (~s_nan & getattr(xp, better)(t[0], s[0])) | (equal & (t[1] < s[1]))
        take = (t[1] >= 0) & ((s[1] < 0) | wins)
        return xp.where(take, t[0], s[0]), xp.where(take, t[1], s[1])

    return merge_arrays


# Scalar code.


def _fold_code(by_kind: Mapping[str, str]) -> dict[str, tuple[tuple[str, ...], tuple[str, ...], str]]:
    """One expression in ``{a}`` and ``{b}`` both takes up an element and merges."""
    return {
        kind: ((text.format(a="{s0}", b="{S0}({x})"),), (text.format(a="{s0}", b="{t0}"),), "{s0}")
        for kind, text in by_kind.items()
    }


def _var_code(magnitude2: str) -> tuple[tuple[str, ...], tuple[str, ...], str]:
    step = magnitude2.format(d="({S1}({x}) - {s1})")
    delta = magnitude2.format(d="({t1} - {s1})")
    share = "{S2}({t0}) / {S2}({s0} + {t0})"
    return (
        (
            "{s0} + 1",
            "{s1} + ({S1}({x}) - {s1}) / {S2}({s0} + 1)",
            f"{{s2}} + {step} * {{S2}}({{s0}}) / {{S2}}({{s0}} + 1)",
        ),
        (
            "{s0} + {t0}",
            f"{{s1}} if {{t0}} == 0 else ({{t1}} if {{s0}} == 0 else {{s1}} + ({{t1}} - {{s1}}) * ({share}))",
            f"{{s2}} + {{t2}} if ({{s0}} == 0) | ({{t0}} == 0) "
            f"else {{s2}} + {{t2}} + {delta} * {{S2}}({{s0}}) * ({share})",
        ),
        "{s2} / max({S2}({s0}) - {correction}, 0.0)",
    )


def _arg_code(name: str, suffix: str = "") -> tuple[tuple[str, ...], tuple[str, ...], str]:
    def texts(value: str, index: str) -> tuple[str, ...]:
        take = f"{name}_takes{suffix}({{s0}}, {{s1}}, {value}, {index})"
        return f"{value} if {take} else {{s0}}", f"{index} if {take} else {{s1}}"

    return texts("{x}", "{i}"), texts("{t0}", "{t1}"), "{s1}"


# The rows.


def _total(name: str, doc: str, merge: str, identity: int, kinds_: str, code: Mapping[str, str]) -> Reduction:
    return Reduction(
        name,
        "fold",
        doc,
        kinds_,
        _sum_operand,
        lambda operand: (_accumulator(operand),),
        lambda operand: operand,
        lambda operand: (np.array(identity, _accumulator(operand))[()],),
        _fold_code(code),
        identity_of=identity,
        requests=True,
        **_fold_arrays(name, merge),
    )


def _selection(name: str, doc: str, ufunc: str, largest: bool, code: Mapping[str, str], passes_nan: bool) -> Reduction:
    return Reduction(
        name,
        "fold",
        doc,
        "biufcmM",
        _same_operand,
        lambda operand: (operand,),
        lambda operand: operand,
        lambda operand: (_missing if passes_nan else _extreme)(operand, not largest),
        _fold_code(code),
        empty_message=f"zero-size array to reduction operation {ufunc} which has no identity",
        **_fold_arrays(name, ufunc),
    )


def _truth(name: str, doc: str, merge: str, identity: bool, sign: str) -> Reduction:
    return Reduction(
        name,
        "fold",
        doc,
        "biufcmMSU",
        _bool_operand,
        lambda operand: (BOOL,),
        lambda operand: BOOL,
        lambda operand: (np.bool_(identity),),
        _fold_code({"b": f"{{a}} {sign} {{b}}"}),
        identity_of=identity,
        **_fold_arrays(name, merge),
    )


def _position(name: str, doc: str, better: str) -> Reduction:
    return Reduction(
        name,
        "arg",
        doc,
        "biufcmM",
        _same_operand,
        lambda operand: (operand, INT64),
        lambda operand: INT64,
        lambda operand: (np.zeros((), operand)[()], np.int64(-1)),
        {k: _arg_code(name) for k in "biuf"} | {"c": _arg_code(name, "_complex")},
        _arg_arrays,
        _merge_arg(better),
        lambda xp, state: state[1],
        empty_message=f"attempt to get {name} of an empty sequence",
    )


_MIN = kinds("iuf", "minimum({a}, {b})") | {"b": "{a} & {b}", "c": "minimum_complex({a}, {b})"}
_MAX = kinds("iuf", "maximum({a}, {b})") | {"b": "{a} | {b}", "c": "maximum_complex({a}, {b})"}
_FMIN = kinds("iuf", "fmin({a}, {b})") | {"b": "{a} & {b}", "c": "fmin_complex({a}, {b})"}
_FMAX = kinds("iuf", "fmax({a}, {b})") | {"b": "{a} | {b}", "c": "fmax_complex({a}, {b})"}

_ROWS: tuple[Reduction, ...] = (
    _total("sum", "Sum.", "add", 0, "biufcm", kinds("iufc", "{a} + {b}") | {"b": "{a} | {b}"}),
    _total("prod", "Product.", "multiply", 1, "biufc", kinds("iufc", "{a} * {b}") | {"b": "{a} & {b}"}),
    _selection("min", "Smallest element, or NaN if there is one.", "minimum", False, _MIN, False),
    _selection("max", "Largest element, or NaN if there is one.", "maximum", True, _MAX, False),
    _selection("fmin", "Smallest element that is not NaN.", "fmin", False, _FMIN, True),
    _selection("fmax", "Largest element that is not NaN.", "fmax", True, _FMAX, True),
    _truth("any", "Whether any element is true.", "logical_or", False, "|"),
    _truth("all", "Whether all elements are true.", "logical_and", True, "&"),
    Reduction(
        "count_nonzero",
        "fold",
        "How many elements are true.",
        "biufcmMSU",
        _bool_operand,
        lambda operand: (INT64,),
        lambda operand: INT64,
        lambda operand: (np.int64(0),),
        _fold_code({"b": "{a} + {b}"}),
        _count_arrays,
        lambda xp, s, t: (s[0] + t[0],),
        lambda xp, state: state[0],
        identity_of=0,
    ),
    Reduction(
        "var",
        "moments",
        "Mean square deviation from the mean, of `count - correction` elements.",
        "biufc",
        _var_operand,
        lambda operand: (INT64, _accumulator(operand), FLOAT64),
        real_type,
        lambda operand: (np.int64(0), _accumulator(operand).type(0), np.float64(0)),
        {"f": _var_code("({d}) * ({d})"), "c": _var_code("(({d}).real * ({d}).real + ({d}).imag * ({d}).imag)")},
        _var_arrays,
        _merge_var,
        _finish_var,
        identity_of=math.nan,
        requests=True,
    ),
    _position("argmin", "Index of the first smallest element; of the first NaN if there is one.", "less"),
    _position("argmax", "Index of the first largest element; of the first NaN if there is one.", "greater"),
)

REDUCTIONS: dict[str, Reduction] = {row.name: row for row in _ROWS}
