"""Finalizers that lose no Ctrl-C."""

from __future__ import annotations

import contextlib
import signal
import threading
import weakref
from collections.abc import Callable
from typing import Any

SOON = 0.001
"""Seconds, in which a finalizer returns to the line that it struck."""


def finalize(obj: Any, func: Callable[..., object], *args: Any) -> None:
    """Call a function when an object is gone, or when the process ends.

    Python prints what is raised in a finalizer and goes on. A Ctrl-C that strikes there would do nothing: here it
    strikes again when the function is done, which is called a second time and must do what the first had not.
    """
    weakref.finalize(obj, uninterrupted, func, *args)


def uninterrupted(func: Callable[..., object], *args: Any) -> None:
    """What `finalize` does when an object is gone, for those that have a ``__del__``."""
    try:
        func(*args)
    except KeyboardInterrupt:
        func(*args)
        with contextlib.suppress(RuntimeError):  # the process ends: no thread can be had
            again = threading.Timer(SOON, _interrupt)
            again.daemon = True
            again.start()


def _interrupt() -> None:
    """Ctrl-C in the main thread, in whatever it waits."""
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
    else:
        signal.raise_signal(signal.SIGINT)  # Windows knows no signals of threads
