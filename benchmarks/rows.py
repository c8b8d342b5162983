"""What a row of the table is made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any


@dataclass(frozen=True)
class Case:
    """What a piece of work is given."""

    size: SimpleNamespace
    """The row's `full` or `quick` sizes, by name."""
    folder: Path
    """A scratch folder of this row, where `files` has written."""
    arrays: Any = None
    """What `Row.arrays` has made."""


@dataclass(frozen=True)
class Timed:
    """A result whose time the work has measured itself, in a process of its own, say."""

    value: Any
    wall: float
    cpu: float


@dataclass(frozen=True)
class Piece:
    """One way to do the work, ready to run: imported, with the small things set up."""

    call: Callable[[], Any]
    """Does the work once and returns a small result, or a `Timed`."""
    loops: int = 1
    """Calls per sample, for work that takes microseconds."""
    variant: str = ""
    """The setting this is, where a peer is tried at several and the fastest is kept."""
    probe: Callable[[], Mapping[str, float]] | None = None
    """Further numbers, asked for once after the samples are taken."""


Setup = Callable[[Case], "Piece | list[Piece]"]
"""Imports what is compared and returns a piece, or one for each setting worth trying."""


@dataclass(frozen=True)
class Target:
    """What is expected of gpuarray: a number of its own or a peer's time over its own, and a bound."""

    bound: float
    peer: str = ""
    metric: str = ""
    most: bool = False
    """Whether the number must not exceed the bound, rather than reach it."""

    def describe(self) -> str:
        sign = "<=" if self.most else ">="
        return f"{sign} {self.bound:g}x" if self.peer else f"{sign} {format_metric(self.metric, self.bound)}"


def faster(peer: str, ratio: float) -> Target:
    """The peer's median time is at least `ratio` times gpuarray's."""
    return Target(ratio, peer=peer)


def within(metric: str, bound: float) -> Target:
    """A number of gpuarray's own does not exceed a bound."""
    return Target(bound, metric=metric, most=True)


@dataclass(frozen=True)
class Row:
    """One piece of work, done by several."""

    name: str
    """For ``--only``."""
    work: str
    """The expression, with the sizes in braces: ``exp(random(({n}, {n}))).sum()``."""
    pieces: Mapping[str, Setup]
    """By who does it; ``gpuarray`` is first."""
    full: Mapping[str, Any]
    quick: Mapping[str, Any]
    targets: tuple[Target, ...] = ()
    check: Callable[[Mapping[str, Any], Case], None] = lambda values, case: None
    """Takes everybody's results; raises `Disagreement`."""
    arrays: Callable[[Case], Any] | None = None
    """Makes NumPy arrays that every piece shares."""
    files: Callable[[Case], None] | None = None
    """Writes files into the scratch folder, in a process of its own."""
    warm_up: bool = True
    once: bool = False
    """Whether one run, without a warm-up, is enough."""
    notes: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)


class Disagreement(Exception):
    """Two did the same work and have different results."""


def close(values: Mapping[str, Any], expected: float, tolerance: float) -> None:
    """Raise `Disagreement` unless every result is near what is expected."""
    for who, value in values.items():
        if not abs(value - expected) <= tolerance:  # so that NaN fails
            raise Disagreement(f"{who} has {value!r}, expected is {expected!r} within {tolerance:g}")


def format_metric(name: str, value: float) -> str:
    """A number with the unit that its name ends in.

    >>> format_metric("memory_bytes", 3e8), format_metric("chunk_us", 12.34), format_metric("modules", 0)
    ('300 MB', '12.3 us', '0')
    """
    if name.endswith("bytes"):
        return f"{value / 1e9:.2f} GB" if value >= 1e9 else f"{value / 1e6:.0f} MB"
    if name.endswith("seconds"):
        return format_seconds(value)
    if name.endswith("_us"):
        return f"{value:.3g} us"
    return f"{value:g}"


def format_seconds(value: float) -> str:
    """
    >>> format_seconds(2.3456), format_seconds(0.0123), format_seconds(45e-6)
    ('2.35 s', '12.3 ms', '45 us')
    """
    for scale, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "us")):
        if value >= scale:
            return f"{value / scale:.3g} {unit}"
    return f"{value * 1e9:.3g} ns"
