"""What a row of the table is made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

Arrays = Mapping[str, Any]
Piece = Callable[[Any, Arrays, SimpleNamespace], Callable[[], Any]]
"""``piece(library, arrays, size)``: a call that does the work once and returns its result."""


@dataclass(frozen=True)
class Bound:
    """A number of gpuarray's own, or a peer's time over its own, and what it must and should reach."""

    metric: str
    must: float
    aim: float | None = None
    most: bool = False
    """Whether the number must not exceed the bound."""


@dataclass(frozen=True)
class Row:
    """One piece of work.

    The metrics follow from `moved`: a row that moves so many bytes at a bandwidth `limit` has the metric ``fraction``,
    of that bandwidth; one with `elements` has ``elements_per_second``; `chunks`, ``chunk_us``.
    """

    name: str
    work: str
    """With sizes in braces."""
    full: Mapping[str, Any]
    tiny: Mapping[str, Any]
    """For results to be compared with NumPy's, and for dry runs."""
    arrays: Callable[[SimpleNamespace], Mapping[str, tuple[tuple[int, ...], str]]]
    """Shape and dtype of each operand."""
    pieces: Mapping[str, Piece]
    """By ``library`` or ``library/variant``."""
    oracle: Callable[[Arrays, SimpleNamespace], Any]
    """The result by NumPy in double precision, of NumPy arrays."""
    tolerance: float = 1e-12
    moved: Callable[[SimpleNamespace], float] | None = None
    limit: str = "copy"
    elements: Callable[[SimpleNamespace], float] | None = None
    chunks: Callable[[SimpleNamespace], float] | None = None
    bounds: tuple[Bound, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    """gpuarray's, for the full size; those whose names begin with ``tiny_`` are for the tiny one."""
    on_host: bool = False
    """Whether operands lie in the host's memory."""
    repeat: int = 7
    exact: bool = False
    """Whether every run must have the same bits."""

    @property
    def by_kernels(self) -> bool:
        """Whether gpuarray's kernels are timed, and its planning and waiting apart, as other libraries' are."""
        return not self.on_host and self.chunks is None

    def size(self, tiny: bool) -> SimpleNamespace:
        return SimpleNamespace(**(self.tiny if tiny else self.full))

    def settings_for(self, tiny: bool) -> dict[str, Any]:
        chosen = {k: v for k, v in self.settings.items() if not k.startswith("tiny_")}
        small = {k.removeprefix("tiny_"): v for k, v in self.settings.items() if k.startswith("tiny_")}
        return {**chosen, **small} if tiny else chosen

    def metrics(self, seconds: float, size: SimpleNamespace, limits: Mapping[str, float]) -> dict[str, float]:
        """What a time stands for."""
        found: dict[str, float] = {}
        if self.moved is not None:
            found["bytes_per_second"] = rate = self.moved(size) / seconds
            if self.limit in limits:
                found["fraction"] = rate / limits[self.limit]
        if self.elements is not None:
            found["elements_per_second"] = self.elements(size) / seconds
        if self.chunks is not None:
            found["chunk_us"] = seconds / self.chunks(size) * 1e6
        return found
