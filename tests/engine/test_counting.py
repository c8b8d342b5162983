"""How many tasks read each chunk: counted a box at a time, it is what going through them would find."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

import gpuarray as ga
from gpuarray.plan import build
from gpuarray.plan.counting import Counted
from gpuarray.plan.tiling import Tiling
from gpuarray.run import make_plan
from gpuarray.sinks import ArraySink


def rows():
    return ga.random.default_rng(0).random((300, 1 << 20), chunks=(1, 1 << 20))


def per_row():
    return rows().sum(axis=1)


COUNTED = {
    "each once": per_row,
    "of two stages": lambda: rows().mean(axis=1) + (rows() * 2).max(axis=1),
    "overlapping": lambda: per_row()[:-2] + per_row()[1:-1] + per_row()[2:],
    "far apart": lambda: per_row()[:100] * per_row()[200:],
}
OTHERWISE = {"every second": lambda: per_row()[::3] + per_row()[1::3]}


def exact(plan, stage):
    found = Counter()
    for other in plan.program:
        if stage.number in other.depends:
            for number in range(other.tasks):
                found.update(key for key in other.task(number).inputs if key[0] == stage.number)
    return found


@pytest.mark.parametrize("name", [*COUNTED, *OTHERWISE])
def test_readers_of_very_many_chunks(name, monkeypatch):
    monkeypatch.setattr(build, "FEW", 60)
    monkeypatch.setattr(Tiling, "in_shares", lambda self, grid: grid)  # which would be few
    y = (COUNTED | OTHERWISE)[name]()
    plan = make_plan([y.node], [ArraySink(np.empty(y.shape, y.dtype))])
    boxed = 0
    for stage in plan.program:
        counted = plan._count(stage.number)
        boxed += isinstance(counted, Counted)
        expected = exact(plan, stage)
        for output in range(len(stage.outputs)):
            keys = [(stage.number, output, number) for number in range(stage.tasks)]
            assert [plan.readers(key) for key in keys] == [expected[key] for key in keys]
        if isinstance(counted, Counted):
            assert dict(counted) == expected
            assert len(counted) == len(expected)
    assert bool(boxed) == (name in COUNTED)
