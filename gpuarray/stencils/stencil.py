"""``@ga.stencil``: write the point, get the sweep."""

from __future__ import annotations

import functools
import inspect
import os
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from types import FunctionType
from typing import TYPE_CHECKING, Any

import numpy as np

from gpuarray.array import NDArray, asarray
from gpuarray.errors import StencilError
from gpuarray.graph.node import Node
from gpuarray.graph.stencil import Scalars, sweep
from gpuarray.kernels.stencils.program import Edges, StencilProgram
from gpuarray.manipulation import broadcast_to
from gpuarray.stencils.taps import Refused, counted

if TYPE_CHECKING:
    from gpuarray.stencils.definition import Definition, Radius

# The interpreter is imported where the first stencil is made: `import gpuarray` does not wait for it.

KEPT = 64
"""Traces of one stencil that are remembered."""

Programs = tuple[tuple[StencilProgram, tuple[Any, ...]], ...]


@dataclass(frozen=True)
class Bound:
    """The arguments of one call."""

    fields: dict[str, NDArray]
    """The arrays, all of one shape: first those that are read with offsets, then the coefficients."""
    scalars: dict[str, Any]

    @property
    def dtypes(self) -> tuple[np.dtype[Any], ...]:
        return tuple(x.dtype for x in self.fields.values())


class Stencil:
    """A function of one point that is evaluated at every point of an array; made by `stencil`."""

    __name__: str
    __qualname__: str

    def __init__(self, function: Callable[..., Any], boundary: Any = None) -> None:
        if not isinstance(function, FunctionType):
            raise TypeError(
                f"stencil takes a Python function, got {type(function).__name__}; write @gpuarray.stencil above its def"
            )
        functools.update_wrapper(self, function)
        self.function, self.boundary = function, boundary
        self._signature = inspect.signature(function)
        self._kept: OrderedDict[Any, tuple[Programs, bool]] = OrderedDict()
        self._lock = threading.Lock()
        parameters = self._signature.parameters
        for name, p in parameters.items():
            if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD):
                raise self.error(f"a stencil has no *{name}; name each of its parameters")
        if "boundary" in parameters:
            raise self.error("boundary= says what lies past the edges; give that parameter of the stencil another name")
        from gpuarray.stencils.definition import define

        try:
            self._known: Definition = define(function, dict(parameters))
        except Refused as error:
            raise self._as_error(error) from error.__cause__
        added = inspect.Parameter("boundary", inspect.Parameter.KEYWORD_ONLY, default=boundary)
        self.__signature__ = self._signature.replace(parameters=[*parameters.values(), added])
        if boundary is not None and self._known.ndim is not None:
            names = self._known.order
            self.edges(boundary, names, [np.dtype(complex)] * len(names))

    # What it is.

    @property
    def fields(self) -> tuple[str, ...]:
        """The parameters that are arrays read with offsets, in order."""
        return self._known.fields

    @property
    def ndim(self) -> int:
        """Number of axes: how many offsets its fields are read with."""
        if self._known.ndim is None:
            raise self.error("how many axes it has depends on its coefficients")
        return self._known.ndim

    @property
    def outputs(self) -> int:
        """How many values it returns."""
        if self._known.outputs is None:
            raise self.error("how many values it returns depends on its coefficients")
        return self._known.outputs

    @property
    def radius(self) -> Radius:
        """How far it reads: for each field, along each axis, below and above the point (options at their defaults).

        Raises StencilError where that depends on the value of a coefficient.
        """
        if self._known.radius is None:
            raise self.error("how far it reads depends on the value of a coefficient")
        return dict(self._known.radius)

    def __repr__(self) -> str:
        if self._known.radius is None:
            reads = "radius depends on its coefficients"
        else:
            reads = ", ".join(f"{n} within {_widths(r)}" for n, r in self._known.radius.items())
        return f"<gpuarray.stencil {self.__name__}{self._signature}: {reads}>"

    def __reduce__(self) -> str | tuple[Any, ...]:
        found: Any = sys.modules.get(self.__module__)
        for part in self.__qualname__.split("."):
            found = getattr(found, part, None)
        return self.__qualname__ if found is self else (Stencil, (self.function, self.boundary))

    # Calling it.

    def __call__(self, *args: Any, boundary: Any = None, **kwargs: Any) -> Any:
        """The stencil at every point of its fields: an array, or a tuple of them; lazy.

        Arguments as in its function, each an array or, for a coefficient, a number; `boundary` as in `stencil`.
        Raises TypeError for arguments that do not fit its signature, StencilError for arrays that do not fit and for
        coefficients that are NaN.
        """
        bound = self.bind(args, kwargs)
        self.check_scalars(bound.scalars)
        edges = self.edges(boundary, tuple(bound.fields), bound.dtypes)
        programs, several = self._programs(bound.dtypes, bound.scalars, False)
        inputs = [x.node for x in bound.fields.values()]
        made: list[Node] = []
        for program, values in programs:
            dtypes = [program.program.dtype_of(k) for k, i in enumerate(program.program.inputs) if i.kind == "scalar"]
            made += sweep(program, edges, Scalars.of([values], dtypes), 1, 0, None, *inputs)
        arrays = tuple(map(NDArray, made))
        return arrays if several else arrays[0]

    def bind(self, args: Sequence[Any], kwargs: dict[str, Any]) -> Bound:
        """The arguments of a call, apart: arrays of one shape, and scalars.

        Raises TypeError in Python's words for a missing, unknown or repeated argument.
        """
        try:
            given = self._signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{self.__name__}() {error}") from None
        given.apply_defaults()
        arrays: dict[str, NDArray] = {}
        scalars: dict[str, Any] = {}
        for name, value in given.arguments.items():
            array = self._array(name, value)
            if array is None:
                scalars[name] = value[()] if isinstance(value, np.ndarray) and not value.ndim else value
            else:
                arrays[name] = array
        order = [n for n in self._known.order if n in arrays]
        return Bound(self._alike({n: arrays[n] for n in order}), scalars)

    def _array(self, name: str, value: Any) -> NDArray | None:
        """An argument as an array; None where it is a scalar, or an option."""
        if name in self._known.options:
            table = isinstance(self._signature.parameters[name].default, (tuple, list, dict, np.ndarray))
            if not isinstance(value, NDArray) and (table or not isinstance(value, np.ndarray)):
                return None
        array = isinstance(value, (NDArray, np.ndarray)) and bool(value.ndim or name in self.fields)
        scalar = value is None or isinstance(value, (str, bool, int, float, complex, np.generic))
        if name in self.fields and (scalar or not getattr(value, "ndim", 1)):
            raise self.error(
                f"{name} is read with offsets, so it is an array of {counted(self.ndim, 'dimension')}; got "
                f"{_shown(value)}"
            )
        if not array and (scalar or (isinstance(value, np.ndarray) and not value.ndim)):
            return None
        try:
            made = asarray(value)
        except (ValueError, TypeError) as error:
            raise self.error(f"{name} is no array and no number: {error}") from error
        if made.dtype.kind not in "biufc":
            raise self.error(
                f"{name} has dtype {made.dtype}; a stencil takes booleans, integers, floats and complex numbers"
            )
        return made

    def _alike(self, arrays: dict[str, NDArray]) -> dict[str, NDArray]:
        """The arrays broadcast to one shape."""
        for name, x in arrays.items():
            if x.ndim != self.ndim and (x.ndim or name in self.fields):
                raise self.error(
                    f"{name} has {counted(x.ndim, 'dimension')} (shape {x.shape}), and the stencil reads with "
                    f"{counted(self.ndim, 'offset')}; give it {self.ndim}, of length 1 where it does not vary"
                )
        try:
            shape = np.broadcast_shapes(*(x.shape for x in arrays.values()))
        except ValueError:
            shapes = ", ".join(f"{n} {x.shape}" for n, x in arrays.items())
            raise self.error(f"its arrays have different shapes: {shapes}; each axis has one length, or 1") from None
        return {n: x if x.shape == shape else broadcast_to(x, shape) for n, x in arrays.items()}

    def edges(self, boundary: Any, names: Sequence[str], dtypes: Sequence[np.dtype[Any]]) -> Edges:
        """``boundary=`` of a call, by field, axis and side; None is that of the decorator."""
        from gpuarray.stencils.edges import normalize

        try:
            return normalize(self.boundary if boundary is None else boundary, names, self.ndim, dtypes)
        except StencilError as error:
            raise self.error(str(error)) from None

    def check_scalars(self, scalars: dict[str, Any]) -> None:
        """Raises StencilError for what is no scalar, and for NaN, which would spread over all."""
        for name, value in scalars.items():
            if name in self._known.options or isinstance(value, (str, type(None))):
                continue
            if np.ndim(value) or np.asarray(value).dtype.kind not in "biufc":
                raise self.error(f"{name}={_shown(value)} is no number")
            if np.isnan(value):
                raise self.error(f"{name}={value!r}: every point that is computed with it would be NaN")

    # Its programs.

    def program(
        self, dtypes: Sequence[np.dtype[Any]], scalars: dict[str, Any], state: bool
    ) -> tuple[StencilProgram, tuple[Any, ...]]:
        """What the kernels run, and the values of its scalars.

        `dtypes` are those of the fields of `Bound`, in its order. With `state`, output j has the dtype of field j.
        Raises StencilError for operations that a dtype does not take, and where output j does not fit field j.
        """
        made, _ = self._programs(tuple(map(np.dtype, dtypes)), scalars, state)
        if len(made) > 1:
            raise self.error(
                f"it returns {len(made)} values, more than it has fields; value j is the next one of field j"
            )
        return made[0]

    def _programs(
        self, dtypes: tuple[np.dtype[Any], ...], scalars: dict[str, Any], state: bool
    ) -> tuple[Programs, bool]:
        from gpuarray.stencils.outside import Unknown, key_of

        try:
            key = dtypes, key_of(scalars), state, key_of(self.function)
        except Unknown:
            return self._built(dtypes, scalars, state)
        except Refused as error:
            raise self._as_error(error) from None
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        made = self._built(dtypes, scalars, state)
        with self._lock:
            self._kept[key] = made
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return made

    def _built(self, dtypes: tuple[np.dtype[Any], ...], scalars: dict[str, Any], state: bool) -> tuple[Programs, bool]:
        from gpuarray.stencils.build import built, trace

        names = tuple(n for n in self._known.order if n not in scalars)
        parameters = dict(zip(names, dtypes, strict=True))
        try:
            traced = trace(self.function, parameters, scalars)
            if traced.trace.ndim is None:
                raise Refused("it reads no field with offsets; write u[0, 0] for the value at the point itself")
            states = [n for n in names if n not in self._known.bare]
            one_by_one = len(traced.values) > len(states) and not state
            parts = [replace(traced, values=(v,)) for v in traced.values] if one_by_one else [traced]
            if state and len(traced.values) > len(states):
                raise Refused(
                    f"it returns {counted(len(traced.values), 'value')} and has {counted(len(states), 'field')}; "
                    "value j is the next one of field j"
                )
            return tuple(built(part, names, dtypes, state) for part in parts), traced.several
        except Refused as error:
            raise self._as_error(error) from error.__cause__
        except RecursionError:
            raise self.error("it is nested too deeply; write it as several stencils") from None

    # Errors.

    def error(self, text: str) -> StencilError:
        """An error that says where the stencil is."""
        code = self.function.__code__
        return StencilError(f"{os.path.basename(code.co_filename)}:{code.co_firstlineno}, {self.__name__}: {text}")

    def _as_error(self, error: Refused) -> StencilError:
        return StencilError(str(error)) if error.place else self.error(error.text)


def _widths(radius: tuple[tuple[int, int], ...]) -> str:
    return "(" + ", ".join(f"{-a}..{b}" if a or b else "0" for a, b in radius) + ")"


def _shown(value: Any) -> str:
    if isinstance(value, (NDArray, np.ndarray)):
        return f"an array of shape {value.shape}"
    text = repr(value)
    return text if len(text) < 60 else f"a {type(value).__name__}"


def stencil(function: Callable[..., Any] | None = None, /, *, boundary: Any = None) -> Any:
    """Make a function of one point and its neighbours a sweep over arrays.

    >>> import gpuarray as ga
    >>> @ga.stencil
    ... def heat(u, k):
    ...     return u[0] + k * (u[1] - 2 * u[0] + u[-1])
    >>> heat([0.0, 0, 8, 0, 0], 0.25).compute()
    array([0., 2., 4., 2., 0.])

    The function is read from its source and evaluated once, on what stands for one point: ``u[1, 0]`` is the element
    one further along the first axis. Parameters that are subscripted are fields: arrays with one axis for each offset.
    All others are coefficients: numbers, or arrays that are read at the point itself. It returns the value of the
    point, or a tuple with several. What Python it may use: docs/stencils.md.

    Parameters
    ----------
    boundary : what lies past the ends, unless a call says otherwise: "fixed" (the default: points that would read there
        keep their value), "periodic", "reflect", "symmetric", "nearest", "constant" (zeros), a number; a tuple with one
        of these, or a pair for the two ends, for each axis; or a dict of these by field

    Raises StencilError (a ValueError), with the line, for what a stencil cannot say.
    """
    if function is None:
        return functools.partial(Stencil, boundary=boundary)
    return Stencil(function, boundary)
