"""Very many states are merged in groups, with the bits of one merge of all."""

from __future__ import annotations

import math
import random
from typing import Any

import numpy as np
import pytest

import gpuarray as ga
from gpuarray.graph import cells
from gpuarray.graph.reduce import Merge
from gpuarray.optimize import optimize, reductions
from gpuarray.plan import direct, tiling
from gpuarray.run import make_plan
from gpuarray.sinks import ArraySink

OPS = ("sum", "prod", "mean", "var", "std", "max", "argmin", "any", "count_nonzero")


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Levels of merging from a handful of states on; a cell for each chunk, and a task for each cell."""
    monkeypatch.setattr(reductions, "MANY_STATES", 6)
    monkeypatch.setattr(reductions, "GROUP", 8)
    monkeypatch.setattr(cells, "SMALL_CELL", 1)
    monkeypatch.setattr(direct, "SMALL", 0)
    monkeypatch.setattr(tiling, "SMALL", 1)


def levels(x: ga.NDArray) -> int:
    (node,) = optimize(x.node)
    found = 0
    while node.inputs:
        found += isinstance(node, Merge)
        node = node.inputs[0]
    return found


def cases() -> list[tuple[Any, Any, Any]]:
    r = random.Random(0)
    made = []
    while len(made) < 24:
        shape = tuple(r.choice([1, 2, 7, 16, 33, 64, 200]) for _ in range(r.choice([1, 2, 2, 3])))
        if math.prod(shape) > 600:
            continue
        chunks = tuple(r.randint(1, 4) for _ in shape)
        axes = tuple(sorted(r.sample(range(len(shape)), r.randint(1, len(shape)))))
        made.append((shape, chunks, axes))
    return made


@pytest.mark.parametrize(
    "settings", [{}, {"host_memory": "1 MiB", "threads": 3}, {"device": "fake", "device_memory": "1 MiB"}]
)
def test_the_bits_of_one_merge(settings: dict[str, Any], few: None, monkeypatch: pytest.MonkeyPatch) -> None:
    deepest = 0
    for k, (shape, chunks, axes) in enumerate(cases()):
        a = np.random.default_rng(k).standard_normal(shape)
        x = ga.asarray(a, chunks=chunks)
        for op in random.Random(k).sample(OPS, 3):
            axis: Any = axes[0] if op == "argmin" else axes
            made = getattr(ga, op)(x, axis=axis)
            deepest = max(deepest, levels(made))
            with ga.config.set(**settings):
                in_groups = made.compute()
            with monkeypatch.context() as at_once:
                at_once.setattr(reductions, "MANY_STATES", 10**9)
                whole = getattr(ga, op)(x, axis=axis).compute()
            assert in_groups.tobytes() == whole.tobytes(), (shape, chunks, axes, op)
            assert in_groups.dtype == whole.dtype
    assert deepest >= 2


def test_states_are_counted_without_being_listed(few: None) -> None:
    """The readers that are worked out are those that there are, and all states are let go of."""
    for shape, chunks, axes in cases():
        x = ga.asarray(np.ones(shape), chunks=chunks).sum(axis=axes)
        plan = make_plan([x.node], [ArraySink(np.empty(x.shape))])
        tasks = list(plan.tasks())
        for key in {key for task in tasks for key, _ in task.outputs}:
            assert plan.readers(key) == sum(key in task.inputs for task in tasks), (shape, chunks, axes, key)


def test_a_million_chunks_begin_at_once() -> None:
    x = ga.random.default_rng(0).random((10**6, 1 << 20), chunks=(1, 1 << 20))
    y = (x + 1).sum()
    plan = make_plan([y.node], [ArraySink(np.empty(()))])
    assert [stage.tasks for stage in plan.stages] == [10**6, 977, 1]
    tasks = plan.tasks()
    assert max(len(next(tasks).inputs) for _ in range(6000)) == 1024  # of four states each
    assert plan.readers(next(tasks).outputs[0][0]) == 1


def test_a_million_small_results_are_not_put_together_by_one_task() -> None:
    x = ga.random.default_rng(0).random((10**6, 1 << 20), chunks=(1, 1 << 20)).sum(axis=1)
    plan = make_plan([x.node], [ArraySink(np.empty(x.shape))])
    tasks = plan.tasks()
    assert max(len(next(tasks).inputs) for _ in range(6000)) <= 2048


def test_other_numbers_of_cells_are_merged_at_once(few: None) -> None:
    """Groups of rows of three cells are no subtrees."""
    x = ga.asarray(np.ones((40, 3)), chunks=1)
    assert levels(x.sum()) == 0
    assert levels(x.sum(axis=0)) == 1
    assert levels(ga.asarray(np.ones((40, 4)), chunks=1).sum()) == 2
