"""What the planner promises: few stages, one pass over data, bytes known before, bits that depend on chunks alone."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpuarray as ga
from gpuarray.graph.grid import Region, size_of
from gpuarray.graph.reduce import Partial
from gpuarray.plan import tiling
from gpuarray.plan.build import RunPlan, build
from gpuarray.plan.cuts import largest_task
from gpuarray.plan.policy import policy
from tests.engine.serial import Serial

MIB = 2**20


class Nowhere:
    """A sink that forgets."""

    units = None
    in_memory = False
    nbytes = 0
    write_nbytes = 0

    def target(self, region: Region, backend: Any) -> None:
        return None

    def write(self, region: Region, array: Any) -> None:
        pass


def plan_of(*arrays: ga.NDArray, limit: int = 2**30, threads: int = 2) -> RunPlan:
    return build([x.node for x in arrays], [Nowhere() for _ in arrays], limit, threads, policy("never"))


def labels(*arrays: ga.NDArray) -> list[str]:
    return [s.label for s in plan_of(*arrays).program]


class CountingReader:
    """A file's worth of data that counts what is read."""

    name = "counting"
    in_memory = False

    def __init__(self, array: np.ndarray) -> None:
        self.array, self.elements, self._lock = array, 0, threading.Lock()

    def read(self, region: Region) -> np.ndarray:
        part = self.array[tuple(slice(r.start, r.stop, r.step) for r in region)].copy()
        with self._lock:
            self.elements += part.size
        return part

    def read_nbytes(self, region: Region) -> int:
        return int(np.prod([len(r) for r in region])) * self.array.itemsize

    disk_nbytes = read_nbytes


def on_file(array: np.ndarray, chunks: Any) -> tuple[ga.NDArray, CountingReader]:
    from gpuarray.chunking import normalize_chunks
    from gpuarray.graph.leaves import Source

    reader = CountingReader(array)
    cut = normalize_chunks(chunks, array.shape, array.dtype)
    return ga.NDArray(Source(reader, array.shape, array.dtype, cut)), reader


@pytest.fixture
def x() -> ga.NDArray:
    return ga.asarray(np.random.default_rng(0).random((3000, 4000)), chunks=(1000, 1000))


class TestStages:
    def test_a_chain_is_one_stage(self, x: ga.NDArray) -> None:
        assert labels(ga.sqrt(x * 2 + 1)[::2, 5:] - 3) == ["multiply, add, sqrt, subtract"]

    def test_views_of_results_are_pushed_to_the_data(self, x: ga.NDArray) -> None:
        y = x[:, :3000]
        assert labels(y + y[::-1].T) == ["add"]

    def test_a_reduction_absorbs_what_is_below_it(self, x: ga.NDArray) -> None:
        assert labels(((x * 2 + 1) ** 2).sum())[0] == "sum(multiply, add, square)"

    def test_several_results_of_one_source_share_a_pass(self, x: ga.NDArray) -> None:
        assert labels(x.mean(), x.std(), (x * 2).sum(axis=0))[0] == "sum and var and sum(multiply)"

    def test_small_results_are_worked_out_once(self, x: ga.NDArray) -> None:
        assert labels((x - x.mean()) / x.std()) == ["sum and var", "divide", "sqrt", "subtract, divide"]

    def test_what_is_costly_and_read_twice_is_kept(self, x: ga.NDArray) -> None:
        y = x[:, :3000] @ x
        assert labels(y + y[::-1]) == ["matmul", "add"]

    def test_rechunking_between_operations_is_free(self, x: ga.NDArray) -> None:
        assert labels((x + 1).rechunk((10, 4000)) * 2) == ["add, multiply"]

    def test_the_users_line_is_known(self, x: ga.NDArray) -> None:
        y = x.sum()
        assert "test_plan.py" in plan_of(y).program[0].origin


class TestTasks:
    def test_small_chunks_are_put_together(self) -> None:
        plan = plan_of((ga.zeros(10**6, chunks=10) + 1).sum())
        assert sum(s.tasks for s in plan.program) <= 12

    def test_what_takes_no_memory_is_cut_into_shares(self) -> None:
        """The first tasks are half of what a thread has to do, the last ones milliseconds."""
        x = ga.asarray(np.broadcast_to(1.0, (2**12, 2**14)), chunks=(2**9, 2**12))
        stage = plan_of((x * 2 + x.mean()).sum()).program[-2]
        rows, columns = stage.grid
        edges = list(rows.edges())
        sizes = np.diff(edges)
        assert len(columns) == 1
        assert sizes[0] == 2**12 // 4
        assert (np.diff(sizes[:-1]) <= 0).all()
        assert sizes[-1] * 2**14 <= 2 * tiling.FINE
        most = plan_of(ga.ones((2**16, 2**14)).sum()).program[0].grid[0]
        assert np.diff(list(most.edges())).max() * 2**14 <= tiling.COARSE

    def test_a_billion_chunks_plan_at_once(self) -> None:
        plan = plan_of(ga.zeros(10**9, chunks=1) + 1)
        assert sum(s.tasks for s in plan.program) < 10_000

    @pytest.mark.parametrize(
        "what",
        [
            lambda: ga.zeros(2**33, chunks=2**33).sum(),
            lambda: ga.zeros((2**16, 2**16), chunks=2**16).max(axis=0),
            lambda: ga.zeros((2**16, 2**16), dtype="u1", chunks=2**16) + np.uint8(1),
            lambda: ga.ones(2**40, dtype="u1", chunks=2**31)[::8] > 1,
        ],
        ids=["sum", "max along an axis", "elementwise", "strided"],
    )
    def test_no_task_is_so_long_that_nobody_can_wait_for_it(
        self, what: Callable[[], ga.NDArray], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Whatever the chunks and however much memory there is: Ctrl-C waits for a task to end."""

        def longest() -> int:
            gone_through = []
            for stage in plan_of(what(), limit=2**50, threads=1).program:
                work = stage.task(largest_task(stage.grid)).work
                for node, region in work.block.values:  # type: ignore[attr-defined]
                    gone_through.append(size_of(node.reduced(region) if isinstance(node, Partial) else region))
            return max(gone_through)

        assert longest() <= tiling.LONG == 2**29
        monkeypatch.setattr(tiling, "LONG", 2**62)
        assert longest() > 2**29

    def test_a_plan_says_whether_tasks_wait(self) -> None:
        """For files, or for what may be spilled: more threads than processors are worth it only then."""

        class Memory(Nowhere):
            in_memory = True

        def waits(y: ga.NDArray, sink: Any, limit: int = 2**30) -> bool:
            return build([y.node], [sink], limit, 2, policy("never")).waits

        x = ga.ones((2000, 2000), chunks=500)
        on_disk, _ = on_file(np.ones((100, 100)), (50, 50))
        assert not waits((x * 2).sum(), Memory())
        assert not waits((x - x.mean()).var(axis=0), Memory())
        assert waits(on_disk.sum(), Memory())
        assert waits(x + 1, Nowhere())
        assert not waits(x + 1, None)
        assert waits(x + 1, None, 64 * MIB)

    def test_a_plan_says_how_much_work_it_is(self) -> None:
        x = ga.random.default_rng(0).random((3000, 2000))
        assert plan_of(x.sum()).elements >= x.size
        assert plan_of(x[:3, :4] + 1).elements == 12

    def test_tasks_are_enumerated_lazily(self) -> None:
        plan = plan_of(ga.ones((10**6, 10**6), chunks=(1000, 1000)) + 1)
        tasks = plan.tasks()
        assert next(tasks).key[1] == 0

    def test_results_are_used_soon_after_they_are_made(self, x: ga.NDArray) -> None:
        y = x[:, :3000] @ x
        order = [t.key[0] for t in plan_of((y + y[::-1]).sum()).tasks()]
        made = [k for k, stage in enumerate(order) if stage == order[0]]
        assert made[-1] > order.index(sorted(set(order))[1])  # the second stage starts before the first has ended

    def test_what_nobody_reads_of_a_kept_result_is_not_computed(self) -> None:
        y = ga.map_blocks(np.negative, ga.ones((100, 100), chunks=(10, 100)), dtype=float)
        assert len(list(plan_of(y[5:15] + 1).tasks())) == 2 + 1

    def test_readers_are_counted(self, x: ga.NDArray) -> None:
        plan = plan_of(x - x.mean(axis=0))
        seen: dict[Any, int] = {}
        for task in plan.tasks():
            for key in task.inputs:
                seen[key] = seen.get(key, 0) + 1
        assert seen
        assert all(plan.readers(key) == n for key, n in seen.items())


class TestMemory:
    def test_refused_before_anything_runs(self) -> None:
        x, reader = on_file(np.ones((1000, 1000)), (1000, 1000))
        with pytest.raises(ga.errors.MemoryLimitError, match=r"map_blocks.*MiB.*raise host_memory"):
            plan_of(ga.map_blocks(np.negative, x), limit=MIB)
        assert reader.elements == 0

    @pytest.mark.parametrize("limit", [4 * MIB, MIB, 300_000])
    def test_tasks_are_split_to_fit(self, limit: int) -> None:
        x, _ = on_file(np.ones((1000, 1000)), (1000, 1000))
        plan = plan_of(ga.sqrt(x * 2 + x.T), limit=limit)
        assert all(t.load_nbytes + t.work_nbytes <= limit for t in plan.tasks())

    def test_the_smallest_limit_that_fits_runs_and_one_byte_less_does_not(self) -> None:
        x, _ = on_file(np.ones((100, 100)), (100, 100))
        y = ga.map_blocks(np.negative, x)
        (task,) = plan_of(y).tasks()
        need = task.load_nbytes + task.work_nbytes
        plan_of(y, limit=need)
        with pytest.raises(ga.errors.MemoryLimitError):
            plan_of(y, limit=need - 1)

    def test_a_result_larger_than_the_limit_is_refused(self) -> None:
        with ga.config.set(host_memory="1 MiB"), pytest.raises(ga.errors.MemoryLimitError, match="to_zarr"):
            ga.ones((1000, 1000)).compute()

    def test_a_limit_that_leaves_nothing_is_refused_at_once(self) -> None:
        x = ga.asarray(np.ones((600, 600))) + 1
        with (
            ga.config.set(host_memory=600 * 600 * 8 + 8),
            pytest.raises(ga.errors.MemoryLimitError, match="360,000 tasks of at most 1 elements"),
        ):
            (x.T @ x).compute()

    def test_centring_reads_twice_and_keeps_nothing(self, tmp_path: Path) -> None:
        a = np.random.default_rng(0).random((2000, 500))
        x, reader = on_file(a, (100, 500))
        with ga.config.set(host_memory="4 MiB", spill_directory=tmp_path / "spill"):
            result = ((x - x.mean()) / x.std()).sum().compute()
        assert abs(result) < 1e-6
        assert reader.elements == 2 * a.size
        assert not (tmp_path / "spill").exists()

    def test_a_slice_reads_only_what_it_needs(self) -> None:
        x, reader = on_file(np.ones((100, 100)), (10, 10))
        ((x * 2 + 1).T[3:5, 2:40:2]).compute()
        assert reader.elements == 2 * 19


class TestBits:
    """The last bit depends on the chunks alone."""

    @pytest.fixture
    def y(self) -> ga.NDArray:
        a = np.random.default_rng(0).standard_normal((700, 900)) * 10.0 ** (np.arange(900) % 7)
        return ga.asarray(a, chunks=(300, 250))

    @pytest.mark.parametrize("fine", [2**10, tiling.FINE])
    @pytest.mark.parametrize("kernels", ["never", "always"])
    def test_any_limit_and_any_number_of_threads(
        self, y: ga.NDArray, kernels: str, fine: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(tiling, "FINE", fine)
        expressions = [y.sum(), y.mean(axis=0), y.var(axis=1), ga.cumsum(y, axis=1), (y - y.mean()).std()]
        results = []
        for memory, threads in [("1 GiB", 1), ("1 GiB", 4), ("16 MiB", 2), ("8 MiB", 3)]:
            with ga.config.set(host_memory=memory, threads=threads, compile=kernels):
                results.append([e.compute().tobytes() for e in expressions])
        assert all(r == results[0] for r in results)


def test_a_chain_of_ten_thousand_operations() -> None:
    x = ga.arange(1000, chunks=300)
    for _ in range(10_000):
        x = x + 1
    np.testing.assert_array_equal(x.compute(), np.arange(1000) + 10_000)


def test_slices_of_slices_do_not_explode() -> None:
    x = ga.asarray(np.arange(500.0), chunks=100)
    a = np.arange(500.0)
    for _ in range(60):
        x = 0.5 * (x[1:] + x[:-1])
        a = 0.5 * (a[1:] + a[:-1])
    np.testing.assert_allclose(x.compute(), a)


def test_errors_name_the_operation_and_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(block: np.ndarray) -> np.ndarray:
        raise RuntimeError("broken on purpose")

    x = ga.map_blocks(broken, ga.ones(10, chunks=5), dtype=float)
    with pytest.raises(RuntimeError, match="on purpose") as caught:
        x.compute()
    assert "map_blocks(broken)" in "".join(caught.value.__notes__)
    assert "test_plan.py" in "".join(caught.value.__notes__)


def test_everything_through_pickles(x: ga.NDArray, monkeypatch: pytest.MonkeyPatch) -> None:
    from gpuarray import executors, run
    from gpuarray.kernels import backends

    backend = backends.get("numpy")
    engine = executors.Engine(Serial(backend, through_pickle=True), backend, 2**30, 2**30, 2)
    monkeypatch.setattr(run, "current", lambda: engine)
    a = x.node.reader.array  # type: ignore[attr-defined]
    np.testing.assert_allclose((x - x.mean(axis=0)).sum(axis=1).compute(), (a - a.mean(0)).sum(1), atol=1e-9)
