"""The cluster that is open in this process, if any: where runs go."""

from __future__ import annotations

import threading
from typing import Any

_open: list[Any] = []
_lock = threading.Lock()


def enter(cluster: Any) -> None:
    """Runs go to `cluster` from now on."""
    with _lock:
        _open.append(cluster)


def leave(cluster: Any) -> None:
    """Runs go where they went before."""
    with _lock:
        _open[:] = [other for other in _open if other is not cluster]


def current() -> Any:
    """The cluster opened last of those that are open, or None."""
    return _open[-1] if _open else None
