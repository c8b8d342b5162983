"""The order of a plan's tasks where results are made one after the other."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

import gpuarray as ga
from gpuarray.graph.move import Concat
from gpuarray.plan.order import growing
from tests.engine.test_plan import plan_of

LIMIT = 18_000_000


def factor() -> ga.NDArray:
    return ga.linalg.cholesky(ga.zeros((3000, 3000), chunks=500))


def tasks_of(x: ga.NDArray) -> list[Any]:
    tasks = list(plan_of(x, limit=LIMIT).tasks())
    seen = set()
    for task in tasks:
        assert {key for key in task.inputs if key not in seen} == set()  # each comes after those it reads from
        seen |= {key for key, _ in task.outputs}
    assert len({t.key for t in tasks}) == len(tasks)
    return tasks


def test_block_columns_are_made_one_after_the_other() -> None:
    with ga.config.set(device="cpu", host_memory=LIMIT):
        for made in (factor(), factor() * 2):
            stages = [t.key[0] for t in tasks_of(made)]
            last = stages[-1]
            columns = [s for s in stages if s != last]
            assert len(set(columns)) > 30
            assert len(list(itertools.groupby(columns))) == len(set(columns))  # all of a stage before the next
            assert stages.index(last) < len(stages) // 2  # what is done is handed on before the next is begun


def test_a_part_of_them_needs_no_others() -> None:
    with ga.config.set(device="cpu", host_memory=LIMIT):
        assert len(tasks_of(factor()[:200])) < 20 < len(tasks_of(factor()))


def test_parts_that_do_not_wait_for_one_another_are_read_row_by_row() -> None:
    x = ga.random.default_rng(0).random((40, 40), chunks=10)
    assert growing(ga.concatenate([x, x + 1], axis=1).node) == 0
    y = np.ones((40, 20))
    plan = plan_of(ga.concatenate([ga.asarray(y), ga.asarray(y)], axis=1))
    assert all(isinstance(o.node, Concat) for o in plan.program[-1].outputs)
    assert [t.key[1] for t in plan.tasks()] == list(range(plan.program[-1].tasks))
