"""External sorts: against NumPy, under limits that rows do not fit, in the memory that was declared."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpuarray as ga
from gpuarray.graph.grid import Lengths
from gpuarray.graph.sorting import Merged, Runs, Shelved, order_of_samples
from gpuarray.kernels import backends
from gpuarray.kernels.backends.fake import Fake
from gpuarray.plan.build import build
from gpuarray.sinks import ArraySink
from tests.engine.serial import Serial

KIB, MIB = 2**10, 2**20


def sorted_in(x: ga.NDArray, limit: int, backend: Any = None) -> tuple[np.ndarray, Any]:
    """What a plan under a limit gives, run one task after the other, and the plan."""
    result = np.empty(x.shape, x.dtype)
    backend = backend or Fake()
    plan = build([x.node], [ArraySink(result)], limit, 1, lambda p, n: False, host=2**40)
    Serial(backend).run(plan)
    return result, plan


def is_external(plan: Any) -> bool:
    return any(isinstance(o.node, Merged) for s in plan.program for o in s.outputs)


def numbers(kind: str, n: int) -> np.ndarray:
    rng = np.random.default_rng(7)
    return {
        "random": lambda: rng.standard_normal(n),
        "equal": lambda: np.full(n, 3.5),
        "few": lambda: rng.integers(0, 3, n).astype("f8"),
        "sorted": lambda: np.arange(n, dtype="f8"),
        "backwards": lambda: np.arange(n, dtype="f8")[::-1].copy(),
        "nan": lambda: np.where(rng.random(n) < 0.9, np.nan, rng.random(n)),
        "infinite": lambda: rng.choice([np.inf, -np.inf, np.nan, 0.0, -0.0], n),
        "skewed": lambda: np.exp(20 * rng.standard_normal(n)),
        "saw": lambda: (np.arange(n) % 1000).astype("f8"),
    }[kind]()


@pytest.mark.parametrize("kind", ["random", "equal", "few", "sorted", "backwards", "nan", "infinite", "skewed", "saw"])
def test_no_data_needs_more_memory(kind: str) -> None:
    a = numbers(kind, 50_021)
    x = ga.asarray(a, chunks=777)
    needed = set()
    for name in ("sort", "argsort"):
        got, plan = sorted_in(getattr(ga, name)(x), MIB)
        assert is_external(plan)
        np.testing.assert_array_equal(got, getattr(np, name)(a, kind="stable"))
        needed.add((name, max(t.work_nbytes for t in plan.tasks())))
    other = ga.asarray(numbers("random", 50_021), chunks=777)
    plans = [sorted_in(getattr(ga, name)(other), MIB)[1] for name in ("sort", "argsort")]
    assert needed == {
        (n, max(t.work_nbytes for t in p.tasks())) for n, p in zip(("sort", "argsort"), plans, strict=True)
    }


@pytest.mark.parametrize("dtype", [*list("?bBhHiIlLefdFD"), "U3", "S2", "M8[s]", "m8[s]"])
def test_every_dtype(dtype: str) -> None:
    rng = np.random.default_rng(1)
    a = rng.integers(0, 120, 6_007).astype("i8" if dtype[0] in "Mm" else "f8" if dtype in "FD" else "i8").astype(dtype)
    if dtype in "FD":
        a[::3] *= 1j
        a[::7], a[::11], a[::13] = complex(np.nan, 1), complex(1, np.nan), complex(np.nan, np.nan)
    if dtype[0] in "Mm":
        a[::5] = "NaT"
    x = ga.asarray(a, chunks=1000)
    got, plan = sorted_in(ga.sort(x), 24 * a.itemsize * KIB)
    assert is_external(plan)
    np.testing.assert_array_equal(got, np.sort(a))
    got, plan = sorted_in(ga.argsort(x), (24 * a.itemsize + 240) * KIB)
    np.testing.assert_array_equal(got, np.argsort(a, kind="stable"))


@pytest.mark.parametrize(
    ("shape", "axis"), [((2, 9_001), 1), ((9_001, 3), 0), ((3, 9_003, 2), 1), ((1, 1, 20_000), -1)]
)
def test_any_axis(shape: tuple[int, ...], axis: int) -> None:
    a = np.random.default_rng(2).integers(0, 500, shape)
    for name in ("sort", "argsort"):
        got, plan = sorted_in(getattr(ga, name)(ga.asarray(a), axis=axis), 384 * KIB)
        assert is_external(plan)
        np.testing.assert_array_equal(got, getattr(np, name)(a, axis=axis, kind="stable"))


def test_values_and_positions_of_one_sort_share_it() -> None:
    from gpuarray.sorting import sort_with_positions

    a = np.random.default_rng(3).integers(0, 99, 30_000)
    with ga.config.set(host_memory="1.5 MiB", device="cpu"):
        values, positions = ga.compute(*sort_with_positions(ga.asarray(a)))
    np.testing.assert_array_equal(values, np.sort(a))
    np.testing.assert_array_equal(positions, np.argsort(a, kind="stable"))


def test_what_fits_is_sorted_in_one_step() -> None:
    x = ga.asarray(np.random.default_rng(0).random((50, 1000)))
    got, plan = sorted_in(ga.sort(x), MIB)
    assert not is_external(plan)
    np.testing.assert_array_equal(got, np.sort(x.compute()))


def test_a_sort_within_others() -> None:
    a = np.random.default_rng(4).standard_normal(40_000)
    x = ga.asarray(a, chunks=3_000)
    got, plan = sorted_in((ga.sort(x * 2) + 1)[::-3], MIB)
    assert is_external(plan)
    np.testing.assert_array_equal(got, (np.sort(a * 2) + 1)[::-3])
    got, _ = sorted_in(ga.sort(ga.sort(x)[5:] - x[5:]), MIB)
    np.testing.assert_array_equal(got, np.sort(np.sort(a)[5:] - a[5:]))


def test_too_little_memory_is_refused_before_anything_runs() -> None:
    x = ga.zeros(10**12) + ga.arange(10**12)
    with (
        ga.config.set(host_memory="50 MiB"),
        pytest.raises(ga.errors.MemoryLimitError, match="sorting 1,000,000,000,000"),
    ):
        ga.sort(x).persist()


def test_a_task_is_pickled() -> None:
    a = np.random.default_rng(5).random(20_000)
    x = ga.sort(ga.asarray(a))
    result = np.empty(x.shape, x.dtype)
    plan = build([x.node], [ArraySink(result)], 512 * KIB, 1, lambda p, n: False, host=2**40)
    Serial(Fake(), through_pickle=True).run(plan)
    np.testing.assert_array_equal(result, np.sort(a))


def test_a_file_is_sorted_within_the_limit(tmp_path: Any) -> None:
    from gpuarray.executors import current

    a = np.random.default_rng(6).standard_normal(600_000)
    np.save(tmp_path / "x.npy", a)
    limit = 3 * MIB
    with ga.config.set(host_memory=limit, device="cpu", threads=2, spill_directory=str(tmp_path)):
        ga.sort(ga.from_npy(tmp_path / "x.npy", chunks=20_000)).to_npy(tmp_path / "y.npy")
        assert 0 < current().executor.memory.states()[0].peak <= limit
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), np.sort(a))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.npy", "y.npy"]


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_zeros_keep_their_signs_however_rows_are_cut(dtype: str) -> None:
    """NumPy's vectorised sort does not keep them."""
    rng = np.random.default_rng(8)
    a = rng.choice([0.0, -0.0, np.nan, -np.nan, np.inf, -np.inf, 1.0, *rng.standard_normal(4)], (2, 20_000)).astype(
        dtype
    )
    whole, plan = sorted_in(ga.sort(ga.asarray(a)), 2**24)
    assert not is_external(plan)
    np.testing.assert_array_equal(whole, np.sort(a))
    zeros = whole == 0
    np.testing.assert_array_equal(np.signbit(whole[zeros]).sum(), np.signbit(a[a == 0]).sum())
    for row in range(2):
        assert not (np.diff(np.signbit(whole[row][zeros[row]]).astype(int)) > 0).any()
    for limit, chunks in ((64 * KIB, 20_000), (80 * KIB, 777), (128 * KIB, (1, 5_000))):
        got, plan = sorted_in(ga.sort(ga.asarray(a, chunks=chunks)), limit * a.itemsize // 2)
        assert is_external(plan)
        assert got.tobytes() == whole.tobytes()
    short = a.reshape(-1, 40)  # rows whose zeros are found all at once
    got, _ = sorted_in(ga.sort(ga.asarray(short)), 2**24)
    np.testing.assert_array_equal(np.signbit(got[got == 0]).sum(), np.signbit(a[a == 0]).sum())
    np.testing.assert_array_equal(got, np.sort(short))


@pytest.mark.parametrize("dtype", ["f8", "F", "f2"])
def test_a_stable_sort_keeps_the_order_of_equal_elements(dtype: str) -> None:
    a = np.random.default_rng(9).choice([0.0, -0.0, 1.0, np.nan, np.inf], 20_000).astype(dtype)
    expected = np.sort(a, kind="stable")
    got, plan = sorted_in(ga.sort(ga.asarray(a, chunks=777), kind="stable"), 32 * a.itemsize * KIB)
    assert is_external(plan)
    assert got.tobytes() == expected.tobytes()
    if dtype != "f8":  # whose quick sort puts zeros in order
        for limit in (32 * a.itemsize * KIB, 2**24):
            got, _ = sorted_in(ga.sort(ga.asarray(a, chunks=777)), limit)
            assert got.tobytes() == expected.tobytes()


@pytest.mark.parametrize("kind", ["random", "equal", "saw", "backwards"])
@pytest.mark.parametrize(("n", "length", "step"), [(1000, 100, 7), (1003, 100, 10), (1000, 999, 999), (17, 2, 1)])
def test_windows_hold_what_a_region_needs_and_no_more_than_was_counted(
    kind: str, n: int, length: int, step: int
) -> None:
    a, lengths = numbers(kind, n), Lengths.regular(n, length)
    runs = Runs(0, False, None, (lengths,), ga.asarray(a).node)
    parts = [np.sort(a[r.start : r.stop]) for r in map(lengths.span, range(len(lengths)))]
    samples = np.concatenate([p[step - 1 :: step] for p in parts])
    order = order_of_samples(np, samples, 0, length // step, None)
    made = Merged(0, "values", None, step, (Lengths.regular(n, 50),), ga.asarray(order).node, Shelved(runs))
    expected = np.sort(a)
    for r in (range(n), range(1), range(n - 1, n), range(n // 3, n // 2), range(n // 2, n, 3), range(5, 6)):
        windows = made.pick((r,), order)
        assert sum(map(len, (w[0] for w in windows))) <= made.picked((r,))
        flat = np.concatenate([np.concatenate(parts)[w[0].start : w[0].stop] for w in windows])
        got = made.evaluate(backends.get("numpy"), (r,), order, (flat,))
        np.testing.assert_array_equal(got, expected[r.start : r.stop : r.step])


def test_columns_are_sorted_and_written_in_whole_chunks_of_a_file(tmp_path: Any) -> None:
    pytest.importorskip("zarr")
    a = np.random.default_rng(10).random((300_000, 3))
    np.save(tmp_path / "x.npy", a)
    with ga.config.set(host_memory="12 MiB", device="cpu", threads=2, spill_directory=str(tmp_path)):
        ga.sort(ga.from_npy(tmp_path / "x.npy", chunks=(20_000, 3)), axis=0).to_zarr(
            tmp_path / "y.zarr", chunks=(7_000, 2)
        )
        got = ga.from_zarr(tmp_path / "y.zarr")
        assert bool((got[1:] >= got[:-1]).all())
        np.testing.assert_array_equal(got[::997].compute(), np.sort(a, axis=0)[::997])


def test_what_a_sort_spills_is_checked_when_parts_of_it_are_read(tmp_path: Any) -> None:
    from gpuarray.cluster.events import Moved
    from gpuarray.executors import current

    a = np.random.default_rng(11).random(400_000)
    np.save(tmp_path / "x.npy", a)
    damaged = []

    def damage(event: Any) -> None:
        if isinstance(event, Moved) and event.dst == "disk" and event.nbytes > 2**16:  # a run, and not its samples
            file = current().executor.memory._ledger.runs[event.run].held[event.key].file
            with open(file.path, "r+b") as stream:
                stream.seek(file.offset + 64)
                stream.write(bytes(event.nbytes))
            damaged.append(event.key)

    with ga.config.set(host_memory="1 MiB", device="cpu", threads=1, spill_directory=str(tmp_path)):
        y = ga.sort(ga.from_npy(tmp_path / "x.npy", chunks=20_000))
        heard = current().executor.events.heard_by([damage])
        with heard, pytest.raises(ga.errors.SpillError, match="is damaged"):
            y.to_npy(tmp_path / "y.npy")
    assert damaged
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith("gpuarray-spill")] == []


@pytest.mark.parametrize("name", ["sort", "argsort"])
def test_a_sort_on_a_device_and_by_other_peoples_threads(name: str, tmp_path: Any) -> None:
    from concurrent.futures import ThreadPoolExecutor

    a = np.random.default_rng(12).integers(0, 1000, 60_000)
    x, expected = ga.asarray(a, chunks=5_000), getattr(np, name)(a, kind="stable")
    with ga.config.set(device="fake", device_memory="512 KiB", host_memory="16 MiB", threads=2):
        np.testing.assert_array_equal(getattr(ga, name)(x).compute(), expected)
    with ThreadPoolExecutor(2) as pool, ga.config.set(executor=pool, host_memory="1.5 MiB", device="cpu"):
        np.testing.assert_array_equal(getattr(ga, name)(x).compute(), expected)
