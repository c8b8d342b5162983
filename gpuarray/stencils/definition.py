"""What is known of a stencil before it is called: found by tracing it on parameters that may stand for anything."""

from __future__ import annotations

import ast
import inspect
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from types import FunctionType
from typing import Any

import numpy as np

from gpuarray.stencils.build import Traced, checked_when_defined, trace
from gpuarray.stencils.source import source_of
from gpuarray.stencils.taps import Refused

FLOAT, INTEGER = np.dtype(np.float64), np.dtype(np.int64)
MAX_TRIALS = 64
SAMPLES = (1, 2, 3, 1.0)
"""Values for coefficients that have to be known and have no default."""

Radius = dict[str, tuple[tuple[int, int], ...]]


@dataclass(frozen=True)
class Definition:
    """The roles of a stencil's parameters, and what it reads and returns."""

    fields: tuple[str, ...]
    """The parameters that must be arrays, in order."""
    bare: tuple[str, ...]
    options: tuple[str, ...]
    """Parameters whose defaults are no numbers: what is passed for them stays what it is, but for arrays."""
    ndim: int | None
    outputs: int | None
    radius: Radius | None
    """None where it depends on a coefficient's value."""

    @property
    def order(self) -> tuple[str, ...]:
        """The order in which parameters that are arrays are a program's fields."""
        return self.fields + self.bare + self.options


def define(function: FunctionType, parameters: dict[str, inspect.Parameter]) -> Definition:
    """Trace a function once for all arguments. Raises Refused for what is wrong whatever the arguments are.

    What depends on the value of a coefficient (the bounds of a loop, say) is found out with its default, or a sample.
    """
    options = {n: p.default for n, p in parameters.items() if is_option(p.default)}
    names = tuple(n for n in parameters if n not in options)
    error: Exception
    try:
        found = trial(function, names, options)
        made = of_trace(function, names, options, found, certain=True)
        checked_when_defined(found, names)
        return made
    except Refused as refused:
        if not depends_on_coefficients(refused):
            raise
        error = refused
    except Exception as raised:  # the user's own, perhaps because a coefficient is no number yet
        if not of_text(function, names, options).bare:
            raise
        error = raised
    for sample in SAMPLES:
        known = dict(options)
        for _ in names:
            bare = error.trace.bare if isinstance(error, Refused) and error.trace is not None else {}
            fresh = [n for n in bare if n not in known]
            if not fresh:
                break
            known |= {n: sample_of(parameters[n], sample) for n in fresh}
            try:
                found = trial(function, tuple(n for n in names if n not in known), known)
                return of_trace(function, names, options, found, certain=False)
            except Exception as again:
                error = again
    return of_text(function, names, options)


def is_option(default: Any) -> bool:
    """Whether a default says that its parameter is no array and no number."""
    if default is inspect.Parameter.empty:
        return False
    return isinstance(default, (bool, np.bool_)) or not isinstance(default, (int, float, complex, np.number))


def sample_of(parameter: inspect.Parameter, sample: Any) -> Any:
    return sample if parameter.default is inspect.Parameter.empty else parameter.default


def depends_on_coefficients(error: Refused) -> bool:
    """Whether an error might not be one if the coefficients were known."""
    trace = error.trace
    if trace is None:
        return False
    if trace.assumed:
        return True
    if error.kind == "dtype" or (error.kind == "value" and error.value is None):
        return any(n in trace.symbolic for n in trace.bare)
    return error.kind == "value" and trace.depends_on_coefficients_alone(error.value)


def trial(function: FunctionType, names: tuple[str, ...], scalars: dict[str, Any]) -> Traced:
    """The trace with all float64, or, where an operation takes no floats, with as few int64 as it takes."""
    first: Refused | None = None
    for kinds in itertools.islice(mixtures(len(names)), MAX_TRIALS):
        try:
            return trace(function, dict(zip(names, kinds, strict=True)), scalars, frozenset(names))
        except Refused as error:
            if error.kind != "dtype":
                raise
            first = first or error
    assert first is not None
    raise first


def mixtures(n: int) -> Iterator[tuple[np.dtype[Any], ...]]:
    yield (FLOAT,) * n
    if n:
        yield (INTEGER,) * n
    for count in range(1, n):
        for chosen in itertools.combinations(range(n), count):
            yield tuple(INTEGER if k in chosen else FLOAT for k in range(n))


def of_trace(
    function: FunctionType, names: tuple[str, ...], options: dict[str, Any], found: Traced, certain: bool
) -> Definition:
    t = found.trace
    if t.ndim is None:
        raise source_of(function).refused(
            source_of(function).node,
            f"{function.__name__} reads no parameter with offsets, so nothing says how many axes it has; write u[0, 0] "
            "for the value at the point itself",
        )
    unread = [n for n in names if n not in t.subscripted and n not in t.bare]
    wanting = len(found.values) - len(t.subscripted) if certain else 0  # what is returned and never read is a field too
    next_only = unread[: max(0, wanting)]
    bare = tuple(n for n in names if n not in t.subscripted and n not in next_only)
    fields = tuple(n for n in names if n not in bare)
    zero = ((0, 0),) * t.ndim
    radius: Radius = {}
    for name in fields:
        taps = [tap.offset for tap in t.taps if tap.field == name and tap.offset is not None]
        sides = zip(*taps, strict=True)
        radius[name] = tuple((max(0, -min(a)), max(0, max(a))) for a in sides) or zero
    return Definition(
        fields, bare, tuple(options), t.ndim, len(found.values), radius if certain and not t.assumed else None
    )


def of_text(function: FunctionType, names: tuple[str, ...], options: dict[str, Any]) -> Definition:
    """What the text says where no trace succeeds: which parameters are subscripted, and how."""
    source = source_of(function)
    nodes = [n for s in source.body for n in ast.walk(s)]
    read = [n for n in nodes if isinstance(n, ast.Subscript) and isinstance(n.value, ast.Name) and n.value.id in names]
    subscripted = {n.value.id: n.slice for n in read if isinstance(n.value, ast.Name)}
    counts = {len(i.elts) if isinstance(i, ast.Tuple) else 1 for i in subscripted.values()}
    returned = {
        len(n.value.elts) if isinstance(n.value, ast.Tuple) else 1
        for n in nodes
        if isinstance(n, ast.Return) and n.value is not None
    }
    return Definition(
        tuple(n for n in names if n in subscripted),
        tuple(n for n in names if n not in subscripted),
        tuple(options),
        counts.pop() if len(counts) == 1 else None,
        returned.pop() if len(returned) == 1 else None,
        None,
    )
