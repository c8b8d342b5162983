"""Numbers and names in few characters."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gpuarray.cluster.sizes import format_bytes


def size(nbytes: int) -> str:
    """Bytes for a table; nothing is a dash.

    >>> size(0), size(1536)
    ('-', '1.5 KiB')
    """
    return format_bytes(nbytes) if nbytes else "-"


def times(lengths: Iterable[int]) -> str:
    """Lengths of axes.

    >>> times((4, 1000)), times(())
    ('4 × 1000', '1')
    """
    return " × ".join(map(str, lengths)) or "1"


def shape_of(shape: Sequence[int], dtype: str) -> str:
    """Shape and dtype in words: ``(4, 5) float64``."""
    return f"{tuple(shape)} {dtype}"


def plural(count: int, noun: str) -> str:
    """
    >>> plural(1, "task"), plural(12000, "task")
    ('1 task', '12,000 tasks')
    """
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def listed(items: Iterable[object]) -> str:
    """
    >>> listed([1, 2, 3])
    '1, 2 and 3'
    """
    *most, last = map(str, items)
    return f"{', '.join(most)} and {last}" if most else last


def shortened(text: str, most: int, keep_end: bool = False) -> str:
    """At most so many characters, cut with an ellipsis.

    >>> shortened("a long name", 7), shortened("analysis.py:12", 9, keep_end=True)
    ('a long…', '…is.py:12')
    """
    text = " ".join(text.split())
    if len(text) <= most:
        return text
    return "…" + text[len(text) - most + 1 :] if keep_end else text[: most - 1] + "…"


def duration(seconds: float) -> str:
    """
    >>> duration(0.00021), duration(3.14159), duration(5000)
    ('210 µs', '3.1 s', '1.4 h')
    """
    for unit, length in (("h", 3600.0), ("min", 60.0), ("s", 1.0), ("ms", 1e-3)):
        if seconds >= length:
            return f"{seconds / length:.2g} {unit}" if seconds / length < 100 else f"{seconds / length:,.0f} {unit}"
    return f"{seconds * 1e6:.2g} µs" if seconds < 9.95e-5 else f"{seconds * 1e6:.0f} µs"
