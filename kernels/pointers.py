"""Typed reads and writes at an address, for generated Numba kernels.

Kernels take addresses and strides instead of Numba arrays: one compiled kernel then serves every alignment and
every outer stride, a call costs no unboxing of arrays, and the inner loop vectorises because a unit stride is a
unit stride in the code. Loads are marked as never overlapping the kernel's stores (LLVM's ``alias.scope`` and
``noalias``), which spares the run-time overlap checks that make LLVM give up on programs of many operands; whoever
calls a kernel makes sure of it.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.errors import RequireLiteralValue
from numba.extending import intrinsic

SCOPES = ("in", "out", "a", "b", "c", "d")
"""Disjoint memories: what is read, what is written, and scratch buffers."""


def _annotate(builder: Any, instruction: Any, scope: str) -> None:
    """Say in which of the disjoint memories an access falls."""
    module = builder.module
    domain = module.add_metadata(["gpuarray.kernel"])
    scopes = {name: module.add_metadata([f"gpuarray.{name}", domain]) for name in SCOPES}
    instruction.set_metadata("alias.scope", module.add_metadata([scopes[scope]]))
    instruction.set_metadata("noalias", module.add_metadata([scopes[s] for s in SCOPES if s != scope]))


def _literal(value: Any) -> Any:
    if not isinstance(value, types.Literal):
        raise RequireLiteralValue(value)
    return value.literal_value


def _parts(typ: Any) -> tuple[Any, int]:
    """The machine type that memory holds and how many make one element."""
    if isinstance(typ, types.Complex):
        return (ir.FloatType() if typ.bitwidth == 64 else ir.DoubleType()), 2
    if isinstance(typ, types.Boolean):
        return ir.IntType(8), 1
    if isinstance(typ, types.Float):
        return (ir.FloatType() if typ.bitwidth == 32 else ir.DoubleType()), 1
    return ir.IntType(typ.bitwidth), 1


def _elements(builder: Any, pointer: Any, index: Any, typ: Any) -> list[Any]:
    """Pointers to the machine values of element `index`."""
    machine, count = _parts(typ)
    base = builder.bitcast(pointer, machine.as_pointer())
    if count == 1:
        return [builder.gep(base, [index])]
    first = builder.mul(index, ir.Constant(index.type, count))
    return [builder.gep(base, [builder.add(first, ir.Constant(index.type, k))]) for k in range(count)]


@intrinsic
def pointer(typingctx: Any, address: Any) -> Any:
    """``pointer(address)``: an address as a pointer to bytes."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], cgutils.voidptr_t)

    return types.voidptr(types.int64), codegen


@intrinsic
def scratch(typingctx: Any, nbytes: Any) -> Any:
    """``scratch(1024)``: a pointer to so many bytes of this call's stack, aligned for vectors; once per call."""
    size = _literal(nbytes)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        with builder.goto_entry_block():  # `cgutils.alloca_once` would fill it with zeros, element by element
            place = builder.alloca(ir.ArrayType(ir.IntType(8), size))
        place.align = 64
        return builder.bitcast(place, cgutils.voidptr_t)

    return types.voidptr(nbytes), codegen


@intrinsic
def prefetch(typingctx: Any, place: Any) -> Any:
    """``prefetch(pointer)``: bring a line into the L2 cache; any address will do."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        word = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [args[0].type, word, word, word])
        function = builder.module.declare_intrinsic("llvm.prefetch", [args[0].type], kind)
        builder.call(function, [args[0], word(0), word(2), word(1)])
        return context.get_dummy_value()

    return types.void(types.voidptr), codegen


@intrinsic
def stream_line(typingctx: Any, place: Any, source: Any) -> Any:
    """``stream_line(pointer, source)``: copy 64 bytes, both aligned so, past the caches: where a result is larger than
    they are, its lines need not be read before they are written. `drain` makes them seen by others."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = ir.VectorType(ir.IntType(64), 8).as_pointer()
        line = builder.load(builder.bitcast(args[1], kind), align=64)
        _annotate(builder, line, "out")
        store = builder.store(line, builder.bitcast(args[0], kind), align=64)
        store.set_metadata("nontemporal", builder.module.add_metadata([ir.Constant(ir.IntType(32), 1)]))
        _annotate(builder, store, "out")
        return context.get_dummy_value()

    return types.void(types.voidptr, types.voidptr), codegen


@intrinsic
def drain(typingctx: Any) -> Any:
    """``drain()``: whoever sees what is written next sees what was written before."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.void(), codegen


@intrinsic
def address(typingctx: Any, place: Any) -> Any:
    """``address(pointer)``: a pointer as a number."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.ptrtoint(args[0], ir.IntType(64))

    return types.int64(types.voidptr), codegen


@intrinsic
def located(typingctx: Any, base: Any, offset: Any, outside: Any) -> Any:
    """``located(base, offset, outside)``: the address at an offset from a base; an offset of `outside` or more is an
    address itself, and `outside` is added to it."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        base, offset, outside = args
        alone = builder.icmp_signed(">=", offset, outside)
        return builder.select(alone, builder.sub(offset, outside), builder.add(base, offset))

    return types.int64(types.int64, types.int64, types.int64), codegen


@intrinsic
def opaque(typingctx: Any, value: Any) -> Any:
    """``opaque(32)``: a number that the compiler cannot know. A short loop of known length is unrolled whole, and then
    it is not vectorised any more."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = ir.FunctionType(ir.IntType(64), [ir.IntType(64)])
        return builder.asm(kind, "", "=r,0", [args[0]], side_effect=False)

    return types.int64(types.int64), codegen


@intrinsic
def call(typingctx: Any, address: Any, words: Any) -> Any:
    """``call(address, words)``: run another kernel, ``void(int64)``, by its address."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = ir.FunctionType(ir.VoidType(), [ir.IntType(64)])
        builder.call(builder.inttoptr(args[0], kind.as_pointer()), [args[1]])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), codegen


@intrinsic
def ahead(typingctx: Any, base: Any, nbytes: Any) -> Any:
    """``ahead(pointer, nbytes)``: the pointer moved by bytes."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.gep(args[0], [args[1]])

    return types.voidptr(types.voidptr, types.int64), codegen


@intrinsic
def load(typingctx: Any, scope: Any, dtype: Any, base: Any, index: Any) -> Any:
    """``load(scope, dtype, pointer, i)``: element i after `pointer`; ``scope`` is one of `SCOPES`."""
    name, typ = _literal(scope), dtype.dtype

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        values = []
        for place in _elements(builder, args[2], args[3], typ):
            value = builder.load(place, align=1)
            _annotate(builder, value, name)
            values.append(value)
        if isinstance(typ, types.Boolean):
            return builder.icmp_unsigned("!=", values[0], ir.Constant(values[0].type, 0))
        if isinstance(typ, types.Complex):
            number = context.make_complex(builder, typ)
            number.real, number.imag = values
            return number._getvalue()
        return values[0]

    return typ(scope, dtype, types.voidptr, types.int64), codegen


@intrinsic
def store(typingctx: Any, scope: Any, dtype: Any, base: Any, index: Any, value: Any) -> Any:
    """``store(scope, dtype, pointer, i, value)``: write element i; the value is converted to `dtype`."""
    name, typ = _literal(scope), dtype.dtype

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> None:
        value = context.cast(builder, args[4], signature.args[4], typ)
        if isinstance(typ, types.Boolean):
            values = [builder.zext(value, ir.IntType(8))]
        elif isinstance(typ, types.Complex):
            number = context.make_complex(builder, typ, value)
            values = [number.real, number.imag]
        else:
            values = [value]
        for place, machine in zip(_elements(builder, args[2], args[3], typ), values, strict=True):
            _annotate(builder, builder.store(machine, place, align=1), name)

    return types.void(scope, dtype, types.voidptr, types.int64, value), codegen
