"""Random programs that run on gpuarray and on NumPy alike."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np

import gpuarray as ga

DTYPES = ["bool", "int8", "uint8", "int16", "int32", "int64", "uint64", "float32", "float64", "complex64", "complex128"]


class Program:
    """A pool of pairs (lazy array, NumPy array) that grows by random operations; `text` is the program that was run."""

    def __init__(self, seed: int, steps: int | None = None) -> None:
        self.r = random.Random(seed)
        self.g = np.random.default_rng(seed)
        self.text: list[str] = [f"seed {seed}"]
        self.pool: list[tuple[ga.NDArray, np.ndarray[Any, Any]]] = []
        for _ in range(self.r.randint(1, 3)):
            self.leaf()
        operations = list(OPERATIONS)
        for _ in range(self.r.randint(1, 8) if steps is None else steps):
            name = self.r.choice(operations)
            x, a = self.r.choice(self.pool)
            with np.errstate(all="ignore"):
                made = OPERATIONS[name](self, x, a)
            if made is not None and made[1].size <= 20_000 and made[1].ndim <= 5:
                self.add(name, *made)

    @property
    def result(self) -> tuple[ga.NDArray, np.ndarray[Any, Any]]:
        return self.pool[-1]

    def add(self, text: str, x: ga.NDArray, a: Any) -> None:
        self.text.append(f"v{len(self.pool)} = {text} {x.shape} {x.dtype}")
        self.pool.append((x, np.asarray(a)))

    def leaf(self) -> None:
        shape = tuple(self.r.choice([0, 1, 1, 2, 3, 5, 8, 13, 30]) for _ in range(self.r.choice([0, 1, 1, 2, 2, 2, 3])))
        if 0 in shape and self.r.random() < 0.8:
            shape = tuple(n or 4 for n in shape)
        dtype = np.dtype(self.r.choice([*DTYPES, "float64", "float64", "int64", "float32"]))
        a = self.values(shape, dtype)
        chunks = tuple(self.chunking(n) for n in shape)
        self.add(f"asarray(chunks={chunks})", ga.asarray(a, chunks=chunks), a)

    def values(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
        if dtype.kind == "b":
            return self.g.random(shape) < 0.5
        if dtype.kind in "iu":
            low = 0 if dtype.kind == "u" else -9
            return self.g.integers(low, 10, shape).astype(dtype)
        a = self.g.standard_normal(shape)
        if dtype.kind == "c":
            a = a + 1j * self.g.standard_normal(shape)
        return np.asarray(a).astype(dtype)

    def chunking(self, n: int) -> Any:
        if n and self.r.random() < 0.3:
            cuts = sorted(self.r.sample(range(1, n), min(n - 1, self.r.randint(0, 3))))
            return tuple(b - a for a, b in zip([0, *cuts], [*cuts, n], strict=True))
        return self.r.randint(1, max(1, n))

    def slice(self, n: int) -> slice:
        step = self.r.choice([1, 1, 1, 2, 3, -1, -2])
        lo, hi = sorted((self.r.randint(-n - 1, n + 1), self.r.randint(-n - 1, n + 1)))
        if step < 0:
            lo, hi = hi, lo
        return slice(self.r.choice([lo, None]), self.r.choice([hi, None]), step)

    def axes(self, ndim: int) -> Any:
        if ndim == 0 or self.r.random() < 0.3:
            return None
        picked = tuple(self.r.sample(range(-ndim, 0), self.r.randint(1, ndim)))
        return picked[0] if len(picked) == 1 else picked

    def partner(self, a: np.ndarray[Any, Any]) -> tuple[ga.NDArray, np.ndarray[Any, Any]] | None:
        fits = []
        for y, b in self.pool:
            try:
                np.broadcast_shapes(a.shape, b.shape)
            except ValueError:
                continue
            fits.append((y, b))
        return self.r.choice(fits) if fits else None


Made = tuple[ga.NDArray, Any] | None
Operation = Callable[[Program, ga.NDArray, np.ndarray[Any, Any]], Made]
OPERATIONS: dict[str, Operation] = {}


def operation(function: Operation) -> Operation:
    OPERATIONS[function.__name__] = function
    return function


@operation
def unary(p: Program, x: ga.NDArray, a: np.ndarray[Any, Any]) -> Made:
    name = p.r.choice(["negative", "absolute", "sin", "exp", "sqrt", "square", "isnan", "sign", "floor", "tanh"])
    if (a.dtype.kind == "b" and name in ("negative", "sign")) or (a.dtype.kind == "c" and name == "floor"):
        return None
    if name in ("exp", "square", "sin", "sqrt") and a.size and np.max(np.abs(a)) > 50:
        return None
    return getattr(ga, name)(x), getattr(np, name)(a)


@operation
def scalar(p: Program, x: ga.NDArray, a: np.ndarray[Any, Any]) -> Made:
    s = p.r.choice([2, 3, 0.5, -1.5, True, 1 + 2j])
    name = p.r.choice(["add", "subtract", "multiply", "rsubtract"])
    if a.dtype.kind == "b" and isinstance(s, bool):
        return None
    if name == "rsubtract":
        return s - x, s - a
    return getattr(ga, name)(x, s), getattr(np, name)(a, s)


@operation
def binary(p: Program, x: ga.NDArray, a: np.ndarray[Any, Any]) -> Made:
    other = p.partner(a)
    name = p.r.choice(["add", "multiply", "maximum", "less", "not_equal", "subtract"])
    if other is None or (name == "subtract" and a.dtype.kind == other[1].dtype.kind == "b"):
        return None
    return getattr(ga, name)(x, other[0]), getattr(np, name)(a, other[1])


@operation
def where(p: Program, x: ga.NDArray, a: np.ndarray[Any, Any]) -> Made:
    other = p.partner(a)
    return None if other is None else (ga.where(x != 0, other[0], 1.0), np.where(a != 0, other[1], 1.0))


@operation
def basic_index(p: Program, x: ga.NDArray, a: np.ndarray[Any, Any]) -> Made:
    key: list[Any] = []
    for n in a.shape:
        kind = p.r.random()
        key.append(p.r.randint(-n, n - 1) if n and kind < 0.15 else slice(None) if kind < 0.3 else p.slice(n))
        if p.r.random() < 0.1:
            key.append(None)
    while key and p.r.random() < 0.2:
        key.pop()
    if p.r.random() < 0.2 and all(k is None or isinstance(k, slice) for k in key):
        key.insert(0, ...)
    return x[tuple(key)], a[tuple(key)]


@operation
def array_index(p: Program, x: ga.NDArray, a: np.ndarray[Any, Any]) -> Made:
    if a.ndim == 0 or 0 in a.shape:
        return None
    axis = p.r.randrange(a.ndim)
    n = a.shape[axis]
    size = p.r.choice([(), (3,), (2, 3), (0,)])
    index = p.g.integers(-n, n, size)
    key: list[Any] = [p.slice(m) if p.r.random() < 0.4 else slice(None) for m in a.shape]
    key[axis] = index
    if a.ndim > 1 and p.r.random() < 0.4:
        second = (axis + 1) % a.ndim
        key[second] = p.g.integers(-a.shape[second], a.shape[second], p.r.choice([size, ()]))
    return x[tuple(key)], a[tuple(key)]


@operation
def mask(p: Program, x: ga.NDArray, a: np.ndarray[Any, Any]) -> Made:
    if a.dtype.kind == "c":
        return None
    return x[x > 0], a[a > 0]


@operation
def assign(p: Program, x: ga.NDArray, a: np.ndarray[Any, Any]) -> Made:
    y, b = ga.asarray(x).copy(), a.copy()
    key = tuple(p.slice(n) for n in a.shape)
    if p.r.random() < 0.3 and a.dtype.kind != "c":
        y[y > 0] = 1
        b[b > 0] = 1
    elif a.ndim and a.shape[0] and p.r.random() < 0.3:
        index = p.g.integers(0, a.shape[0], 3)
        value = np.asarray(p.g.integers(0, 5, a[index].shape)).astype(a.dtype)
        for i, v in zip(index, value, strict=True):  # the last one wins
            b[i] = v
        y[index] = value
    else:
        y[key] = b[key] * 0
        b[key] = b[key] * 0
    return y, b


@operation
def transpose(p: Program, x: ga.NDArray, a: np.ndarray[Any, Any]) -> Made:
    order = list(range(a.ndim))
    p.r.shuffle(order)
    return x.transpose(order), a.transpose(order)


@operation
def reshape(p: Program, x: ga.NDArray, a: np.ndarray[Any, Any]) -> Made:
    n, shape = a.size, []
    while n > 1 and len(shape) < 4:
        d = p.r.choice([k for k in range(1, min(n, 40) + 1) if n % k == 0])
        shape.append(d)
        n //= max(1, d)
    shape = [*shape, n] if a.size else [3, 0]
    p.r.shuffle(shape)
    return x.reshape(tuple(shape)), a.reshape(tuple(shape))


@operation
def rechunk(p: Program, x: ga.NDArray, a: np.ndarray[Any, Any]) -> Made:
    return x.rechunk(tuple(p.chunking(n) for n in a.shape)), a


@operation
def concatenate(p: Program, x: ga.NDArray, a: np.ndarray[Any, Any]) -> Made:
    if a.ndim == 0:
        return None
    axis = p.r.randrange(a.ndim)
    fits = [
        (y, b)
        for y, b in p.pool
        if b.ndim == a.ndim and all(m == n or k == axis for k, (m, n) in enumerate(zip(a.shape, b.shape, strict=True)))
    ]
    y, b = p.r.choice(fits)
    return ga.concatenate([x, y, x], axis=axis), np.concatenate([a, b, a], axis=axis)


@operation
def reduce(p: Program, x: ga.NDArray, a: np.ndarray[Any, Any]) -> Made:
    name = p.r.choice(["sum", "max", "min", "any", "all", "mean", "var", "prod", "count_nonzero"])
    axis, keepdims = p.axes(a.ndim), p.r.random() < 0.5
    if (a.dtype.kind == "c" and name in ("max", "min")) or (a.size == 0 and name in ("max", "min", "mean", "var")):
        return None
    if name == "prod" and a.size and (a.dtype.kind in "fc" and np.max(np.abs(a)) > 20):
        return None
    return getattr(ga, name)(x, axis=axis, keepdims=keepdims), getattr(np, name)(a, axis=axis, keepdims=keepdims)


@operation
def arg(p: Program, x: ga.NDArray, a: np.ndarray[Any, Any]) -> Made:
    if a.size == 0 or a.dtype.kind in "fc":  # equal floats up to rounding may swap
        return None
    axis = p.r.choice([None, *range(a.ndim)])
    return ga.argmax(x, axis=axis), np.argmax(a, axis=axis)


@operation
def cumulative(p: Program, x: ga.NDArray, a: np.ndarray[Any, Any]) -> Made:
    axis = p.r.choice([None, *range(a.ndim)])
    return ga.cumsum(x, axis=axis), np.cumsum(a, axis=axis)


@operation
def matmul(p: Program, x: ga.NDArray, a: np.ndarray[Any, Any]) -> Made:
    if a.ndim < 2 or a.dtype.kind == "b":
        return None
    return x @ x.mT, a @ a.mT


@operation
def map_blocks(p: Program, x: ga.NDArray, a: np.ndarray[Any, Any]) -> Made:
    return ga.map_blocks(_twice, x, dtype=x.dtype), _twice(a)


def _twice(block: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return block | block if block.dtype == bool else block + block


@operation
def persist(p: Program, x: ga.NDArray, a: np.ndarray[Any, Any]) -> Made:
    return x.persist(), a
