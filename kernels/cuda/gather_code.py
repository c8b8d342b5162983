"""The text of CUDA kernels that copy parts of several arrays to where they belong, in one launch.

The table of parts is in the kernel's parameters: addresses, lengths and steps. A row of blocks copies one part, in
words of up to 16 bytes whatever the dtype.
"""

from __future__ import annotations

import functools

from gpuarray.kernels.cuda.offline import Kernel
from gpuarray.kernels.cuda.scalar_code import indented, kernel_text

THREADS = 256
IN_FLIGHT = 4
MOST_PARTS = 8
"""Of one launch."""


def _names(axes: int) -> list[tuple[str, str]]:
    """What the table says of a part."""
    lengths = [(f"l{a}", "int64") for a in range(1, axes)]
    steps = [(f"s_{name}_{a}", "int64") for name in "op" for a in range(axes)]
    return [("o", "uint64"), ("p", "uint64"), ("n", "int64"), *lengths, *steps]


@functools.cache
def gather_kernel(nbytes: int, axes: int, parts: int) -> Kernel:
    """A kernel whose parameters are, for each part, ``(target, source, words, lengths of axes but the first, steps)``.

    A word has `nbytes`, a power of two up to 16. Steps are bytes, of the target along all axes, then of the source.
    Block y is the part; the blocks along x stride over its words. Targets do not overlap sources.
    """
    names = _names(axes)
    parameters = [(f"{name}{'_' * name[-1].isdigit()}{k}", kind) for k in range(parts) for name, kind in names]
    choice: list[str] = []
    for k in range(parts):
        choice.append(f"{'elif' if k else 'if'} part == {k}:" if k < parts - 1 or not k else "else:")
        choice += [f"    {name} = {name}{'_' * name[-1].isdigit()}{k}" for name, _ in names]
    if parts == 1:
        choice = [line.strip() for line in choice[1:]]
    word, length = ("uint64", 2) if nbytes == 16 else (f"uint{8 * nbytes}", 1)
    work = []
    for count in (IN_FLIGHT, 1):
        inner = []
        for u in range(count):
            inner.append(f"rest = i + {u} * step" if u else "rest = i")
            for a in range(axes - 1, 0, -1):
                inner += [f"next = quotient(rest, l{a})", f"r{a} = rest - next * l{a}", "rest = next"]
            inner.append("r0 = rest")
            for name in "op":
                inner.append(f"{name}_{u} = " + " + ".join(f"r{a} * s_{name}_{a}" for a in range(axes)))
            if length > 1:
                inner.append(f"x_{u} = read_vector(np.{word}, {length}, ahead(p, p_{u}), 0)")
            else:
                inner.append(f"x_{u} = read(np.{word}, ahead(p, p_{u}), 0)")
        for u in range(count):
            if length > 1:
                inner.append(f"store_vector(np.{word}, {length}, ahead(o, o_{u}), 0, x_{u})")
            else:
                inner.append(f"store(np.{word}, ahead(o, o_{u}), 0, x_{u})")
        work += [f"while i + {count - 1} * step < n:" if count > 1 else "while i < n:", *indented(inner)]
        work.append(f"    i += {count} * step")
    body = [
        *(["part = np.int64(cuda.blockIdx.y)"] if parts > 1 else []),
        *choice,
        "step = np.int64(cuda.gridDim.x) * np.int64(cuda.blockDim.x)",
        "i = np.int64(cuda.blockIdx.x) * np.int64(cuda.blockDim.x) + np.int64(cuda.threadIdx.x)",
        *work,
    ]
    text = kernel_text(f"gather of {parts} parts: {axes} axes, words of {nbytes} bytes", parameters, body)
    return Kernel(text, tuple(t for _, t in parameters), THREADS, 2)
