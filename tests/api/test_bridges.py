"""`from_dask`, `from_delayed`, `to_dask`: the same chunks, nothing computed before it is asked for, clear refusals."""

from __future__ import annotations

import operator
import pickle

import numpy as np
import pytest

import gpuarray as ga

dask = pytest.importorskip("dask")
da = pytest.importorskip("dask.array")

DTYPES = ["?", "i1", "u8", "f2", "f4", "f8", "c8", "c16", "M8[s]", "m8[us]", "U3", "S2"]
CUTS = [
    ((), ()),
    ((0,), ((0,),)),
    ((7,), ((7,),)),
    ((7,), ((3, 4),)),
    ((7,), ((3, 0, 4),)),
    ((5, 0), ((2, 3), (0,))),
    ((5, 6), ((2, 3), (1, 5))),
    ((4, 3, 2), ((1, 3), (3,), (1, 1))),
]


def exact(got, want):
    np.testing.assert_array_equal(got, want)
    assert got.dtype == want.dtype


def counted(x, calls):
    """`x` as a dask array that notes which chunks are computed."""

    def note(block, block_info=None):
        calls.append(block_info[0]["chunk-location"])
        return block

    return x.map_blocks(note, dtype=x.dtype, meta=np.empty((0,) * x.ndim, x.dtype))


@pytest.mark.parametrize(("shape", "chunks"), CUTS)
def test_chunks_map_one_to_one_both_ways(shape, chunks):
    values = np.arange(np.prod(shape, dtype=int), dtype="f8").reshape(shape)
    x = ga.from_dask(da.from_array(values, chunks=chunks))
    assert tuple(map(tuple, x.chunks)) == chunks
    exact(x.compute(), values)
    back = x.to_dask()
    assert back.chunks == chunks
    exact(back.compute(scheduler="sync"), values)


@pytest.mark.parametrize("kind", DTYPES)
def test_every_dtype_goes_there_and_back(kind):
    values = np.arange(12).astype(kind).reshape(3, 4)
    x = ga.from_dask(da.from_array(values, chunks=(2, 3)))
    assert x.dtype == values.dtype
    exact(x.compute(), values)
    back = x.to_dask()
    assert back.dtype == back._meta.dtype == values.dtype
    assert back._meta.shape == (0, 0)
    exact(back.compute(scheduler="sync"), values)


def test_other_byte_orders_become_the_machines():
    values = np.arange(5, dtype=">i4")
    x = ga.from_dask(da.from_array(values, chunks=2))
    assert x.dtype == np.dtype("i4")
    exact(x.compute(), values.astype("i4"))


def test_nothing_is_computed_before_it_is_asked_for_and_only_what_is():
    calls: list[tuple[int, ...]] = []
    x = ga.from_dask(counted(da.ones((6, 8), chunks=(2, 4)), calls))
    y = (x * 2)[2:4, 5:]
    assert not calls
    exact(y.compute(), np.full((2, 3), 2.0))
    assert calls == [(1, 1)]

    calls.clear()
    z = x.to_dask()
    assert not calls
    assert z[0, 0].compute(scheduler="sync") == 1
    assert calls == [(0, 0)]


@pytest.mark.parametrize("key", [np.s_[::-1, ::2], np.s_[3:4], np.s_[-1, 1:-1:3], np.s_[4:2], np.s_[::5, ::-3]])
def test_regions_across_chunks(key):
    values = np.random.default_rng(0).random((11, 13))
    x = ga.from_dask(da.from_array(values, chunks=((1, 4, 6), (5, 8))))
    exact(x[key].compute(), values[key])
    exact(x[key].to_dask().compute(scheduler="sync"), values[key])


def test_what_several_chunks_share_is_computed_once_for_a_region():
    calls: list[tuple[int, ...]] = []
    x = counted(da.ones(4, chunks=4), calls)
    whole = ga.from_dask(da.concatenate([x + n for n in range(3)])).rechunk(-1)
    exact(whole.compute(), np.repeat([1.0, 2, 3], 4))
    assert len(calls) == 1


@pytest.mark.parametrize("scheduler", ["sync", "threads"])
def test_dask_goes_on_with_what_it_gets(scheduler):
    x = ga.random.default_rng(3).random((40, 30), chunks=(7, 30))
    y = x - x.mean(axis=0)
    d = (y.to_dask() ** 2).sum(axis=1)
    np.testing.assert_allclose(d.compute(scheduler=scheduler), (y**2).sum(axis=1).compute())


def test_dasks_processes_compute_it_too():
    x = ga.random.default_rng(3).random((8, 6), chunks=4)
    y = ga.map_blocks(lambda b: b + 1, x, dtype=float)  # a function that only cloudpickle can send
    exact(y.to_dask().compute(scheduler="processes", num_workers=1), y.compute())


def test_both_ways_in_one_graph():
    x = da.arange(20, chunks=6)
    y = ga.from_dask(x) + 1
    z = ga.from_dask(y.to_dask() * 2)
    exact(z.compute(), (np.arange(20) + 1) * 2)


def test_dask_runs_where_it_is_told_to():
    used = []

    def get(graph, keys, **options):
        used.append(keys)
        return dask.get(graph, keys)

    with dask.config.set(scheduler=get):
        exact(ga.from_dask(da.ones(3, chunks=3)).compute(), np.ones(3))
    assert len(used) == 1


def test_visualize_shows_the_operation_by_its_name():
    y = (ga.ones((4, 4), chunks=2) + 1).sum(axis=0).to_dask()
    (layer,) = y.__dask_graph__().layers
    assert layer.startswith("sum")
    pytest.importorskip("graphviz", reason="dask.visualize draws with graphviz")
    from dask.dot import to_graphviz

    assert "sum" in to_graphviz(dict(y.__dask_graph__())).source


def test_two_arrays_have_two_names():
    x = ga.ones(4)
    assert x.to_dask().name != (x + 1).to_dask().name != x.to_dask().name


def test_a_bridge_can_be_pickled_and_sent():
    x = ga.from_dask(da.arange(6, chunks=2).map_blocks(lambda b: b + 1, dtype=int))
    exact(pickle.loads(pickle.dumps(x)).compute(), np.arange(6) + 1)
    exact(pickle.loads(pickle.dumps(x.to_dask())).compute(scheduler="sync"), np.arange(6) + 1)


def test_persisted_arrays_go_to_schedulers_of_this_process_alone():
    x = ga.arange(6, chunks=3).persist()
    exact(x.to_dask().compute(scheduler="threads"), np.arange(6))
    with pytest.raises(ga.errors.TaskError, match="persisted array"):
        pickle.dumps(x.to_dask())


def test_delayed_values():
    made = dask.delayed(np.arange)(12, dtype="f4")
    x = ga.from_delayed(made, 12, "f4")
    assert x.npartitions == 1
    exact((x + 1).compute(), np.arange(12, dtype="f4") + 1)
    exact(ga.from_delayed(dask.delayed(np.float64)(3), (), float).compute(), np.asarray(3.0))


@pytest.mark.parametrize(
    ("shape", "kind", "got"),
    [((5,), int, r"shape \(4,\)"), ((4,), float, "dtype int64"), ((4, 1), int, r"shape \(4,\)")],
)
def test_a_delayed_value_that_is_something_else_is_refused(shape, kind, got):
    x = ga.from_delayed(dask.delayed(np.arange)(4), shape, kind)
    with pytest.raises(ga.errors.BlockFunctionError, match=got) as caught:
        x.compute()
    assert isinstance(caught.value, ValueError)


def test_a_chunk_that_is_masked_against_the_promise_is_refused():
    x = da.ones(4, chunks=2).map_blocks(lambda b: np.ma.masked_greater(b, 0), dtype=float, meta=np.empty(0))
    with pytest.raises(ga.errors.BlockFunctionError, match="mask"):
        ga.from_dask(x).compute()


def test_an_error_in_dasks_task_comes_through_as_it_is():
    x = da.ones(4, chunks=2).map_blocks(lambda b: operator.truediv(b.size, 0), dtype=float, meta=np.empty(0))
    with pytest.raises(ZeroDivisionError):
        ga.from_dask(x).compute()


def test_an_error_in_ours_comes_through_dask():
    y = ga.map_blocks(lambda b: b[:1], ga.ones(4, chunks=2), dtype=float).to_dask()
    with pytest.raises(ga.errors.BlockFunctionError):
        y.compute(scheduler="threads")


@pytest.mark.parametrize(
    "wrong", [None, 3, np.ones(3), [1, 2], dask.delayed(np.ones)(3)], ids=lambda w: type(w).__name__
)
def test_what_is_no_dask_array_is_refused(wrong):
    with pytest.raises(TypeError, match=r"dask\.array\.Array"):
        ga.from_dask(wrong)


@pytest.mark.parametrize("wrong", [None, 3, np.ones(3), "x"], ids=lambda w: type(w).__name__)
def test_what_is_not_delayed_is_refused(wrong):
    with pytest.raises(TypeError, match="delayed"):
        ga.from_delayed(wrong, (3,), float)


def test_unknown_chunks_masks_and_objects_are_refused():
    x = da.ones(6, chunks=3)
    with pytest.raises(ga.errors.ChunkError, match="compute_chunk_sizes"):
        ga.from_dask(x[x > 0])
    with pytest.raises(TypeError, match="mask"):
        ga.from_dask(da.ma.masked_greater(x, 0))
    with pytest.raises(ga.errors.UnsupportedDTypeError):
        ga.from_dask(x.astype(object))


def test_a_chunk_over_the_limit_is_refused_before_dask_computes_it():
    calls: list[tuple[int, ...]] = []
    x = counted(da.ones((1000, 1000), chunks=1000), calls)
    with ga.config.set(host_memory="4 MiB"), pytest.raises(ga.errors.MemoryLimitError):
        ga.from_dask(x).sum().compute()
    assert not calls


def test_an_array_is_no_dask_collection():
    assert not dask.is_dask_collection(ga.ones(3))


QUIET = pytest.mark.filterwarnings(
    "ignore::ResourceWarning",  # sockets of distributed's that are closed a little later
    "ignore::pytest.PytestUnraisableExceptionWarning",
)


@pytest.fixture
def client():
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=2, processes=False, dashboard_address="127.0.0.1:0"
        ) as cluster,
        distributed.Client(cluster) as made,
    ):
        yield made


@QUIET
def test_with_a_client_of_distributed(client):
    x = ga.random.default_rng(0).random((20, 20), chunks=10)
    y = x.to_dask() + 1
    exact(y.compute(), x.compute() + 1)
    kept = client.persist(y)  # its graph holds futures, which only this process can have
    z = ga.from_dask(kept)
    assert z.node.reader.stays_here
    exact(z.compute(), x.compute() + 1)
    # a task of dask's that reads dask: it must not wait for the scheduler that waits for it
    inner = ga.from_dask(da.ones((4, 4), chunks=2)).to_dask()
    exact(inner.compute(), np.ones((4, 4)))
