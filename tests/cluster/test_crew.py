"""The places of those who compute."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from gpuarray.cluster import crew
from gpuarray.cluster.crew import Slots
from gpuarray.cluster.local import LocalExecutor
from gpuarray.cluster.running import Running
from gpuarray.cluster.task import Key
from gpuarray.cluster.testing import mix_plan

SECONDS = 180


def waiting(slots: Slots, number: int) -> None:
    """Return when so many wait."""
    end = time.monotonic() + SECONDS
    while len(slots._waiting) < number:
        assert time.monotonic() < end
        time.sleep(0.001)


@pytest.mark.parametrize("patience", [0.0, crew.PATIENCE, 1e9])
def test_never_more_than_there_are_places(monkeypatch: pytest.MonkeyPatch, patience: float) -> None:
    monkeypatch.setattr(crew, "PATIENCE", patience)
    slots, inside, most, rounds = Slots(3), [0], [0], [0]
    lock = threading.Lock()

    def work() -> None:
        for _ in range(200):
            with slots:
                with lock:
                    inside[0] += 1
                    most[0] = max(most[0], inside[0])
                time.sleep(0)
                with lock:
                    inside[0] -= 1
                    rounds[0] += 1

    threads = [threading.Thread(target=work, daemon=True) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    assert rounds[0] == 8 * 200
    assert 1 <= most[0] <= 3
    for _ in range(3):  # all are free again
        slots.__enter__()


def test_who_waits_too_long_is_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew, "PATIENCE", 0.0)
    slots, order = Slots(1), []

    def work(name: str) -> None:
        with slots:
            order.append(name)

    threads = [threading.Thread(target=work, args=(name,), daemon=True) for name in "abc"]
    with slots:
        for number, thread in enumerate(threads, 1):
            thread.start()
            waiting(slots, number)
    with slots:  # whoever comes now comes after them
        order.append("d")
    for thread in threads:
        thread.join(SECONDS)
    assert order == ["a", "b", "c", "d"]


def test_an_error_gives_the_place_back() -> None:
    slots = Slots(1)
    with pytest.raises(ZeroDivisionError), slots:
        raise ZeroDivisionError
    with slots:
        pass


def test_nobody_is_refused_the_memory_that_a_task_is_about_to_give_back(
    host: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pair of chunks and their reader, many times: the next pair fits when the one before is dropped."""
    edges: list[tuple[int, ...]] = []
    sizes: list[int] = []
    for n in range(8):
        edges += [(), (), (3 * n, 3 * n + 1)]
        sizes += [100, 100, 1]
    dispose = Running.dispose

    def late(self: Running, keys: list[Key]) -> None:
        time.sleep(0.01)  # others may look for room meanwhile
        dispose(self, keys)

    monkeypatch.setattr(Running, "dispose", late)
    executor = LocalExecutor(host, host_limit=8 * (100 + 100 + 1) + 8 * 8, threads=2)
    kept = executor.run(mix_plan(sizes, edges, kept=range(2, 24, 3)))
    assert len(kept) == 8
