"""Long tasks let go of their thread when their run is stopped."""

from __future__ import annotations

import signal
import threading
import time

import numpy as np
import pytest

import gpuarray as ga
from gpuarray.cluster.local import LocalExecutor
from gpuarray.cluster.task import Result
from gpuarray.cluster.testing import ListPlan, task
from gpuarray.graph import contract
from gpuarray.kernels import stopping


class Counted:
    """Raises at the third question."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self) -> None:
        self.asked += 1
        if self.asked == 3:
            raise InterruptedError


def test_a_product_asks_between_its_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contract, "WORK", 1)
    rng = np.random.default_rng(0)
    a, b = rng.random((1000, 70)), rng.random((70, 40))
    x, y = ga.asarray(a), ga.asarray(b)
    np.testing.assert_array_equal((x @ y).compute(), a @ b)
    check = Counted()
    with stopping.asking(check), pytest.raises(InterruptedError):
        np.asarray((x @ y).node.evaluate(Numpy(), (range(1000), range(40)), a, b))
    assert check.asked == 3


class Numpy:
    """As much of a backend as a product needs."""

    xp = np
    empty = staticmethod(np.empty)


def test_random_numbers_ask_between_their_blocks() -> None:
    from gpuarray.random import variates

    index = np.arange(5 * variates.BLOCK)
    check = Counted()
    with stopping.asking(check), pytest.raises(InterruptedError):
        variates.drawn(np, index, np.array(4.0), method="poisson", key=1, stream=0, dtype="int64")
    assert check.asked == 3


def test_questions_are_those_of_the_thread_and_the_innermost_run() -> None:
    asked: list[str] = []
    with stopping.asking(lambda: asked.append("outer")):
        with stopping.asking(lambda: asked.append("inner")):
            stopping.go_on()
        stopping.go_on()
        thread = threading.Thread(target=stopping.go_on)
        thread.start()
        thread.join(60)
    stopping.go_on()
    assert asked == ["inner", "outer"]


@pytest.mark.parametrize("wakes", [True, False])
def test_ctrl_c_ends_tasks_in_their_middle(host: object, spill: object, wakes: bool) -> None:
    """Also where it wakes nobody, as one that comes just before the caller goes to sleep."""
    executor = LocalExecutor(host, threads=2, directory=spill)  # type: ignore[arg-type]
    stopped = []

    def endless(number: int) -> object:
        def function(*_: object) -> Result:
            if not number:
                time.sleep(0 if wakes else 0.2)  # the caller sleeps by then
                struck = threading.main_thread() if wakes else threading.current_thread()
                signal.pthread_kill(struck.ident or 0, signal.SIGINT)
            end = time.monotonic() + 60
            try:
                while time.monotonic() < end:
                    stopping.go_on()
            except BaseException:
                stopped.append(number)
                raise
            return Result({(0, 0, number): (np.zeros(1),)})

        return function

    tasks = [task((0, n), outputs={(0, 0, n): 8}, function=endless(n)) for n in range(50)]
    with pytest.raises(KeyboardInterrupt):
        executor.run(ListPlan(tasks, [(0, 0, n) for n in range(50)]))
    assert stopped
    assert len(stopped) <= 3
