"""Finalizers that lose no Ctrl-C."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

SOON = 0.01
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
        left = threading.Event()
        with contextlib.suppress(RuntimeError):  # the process ends: no thread can be had
            threading.Thread(target=_interrupt, args=(left,), daemon=True).start()
        left.set()  # only now: starting a thread takes as long as the machine pleases


def _interrupt(left: threading.Event) -> None:
    """Ctrl-C in the main thread, in whatever it waits, soon after it has left a finalizer."""
    left.wait()
    time.sleep(SOON)
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
    else:
        signal.raise_signal(signal.SIGINT)  # Windows knows no signals of threads
