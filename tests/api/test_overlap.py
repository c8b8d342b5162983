"""`map_overlap`: every chunk once, with the elements around it, against numpy.pad."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

import gpuarray as ga
from gpuarray.errors import BlockFunctionError, ChunkError, MemoryLimitError
from gpuarray.overlap import PADDING

BOUNDARIES = [*PADDING, 7.5, None]


@pytest.fixture(autouse=True, params=["direct", "planned"])
def path(request, monkeypatch):
    if request.param == "planned":
        monkeypatch.setattr("gpuarray.plan.direct.order_if_small", lambda roots, limit: None)


def around(a, depth, boundary):
    """The array with what stands around it; NaN where nothing does."""
    if boundary in PADDING:
        return np.pad(a, depth, PADDING[boundary])
    return np.pad(a, depth, constant_values=np.nan if boundary is None else boundary)


@pytest.mark.parametrize("boundary", [b for b in BOUNDARIES if b != "constant"], ids=str)
@pytest.mark.parametrize("shape", [(7,), (1,), (5, 6), (2, 1), (3, 4, 5)])
def test_margins_of_every_chunk(shape, boundary):
    a = np.random.default_rng(0).integers(0, 100, shape).astype(float)
    for chunks, depth in ((1, 2), (2, 0), (2, 1), (2, 3), (3, (1, 3)), (100, 2), (100, (0, 2))):
        x = ga.asarray(a, chunks=chunks)
        pairs = [depth if isinstance(depth, tuple) else (depth, depth)] * len(shape)
        full = around(a, pairs, boundary)
        seen = []

        def check(block, block_index, x=x, pairs=pairs, full=full, seen=seen):
            at = []
            for k, c, (lo, hi), n in zip(block_index, x.chunks, pairs, shape, strict=True):
                start, stop = c.edge(k), c.edge(k + 1) + lo + hi
                if boundary is None:
                    start, stop = max(start, lo), min(stop, lo + n)
                at.append(slice(start, stop))
            np.testing.assert_array_equal(block, full[tuple(at)])
            seen.append(block_index)
            return block * 2

        made = ga.map_overlap(check, x, depth=tuple(pairs), boundary=boundary, dtype=float)
        assert made.chunks == x.chunks
        np.testing.assert_array_equal(made.compute(), a * 2)
        assert sorted(seen) == list(np.ndindex(x.numblocks))


def test_a_function_that_cuts_off_the_margins_itself(same):
    a = np.arange(12.0) ** 2
    x = ga.asarray(a, chunks=5)
    same(
        ga.map_overlap(lambda b: b[2:] - b[:-2], x, depth=1, boundary="nearest", trim=False),
        np.r_[1.0, 4 * np.arange(1, 11), 21],
    )
    same(ga.map_overlap(lambda b: b[1:] - b[:-1], x, depth=((1, 0),), boundary=0, trim=False), np.diff(a, prepend=0))
    same(ga.map_overlap(lambda b: b[:1], x, depth=0, trim=False, chunks=1), a[::5])


def test_depths_and_boundaries_by_axis(same):
    a = np.arange(30.0).reshape(5, 6)
    x = ga.asarray(a, chunks=2)

    def sums(block):
        return block[:, :-2] + block[:, 1:-1] + block[:, 2:]

    padded = np.pad(a, ((0, 0), (1, 1)), "wrap")
    expected = padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]
    for depth in ({1: 1}, {-1: (1, 1)}, (0, 1), (0, (1, 1))):
        same(ga.map_overlap(sums, x, depth=depth, boundary={1: "periodic"}, trim=False), expected)
        same(ga.map_overlap(sums, x, depth=depth, boundary=(None, "periodic"), trim=False), expected)


def test_several_arrays(same):
    a, b = np.arange(20.0).reshape(4, 5), np.arange(5.0)
    x, y = ga.asarray(a, chunks=(2, 3)), ga.asarray(b, chunks=2)
    same(ga.map_overlap(lambda p, q: p + q, x, y, depth=1), a + b)
    same(ga.map_overlap(lambda p, q: p + q, y, x, depth=1, boundary="symmetric"), a + b)
    same(ga.map_overlap(lambda p, q, k: p * k + q, x, a[:, :1], 3, depth=2, boundary=None), a * 3 + a[:, :1])

    def both(p, q):
        assert p.shape[-1] + 4 == q.shape[-1]
        return p + q[2:-2]

    same(ga.map_overlap(both, x, y, depth=[0, 2]), a + b)
    same(ga.map_overlap(both, x, y, depth=[{}, {0: 2}], boundary=["reflect", 0], dtype=float), a + b)
    same(ga.map_overlap(lambda p, q: p + q, ga.asarray(5.0), ga.asarray(2.0), depth=1), np.asarray(7.0))


def test_results_in_part_and_in_other_work(same):
    a = np.random.default_rng(0).random((9, 11))
    x = ga.asarray(a, chunks=4)
    made = ga.map_overlap(lambda b: np.sort(b), x + 1, depth=0)
    expected = np.concatenate([np.sort(a[:, k : k + 4] + 1) for k in (0, 4, 8)], axis=1)
    same(made, expected)
    same(made[1::2, ::-3], expected[1::2, ::-3])
    same(made.sum(axis=0) * 2, expected.sum(axis=0) * 2, close=True)
    same(ga.map_overlap(lambda b: b + 1, made, depth=1)[2:5], expected[2:5] + 1)


def test_zero_lengths(same):
    for shape in ((0,), (3, 0)):
        same(ga.map_overlap(lambda b: b + 1, ga.ones(shape), depth=2), np.ones(shape))


def test_only_margins_are_read(monkeypatch):
    from gpuarray.readers import ArrayReader

    reads = []
    read = ArrayReader.read
    monkeypatch.setattr(ArrayReader, "read", lambda self, region: reads.append(region) or read(self, region))
    x = ga.asarray(np.ones(100), chunks=20)
    ga.map_overlap(lambda b: b, x, depth=3, boundary=None, dtype=float)[20:40].compute()
    assert reads == [(range(17, 43),)]


def test_under_a_limit(tmp_path):
    a = np.random.default_rng(0).random((800, 1000))
    np.save(tmp_path / "a.npy", a)

    def blur(b):
        return (b[:-2] + b[1:-1] + b[2:])[:, 1:-1] / 3

    padded = np.pad(a, 1, "reflect")
    with ga.config.set(host_memory="4 MiB", threads=1):
        x = ga.from_npy(tmp_path / "a.npy", chunks=(50, 1000))
        ga.map_overlap(blur, x, depth=1, trim=False).to_npy(tmp_path / "out.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), (padded[:-2] + padded[1:-1] + padded[2:])[:, 1:-1] / 3)
    with ga.config.set(host_memory="4 MiB"):
        made = ga.map_overlap(blur, ga.from_npy(tmp_path / "a.npy", chunks=(800, 1000)), depth=1, trim=False)
        with pytest.raises(MemoryLimitError, match="map_overlap"):
            made.to_npy(tmp_path / "out.npy", overwrite=True)


def test_a_graph_can_be_sent(same):
    x = ga.map_overlap(np.negative, ga.arange(6, chunks=2), depth=1)
    same(pickle.loads(pickle.dumps(x)), -np.arange(6))


@pytest.mark.parametrize(
    ("function", "kwargs", "words"),
    [
        (lambda b: b[1:-1, 1:-1], {}, r"returned shape \(2, 2\) for block \(0, 0\).*\(4, 4\).*trim=False"),
        (lambda b: b, {"trim": False}, r"shape \(4, 4\).*block \(0, 0\).*\(2, 2\)"),
        (lambda b: b.astype(int), {}, "int64.*float64"),
        (lambda b: b.tolist(), {}, "a list"),
        (lambda b: None, {"trim": False}, "a NoneType"),
    ],
)
def test_what_was_not_promised_is_refused_at_run_time(function, kwargs, words):
    x = ga.map_overlap(function, ga.ones((4, 4), chunks=2), depth=1, dtype=float, **kwargs)
    with pytest.raises(BlockFunctionError, match=words):
        x.compute()


def test_a_block_is_read_only():
    def writes(block):
        block[0] = 1
        return block

    with pytest.raises(BlockFunctionError, match="copy"):
        ga.map_overlap(writes, ga.ones(4, chunks=2), depth=1, dtype=float).compute()


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda x: ga.map_overlap(3, x, depth=1), TypeError, "function first, got int"),
        (lambda x: ga.map_overlap(np.sin, depth=1), TypeError, "at least one array"),
        (lambda x: ga.map_overlap(np.sin, x), TypeError, "depth"),
        (lambda x: ga.map_overlap(lambda b, y: b, x, depth=1, y=x), TypeError, "y="),
        (lambda x: ga.map_overlap(np.sin, x, depth=-1), ValueError, "depth=-1.*negative"),
        (lambda x: ga.map_overlap(np.sin, x, depth=1.5), TypeError, "depth=1.5"),
        (lambda x: ga.map_overlap(np.sin, x, depth=(1, (1, 2, 3))), TypeError, r"\(1, 2, 3\) is neither"),
        (lambda x: ga.map_overlap(np.sin, x, depth=(1,)), ValueError, "1 entries for an array of 2"),
        (lambda x: ga.map_overlap(np.sin, x, depth={2: 1}), np.exceptions.AxisError, "axis 2"),
        (lambda x: ga.map_overlap(np.sin, x, depth=[1, 1]), ValueError, "depth=.*list.*1 here"),
        (lambda x: ga.map_overlap(np.sin, x, depth=1, boundary="wrap"), ValueError, "'wrap' is unknown.*'periodic'"),
        (lambda x: ga.map_overlap(np.sin, x, depth=1, boundary="fixed"), ValueError, "'fixed' is unknown"),
        (lambda x: ga.map_overlap(np.sin, x.astype("u1"), depth=1, boundary=-1), ValueError, "boundary=-1.*uint8"),
        (lambda x: ga.map_overlap(np.sin, x.astype("i4"), depth=1, boundary=np.nan), ValueError, "boundary=nan.*int32"),
        (lambda x: ga.map_overlap(np.sin, x, depth=1, boundary=1j), ValueError, "boundary=1j.*float64"),
        (lambda x: ga.map_overlap(np.sin, x, depth=1, chunks=(1, 1)), ValueError, "trim=False"),
        (lambda x: ga.map_overlap(np.sin, x, depth=1, trim=False, chunks=(1,)), ChunkError, "1 entries"),
        (lambda x: ga.map_overlap(np.sin, x, ga.ones(3), depth=1), ValueError, r"\(4, 4\) \(3,\)"),
        (lambda x: ga.map_overlap(lambda b: 1 / 0, x, depth=1), BlockFunctionError, "ZeroDivisionError.*dtype="),
        (lambda x: ga.map_overlap(lambda b: b.sum(), x, depth=1), BlockFunctionError, "0 dimensions.*2"),
        (lambda x: ga.map_overlap(np.sin, x, depth=1, dtype=object), TypeError, "object"),
        (lambda x: ga.map_overlap(np.sin, x, depth=10**6), BlockFunctionError, "too many to try.*dtype="),
    ],
)
def test_errors(call, error, words):
    with pytest.raises(error, match=words):
        call(ga.ones((4, 4), chunks=2))
