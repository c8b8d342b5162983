"""Bad input: what the user writes, the error a NumPy user would catch, and words of its message.

A message holds the value, the rule and the way out. Nothing may hang, fail inside another library, or pass silently.
"""

from __future__ import annotations

import contextlib
import contextvars
import copy
import gc
import os
import pickle
import shutil
import signal
import subprocess
import sys
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpuarray as ga

SECONDS = 120  # of a busy machine: those that do not hang take less than two
FOREIGN = ("numba", "llvmlite", "zict", "asyncio", "concurrent")


@contextlib.contextmanager
def in_time(seconds: int = SECONDS) -> Iterator[None]:
    def late(*_: Any) -> None:
        pytest.fail(f"took more than {seconds} seconds")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def written(code: str) -> Any:
    """Run what a user writes; what it ends with is computed."""
    names: dict[str, Any] = {"np": np, "ga": ga, "x": ga.ones((3, 4), chunks=2), "v": ga.arange(5, chunks=2)}
    *before, last = code.split("; ")
    exec("\n".join(before), names)
    try:
        made = eval(compile(last, "<user>", "eval"), names)
    except SyntaxError:
        made = exec(last, names)
    return made.compute() if isinstance(made, ga.NDArray) else made


AXES = [
    ("x.sum(axis=2)", IndexError, "axis 2 out of bounds 2"),
    ("x.sum(axis=-3)", ValueError, "axis -3 out of bounds 2"),
    ("x.sum(axis=(0, 0))", ValueError, "(0, 0) twice"),
    ("x.sum(axis=(0, -2))", ValueError, "(0, -2) twice"),
    ("x.std(axis=(1, 1))", ValueError, "(1, 1) twice"),
    ("x.sum(axis=1.0)", TypeError, "axis=1.0 integer [-2, 1]"),
    ("x.sum(axis=True)", TypeError, "axis=True integer [-2, 1]"),
    ("x.sum(axis='rows')", TypeError, "axis='rows' integer"),
    ("x.argmax(axis=(0, 1))", TypeError, "axis=(0, 1) integer"),
    ("x.cumsum(axis=5)", IndexError, "axis 5 out of bounds"),
    ("x.transpose(0)", ValueError, "(0,) 2 dimensions each axis once"),
    ("x.transpose(0, 0)", ValueError, "(0, 0) twice"),
    ("x.swapaxes(0, 3)", IndexError, "axis 3"),
    ("ga.moveaxis(x, [0, 1], [1])", ValueError, "[0, 1] [1] as many"),
    ("ga.squeeze(x, axis=0)", ValueError, "axis 0 length 3 only length 1"),
    ("ga.expand_dims(x, axis=(0, 0))", ValueError, "(0, 0) twice"),
]

SHAPES = [
    ("ga.ones(3) + ga.ones(4)", ValueError, "broadcast (3,) (4,) equal length 1"),
    ("ga.where(v > 0, ga.ones(4), 0)", ValueError, "broadcast (5,) (4,)"),
    ("x @ x", ValueError, "(3, 4) 4 3 equal"),
    ("v @ 2", TypeError, "@"),
    ("ga.broadcast_to(v, (4,))", ValueError, "(5,) (4,) length 1"),
    ("x.reshape(5, 5)", ValueError, "12 (5, 5) products"),
    ("x.reshape(-1, -1)", ValueError, "-1"),
    ("ga.concatenate([x, v])", ValueError, "axis 0 (3, 4) (5,)"),
    ("ga.concatenate([])", ValueError, "at least one array"),
    ("ga.stack([ga.ones(3), ga.ones(4)])", ValueError, "(3,) (4,)"),
    ("ga.sum(x, axis=0, out=ga.ones(3))", ValueError, "out (3,) (4,)"),
    ("ga.add(ga.ones(3), 1, out=ga.ones(4))", ValueError, "out (4,) (3,)"),
    ("ga.add(ga.ones(3), 1, out=np.ones(3))", TypeError, "out= ndarray gpuarray.NDArray .compute()"),
    ("v += 1.5", TypeError, "float64 int64 same_kind"),
    ("v /= 2", TypeError, "float64 int64 same_kind"),
    ("v += ga.ones((2, 5), dtype=int)", ValueError, "(5,) (2, 5)"),
    ("w = np.ones(5); w += v", TypeError, "out= ndarray .compute()"),
    ("ga.zeros(10**30)", ValueError, "1000000000000000000000000000000 2**63 - 1"),
    ("ga.zeros((10**10, 10**10))", ValueError, "10000000000 2**63 - 1"),
    ("ga.zeros((2**40, 2**40, 0))", ValueError, "1099511627776 2**63 - 1"),
    ("ga.arange(10**30)", ValueError, "1000000000000000000000000000000 64 bits"),
    ("ga.full(3, 300, dtype='u1')", OverflowError, "300 uint8"),
    ("ga.add(v, 1, casting='bogus')", ValueError, "'bogus' same_kind unsafe"),
    ("ga.ones((0, 3))[0]", IndexError, "0 axis 0 size 0 empty"),
    ("ga.ones((0, 3)).max()", ValueError, "zero-size (0, 3)"),
    ("ga.ones((0, 3)).argmin(axis=0)", ValueError, "empty (0, 3)"),
    ("ga.zeros(-1)", ValueError, "negative -1"),
    ("ga.zeros((2, -3))", ValueError, "negative -3"),
    ("ga.zeros(2.0)", TypeError, "2.0 integer"),
    ("ga.zeros('3')", TypeError, "'3' integer"),
    ("ga.zeros((2, None))", TypeError, "None integer"),
    ("ga.zeros((1,) * 65)", ValueError, "64 65"),
    ("ga.zeros(2**62).compute()", MemoryError, "limit .to_zarr() host_memory"),
]

INDICES = [
    ("v[5]", IndexError, "5 out of bounds axis 0 size 5 [-5, 4]"),
    ("v[-6]", IndexError, "-6 out of bounds size 5"),
    ("v[[0, 7]]", IndexError, "7 out of bounds size 5"),
    ("v[np.array([2**64 - 1], dtype='u8')]", IndexError, "18446744073709551615 out of bounds"),
    ("v[[2**63]]", IndexError, "9223372036854775808 out of bounds"),
    ("ga.take(v, np.array([2**64 - 1], dtype='u8'))", IndexError, "18446744073709551615 out of bounds"),
    ("v[10**30]", IndexError, "1000000000000000000000000000000 out of bounds"),
    ("v[1.0]", IndexError, "1.0 integers"),
    ("v['a']", IndexError, "'a' integers"),
    ("v[[1.5]]", IndexError, "1.5 integers"),
    ("v[{}]", IndexError, "{} integers dict"),
    ("v[object()]", IndexError, "integers object"),
    ("v[0, 0]", IndexError, "too many indices 2 1 (5,)"),
    ("v[..., ...]", IndexError, "single ellipsis"),
    ("v[::0]", ValueError, "step zero"),
    ("v[1.5:2]", TypeError, "integers 1.5"),
    ("v[[True, False]]", IndexError, "(2,) (5,)"),
    ("v[ga.ones(4) > 0]", IndexError, "(4,) (5,)"),
    ("v[ga.ones(5)]", IndexError, "integer or boolean float64"),
    ("x[[0, 1], [0, 1, 2]]", IndexError, "(2,) (3,) broadcast"),
    ("ga.take(v, [0.5])", TypeError, "integers float64"),
    ("ga.take(v, 1, mode='bogus')", ValueError, "'bogus' raise wrap clip"),
    ("v[7] = 1", IndexError, "7 out of bounds"),
    ("v[:] = [1, 2]", ValueError, "(2,) (5,)"),
    ("v[0] = 'a'", ValueError, "'a'"),
    ("v[0] = float('nan')", ValueError, "NaN integer"),
    ("v[0] = 10**30", OverflowError, "large"),
    ("v[object()] = 2", IndexError, "integers object"),
    ("v.item()", ValueError, "(5,) item(index)"),
    ("v.item(5)", IndexError, "5 out of bounds"),
]

CHUNKS = [
    ("ga.ones(3, chunks=0)", ValueError, "chunks=0 at least one"),
    ("ga.ones(3, chunks=-2)", ValueError, "chunks=-2 at least one"),
    ("ga.ones(3, chunks=1.5)", ValueError, "1.5 integer auto"),
    ("ga.ones(3, chunks=float('nan'))", ValueError, "nan integer auto"),
    ("ga.ones(3, chunks=True)", ValueError, "True boolean"),
    ("ga.ones(3, chunks=((True, 2),))", ValueError, "True integer"),
    ("ga.ones(3, chunks=((1, (2,)),))", ValueError, "(1, (2,)) lengths"),
    ("ga.ones(3, chunks=((1, 2.0),))", ValueError, "(1, 2.0) lengths"),
    ("ga.ones(3, chunks=((0, 3),))", ValueError, "(0, 3) positive"),
    ("ga.ones(3, chunks=(4, -1))", ValueError, "(4, -1) positive"),
    ("ga.ones(3, chunks=(1, 1))", ValueError, "(1, 1) 2 3"),
    ("ga.ones(3, chunks='banana')", ValueError, "'banana' integer auto"),
    ("ga.ones(3, chunks=b'auto')", ValueError, "b'auto' integer auto"),
    ("ga.ones(3, chunks={0: 1, 1: 2})", ValueError, "axis 1 1 dimensions"),
    ("ga.ones(3, chunks={'x': 1})", ValueError, "'x' integer [-1, 0]"),
    ("ga.ones(3, chunks={1})", ValueError, "{1} integer dict"),
    ("ga.ones(3, chunks=np.array([1, 2]))", ValueError, "array([1, 2]) integer dict"),
    ("ga.ones(3, chunks=iter([1, 2]))", ValueError, "iterator integer dict"),
    ("x.rechunk((2, 2, 2))", ValueError, "(2, 2, 2) 3 2 dimensions"),
    ("x.rechunk(((1, 1), 4))", ValueError, "(1, 1) 2 3"),
]

KINDS = [
    ("ga.ones(3, dtype='banana')", TypeError, "banana"),
    ("ga.ones(3, dtype=object)", TypeError, "object numpy.asarray"),
    ("ga.ones(3, dtype=np.longdouble)", TypeError, f"{np.dtype(np.longdouble)} 64 bits"),
    ("ga.zeros(3, dtype=[('a', int)])", TypeError, "'a' numpy.asarray"),
    ("ga.zeros(3, dtype=np.dtypes.StringDType())", TypeError, "StringDType numpy.asarray"),
    ("ga.asarray([[1], [2, 3]])", ValueError, "inhomogeneous (2,)"),
    ("ga.asarray([1, None])", TypeError, "object numpy.asarray"),
    ("ga.asarray({1, 2})", TypeError, "object numpy.asarray"),
    ("ga.asarray(i for i in range(3))", TypeError, "object numpy.asarray"),
    ("ga.asarray([10**30])", TypeError, "object numpy.asarray"),
    ("ga.asarray([1, 'a'], dtype=float)", ValueError, "'a'"),
    ("ga.asarray(np.ma.array([1, 2], mask=[0, 1]))", TypeError, "mask (2,) .filled"),
    ("ga.ones(2) + np.ma.array([1, 2], mask=[0, 1])", TypeError, "mask .filled"),
    ("v + (i for i in range(5))", TypeError, "generator"),
    ("v + iter([1, 2])", TypeError, "iterator"),
    ("v + 'a'", TypeError, "int64 str astype"),
    ("'a' + v", TypeError, "str int64 astype"),
    ("v + [1, [2], 3]", ValueError, "inhomogeneous"),
    ("v + None", TypeError, "NoneType"),
    ("v < None", TypeError, "NoneType"),
    ("v + {}", TypeError, "dict"),
    ("v + 10**30", OverflowError, "large"),
    ("ga.ones(3, dtype='u1') + 300", OverflowError, "300 uint8"),
    ("ga.ones(3, dtype='u1') + (-1)", OverflowError, "-1 uint8"),
    ("v ** -1", ValueError, "-1 negative astype(float)"),
    ("ga.ones(3) & 1", TypeError, "bitwise_and float64 astype"),
    ("-ga.ones(3, dtype=bool)", TypeError, "negative bool"),
]

CONVERSIONS = [
    ("bool(v)", ValueError, "(5,) ambiguous a.any() a.all()"),
    ("bool(ga.ones(0))", ValueError, "(0,) ambiguous"),
    ("int(v)", TypeError, "int() (5,)"),
    ("float(v)", TypeError, "float() (5,)"),
    ("complex(v)", TypeError, "complex() (5,)"),
    ("int(ga.asarray(np.nan))", ValueError, "NaN"),
    ("range(9)[ga.ones(())]", TypeError, "integer float64"),
    ("len(ga.asarray(5))", TypeError, "len() without dimensions"),
    ("list(ga.asarray(5))", TypeError, "iteration without dimensions"),
    ("hash(v)", TypeError, "unhashable NDArray"),
    ("v.shape = (5, 1)", AttributeError, "shape"),
    ("v.banana = 1", AttributeError, "banana"),
    ("np.asarray(ga.ones(10**10))", TypeError, "(10000000000,) 74.5 implicit_compute_limit .compute() .to_zarr()"),
    ("np.asarray(v, copy=False)", ValueError, "copy=None"),
    ("import pickle; pickle.dumps(v.persist() + 1)", TypeError, "(5,) pickled .compute() .to_zarr()"),
    ("np.busday_count(v, v)", TypeError, "numpy.busday_count no counterpart .compute() map_blocks"),
    ("np.datetime_as_string(v)", TypeError, "numpy.datetime_as_string no counterpart .compute()"),
    ("np.power.reduce(v)", TypeError, "numpy.power.reduce no counterpart .compute()"),
    ("ga.compute(3)", TypeError, "argument 0 int asarray"),
    ("ga.compute(np.ones(3))", TypeError, "argument 0 ndarray asarray"),
    ("ga.compute(v, [v])", TypeError, "argument 1 list *arrays"),
    ("ga.persist('a')", TypeError, "argument 0 str"),
]

SETTINGS = [
    *[
        (f"ga.config.set(host_memory={value})", ValueError, f"host_memory={value} {rule}")
        for value, rule in [
            ("0", "positive GiB"),
            ("-1", "positive GiB"),
            ("nan", "finite GiB"),
            ("inf", "finite GiB"),
            ("'10 bananas'", "size GiB"),
            ("True", "size GiB"),
            ("1.5", "whole GiB"),
            (str(10**20), "more than lower"),
        ]
    ],
    ("ga.config.set(device='gpu')", ValueError, "'gpu' cpu cuda:N"),
    ("ga.config.set(device='cuda:-1')", ValueError, "'cuda:-1' cuda:N"),
    ("ga.config.set(device=0)", ValueError, "0 cuda:N"),
    ("ga.config.set(device='cuda:99'); ga.ones(3)", ValueError, "cuda:99 cpu"),
    ("ga.config.set(threads=0)", ValueError, "threads=0 1 1024"),
    ("ga.config.set(spill_directory='/no/such'); ga.ones(3)", ValueError, "/no/such exist create"),
    ("ga.config.set(spill_directory='/dev/null'); ga.ones(3)", ValueError, "/dev/null folder"),
    ("ga.config.set(host_memory=1); ga.ones(10).sum()", MemoryError, "8 B limit 1 B host_memory"),
]
for _number, (_code, _error, _words) in enumerate(SETTINGS):
    SETTINGS[_number] = (_code.replace("=nan", "=float('nan')").replace("=inf", "=float('inf')"), _error, _words)

BLOCKS = [
    ("ga.map_blocks(3, x)", TypeError, "function int"),
    ("ga.map_blocks(lambda b: b)", TypeError, "at least one array"),
    ("ga.map_blocks(lambda b: b[:1], v, dtype=int)", ValueError, "(1,) (0,) (2,) chunks="),
    ("ga.map_blocks(lambda b: b.astype('f4'), v, dtype=int)", ValueError, "float32 (0,) int64 dtype="),
    ("ga.map_blocks(lambda b: None, v, dtype=int)", ValueError, "NoneType (0,)"),
    ("ga.map_blocks(lambda b: None, v)", ValueError, "NoneType array"),
    ("ga.map_blocks(lambda b: [1, 2], v, dtype=int)", ValueError, "list (0,)"),
    ("ga.map_blocks(lambda b: np.ma.array(b), v, dtype=int)", ValueError, "MaskedArray (0,)"),
    ("ga.map_blocks(lambda b: b.astype(object), v, dtype=int)", ValueError, "object (0,)"),
    ("ga.map_blocks(lambda b: 1 / 0, v, dtype=int)", ZeroDivisionError, "zero map_blocks"),
    ("ga.map_blocks(lambda b: 1 / 0, v)", ValueError, "ZeroDivisionError dtype="),
    ("ga.map_blocks(lambda b: b.__iadd__(1), v + 1, dtype=int)", ValueError, "read-only (0,) block.copy()"),
    (
        "ga.map_blocks(lambda a, b: a + b, ga.ones(10**9, chunks=2), ga.ones(10**9, chunks=3))",
        ValueError,
        "500,000,000 333,333,334 .rechunk()",
    ),
    ("ga.map_blocks(lambda b: b, v, dtype=object)", TypeError, "object"),
]

TABLE = AXES + SHAPES + INDICES + CHUNKS + KINDS + CONVERSIONS + SETTINGS + BLOCKS


@pytest.mark.parametrize(("code", "error", "words"), TABLE, ids=[row[0] for row in TABLE])
def test_a_clear_error(code: str, error: type[Exception], words: str) -> None:
    with in_time(), pytest.raises(error) as caught:
        written(code)
    message = " ".join([str(caught.value), *getattr(caught.value, "__notes__", ())])
    missing = [word for word in words.split() if word not in message]
    assert not missing, message
    last = traceback.extract_tb(caught.value.__traceback__)[-1].filename
    assert not any(f"/{name}/" in last for name in FOREIGN), last


ACCEPTED = [
    ("x.sum(axis=[0, 1])", "np.float64(12)"),
    ("v[10**30:]", "np.arange(0)"),
    ("v[True]", "np.arange(5)[None]"),
    ("v[None, None, 0]", "np.zeros((1, 1), int)"),
    ("ga.ones(0, chunks=((),))", "np.ones(0)"),
    ("ga.ones(3, chunks=10**30)", "np.ones(3)"),
    ("v == None", "np.zeros(5, bool)"),
    ("v != None", "np.ones(5, bool)"),
    ("None == x", "np.zeros((3, 4), bool)"),
    ("np.array([None in v, 3 in v, 7 in v])", "np.array([False, True, False])"),
    ("ga.zeros(3, dtype='S5')", "np.zeros(3, 'S5')"),
    ("ga.zeros(3, dtype='M8[s]')", "np.zeros(3, 'M8[s]')"),
    ("ga.asarray(np.arange(3.0).astype('>f8')) + 1", "np.arange(1.0, 4)"),
    ("np.array([x.item(5), v.item(3), v.item((1,)), x.sum().item()])", "np.array([1, 3, 1, 12.0])"),
    ("v // 0", "np.zeros(5, int)"),
    ("v + float('nan')", "np.full(5, np.nan)"),
    ("v * float('inf')", "np.array([np.nan, *[np.inf] * 4])"),
    ("ga.take(v, np.array([2**64 - 1], dtype='u8'), mode='wrap')", "np.array([(2**64 - 1) % 5])"),
    ("ga.map_blocks(lambda b: ga.asarray(b).sum().compute() + b, v, dtype=int)", "np.array([1, 2, 7, 8, 8])"),
    ("ga.map_blocks(lambda b: ga.asarray(b).persist().compute() + b, v, dtype=int)", "np.arange(0, 10, 2)"),
    ("np.vectorize(lambda n: n + 1)(v)", "np.arange(1, 6)"),
    ("ga.zeros(10**9, chunks=1).sum()", "np.float64(0)"),
    ("ga.arange(10**9, chunks=1).max()", "np.int64(10**9 - 1)"),
    ("ga.arange(10**9, chunks=7).sum()", "np.int64(10**9 * (10**9 - 1) // 2)"),
    ("ga.roll(ga.arange(10**9, chunks=1), 1)[:2]", "np.array([10**9 - 1, 0])"),
    ("ga.concatenate([ga.zeros(10**9, chunks=7)] * 3)[5:7]", "np.zeros(2)"),
    ("ga.zeros(10**9, chunks=1)[5:7] + 1", "np.ones(2)"),
]


@pytest.mark.parametrize(("code", "expected"), ACCEPTED, ids=[row[0] for row in ACCEPTED])
def test_taken_as_numpy_takes_it(code: str, expected: str) -> None:
    with in_time():
        got = written(code)
    wanted = eval(expected, {"np": np})
    np.testing.assert_array_equal(got, wanted)
    assert got.dtype == wanted.dtype


REDUCTIONS = ["sum", "prod", "any", "all", "min", "max", "argmin", "argmax", "mean", "std", "ptp", "nansum", "nanmin"]


@pytest.mark.parametrize("name", REDUCTIONS)
@pytest.mark.parametrize("axis", [None, 0, 1, 2])
@pytest.mark.filterwarnings("ignore:(Mean of empty|Degrees of freedom|invalid value|All-NaN)")
def test_axes_of_length_zero(name: str, axis: int | None) -> None:
    a = np.ones((2, 0, 3))
    views = [
        lambda a: a,
        lambda a: a[::-1, :, 1:],
        lambda a: a.T,
        lambda a: a[:, [], :] + 1,
        lambda a: a.swapaxes(0, 1),
    ]
    for view in views:
        try:
            wanted = getattr(np, name)(view(a), axis=axis)
        except ValueError:
            with pytest.raises(ValueError, match=r"zero-size|empty"):
                getattr(ga, name)(view(ga.asarray(a, chunks=1)), axis=axis).compute()
        else:
            got = getattr(ga, name)(view(ga.asarray(a, chunks=1)), axis=axis).compute()
            np.testing.assert_array_equal(got, wanted)
            assert got.dtype == wanted.dtype


def test_a_function_never_changes_what_others_read() -> None:
    def worse(block: Any) -> Any:
        block += 1
        return block

    mine = np.ones((6, 6))
    for x in (ga.asarray(mine, chunks=3), ga.asarray(mine, chunks=3).persist(), ga.ones((6, 6), chunks=3) * 1):
        y = ga.map_blocks(worse, x, dtype=float)
        with pytest.raises(ga.errors.BlockFunctionError, match=r"read-only.*block\.copy\(\)"):
            ga.compute(x, y)
        assert (x.compute() == 1).all()
        assert (mine == 1).all()
    with ga.config.set(device="fake"):  # whose memory cannot be made read-only
        x = (ga.ones((6, 6), chunks=3) * 1).persist()
        assert (ga.map_blocks(worse, x, dtype=float).compute() == 2).all()
        assert (x.compute() == 1).all()


def test_results_are_nobodys_memory() -> None:
    mine = np.arange(6.0)
    x = ga.asarray(mine)
    for y in (x, x.persist(), x[::-1], ga.map_blocks(lambda b: b, x, dtype=float)):
        y.compute()[:] = 7
    np.testing.assert_array_equal(mine, np.arange(6.0))


@pytest.mark.parametrize("way", ["pickle", "copy", "deepcopy"])
def test_copies(way: str) -> None:
    mine = np.arange(6.0)
    x = ga.asarray(mine, chunks=2)[::-1] + ga.random.default_rng(0).random(6) * ga.asarray(mine).sum()
    made = {"pickle": lambda a: pickle.loads(pickle.dumps(a)), "copy": copy.copy, "deepcopy": copy.deepcopy}[way](x)
    np.testing.assert_array_equal(made.compute(), x.compute())
    assert made.chunks == x.chunks
    before = x.compute()
    made[0] = 99
    np.testing.assert_array_equal(x.compute(), before)
    if way == "pickle":  # it does not look at the original's data
        made = pickle.loads(pickle.dumps(x))
        mine[:] = 0
        np.testing.assert_array_equal(made.compute(), before)


def test_copies_of_what_is_kept() -> None:
    x = ga.arange(6, chunks=2).persist()
    y, z = copy.deepcopy(x), copy.copy(x)
    del x
    gc.collect()
    np.testing.assert_array_equal((y + z).compute(), np.arange(0, 12, 2))


def test_deep_graphs() -> None:
    x = ga.ones(3)
    with in_time(60):
        for _ in range(5000):
            x = x + 1
        y = pickle.loads(pickle.dumps(x))
        assert float(x.sum()) == float(copy.deepcopy(y).sum()) == 15_003


def test_wide_graphs() -> None:
    parts = [ga.full(3, i) for i in range(5000)]
    with in_time(30):
        assert float(ga.concatenate(parts).sum()) == 3 * 4999 * 2500
        np.testing.assert_array_equal(ga.stack(parts)[::1000, 0].compute(), np.arange(0, 5000, 1000))


def test_many_threads_compute_at_once() -> None:
    x = ga.ones((300, 300), chunks=50) + 1
    with ThreadPoolExecutor(8) as pool, in_time(60):
        sums = list(pool.map(lambda k: float((x * k).sum()), range(32)))
    assert sums == [180_000.0 * k for k in range(32)]


def test_threads_that_compile_the_same_kernel(tmp_path: Path) -> None:
    x = ga.arange(200_000, chunks=50_000) * 1.0
    with ga.config.set(compile="always", cache_directory=tmp_path, threads=3), in_time(60):
        run = contextvars.copy_context
        with ThreadPoolExecutor(4) as pool:
            sums = [pool.submit(run().run, lambda: float((x * 2 + 3).sum())) for _ in range(4)]
            assert {s.result() for s in sums} == {200_000 * 199_999 + 600_000.0}


@pytest.mark.parametrize("damage", ["garbage", "a file", "unwritable"])
def test_a_cache_folder_that_is_no_use(tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "cache"
    code = f"""
import gpuarray as ga
ga.config.set(compile="always", cache_directory={str(folder)!r}, progress=False)
print(float((ga.arange(100_000, chunks=30_000) * 2.0 + 1).sum()))
"""
    if damage == "a file":
        folder.write_text("no folder")
    else:
        folder.mkdir()
        if damage == "garbage":
            subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=180)
            files = [f for f in folder.rglob("*") if f.is_file()]
            assert files
            for file in files:
                file.write_bytes(b"garbage" * 100)
        else:
            folder.chmod(0o555)
    command = [sys.executable, "-c", code]
    if damage == "unwritable" and os.access(folder, os.W_OK):  # root may write anywhere, until it gives that up
        if shutil.which("setpriv") is None:
            pytest.skip("permissions do not hold for this user")
        command = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", *command]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180)
    assert (done.stdout, done.stderr) == ("10000000000.0\n", "")
    if damage == "unwritable":
        assert list(folder.iterdir()) == []


def test_settings_that_change_between_building_and_computing() -> None:
    x = ga.arange(10**6, chunks=1000)
    y = x + 1
    with ga.config.set(threads=1, host_memory="1 MB", chunk_bytes=10):
        assert int(y.sum()) == 500_000_500_000
        assert y.chunks == x.chunks


def test_kept_chunks_outlive_their_executor() -> None:
    with ga.config.set(host_memory="1 MB"):
        x = (ga.arange(10**6, chunks=1000) + 1).persist()  # eight times what fits: spilled
        assert int(x.sum()) == 500_000_500_000
    for k in range(2, 14):
        with ga.config.set(host_memory=f"{k} MB"):
            assert int(ga.ones(1000, dtype=int, chunks=10).sum()) == 1000
    with ga.config.set(host_memory="1 MB"):
        assert int(x.sum()) == 500_000_500_000
    assert int((x * 2).max()) == 2_000_000


def test_no_arrays_are_no_results() -> None:
    assert ga.compute() == ga.persist() == ()
