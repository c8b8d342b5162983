"""What `explain` says, against plans worked out by hand; and that saying it computes nothing."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpuarray as ga
from gpuarray import config
from gpuarray.chunking import normalize_chunks
from gpuarray.executors import current
from gpuarray.graph.grid import Region, as_slices
from gpuarray.graph.leaves import Source
from gpuarray.plan import roofline
from gpuarray.plan.explain import Explanation
from gpuarray.plan.roofline import Rates, rates
from gpuarray.plan.survey import distinct
from gpuarray.storage import from_npy

MIB = 2**20


class FileReader:
    """A file of float64 in chunks that can only be read whole. Reading it fails the test."""

    in_memory = False

    def __init__(self, shape: tuple[int, ...], chunk: tuple[int, ...], name: str = "in.zarr") -> None:
        self.shape, self.chunk, self.name = shape, chunk, name

    def read(self, region: Region) -> np.ndarray[Any, Any]:
        raise AssertionError("explain read data")

    def read_nbytes(self, region: Region) -> int:
        return 8 * math.prod(map(len, region))

    def disk_nbytes(self, region: Region) -> int:
        nbytes = 8
        for r, c, n in zip(region, self.chunk, self.shape, strict=True):
            nbytes *= (min(n, (r[-1] // c + 1) * c) - r[0] // c * c) if r else 0
        return nbytes


@ga.stencil
def heat(u: Any, c: Any) -> Any:
    return u[0, 0] + c * (u[1, 0] + u[-1, 0] + u[0, 1] + u[0, -1] - 4 * u[0, 0])


@ga.stencil
def wave(u: Any, before: Any, c: Any) -> Any:
    around = u[1, 0] + u[-1, 0] + u[0, 1] + u[0, -1] - 4 * u[0, 0]
    return 2 * u[0, 0] - before[0, 0] + c * around, u[0, 0]


def on_file(shape: tuple[int, ...], chunk: tuple[int, ...], chunks: Any = None, name: str = "in.zarr") -> ga.NDArray:
    cut = normalize_chunks(chunks or chunk, shape, np.dtype(float))
    return ga.NDArray(Source(FileReader(shape, chunk, name), shape, np.dtype(float), cut))


@pytest.fixture(autouse=True)
def _settings() -> Any:
    with config.set(threads=2, host_memory="1 GiB", compile="never"):
        yield


@pytest.fixture
def x() -> ga.NDArray:
    """122 MiB in 16 chunks of 1000 × 1000."""
    return on_file((4000, 4000), (1000, 1000))


class TestStandardize:
    """((x - x.mean()) / x.std()).sum(), the textbook example of two passes over a file."""

    @pytest.fixture
    def plan(self, x: ga.NDArray) -> Explanation:
        return ga.explain(ga.sum((x - ga.mean(x)) / ga.std(x)))

    def test_two_passes_and_what_is_between_them(self, plan: Explanation) -> None:
        assert [s.tasks for s in plan.stages] == [16, 1, 1, 16, 1]
        assert [s.number for s in plan.stages] == [1, 2, 3, 4, 5]
        assert [s.depends for s in plan.stages] == [(), (1,), (1,), (2, 3), (4,)]
        assert plan.tasks == 35
        assert plan.stages[0].grid == (4, 4)
        assert plan.stages[0].region == (1000, 1000)

    def test_bytes(self, plan: Explanation) -> None:
        whole = 8 * 4000**2
        first, mean, deviation, second, last = plan.stages
        assert first.read_nbytes == second.read_nbytes == whole
        assert plan.read_nbytes == 2 * whole
        assert plan.needed_nbytes == whole
        assert plan.read_amplification == 2
        # Of each cell the sum is kept, and (count, mean, sum of squares); a task has one cell or more.
        cells = first.kept_nbytes // (8 + 24)
        assert cells % 16 == first.kept_nbytes % (8 + 24) == 0
        assert mean.input_nbytes == cells * 8
        assert deviation.input_nbytes == cells * 24
        assert second.inputs == ((2, 16 * 8), (3, 16 * 8))
        assert second.kept_nbytes == last.input_nbytes == cells * 8
        assert last.written_nbytes == 8

    def test_largest_task(self, plan: Explanation) -> None:
        first, _, _, second, _ = plan.stages
        assert first.task_loads_nbytes == 8 * 1000**2
        assert (second.task_inputs_nbytes, second.task_loads_nbytes) == (16, 8 * 1000**2)
        for s in plan.stages:
            assert s.task_nbytes == s.task_inputs_nbytes + s.task_loads_nbytes + s.task_work_nbytes

    def test_kernels(self, plan: Explanation) -> None:
        assert [k.label for k in plan.stages[0].kernels] == ["sum", "var"]
        (fused,) = plan.stages[3].kernels
        assert (fused.label, fused.operations, fused.how) == ("sum(subtract, divide)", 3, "interpreted")

    def test_peaks_hold_every_task_under_way(self, plan: Explanation) -> None:
        host, disk = plan.peaks
        assert (host.tier, disk.tier, host.limit) == ("host", "disk", 2**30)
        largest = max(s.task_loads_nbytes + s.task_work_nbytes for s in plan.stages)
        assert 4 * largest <= host.nbytes <= 4 * largest + 10_000  # two threads, twice as many tasks
        assert disk.nbytes == plan.spill_nbytes == 0

    def test_estimate_is_the_disk(self, x: ga.NDArray, plan: Explanation) -> None:
        assert plan.seconds >= plan.read_nbytes / Rates().files

    def test_lines_of_the_user(self, plan: Explanation) -> None:
        assert plan.stages[-1].origin.startswith("test_explain.py:")


class TestReading:
    def test_transposed_reads_of_whole_rows(self) -> None:
        x = on_file((2000, 2000), (1, 2000), chunks=(100, 2000))
        with config.set(host_memory="20 MiB"):
            plan = (x + x.T).explain(then="store")
        (stage,) = plan.stages
        assert stage.grid[0] > 1
        assert stage.grid[1] == 1
        # Every task reads its own rows, and a few columns: a piece of every row, which can only be read whole.
        whole = 8 * 2000**2
        assert plan.needed_nbytes == whole
        assert plan.read_nbytes == whole * (1 + stage.tasks)
        assert plan.read_amplification == 1 + stage.tasks

    def test_transposed_in_one_task_is_read_once(self) -> None:
        x = on_file((2000, 2000), (1, 2000), chunks=(100, 2000))
        assert (x + x.T).explain(then="store").read_amplification == 1

    def test_a_column_of_a_file_of_rows(self) -> None:
        x = on_file((1000, 1000), (10, 1000))
        plan = x[:, 3].explain()
        assert (plan.read_nbytes, plan.needed_nbytes) == (8 * 1000**2, 8 * 1000)
        assert plan.read_amplification == 1000

    def test_halos_are_read_again(self) -> None:
        x = on_file((40_000_000,), (1_000_000,))
        plan = (x[2:] - x[:-2]).explain(then="store")
        (stage,) = plan.stages
        assert plan.needed_nbytes == 8 * 40_000_000
        assert plan.sources[0].read_nbytes == plan.read_nbytes
        assert plan.read_nbytes > plan.needed_nbytes
        assert stage.tasks > 1

    def test_a_slice_reads_its_chunks(self, x: ga.NDArray) -> None:
        plan = x[:1000, :10].explain()
        assert plan.read_nbytes == 8 * 1000**2
        assert plan.needed_nbytes == 8 * 1000 * 10

    def test_arrays_in_memory_are_not_read(self) -> None:
        plan = (ga.asarray(np.ones((1000, 1000))) + 1).explain()
        assert plan.read_nbytes == 0
        assert plan.read_amplification == 1
        assert plan.stages[0].array_nbytes == 8 * 1000**2
        assert plan.sources[0].in_memory

    def test_nothing_to_read(self) -> None:
        plan = ga.ones((3000, 3000), chunks=1000).explain()
        assert (plan.sources, plan.read_nbytes, plan.read_amplification) == ((), 0, 1)

    def test_several_results_share_a_pass(self, x: ga.NDArray) -> None:
        together = ga.explain(ga.sum(x), ga.max(x))
        assert together.read_nbytes == 8 * 4000**2
        assert len(together.results) == 2

    def test_products_read_in_pieces(self, x: ga.NDArray) -> None:
        plan = (x @ x).explain(then="store")
        assert plan.needed_nbytes == 8 * 4000**2
        assert plan.read_nbytes >= 2 * 8 * 4000**2
        assert [k.how for k in plan.stages[-1].kernels] == ["library"]
        assert plan.stages[-1].operations == 2 * 4000**3


class TestMemory:
    def test_result_that_does_not_fit(self, x: ga.NDArray) -> None:
        with config.set(host_memory="100 MiB"):
            plan = (x + 1).explain()
            stored = (x + 1).explain(then="store")
        assert plan.refusal is not None
        assert "122 MiB" in plan.refusal
        assert "100 MiB" in plan.refusal
        assert "Refused" in str(plan)
        assert plan.stages == stored.stages  # the tasks fit
        assert plan.planned_limit == 100 * MIB
        assert stored.refusal is None

    def test_task_that_does_not_fit(self, x: ga.NDArray) -> None:
        with config.set(host_memory="64 KiB"):
            plan = ga.sum(x).explain()
        assert plan.refusal is None or "64 KiB" in plan.refusal  # never raises

    def test_block_function_that_does_not_fit(self, x: ga.NDArray) -> None:
        y = ga.map_blocks(np.sort, x, dtype=float)
        with config.set(host_memory="1 MiB"):
            plan = y.explain(then="store")
        assert plan.refusal is not None
        assert "1 MiB" in plan.refusal
        assert plan.planned_limit is None
        assert "without a limit" in str(plan)
        host = plan.peaks[0]
        assert host.limit == MIB
        assert host.nbytes > MIB
        assert "more than the limit" in str(plan)

    @pytest.mark.parametrize("spare", [-1, 0, 2**16, MIB])
    def test_refuses_what_compute_refuses(self, spare: int) -> None:
        x = ga.ones((600, 600), chunks=100)
        with config.set(host_memory=8 * 600**2 + spare):
            plan = x.explain()
            if plan.refusal is None:
                assert x.compute().sum() == 600**2
                assert plan.reserved_nbytes == 8 * 600**2
            else:
                assert spare < 2**16
                with pytest.raises(ga.errors.MemoryLimitError):
                    x.compute()

    def test_kept_results_larger_than_memory_are_spilled(self, x: ga.NDArray) -> None:
        with config.set(host_memory="64 MiB"):
            plan = (x + 1).explain(then="persist")
        assert plan.refusal is None
        assert plan.peaks[0].nbytes == 64 * MIB
        assert plan.spill_nbytes >= 8 * 4000**2 - 64 * MIB
        assert plan.peaks[1].nbytes == plan.spill_nbytes
        assert plan.stages[0].kept_nbytes == 8 * 4000**2

    def test_what_is_dropped_is_not_held(self) -> None:
        """A chain of stages each of which needs the one before: two are held at once, not six."""
        x = ga.ones((2000, 1000), chunks=(500, 1000))
        for _ in range(6):
            x = ga.map_blocks(np.negative, x, dtype=float)
        with config.set(threads=1):
            plan = x.explain(then="store")
        assert len(plan.stages) == 6
        assert plan.peaks[0].nbytes < 1 << 30
        total = sum(s.kept_nbytes for s in plan.stages)
        assert total == 5 * 16_000_000

    def test_device(self, x: ga.NDArray) -> None:
        from gpuarray.plan.attempt import Machine
        from gpuarray.plan.explain import explain
        from gpuarray.plan.policy import policy

        machine = Machine(64 * MIB, 2, Rates(), device=True, host_limit=32 * MIB)
        plan = explain([(x + 1).node], "persist", machine, policy("never"))
        device, host, disk = plan.peaks
        assert [p.tier for p in plan.peaks] == ["device", "host", "disk"]
        assert (device.nbytes, host.nbytes) == (64 * MIB, 32 * MIB)
        assert disk.nbytes >= 8 * 4000**2 - 96 * MIB


PROGRAMS: dict[str, Callable[[ga.NDArray], ga.NDArray]] = {
    "standardize": lambda x: ga.sum((x - ga.mean(x)) / ga.std(x)),
    "transpose": lambda x: ga.mean((x + x.T)[::2, 50:], axis=1),
    "product": lambda x: x[:400] @ x[:, :300],
    "blocks": lambda x: ga.map_blocks(np.negative, ga.map_blocks(np.sqrt, x, dtype=float) + 1, dtype=float),
    "everything": lambda x: x + 1,
    "scan": lambda x: ga.cumsum(x, axis=0) - ga.max(x, axis=1, keepdims=True),
}


class TestAgainstTheRun:
    """What was projected, beside what the executor counted."""

    @pytest.mark.parametrize("limit", ["7 MiB", "12 MiB", "200 MiB"])
    @pytest.mark.parametrize("name", PROGRAMS)
    def test_no_more_memory_than_projected(self, name: str, limit: str, tmp_path: Path) -> None:
        np.save(tmp_path / "x.npy", np.random.default_rng(0).random((800, 800)))
        x = from_npy(tmp_path / "x.npy", chunks=100)
        with config.set(host_memory=limit, threads=2, spill_directory=tmp_path / "spill"):  # an executor of its own
            y = PROGRAMS[name](x)
            plan = y.explain()
            if plan.refusal is not None:
                with pytest.raises(ga.errors.MemoryLimitError):
                    y.compute()
                return
            assert not plan.direct
            y.compute()
            states = {s.name: s for s in current().executor.memory.states()}
        host = plan.peaks[0]
        assert 0 < states["host"].peak <= host.nbytes <= host.limit  # type: ignore[operator]

    @pytest.mark.parametrize("name", PROGRAMS)
    def test_reads_what_was_said(self, name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        x = on_file((800, 800), (100, 100), chunks=100)
        y = PROGRAMS[name](x)
        values = np.random.default_rng(0).random((800, 800))
        read = []

        def reading(self: FileReader, region: Region) -> np.ndarray[Any, Any]:
            read.append(self.disk_nbytes(region))
            return values[as_slices(region)].copy()

        monkeypatch.setattr(FileReader, "read", reading)
        with config.set(host_memory="40 MiB", threads=2, spill_directory=tmp_path / "spill"):
            plan = y.explain()
            assert not read
            y.compute()
        assert sum(read) == plan.read_nbytes


class TestManyTasks:
    def test_sampled_numbers_are_near(self) -> None:
        """10^5 files' chunks of 8 MB: nobody counts them one by one."""
        x = on_file((10**6, 10**5), (1000, 1000))
        plan = ga.sum(x * 2).explain()
        assert plan.sampled
        assert "sample" in str(plan)
        assert plan.tasks > 2000
        assert plan.read_nbytes == pytest.approx(8 * 10**11, rel=1e-6)
        assert plan.needed_nbytes == pytest.approx(8 * 10**11, rel=1e-6)
        assert plan.stages[0].operations == pytest.approx(2 * 10**11, rel=0.01)

    def test_uneven_tasks(self) -> None:
        lengths = tuple(600_000 + 100_000 * (k % 3) for k in range(3000))
        x = on_file((sum(lengths),), (100_000,), chunks=(lengths,))
        plan = ga.sum(x).explain()
        assert plan.sampled
        assert plan.read_nbytes == pytest.approx(8 * sum(lengths), rel=0.2)

    def test_small_plans_are_exact(self, x: ga.NDArray) -> None:
        assert not ga.sum(x).explain().sampled

    def test_kept_bytes_are_exact_anyway(self) -> None:
        x = on_file((10**6, 10**4), (1000, 1000))
        plan = (x + 1).explain(then="persist")
        assert plan.stages[0].kept_nbytes == 8 * 10**10


class TestWhatItIs:
    def test_nothing_is_computed(self, x: ga.NDArray) -> None:
        plan = ga.explain(ga.sum(x), x + 1, then="store")  # its reader refuses to read
        str(plan), plan._repr_html_(), plan.passes(), ga.visualize(x)

    def test_functions_are_not_called(self) -> None:
        def never(block: Any) -> Any:
            raise AssertionError("called")

        y = ga.map_blocks(never, ga.ones((1000, 1000), chunks=500), dtype=float)
        assert "never" in y.explain().stages[0].label

    def test_small_arrays_are_worked_out_directly(self) -> None:
        assert ga.arange(10).explain().direct
        assert "at once" in str(ga.arange(10).explain())
        assert not ga.arange(10).explain(then="store").direct
        assert not ga.ones((1000, 1000)).explain().direct

    def test_compiled(self) -> None:
        x = ga.ones((4000, 4000), chunks=1000) * 2
        with config.set(compile="always"):
            assert [k.how for k in x.explain().stages[0].kernels] == ["compiled"]
        halves = ga.ones((4000, 4000), dtype="float16", chunks=1000) * 2
        with config.set(compile="always"):  # Numba has no float16 on the CPU
            assert [k.how for k in halves.explain().stages[0].kernels] == ["interpreted"]

    def test_fields_that_steps_hand_on_take_time(self) -> None:
        """A step of two fields takes three times as long as one of one, with hardly more operations."""
        u, v = ga.ones((2000, 2000), chunks=2000), ga.ones((2000, 2000), chunks=2000)
        with config.set(compile="always"):
            one = ga.iterate(heat, u, steps=8, boundary="fixed", c=0.1).explain()
            two = ga.iterate(wave, (u, v), steps=8, boundary="fixed", c=0.1)[0].explain()
        ratio = sum(stage.operations for stage in two.stages) / sum(stage.operations for stage in one.stages)
        assert 2 < ratio < 5

    def test_frozen(self) -> None:
        plan = ga.arange(3).explain()
        with pytest.raises(AttributeError):
            plan.tasks = 3  # type: ignore[misc]
        with pytest.raises(AttributeError):
            plan.direct = False  # type: ignore[misc]

    @pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (1,), (2, 3, 4, 5, 6)])
    def test_awkward_shapes(self, shape: tuple[int, ...]) -> None:
        plan = (ga.ones(shape) + 1).explain()
        assert plan.results[0][0] == shape
        assert str(plan)
        assert plan._repr_html_()
        assert ga.sum(ga.ones(shape)).explain().results[0][0] == ()

    def test_what_is_asked_wrongly(self) -> None:
        with pytest.raises(ValueError, match="at least one"):
            ga.explain()
        with pytest.raises(ValueError, match="compute"):
            ga.explain(ga.ones(3), then="later")  # type: ignore[arg-type]
        assert ga.explain(np.ones(5)).results[0][0] == (5,)

    def test_stages_count_from_one_every_time(self, x: ga.NDArray) -> None:
        for _ in range(2):
            assert [s.number for s in ga.sum(x).explain().stages] == [1, 2]

    def test_equal_plans_are_equal(self, x: ga.NDArray) -> None:
        assert ga.sum(x).explain() == ga.sum(x).explain()


class TestDistinct:
    @pytest.mark.parametrize("seed", range(30))
    def test_equals_a_set_of_positions(self, seed: int) -> None:
        r = random.Random(seed)
        ndim, step = r.randint(1, 3), r.choice([1, 1, 2, 3])
        phase = r.randrange(step)
        regions = []
        for _ in range(r.randint(1, 6)):
            starts = [phase + step * r.randrange(8) for _ in range(ndim)]
            regions.append(tuple(range(s, s + step * r.randint(0, 6), step) for s in starts))
        positions = {p for region in regions for p in _positions(region)}
        assert distinct(regions) == len(positions)

    def test_steps_that_do_not_fit_are_an_upper_bound(self) -> None:
        regions = [(range(0, 10, 2),), (range(0, 12, 3),)]
        assert len({*range(0, 10, 2), *range(0, 12, 3)}) <= distinct(regions) <= 9

    def test_no_axes_and_no_regions(self) -> None:
        assert distinct([]) == 0
        assert distinct([(), ()]) == 1


def _positions(region: Region) -> set[tuple[int, ...]]:
    made: set[tuple[int, ...]] = {()}
    for r in region:
        made = {(*p, i) for p in made for i in r}
    return made


class TestRates:
    def test_the_slowest_decides(self) -> None:
        r = Rates(files=1.0, memory=10.0, interpreted=100.0, compiled=1000.0, library=1e4, task=0.5)
        assert r.seconds(read=3, moved=3, operations={}, tasks=1) == 3
        assert r.seconds(read=0, moved=30, operations={}, tasks=1) == 3
        assert r.seconds(read=0, moved=0, operations={"interpreted": 200, "compiled": 1000}, tasks=1) == 3
        assert r.seconds(read=0, moved=0, operations={}, tasks=8) == 4

    def test_measured_once_per_machine(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        made = rates(tmp_path / "new", 1)
        assert made.memory > 1e8
        assert made.interpreted > 1e7
        roofline._rates.cache_clear()
        monkeypatch.setattr(roofline, "measure", lambda threads: pytest.fail("measured again"))
        assert rates(tmp_path / "new", 1) == made

    @pytest.mark.parametrize("text", ["", "{", "[]", '{"x": 3}', "null"])
    def test_a_damaged_file_is_replaced(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
        (tmp_path / "machine.json").write_text(text)
        monkeypatch.setattr(roofline, "measure", lambda threads: Rates())
        roofline._rates.cache_clear()
        assert rates(tmp_path, 3) == Rates()
        roofline._rates.cache_clear()
        assert "3 threads" in (tmp_path / "machine.json").read_text()

    def test_a_folder_that_cannot_be_written(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "file").write_text("")
        monkeypatch.setattr(roofline, "measure", lambda threads: Rates())
        assert rates(tmp_path / "file" / "below", 1) == Rates()


def test_the_line_of_what_the_optimizer_made():
    x = ga.random.default_rng(0).random((60, 60), chunks=15)
    plan = ((x - x.mean()) / x.std())[::2].sum(0).explain()
    assert all(stage.origin.startswith("test_explain.py:") for stage in plan.stages)
