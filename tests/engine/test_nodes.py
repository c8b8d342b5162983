"""Every node computes any region of its result from the regions it asks of its inputs."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gpuarray.graph.blocks import MapBlocks
from gpuarray.graph.contract import MatMul
from gpuarray.graph.elementwise import Map
from gpuarray.graph.grid import Lengths, Region, as_slices, region_at, shape_of
from gpuarray.graph.leaves import Const, Index, Source
from gpuarray.graph.move import Assign, Concat, Rechunk, Reshape
from gpuarray.graph.node import Node, toposort
from gpuarray.graph.reduce import Reduce
from gpuarray.graph.scan import Scan
from gpuarray.graph.scatter import Compress, Scatter
from gpuarray.graph.select import Indices, Select
from gpuarray.kernels import backends
from gpuarray.kernels.errors import BlockFunctionError
from gpuarray.optimize.fuse import fuse
from gpuarray.optimize.reductions import lower
from gpuarray.plan.block import expand, needs
from gpuarray.plan.compute import compute, read_sources
from gpuarray.plan.work import BlockWork
from gpuarray.readers import ArrayReader

BACKEND = backends.get("numpy")
G = np.random.default_rng(0)


def source(shape: tuple[int, ...], chunks: tuple[int, ...], dtype: str = "float64") -> tuple[Node, np.ndarray]:
    a = (G.random(shape) * 100).astype(dtype)
    cut = tuple(Lengths.regular(n, c) for n, c in zip(shape, chunks, strict=True))
    return Source(ArrayReader(a), a.shape, a.dtype, cut), a


def run(node: Node, region: Region) -> Any:
    (fused,) = fuse((node,), lambda program, elements: False)
    block = expand([(fused, region)])
    assert needs(block).total >= 0
    return compute(block, BACKEND, read_sources(block), {})[0]


def random_region(r: random.Random, shape: tuple[int, ...]) -> Region:
    region = []
    for n in shape:
        lo = r.randint(0, n)
        region.append(range(lo, r.randint(lo, n), r.choice([1, 1, 2, 3])))
    return tuple(region)


def select() -> tuple[Node, Any]:
    x, a = source((7, 9), (3, 4))
    return Select((4, 1, 7), ((2, range(6, -1, -1)), (0, range(1, 8, 2))), x), a[::-1, 1:8:2].T[:, None, :]


def take() -> tuple[Node, Any]:
    x, a = source((7, 9), (3, 4))
    return Select((5, 9), ((0, Indices(np.array([6, 0, 0, 3, 2]))), (1, range(9))), x), a[[6, 0, 0, 3, 2]]


def pointwise() -> tuple[Node, Any]:
    x, a = source((7, 9), (3, 4))
    i, j = np.array([6, 0, 0, 3]), np.array([8, 1, 1, 4])
    return Select((4,), ((0, Indices(i)), (0, Indices(j))), x), a[i, j]


def diagonal() -> tuple[Node, Any]:
    x, a = source((7, 9), (3, 4))
    return Select((7,), ((0, range(7)), (0, range(1, 8))), x), np.diagonal(a, 1)


def broadcast() -> tuple[Node, Any]:
    x, a = source((7,), (3,))
    return Select((2, 7, 3), ((1, range(7)),), x), np.broadcast_to(a[None, :, None], (2, 7, 3))


def fixed() -> tuple[Node, Any]:
    x, a = source((7, 9), (3, 4))
    return Select((9,), (3, (0, range(9))), x), a[3]


def elementwise() -> tuple[Node, Any]:
    x, a = source((7, 9), (3, 4))
    y, b = source((9,), (2,))
    product = Map("multiply", x.dtype, x, y)
    return Map("add", x.dtype, product, Const.of(1.5, np.dtype(float))), a * b + 1.5


def coordinates() -> tuple[Node, Any]:
    i, j = np.indices((5, 6))
    return Index((5, 6), 3, (10, -2), None), 3 + 10 * i - 2 * j


def concat() -> tuple[Node, Any]:
    (x, a), (y, b), (z, c) = source((3, 4), (2, 2)), source((0, 4), (1, 4)), source((5, 4), (2, 3))
    return Concat(0, x, y, z), np.concatenate([a, b, c])


def rechunk() -> tuple[Node, Any]:
    x, a = source((7, 9), (3, 4))
    return Rechunk((Lengths.of([5, 2]), Lengths.regular(9, 9)), x), a


def reshape_merge() -> tuple[Node, Any]:
    x, a = source((4, 6, 5), (2, 4, 3))
    return Reshape((24, 5), x), a.reshape(24, 5)


def reshape_split() -> tuple[Node, Any]:
    x, a = source((24, 5), (7, 2))
    return Reshape((2, 3, 4, 5), x), a.reshape(2, 3, 4, 5)


def reshape_mixed() -> tuple[Node, Any]:
    x, a = source((6, 10), (4, 3))
    return Reshape((4, 15), x), a.reshape(4, 15)


def assign() -> tuple[Node, Any]:
    (x, a), (v, b) = source((7, 9), (3, 4)), source((3, 4), (3, 4))
    expected = a.copy()
    expected[1:7:2, 0:8:2] = b
    return Assign((range(1, 7, 2), range(0, 8, 2)), x, v), expected


def scatter() -> tuple[Node, Any]:
    (x, a), (v, b) = source((7, 9), (3, 4)), source((5,), (5,))
    expected = a.copy()
    positions = np.array([3, 62, 3, 40, 0])
    for p, value in zip(positions, b, strict=True):
        expected.flat[p] = value
    return Scatter(Indices(positions), x, v), expected


def compress() -> tuple[Node, Any]:
    x, a = source((20,), (6,))
    mask = a > 50
    m = Source(ArrayReader(mask), (20,), np.dtype(bool), x.chunks)
    counts = tuple(int(mask[x.chunks[0].edge(k) : x.chunks[0].edge(k + 1)].sum()) for k in range(4))
    return Compress(x.chunks[0], counts, x, m), a[mask]


def reduction() -> tuple[Node, Any]:
    x, a = source((7, 9), (7, 9))
    return Reduce("sum", (1,), (), x), a.sum(1, keepdims=True)


def scan() -> tuple[Node, Any]:
    x, a = source((7, 9), (7, 9))
    return Scan("sum", 0, x.chunks[0], x.dtype, x), a.cumsum(0)


def matmul() -> tuple[Node, Any]:
    (x, a), (y, b) = source((2, 4, 9), (1, 2, 3)), source((9, 5), (3, 5))
    return MatMul(Lengths.regular(9, 4), x, y), a @ b


KINDS: list[Callable[[], tuple[Node, Any]]] = [
    select, take, pointwise, diagonal, broadcast, fixed, elementwise, coordinates, concat, rechunk,
    reshape_merge, reshape_split, reshape_mixed, assign, scatter, compress, reduction, scan, matmul,
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.__name__)
class TestEveryNode:
    def test_any_region(self, kind: Callable[[], tuple[Node, Any]]) -> None:
        node, expected = kind()
        node = lower(node) or node
        assert node.shape == expected.shape
        assert tuple(c.total for c in node.chunks) == node.shape
        r = random.Random(1)
        for _ in range(60):
            region = random_region(r, node.shape)
            result = run(node, region)
            assert result.shape == shape_of(region)
            assert result.dtype == node.dtype
            np.testing.assert_allclose(result, expected[as_slices(region)], err_msg=str(region))

    def test_whole_chunks_and_pickles(self, kind: Callable[[], tuple[Node, Any]]) -> None:
        import pickle

        node, expected = kind()
        node = lower(node) or node
        (fused,) = fuse((node,), lambda program, elements: False)
        for number in range(int(np.prod([len(c) for c in node.chunks]))):
            region = region_at(node.chunks, number)
            work = pickle.loads(pickle.dumps(BlockWork(1, number, ((fused, region),), (None,))))
            result = work.run(BACKEND, work.load(), {})
            (array,) = result.kept[1, 0, number]
            np.testing.assert_allclose(array, expected[as_slices(region)])
            assert array.base is None or array.base.nbytes == array.nbytes

    def test_equal_nodes_are_one(self, kind: Callable[[], tuple[Node, Any]]) -> None:
        node, _ = kind()
        assert type(node)(*node.args) is node

    def test_inputs_are_the_last_arguments(self, kind: Callable[[], tuple[Node, Any]]) -> None:
        node, _ = kind()
        for n in toposort(node, lower(node) or node):
            assert n.args[len(n.args) - len(n.inputs) :] == n.inputs
            assert n.with_inputs(*n.inputs) is n


def test_map_blocks_checks_what_the_function_returns() -> None:
    x, _ = source((6,), (3,))
    chunks = (Lengths.regular(6, 3),)
    node = MapBlocks(lambda b: b[:2], (), False, x.dtype, chunks, (chunks,), x)
    with pytest.raises(BlockFunctionError, match=r"returned shape \(2,\).*block \(1,\).*promised shape \(3,\)"):
        run(node, (range(3, 6),))


def test_constants_are_told_apart_by_their_bits() -> None:
    zero, minus = Const.of(0.0, np.dtype(float)), Const.of(-0.0, np.dtype(float))
    assert zero is not minus
    assert Const.of(np.nan, np.dtype(float)) is Const.of(np.nan, np.dtype(float))
