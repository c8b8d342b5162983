"""`iterate`: time stepping."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gpuarray.array import NDArray
from gpuarray.graph.leaves import Source
from gpuarray.several import persist
from gpuarray.stencils.stencil import Stencil

if TYPE_CHECKING:
    from gpuarray.iteration.checkpoint import Checkpoint
    from gpuarray.iteration.steps import Steps

State = tuple[NDArray, ...]


def iterate(
    stencil: Stencil,
    state: Any,
    steps: int | None = None,
    *,
    boundary: Any = None,
    until: Callable[..., Any] | None = None,
    check_every: int = 100,
    callback: Callable[..., Any] | None = None,
    every: int | None = None,
    checkpoint: Any = None,
    checkpoint_every: int | None = None,
    steps_per_visit: int | None = None,
    **coefficients: Any,
) -> Any:
    """The state after so many steps of a stencil, each from the result of the one before.

    >>> import gpuarray as ga
    >>> @ga.stencil
    ... def heat(u, k):
    ...     return u[0] + k * (u[1] - 2 * u[0] + u[-1])
    >>> ga.iterate(heat, ga.asarray([0.0, 0, 8, 0, 0]), steps=2, k=0.25).compute()
    array([0., 2., 3., 2., 0.])

    Lazy, unless `until`, `callback` or `checkpoint` ask for results on the way. Several steps are done per visit of a
    chunk, in and out of core, and the result is that of single steps to the last bit.

    Parameters
    ----------
    stencil : what `gpuarray.stencil` made; its output j is the next value of its field j
    state : the first field, or a tuple with one array for each output
    steps : how many, or the most where `until` is given
    boundary : what lies past the ends, as in a call of the stencil
    until : ``until(*state)``, or ``until(*state, *before)`` with the state one step before: a condition (a lazy array
        of one element, or a bool), at which to stop
    check_every : the steps between two looks at `until`
    callback : ``callback(step, *state)``, called with the state after every `every` steps and after the last
    every : the steps between two calls of `callback`; None: only after the last
    checkpoint : a folder in which the state is kept after every `checkpoint_every` steps; if it holds one of this very
        iteration, that is where it goes on, to the same bits
    checkpoint_every : a tenth of `steps` if None, or `check_every` where there are no `steps`
    steps_per_visit : how many steps a visit does; None: chosen from the memory limit, what a visit costs, and what is
        computed twice in the margins
    **coefficients : the stencil's other parameters: scalars, arrays, or a function of the step (0, 1, ...) that returns
        a scalar

    Returns one array, or a tuple of them where the stencil has several outputs.

    Raises StencilError (a ValueError) for a negative or missing number of steps, a coefficient that is missing, unknown
    or NaN, and results whose dtype the state cannot hold; MemoryLimitError as `NDArray.compute`.
    """
    from gpuarray.iteration.checkpoint import Checkpoint
    from gpuarray.iteration.steps import Steps

    if not isinstance(stencil, Stencil):
        raise TypeError(
            f"iterate takes a stencil first, got {type(stencil).__name__}; write @gpuarray.stencil above the function"
        )
    for name, function in (("until", until), ("callback", callback)):
        if function is not None and not callable(function):
            raise TypeError(f"{name}={function!r} must be a function of the state, {name}(*state)")
    most = number_of_steps(stencil, steps, until)
    plan = Steps.of(stencil, state, boundary, coefficients, most, positive(stencil, "steps_per_visit", steps_per_visit))
    pauses = Pauses.of(stencil, steps, most, until, check_every, callback, every, checkpoint, checkpoint_every)
    if pauses.never:
        result = plan.advance(plan.state, 0, most)
    else:
        kept = Checkpoint.at(checkpoint, plan) if checkpoint else None
        result = march(plan, most, pauses, until, callback, kept)
    return result if len(result) > 1 else result[0]


def number_of_steps(stencil: Stencil, steps: Any, until: Any) -> int:
    """The steps to do at most."""
    if steps is None:
        if until is None:
            raise stencil.error("iterate needs steps=, or until= to stop at")
        return 2**62
    try:
        count = operator.index(steps)
    except TypeError:
        raise stencil.error(f"steps={steps!r} must be a whole number") from None
    if isinstance(steps, bool):
        raise stencil.error(f"steps={steps!r} must be a whole number")
    if count < 0:
        raise stencil.error(f"steps={steps!r} must be 0 or more")
    return count


def positive(stencil: Stencil, name: str, value: Any) -> int | None:
    """A number of steps, or None."""
    if value is None:
        return None
    if not hasattr(value, "__index__") or isinstance(value, bool) or operator.index(value) < 1:
        raise stencil.error(f"{name}={value!r} must be a whole number of 1 or more")
    return operator.index(value)


@dataclass(frozen=True)
class Pauses:
    """After how many steps each interruption comes; None: never."""

    check: int | None
    call: int | None
    save: int | None

    @classmethod
    def of(
        cls,
        stencil: Stencil,
        steps: Any,
        most: int,
        until: Any,
        check_every: Any,
        callback: Any,
        every: Any,
        checkpoint: Any,
        checkpoint_every: Any,
    ) -> Pauses:
        """From the arguments of `iterate`."""
        looks = positive(stencil, "check_every", check_every)
        tenth = looks if steps is None else max(1, most // 10)
        pauses = cls(
            looks if until is not None else None,
            (positive(stencil, "every", every) or most) if callback is not None else None,
            (positive(stencil, "checkpoint_every", checkpoint_every) or tenth) if checkpoint else None,
        )
        if every is not None and callback is None:
            raise stencil.error(f"every={every} says when callback= is called, and there is none")
        if checkpoint_every is not None and not checkpoint:
            raise stencil.error(
                f"checkpoint_every={checkpoint_every} needs checkpoint=, the folder that the state goes to"
            )
        return pauses

    @property
    def never(self) -> bool:
        return self.check is self.call is self.save is None

    def next(self, step: int, most: int) -> int:
        """The first pause after a step, or the end."""
        wanted = (n for n in (self.check, self.call, self.save) if n)
        return min([most, *(step - step % n + n for n in wanted)])

    @staticmethod
    def due(every: int | None, step: int, most: int) -> bool:
        return every is not None and (step % every == 0 or step == most)


def march(
    plan: Steps,
    most: int,
    pauses: Pauses,
    until: Callable[..., Any] | None,
    callback: Callable[..., Any] | None,
    kept: Checkpoint | None,
) -> State:
    """Go from pause to pause, keeping one state at a time."""
    plan, step, state = (plan, 0, plan.state) if kept is None else kept.latest()
    compares = until is not None and takes(until) > len(state)
    while step < most:
        end = pauses.next(step, most)
        checking = until is not None and Pauses.due(pauses.check, end, most)
        before: State = ()
        if checking and compares:
            before = state if end - step == 1 else persisted(plan.advance(state, step, end - 1))
            state = persisted(plan.advance(before, end - 1, end))
        else:
            state = persisted(plan.advance(state, step, end))
        step = end
        done = checking and until is not None and is_true(plan.stencil, until(*state, *before))
        last = step if done else most
        if kept is not None and Pauses.due(pauses.save, step, last):
            kept.save(step, state, plan.compiled)
        if callback is not None and Pauses.due(pauses.call, step, last):
            callback(step, *state)
        if done:
            break
    return state


def is_true(stencil: Stencil, condition: Any) -> bool:
    """What `until` has returned, worked out."""
    if np.shape(condition) not in ((), (1,)):
        raise stencil.error(
            f"until= returned an array of shape {np.shape(condition)}, which is neither true nor false as a whole; "
            "return a condition on all of it, such as (abs(u - before) < 1e-6).all()"
        )
    return bool(condition)


def persisted(state: State) -> State:
    """The state computed and kept; what is kept already stays as it is."""
    if all(isinstance(x.node, Source) for x in state):
        return state
    return persist(*state)


def takes(function: Callable[..., Any]) -> int:
    """How many arguments a function can be given by position."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # some built-in functions have no signature
        return 0
    kinds = [p.kind for p in parameters]
    if inspect.Parameter.VAR_POSITIONAL in kinds:
        return 0
    return sum(k in (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD) for k in kinds)
