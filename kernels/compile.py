"""Programs to compiled CPU kernels.

There is one kernel form, the *evaluator*: it computes a program over a box of elements and writes each output to a
pointer. Elementwise work points it at the result; a reduction points it at a block of L1 cache and folds the block, or
has one that folds in the same loop (`gpuarray.kernels.fused_code`). It is one flat generated function,
``void kernel(int64)``, whose argument is the address of a table of words (`Words`): lengths, addresses, strides,
scalars. How each operand moves along the innermost axis is part of the code (`Template`), all else is data, so few
kernels serve many calls.

User arithmetic is exactly IEEE: no ``fastmath``, no contraction to fused multiply-add.
"""

from __future__ import annotations

import numpy as np

from gpuarray.kernels import cache
from gpuarray.kernels.compile_code import source
from gpuarray.kernels.operands import Template, contiguous
from gpuarray.kernels.program import Program, remembered
from gpuarray.kernels.table import ELEMENTWISE

MAX_STEPS = 1000
"""Longer programs are left to the interpreter: at up to 3 ms a step they would take seconds to compile."""
_COMPILED_KINDS = "biufc"


@remembered
def supported(program: Program) -> bool:
    """Whether the program can be compiled for the CPU: every step has scalar code and Numba knows every dtype."""
    dtypes = [program.dtype_of(k) for k in range(len(program.inputs) + len(program.steps))]
    if any(d.kind not in _COMPILED_KINDS or d == np.float16 or d.itemsize > 16 or not d.isnative for d in dtypes):
        return False
    if any(d.char in "gG" for d in dtypes) or len(program.steps) > MAX_STEPS:
        return False
    return not program.missing_code()


def cost_seconds(program: Program) -> float:
    """About how long a cold compile takes on a core that others use too, in seconds.

    Measured: 0.1 to 0.25 for the shortest program, 1.5 to 3.3 thousandths a step, 0.2 to 0.9 for each function or
    kind of random number, more the first time in a process. A reduction adds about 0.5 for the first of its name,
    dtype and direction, once on a machine, and 0.15 for a program that is folded as it is computed.
    """
    heavy = {(s.op, s.dtype) for s in program.steps if ELEMENTWISE[s.op].cost >= 10}
    return 0.15 + 0.003 * len(program.steps) + 0.3 * len(heavy)


def ready(program: Program, template: Template | None = None) -> bool:
    """Whether the kernel exists, in this process or on disk: then it loads in about 3 ms."""
    return supported(program) and cache.ready(source(program, template or contiguous(program)))


def evaluator(program: Program, template: Template) -> cache.Loaded:
    """The compiled kernel; compiles it on the first call for this program and template."""
    return cache.load(source(program, template))
