"""Typed reads and writes at an address, shuffles and functions of CUDA's library, as Numba-CUDA intrinsics.

See `device` for their names. Importing this module does not import Numba; `intrinsics` does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def _parts(typ: Any) -> tuple[Any, int]:
    """The machine type that memory holds, and how many make one element."""
    from llvmlite import ir
    from numba.cuda import types

    if isinstance(typ, types.Complex):
        return (ir.FloatType() if typ.bitwidth == 64 else ir.DoubleType()), 2
    if isinstance(typ, types.Boolean):
        return ir.IntType(8), 1
    if typ == types.float16:  # Numba has its bits as an integer
        return ir.IntType(16), 1
    if isinstance(typ, types.Float):
        return (ir.FloatType() if typ.bitwidth == 32 else ir.DoubleType()), 1
    return ir.IntType(typ.bitwidth), 1


def _width(machine: Any) -> int:
    """Bytes of a machine type."""
    text = str(machine)
    return {"float": 4, "double": 8}.get(text) or int(text[1:]) // 8


def _place(builder: Any, address: Any, index: Any, index_type: Any, nbytes: int, kind: Any) -> Any:
    """A pointer into global memory: `address` plus `index` elements of `nbytes`."""
    from llvmlite import ir

    word = ir.IntType(64)
    if index.type.width < 64:
        index = builder.sext(index, word) if index_type.signed else builder.zext(index, word)
    at = builder.add(address, builder.mul(index, ir.Constant(word, nbytes)))
    return builder.inttoptr(at, ir.PointerType(kind, addrspace=1))


def _load(builder: Any, pointer: Any, align: int, read_only: bool) -> Any:
    value = builder.load(pointer, align=align)
    if read_only:
        value.set_metadata("invariant.load", builder.module.add_metadata([]))
    return value


def _to_value(context: Any, builder: Any, typ: Any, machine: list[Any]) -> Any:
    from llvmlite import ir
    from numba.cuda import types

    if isinstance(typ, types.Boolean):
        return builder.icmp_unsigned("!=", machine[0], ir.Constant(machine[0].type, 0))
    if isinstance(typ, types.Complex):
        number = context.make_complex(builder, typ)
        number.real, number.imag = machine
        return number._getvalue()
    return machine[0]


def _from_value(context: Any, builder: Any, typ: Any, value: Any) -> list[Any]:
    from llvmlite import ir
    from numba.cuda import types

    if isinstance(typ, types.Boolean):
        return [builder.zext(value, ir.IntType(8))]
    if isinstance(typ, types.Complex):
        number = context.make_complex(builder, typ, value)
        return [number.real, number.imag]
    return [value]


def _vector(machine: Any, count: int) -> tuple[Any, int, int]:
    """How `count` machine values are moved: (type of a piece, values in a piece, pieces).

    Memory is moved 16 bytes at a time at most; values of less than 32 bits are parts of words.
    """
    from llvmlite import ir

    width = _width(machine)
    per = min(count, 16 // width)
    word = machine if width >= 4 else ir.IntType(min(32, 8 * width * per))
    words = per * width // _width(word)
    return (word if words == 1 else ir.VectorType(word, words)), per, count // per


def _unpack(builder: Any, piece: Any, machine: Any, per: int) -> list[Any]:
    from llvmlite import ir

    vector = isinstance(piece.type, ir.VectorType)
    words = [builder.extract_element(piece, ir.IntType(32)(k)) for k in range(piece.type.count)] if vector else [piece]
    word = words[0].type
    if word == machine:
        return words
    inside = word.width // machine.width
    return [
        builder.trunc(builder.lshr(words[k // inside], word(k % inside * machine.width)), machine) for k in range(per)
    ]


def _pack(builder: Any, values: list[Any], kind: Any) -> Any:
    from llvmlite import ir

    word = kind.element if isinstance(kind, ir.VectorType) else kind
    if values[0].type != word:
        inside = word.width // values[0].type.width
        words = []
        for k in range(0, len(values), inside):
            packed = builder.zext(values[k], word)
            for j in range(1, inside):
                part = builder.shl(builder.zext(values[k + j], word), word(j * values[0].type.width))
                packed = builder.or_(packed, part)
            words.append(packed)
        values = words
    if not isinstance(kind, ir.VectorType):
        return values[0]
    piece = ir.Constant(kind, ir.Undefined)
    for k, value in enumerate(values):
        piece = builder.insert_element(piece, value, ir.IntType(32)(k))
    return piece


def _literal(value: Any) -> Any:
    from numba.core.errors import RequireLiteralValue
    from numba.cuda import types

    if not isinstance(value, types.Literal):
        raise RequireLiteralValue(value)
    return value.literal_value


def _loader(read_only: bool) -> Any:
    from numba.cuda.extending import intrinsic

    def load(typingctx: Any, dtype: Any, place: Any, index: Any) -> Any:
        typ = dtype.dtype

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            machine, count = _parts(typ)
            width = _width(machine)
            base = _place(builder, arguments[1], arguments[2], index, width * count, machine)
            values = []
            for k in range(count):
                pointer = base if k == 0 else builder.gep(base, [arguments[1].type(k)])
                values.append(_load(builder, pointer, width, read_only))
            return _to_value(context, builder, typ, values)

        return typ(dtype, place, index), generate

    return intrinsic(load)


def _vector_loader(read_only: bool) -> Any:
    from numba.cuda import types
    from numba.cuda.extending import intrinsic

    def load_vector(typingctx: Any, dtype: Any, length: Any, place: Any, index: Any) -> Any:
        typ, n = dtype.dtype, _literal(length)
        result = types.UniTuple(typ, n)

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            machine, count = _parts(typ)
            kind, per, pieces = _vector(machine, n * count)
            base = _place(builder, arguments[2], arguments[3], index, _width(machine) * count, kind)
            values: list[Any] = []
            for k in range(pieces):
                pointer = builder.gep(base, [arguments[2].type(k)])
                piece = _load(builder, pointer, per * _width(machine), read_only)
                values += _unpack(builder, piece, machine, per)
            elements = [_to_value(context, builder, typ, values[k * count : (k + 1) * count]) for k in range(n)]
            return context.make_tuple(builder, result, elements)

        return result(dtype, length, place, index), generate

    return intrinsic(load_vector)


def _storer() -> Any:
    from numba.cuda import types
    from numba.cuda.extending import intrinsic

    def store(typingctx: Any, dtype: Any, place: Any, index: Any, value: Any) -> Any:
        typ = dtype.dtype

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            machine, count = _parts(typ)
            width = _width(machine)
            base = _place(builder, arguments[1], arguments[2], index, width * count, machine)
            value = context.cast(builder, arguments[3], signature.args[3], typ)
            for k, part in enumerate(_from_value(context, builder, typ, value)):
                builder.store(part, base if k == 0 else builder.gep(base, [arguments[1].type(k)]), align=width)
            return context.get_dummy_value()

        return types.void(dtype, place, index, value), generate

    return intrinsic(store)


def _vector_storer() -> Any:
    from numba.cuda import types
    from numba.cuda.extending import intrinsic

    def store_vector(typingctx: Any, dtype: Any, length: Any, place: Any, index: Any, elements: Any) -> Any:
        typ, n = dtype.dtype, _literal(length)

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            machine, count = _parts(typ)
            kind, per, pieces = _vector(machine, n * count)
            base = _place(builder, arguments[2], arguments[3], index, _width(machine) * count, kind)
            values: list[Any] = []
            for k in range(n):
                element = builder.extract_value(arguments[4], k)
                element = context.cast(builder, element, signature.args[4][k], typ)
                values += _from_value(context, builder, typ, element)
            for k in range(pieces):
                piece = _pack(builder, values[k * per : (k + 1) * per], kind)
                pointer = builder.gep(base, [arguments[2].type(k)])
                builder.store(piece, pointer, align=per * _width(machine))
            return context.get_dummy_value()

        return types.void(dtype, length, place, index, elements), generate

    return intrinsic(store_vector)


def _shuffle(kind_of: str) -> Any:
    """``shuffle_down(x, d)``: the `x` of the lane `d` further on in the warp, in which every thread takes part.

    ``shuffle(x, l)``: that of lane `l`.
    """
    from llvmlite import ir
    from numba.cuda.extending import intrinsic

    def shuffle(typingctx: Any, x: Any, distance: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            word = ir.IntType(32)
            kind = ir.FunctionType(word, [word] * 4)
            function = builder.module.declare_intrinsic(f"llvm.nvvm.shfl.sync.{kind_of}.i32", (), kind)
            by = builder.trunc(arguments[1], word) if arguments[1].type.width > 32 else arguments[1]

            def moved(value: Any) -> Any:
                return builder.call(function, [word(-1), value, by, word(31)])

            results = []
            for part in _from_value(context, builder, x, arguments[0]):
                bits = ir.IntType(8 * _width(part.type))
                value = builder.bitcast(part, bits)
                if bits.width <= 32:
                    value = moved(builder.zext(value, word) if bits.width < 32 else value)
                    value = builder.trunc(value, bits) if bits.width < 32 else value
                else:
                    low = builder.zext(moved(builder.trunc(value, word)), bits)
                    high = builder.zext(moved(builder.trunc(builder.lshr(value, bits(32)), word)), bits)
                    value = builder.or_(low, builder.shl(high, bits(32)))
                results.append(builder.bitcast(value, part.type))
            return _to_value(context, builder, x, results)

        return x(x, distance), generate

    return intrinsic(shuffle)


def _unary(name: str, result: Callable[[Any], Any], make: Callable[[Any, Any, Any], Any]) -> Any:
    from numba.cuda.extending import intrinsic

    def declare(typingctx: Any, x: Any) -> Any:
        typ = result(x)

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return make(context.get_value_type(typ), builder, arguments[0])

        return typ(x), generate

    declare.__name__ = name
    return intrinsic(declare)


def _binary(name: str, make: Callable[[Any, Any, Any], Any]) -> Any:
    """Of two integers of one type; the result has it too."""
    from numba.cuda.extending import intrinsic

    def declare(typingctx: Any, a: Any, b: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return make(builder, context.cast(builder, arguments[0], a, a), context.cast(builder, arguments[1], b, a))

        return a(a, b), generate

    declare.__name__ = name
    return intrinsic(declare)


def library_function(name: str, count: int, given: int) -> Any:
    """libdevice's `name` of `count` floats, as a function of `given` arguments."""
    from llvmlite import ir
    from numba.cuda import types
    from numba.cuda.extending import intrinsic

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = arguments[0].type
        full = f"__nv_{name}" + ("f" if kind == ir.FloatType() else "")
        known = builder.module.globals.get(full)
        function = known or ir.Function(builder.module, ir.FunctionType(kind, [kind] * count), full)
        return builder.call(function, arguments[:count])

    def declare(*operands: Any) -> Any:
        if operands[0] not in (types.float32, types.float64) or any(o != operands[0] for o in operands[:count]):
            return None
        return operands[0](*operands), generate

    # Numba takes the number of arguments from the signature
    forms: dict[int, Callable[..., Any]] = {
        1: lambda typingctx, a: declare(a),
        2: lambda typingctx, a, b: declare(a, b),
        3: lambda typingctx, a, b, c: declare(a, b, c),
    }
    return intrinsic(forms[given])


def intrinsics() -> dict[str, Any]:
    from numba.cuda import types

    return {
        "load": _loader(False),
        "read": _loader(True),
        "load_vector": _vector_loader(False),
        "read_vector": _vector_loader(True),
        "store": _storer(),
        "store_vector": _vector_storer(),
        "shuffle_down": _shuffle("down"),
        "shuffle": _shuffle("idx"),
        "ahead": _binary("ahead", lambda builder, a, b: builder.add(a, b)),
        "quotient": _binary("quotient", lambda builder, a, b: builder.udiv(a, b)),
        "float64_from_bits": _unary(
            "float64_from_bits", lambda x: types.float64, lambda kind, builder, x: builder.bitcast(x, kind)
        ),
        "bits_from_float64": _unary(
            "bits_from_float64", lambda x: types.uint64, lambda kind, builder, x: builder.bitcast(x, kind)
        ),
    }
