"""Single machine instructions that Python has no word for, as Numba intrinsics; all of them vectorise.

Importing this module imports Numba.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

_BY_WIDTH = {
    types.float64: types.uint64,
    types.float32: types.uint32,
}
_FLOATS = {bits: real for real, bits in _BY_WIDTH.items()}


def _pass_through(make: Any) -> Any:
    """A code generator that applies `make(builder, *values)` and needs nothing else."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return make(builder, *arguments)

    return generate


@intrinsic
def fma(typingctx: Any, a: Any, b: Any, c: Any) -> Any:
    """``a * b + c`` rounded once. One instruction where the machine has it, a correct library call where not."""
    if a not in _BY_WIDTH or not a == b == c:
        return None
    return a(a, a, a), _pass_through(lambda builder, x, y, z: builder.fma(x, y, z))


@intrinsic
def select(typingctx: Any, condition: Any, a: Any, b: Any) -> Any:
    """``a if condition else b`` without a branch: both are computed."""
    if condition != types.boolean or a != b:
        return None
    return a(condition, a, a), _pass_through(lambda builder, c, x, y: builder.select(c, x, y))


@intrinsic
def float_bits(typingctx: Any, x: Any) -> Any:
    """The bits of a float64 as uint64, of a float32 as uint32."""
    if x not in _BY_WIDTH:
        return None
    result = _BY_WIDTH[x]
    return result(x), _pass_through(lambda builder, v: builder.bitcast(v, ir.IntType(result.bitwidth)))


@intrinsic
def float_from_bits(typingctx: Any, x: Any) -> Any:
    """The float64 that has the bits of a uint64, the float32 of a uint32."""
    if x not in _FLOATS:
        return None
    result = _FLOATS[x]
    kind = ir.DoubleType() if result == types.float64 else ir.FloatType()
    return result(x), _pass_through(lambda builder, v: builder.bitcast(v, kind))


@intrinsic
def prefer_wide_vectors(typingctx: Any) -> Any:
    """Let the calling kernel use the widest vectors there are (512 bits), which LLVM avoids on many processors.

    Their lower clock is a matter of the first processors that had them; arithmetic gains 1.4 to 1.7 times.
    Call it in the function that holds the loop. It has no effect where there are no such vectors.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        # llvmlite's own `add` takes only the attributes that it knows; it prints any.
        set.add(builder.function.attributes, '"prefer-vector-width"="512"')
        return context.get_dummy_value()

    return types.none(), generate


@intrinsic
def float64_from_small_uint64(typingctx: Any, x: Any) -> Any:
    """A uint64 below 2**63 as float64: the signed conversion, which is the cheaper one."""
    if x != types.uint64:
        return None
    return types.float64(x), _pass_through(lambda builder, v: builder.sitofp(v, ir.DoubleType()))


@intrinsic
def swap_halves(typingctx: Any, x: Any) -> Any:
    """A uint64 with its 32-bit halves exchanged: one instruction, which two shifts and an `or` do not always become."""
    if x != types.uint64:
        return None

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        word = ir.IntType(64)
        function = builder.module.declare_intrinsic("llvm.fshl", [word], ir.FunctionType(word, [word] * 3))
        return builder.call(function, [arguments[0], arguments[0], ir.Constant(word, 32)])

    return types.uint64(x), generate


def _float_unary(name: str) -> Any:
    def declare(typingctx: Any, x: Any) -> Any:
        if x not in _BY_WIDTH:
            return None

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            function = builder.module.declare_intrinsic(name, [arguments[0].type])
            return builder.call(function, arguments)

        return x(x), generate

    declare.__name__ = name.replace(".", "_")
    return declare


fabs = intrinsic(_float_unary("llvm.fabs"))
sqrt = intrinsic(_float_unary("llvm.sqrt"))
round_down = intrinsic(_float_unary("llvm.floor"))


@intrinsic
def copysign(typingctx: Any, magnitude: Any, sign: Any) -> Any:
    """The first with the sign bit of the second."""
    if magnitude not in _BY_WIDTH or magnitude != sign:
        return None

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = arguments[0].type
        function = builder.module.declare_intrinsic("llvm.copysign", [kind], ir.FunctionType(kind, [kind, kind]))
        return builder.call(function, arguments)

    return magnitude(magnitude, magnitude), generate
