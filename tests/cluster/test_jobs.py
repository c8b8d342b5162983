"""Jobs that threads share within a task."""

from __future__ import annotations

import threading
from functools import partial

import pytest

from gpuarray.cluster.jobs import share


def test_jobs_are_shared_and_the_first_error_is_raised() -> None:
    done: list[int] = []
    share([partial(done.append, k) for k in range(50)], 3)
    assert sorted(done) == list(range(50))

    def fail(k: int) -> None:
        raise ValueError(k)

    before = threading.active_count()
    for threads in (1, 3):
        with pytest.raises(ValueError, match="7"):
            share([partial(fail, 7), *(partial(done.append, k) for k in range(9))], threads)
    assert threading.active_count() == before
