"""Whether the run that a thread works for has been stopped: what takes long asks between its pieces."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_thread = threading.local()


@contextmanager
def asking(check: Callable[[], None]) -> Iterator[None]:
    """Let what this thread computes inside call `check`, which raises where the run has been stopped.

    >>> def stopped():
    ...     raise InterruptedError
    >>> with asking(stopped):
    ...     go_on()
    Traceback (most recent call last):
    InterruptedError
    >>> go_on()
    """
    before = getattr(_thread, "check", None)
    _thread.check = check
    try:
        yield
    finally:
        _thread.check = before


def go_on() -> None:
    """Raise if the run has been stopped."""
    check = getattr(_thread, "check", None)
    if check is not None:
        check()
