"""The text of CUDA kernels that merge states as neighbours in a binary tree: the tree of `reduction.merge_tree`.

`merge_kernel` is for states that lie side by side, which the lanes of a warp merge; `stack_kernel` for states of which
each lies a row of cells after the one before, where a thread merges those of a cell.
"""

from __future__ import annotations

import functools

from gpuarray.kernels.cuda.offline import Kernel
from gpuarray.kernels.cuda.reduction_code import THREADS
from gpuarray.kernels.cuda.scalar_code import indented, kernel_text
from gpuarray.kernels.cuda.state_code import StateWriter
from gpuarray.kernels.row import DType

STACK = 8
"""States of a cell that a thread of `stack_kernel` merges; a power of two, so that passes make one binary tree."""


@functools.lru_cache(1024)
def merge_kernel(reduction: str, operand: DType, lanes: int = 32) -> Kernel:
    """A kernel ``(places of new states, places of states, states in a row, groups in a row, groups)``.

    Every row of states along the last axis becomes one of ``-(-m // lanes)``; neighbours merge in pairs, and the pairs.
    """
    writer = StateWriter(reduction, operand)
    parameters = writer.places() + [(f"P{k}", "uint64") for k in range(writer.count)]
    parameters += [("m", "int64"), ("pieces", "int64"), ("total", "int64")]
    inner = [
        "row = quotient(g, pieces)",
        f"begin = (g - row * pieces) * {lanes}",
        f"n = min(np.int64({lanes}), m - begin)",
        "if g >= total:",
        "    n = np.int64(0)",
        *writer.start(),
        "if lane < n:",
        *[f"    s{k} = load({name}, P{k}, row * m + begin + lane)" for k, name in enumerate(writer.types)],
    ]
    distance = 1
    while distance < lanes:
        inner += [f"t{k} = shuffle_down(s{k}, {distance})" for k in range(writer.count)]
        inner.append(f"if ((lane & {2 * distance - 1}) == 0) & (lane + {distance} < n):")
        inner += indented(writer.merge())
        distance *= 2
    inner += ["if (lane == 0) & (g < total):", *indented(writer.store("g"))]
    shift = lanes.bit_length() - 1
    body = [
        f"lane = np.int64(cuda.threadIdx.x) & {lanes - 1}",
        f"groups = np.int64(cuda.blockDim.x) >> {shift}",
        "first = np.int64(cuda.blockIdx.x) * groups",
        "while first < total:",
        f"    g = first + (np.int64(cuda.threadIdx.x) >> {shift})",
        *indented(inner),
        "    first += np.int64(cuda.gridDim.x) * groups",
    ]
    text = kernel_text(f"{reduction} of {operand}, merge by {lanes}", parameters, body)
    return Kernel(text, tuple(t for _, t in parameters), THREADS, 2)


@functools.lru_cache(1024)
def stack_kernel(reduction: str, operand: DType) -> Kernel:
    """A kernel ``(places of new states, places of states, m, inner, groups of a cell, groups)``.

    States have the shape (outer, m, inner) and become (outer, groups of a cell, inner): neighbours along the middle
    axis merge in pairs, the pairs, and theirs.
    """
    writer = StateWriter(reduction, operand)
    parameters = writer.places() + [(f"P{k}", "uint64") for k in range(writer.count)]
    parameters += [("m", "int64"), ("inner", "int64"), ("pieces", "int64"), ("total", "int64")]
    work = [
        "rest = quotient(g, inner)",
        "column = g - rest * inner",
        "row = quotient(rest, pieces)",
        f"begin = (rest - row * pieces) * {STACK}",
        f"n = min(np.int64({STACK}), m - begin)",
        "at = (row * m + begin) * inner + column",
    ]
    for u in range(STACK):
        work += writer.start(f"_{u}")
    for u in range(STACK):
        work.append(f"if {u} < n:")
        work += [f"    s{k}_{u} = load({name}, P{k}, at + {u} * inner)" for k, name in enumerate(writer.types)]
    distance = 1
    while distance < STACK:
        for u in range(0, STACK, 2 * distance):
            work.append(f"if {u + distance} < n:")
            work += [f"    t{k} = s{k}_{u + distance}" for k in range(writer.count)]
            work += indented(writer.merge(f"_{u}"))
        distance *= 2
    work += [f"store({name}, S{k}, g, s{k}_0)" for k, name in enumerate(writer.types)]
    body = [
        "g = np.int64(cuda.blockIdx.x) * np.int64(cuda.blockDim.x) + np.int64(cuda.threadIdx.x)",
        "while g < total:",
        *indented(work),
        "    g += np.int64(cuda.gridDim.x) * np.int64(cuda.blockDim.x)",
    ]
    text = kernel_text(f"{reduction} of {operand}, merge of rows by {STACK}", parameters, body)
    return Kernel(text, tuple(t for _, t in parameters), THREADS, 2)
