"""Elementwise functions, as type checkers see them. Written by docs/names/stubs.py."""

from typing import Any

from gpuarray.array import NDArray

class _Ufunc:
    __name__: str
    nin: int
    nout: int
    nargs: int
    ntypes: int
    types: list[str]
    identity: Any
    signature: str | None
    def reduce(self, array: Any, axis: Any = 0, dtype: Any = None, out: Any = None, keepdims: bool = False, initial: Any = ..., where: Any = True) -> NDArray: ...
    def accumulate(self, array: Any, axis: int = 0, dtype: Any = None, out: Any = None) -> NDArray: ...
    def reduceat(self, array: Any, indices: Any, axis: int = 0, dtype: Any = None, out: Any = None) -> NDArray: ...
    def outer(self, A: Any, B: Any, **keywords: Any) -> NDArray: ...
    def at(self, a: Any, indices: Any, b: Any = ...) -> None: ...

class _Unary(_Ufunc):
    def __call__(self, x: Any, /, *, dtype: Any = None, out: Any = None, where: Any = True, casting: Any = 'same_kind') -> NDArray: ...

class _Binary(_Ufunc):
    def __call__(self, x1: Any, x2: Any, /, *, dtype: Any = None, out: Any = None, where: Any = True, casting: Any = 'same_kind') -> NDArray: ...

abs: _Unary
absolute: _Unary
acos: _Unary
acosh: _Unary
add: _Binary
arccos: _Unary
arccosh: _Unary
arcsin: _Unary
arcsinh: _Unary
arctan: _Unary
arctan2: _Binary
arctanh: _Unary
asin: _Unary
asinh: _Unary
atan: _Unary
atan2: _Binary
atanh: _Unary
bitwise_and: _Binary
bitwise_count: _Unary
bitwise_invert: _Unary
bitwise_left_shift: _Binary
bitwise_not: _Unary
bitwise_or: _Binary
bitwise_right_shift: _Binary
bitwise_xor: _Binary
cbrt: _Unary
ceil: _Unary
conj: _Unary
conjugate: _Unary
copysign: _Binary
cos: _Unary
cosh: _Unary
deg2rad: _Unary
degrees: _Unary
divide: _Binary
equal: _Binary
exp: _Unary
exp2: _Unary
expm1: _Unary
fabs: _Unary
fix: _Unary
float_power: _Binary
floor: _Unary
floor_divide: _Binary
fmax: _Binary
fmin: _Binary
fmod: _Binary
gcd: _Binary
greater: _Binary
greater_equal: _Binary
heaviside: _Binary
hypot: _Binary
def imag(x: Any, /, *, dtype: Any = None, out: Any = None, where: Any = True, casting: Any = 'same_kind') -> NDArray: ...
invert: _Unary
isfinite: _Unary
isinf: _Unary
isnan: _Unary
isnat: _Unary
def isneginf(x: Any, /, *, dtype: Any = None, out: Any = None, where: Any = True, casting: Any = 'same_kind') -> NDArray: ...
def isposinf(x: Any, /, *, dtype: Any = None, out: Any = None, where: Any = True, casting: Any = 'same_kind') -> NDArray: ...
lcm: _Binary
ldexp: _Binary
left_shift: _Binary
less: _Binary
less_equal: _Binary
log: _Unary
log10: _Unary
log1p: _Unary
log2: _Unary
logaddexp: _Binary
logaddexp2: _Binary
logical_and: _Binary
logical_not: _Unary
logical_or: _Binary
logical_xor: _Binary
maximum: _Binary
minimum: _Binary
mod: _Binary
multiply: _Binary
negative: _Unary
nextafter: _Binary
not_equal: _Binary
positive: _Unary
pow: _Binary
power: _Binary
rad2deg: _Unary
radians: _Unary
def real(x: Any, /, *, dtype: Any = None, out: Any = None, where: Any = True, casting: Any = 'same_kind') -> NDArray: ...
reciprocal: _Unary
remainder: _Binary
right_shift: _Binary
rint: _Unary
sign: _Unary
signbit: _Unary
sin: _Unary
def sinc(x: Any, /, *, dtype: Any = None, out: Any = None, where: Any = True, casting: Any = 'same_kind') -> NDArray: ...
sinh: _Unary
spacing: _Unary
sqrt: _Unary
square: _Unary
subtract: _Binary
tan: _Unary
tanh: _Unary
true_divide: _Binary
trunc: _Unary
