"""Jobs within one task, shared by threads."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Sequence


def share(jobs: Sequence[Callable[[], None]], threads: int) -> None:
    """Do jobs that do not depend on each other, the first ones first. Raises what the first that failed raised."""
    if threads < 2 or len(jobs) < 2:
        for job in jobs:
            job()
        return
    left, lock, errors = iter(jobs), threading.Lock(), list[BaseException]()

    def work() -> None:
        while not errors:
            with lock:
                job = next(left, None)
            if job is None:
                return
            try:
                job()
            except BaseException as error:
                errors.append(error)

    # each in a copy of the caller's context: numpy.errstate holds for them as well
    others = [
        threading.Thread(target=contextvars.copy_context().run, args=(work,), daemon=True)
        for _ in range(min(threads, len(jobs)) - 1)
    ]
    for other in others:
        other.start()
    work()
    for other in others:
        other.join()
    if errors:
        raise errors[0]
