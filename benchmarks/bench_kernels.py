"""Compiled CPU kernels against loops written by hand, on one core: `python -m benchmarks.bench_kernels [--edge 8192]`.

Each line is a ratio of two pieces of work timed in turns in this run, so that a busy machine slows both; seconds are
the processor's, the best of several. Arrays are square, and larger than any cache where the machine has the memory.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from gpuarray.kernels import elementwise, reduce
from gpuarray.kernels.program import Affine, Builder, Program
from gpuarray.kernels.stencils import compiled as stencils
from gpuarray.kernels.stencils.program import Edge, StencilProgram, Tap

Work = Callable[[], Any]


@njit(nogil=True, fastmath=True)
def read(a: Any) -> Any:
    """The sum of a flat array in any order that the compiler likes: as fast as memory can be read."""
    total = 0.0
    for k in range(a.size):
        total += a[k]
    return total


@njit(nogil=True, fastmath=True)
def read_two(a: Any, b: Any) -> Any:
    total = 0.0
    for k in range(a.size):
        total += a[k] + b[k]
    return total


@njit(nogil=True, error_model="numpy")
def chain(a: Any, b: Any, out: Any) -> None:
    for k in range(out.size):
        out[k] = (a[k] * 2.5 + b[k]) * (a[k] - b[k]) + 1.0


@njit(nogil=True, error_model="numpy")
def five_points(a: Any, out: Any, own: float, other: float) -> None:
    for i in range(1, a.shape[0] - 1):
        for k in range(1, a.shape[1] - 1):
            out[i, k] = a[i, k] * own + (((a[i - 1, k] + a[i + 1, k]) + a[i, k - 1]) + a[i, k + 1]) * other


def race(ours: Work, other: Work, rounds: int = 5) -> tuple[float, float]:
    """Best processor seconds of each, taken in turns after a warm-up."""
    best = [np.inf, np.inf]
    ours(), other()
    for _ in range(rounds):
        for k, work in enumerate((ours, other)):
            start = time.thread_time()
            work()
            best[k] = min(best[k], time.thread_time() - start)
    return best[0], best[1]


def program(write: Callable[..., int], *kinds: tuple[str, str]) -> Program:
    b = Builder()
    values = [b.input(kind, dtype) for kind, dtype in kinds]  # type: ignore[arg-type]
    return b.build(write(b, *values))


A, S, INDEX, K = ("array", "float64"), ("scalar", "float64"), ("index", "int64"), ("scalar", "uint64")


def report(name: str, ours: float, other: float, target: float, elements: int) -> None:
    ratio = other / ours
    below = "" if ratio >= target else "  BELOW"
    print(f"{name:<44}{elements / ours / 1e9:8.2f} G/s{ratio:8.2f}  (target {target:.2f}){below}")


def rate(name: str, ours: float, target: float, elements: int) -> None:
    value = elements / ours / 1e9
    print(f"{name:<44}{value:8.2f} G/s          (target {target:.2f} G/s){'' if value >= target else '  BELOW'}")


def reductions(x: Any, y: Any) -> None:
    n = x.shape[0]
    both, rows, columns = ((0, n), (0, n)), (None, (0, n)), ((0, n), None)
    squares = program(lambda b, a, c, s: b.step("square", b.step("add", b.step("multiply", a, s), c)), A, A, S)
    same = program(lambda b, a: a, A)
    flat, other = x.reshape(-1), y.reshape(-1)
    pairs: list[tuple[str, Work, float]] = [
        ("sum", lambda: reduce.run(same, "sum", (x,), x.shape, both), 0.9),
        ("sum(axis=1)", lambda: reduce.run(same, "sum", (x,), x.shape, rows), 0.85),
        ("sum(axis=0)", lambda: reduce.run(same, "sum", (x,), x.shape, columns), 0.85),
        ("sum, Fortran order", lambda: reduce.run(same, "sum", (x.T,), x.shape, both), 0.85),
        ("var", lambda: reduce.run(same, "var", (x,), x.shape, both), 0.7),
        ("var(axis=0)", lambda: reduce.run(same, "var", (x,), x.shape, columns), 0.7),
        ("max", lambda: reduce.run(same, "max", (x,), x.shape, both), 0.85),
    ]
    for name, ours, target in pairs:
        report(name, *race(ours, lambda: read(flat)), target, x.size)
    ours = lambda: reduce.run(squares, "sum", (x, y, 2.0), x.shape, both)  # noqa: E731
    report("((a * 2 + b)**2).sum()", *race(ours, lambda: read_two(flat, other)), 0.9, x.size)


def elementwise_work(x: Any, y: Any, out: Any) -> None:
    def write(b: Builder, a: int, c: int, s: int, t: int) -> int:
        left = b.step("add", b.step("multiply", a, s), c)
        return b.step("add", b.step("multiply", left, b.step("subtract", a, c)), t)

    work, add = program(write, A, A, S, S), program(lambda b, a, c: b.step("add", a, c), A, A)
    flat = (x.reshape(-1), y.reshape(-1), out.reshape(-1))
    ours = lambda: elementwise.run(work, (x, y, 2.5, 1.0), x.shape, out)  # noqa: E731
    report("(a * 2.5 + b) * (a - b) + 1", *race(ours, lambda: chain(*flat)), 0.9, x.size)
    ours = lambda: elementwise.run(add, (x, x.T), x.shape, out)  # noqa: E731
    report("x + x.T, of NumPy's speed", *race(ours, lambda: np.add(x, x.T, out=out), 3), 2.0, x.size)


def random_work(n: int, out: Any) -> None:
    draw = "random_uniform"
    exp = program(lambda b, i, k, s: b.step("exp", b.step(draw, k, s, i)), INDEX, K, K)
    count = n * n
    ours = lambda: reduce.run(exp, "sum", (Affine(0, (1,)), 1, 2), (count,), ((0, count),))  # noqa: E731
    rate("exp(uniform).sum()", race(ours, ours, 2)[0], 0.5, count)
    turned = program(
        lambda b, i, j, k, s: b.step("add", b.step(draw, k, s, i), b.step(draw, k, s, j)), INDEX, INDEX, K, K
    )
    operands = (Affine(0, (n, 1)), Affine(0, (1, n)), 1, 2)
    ours = lambda: elementwise.run(turned, operands, (n, n), out)  # noqa: E731
    rate("x + x.T of uniform x", race(ours, ours, 2)[0], 0.25, count)


def star(ndim: int) -> StencilProgram:
    """Own value and the neighbours along every axis."""
    b = Builder()
    offsets = [tuple(side if a == axis else 0 for a in range(ndim)) for axis in range(ndim) for side in (-1, 1)]
    own, *around = (b.input("array", "float64") for _ in range(2 * ndim + 1))
    total = around[0]
    for value in around[1:]:
        total = b.step("add", total, value)
    weights = [b.input("scalar", "float64") for _ in range(2)]
    result = b.step("add", b.step("multiply", own, weights[0]), b.step("multiply", total, weights[1]))
    return StencilProgram(b.build(result), tuple(Tap(0, o) for o in ((0,) * ndim, *offsets)), ("float64",), ndim)


def sweeps(x: Any, out: Any) -> None:
    """Diffusion with a fixed edge, of one step and of many."""

    def sweep(a: Any, into: Any, steps: int) -> None:
        scalars = np.zeros(steps, [("own", "f8"), ("other", "f8")])
        scalars["own"], scalars["other"] = 0.5, 0.25 / a.ndim
        edges = (((Edge("fixed"), Edge("fixed")),) * a.ndim,)
        box, start = tuple(map(range, a.shape)), [(0,) * a.ndim]
        stencils.sweep(star(a.ndim), edges, scalars, a.shape, box, [a], start, [into])

    n = min(x.shape[0], 4096)
    a, target = x[:n, :n].copy(), out[:n, :n].copy()
    one, by_hand = race(lambda: sweep(a, target, 1), lambda: five_points(a, target, 0.5, 0.125))
    report("5 points, a step", one, by_hand, 0.95, a.size)
    many, _ = race(lambda: sweep(a, target, 50), lambda: None, 2)
    report("5 points, 50 steps, of a step's rate", many, 50 * one, 2.2, 50 * a.size)
    small, small_target = a[:400, :400].copy(), np.empty((400, 400))
    rate(
        "5 points, 400 x 400",
        race(lambda: sweep(small, small_target, 2000), lambda: None, 2)[0],
        1.6,
        2000 * small.size,
    )
    edge = round(a.size ** (1 / 3))
    cube, cube_target = (v.reshape(-1)[: edge**3].reshape((edge,) * 3) for v in (a, target))
    one, _ = race(lambda: sweep(cube, cube_target, 1), lambda: None)
    many, _ = race(lambda: sweep(cube, cube_target, 24), lambda: None, 2)
    report("7 points, 24 steps, of a step's rate", many, 24 * one, 1.3, 24 * cube.size)


def overhead() -> None:
    x = np.arange(10.0)
    work = program(lambda b, a, s: b.step("multiply", a, s), A, S)
    for name, ours in (
        ("elementwise", lambda: elementwise.run(work, (x, 2.0), (10,))),
        ("reduce", lambda: reduce.run(work, "sum", (x, 2.0), (10,), ((0, 10),))),
    ):
        ours()
        times = []
        for _ in range(20):
            start = time.thread_time()
            for _ in range(500):
                ours()
            times.append((time.thread_time() - start) / 500)
        print(f"{name + ' call of 10 elements':<44}{min(times) * 1e6:8.1f} us          (target 15 us)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--edge", type=int, default=8192, help="length of a side of the arrays (default 8192: 512 MiB)")
    n = parser.parse_args().edge
    overhead()
    x, y, out = (np.random.default_rng(k).random((n, n)) for k in range(3))
    reductions(x, y)
    elementwise_work(x, y, out)
    random_work(min(n, 4096), out[: min(n, 4096), : min(n, 4096)])
    sweeps(x, out)


if __name__ == "__main__":
    main()
