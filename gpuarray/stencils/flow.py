"""What a block of statements ends with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gpuarray.array import NDArray


@dataclass(frozen=True, eq=False)
class End:
    """It falls through, leaves or continues its loop, fails, or returns."""

    how: str


FALLS, BREAKS, CONTINUES, FAILS = End("falls through"), End("break"), End("continue"), End("raise")
NOTHING, RETURNS = End("return None"), End("return")


@dataclass(frozen=True, eq=False)
class Returned:
    value: Any


class Branch:
    """It ends in one of two ways, which the point decides."""

    def __init__(self, condition: NDArray, yes: Flow, no: Flow) -> None:
        self.condition, self.yes, self.no = condition, yes, no
        self.ends = ends(yes) | ends(no)


Flow = End | Returned | Branch


def ends(flow: Flow) -> frozenset[End]:
    """The ways in which a block may end."""
    if isinstance(flow, Branch):
        return flow.ends
    return frozenset((RETURNS if isinstance(flow, Returned) else flow,))


def after(flow: Flow, then: Flow) -> Flow:
    """How two blocks end one after the other."""
    if isinstance(flow, Branch) and FALLS in flow.ends:
        return Branch(flow.condition, after(flow.yes, then), after(flow.no, then))
    return then if flow is FALLS else flow
