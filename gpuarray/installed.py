"""What `gpuarray.array.install` gives arrays, as type checkers see it.

Each function and operator is written once, in the module of its kind, and installed from there; this class has
nothing in it when a program runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gpuarray.array import NDArray


class Installed:
    """The base of `NDArray`."""

    __slots__ = ()

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...

        def _unary(self) -> NDArray: ...
        def _binary(self, other: Any, /) -> NDArray: ...

        __neg__ = __pos__ = __invert__ = __abs__ = _unary
        __add__ = __sub__ = __mul__ = __truediv__ = __floordiv__ = __mod__ = __pow__ = __matmul__ = _binary
        __radd__ = __rsub__ = __rmul__ = __rtruediv__ = __rfloordiv__ = __rmod__ = __rpow__ = __rmatmul__ = _binary
        __and__ = __or__ = __xor__ = __lshift__ = __rshift__ = _binary
        __rand__ = __ror__ = __rxor__ = __rlshift__ = __rrshift__ = _binary
        __lt__ = __le__ = __gt__ = __ge__ = _binary
        __eq__ = __ne__ = _binary  # type: ignore[assignment]

        def __divmod__(self, other: Any, /) -> tuple[NDArray, NDArray]: ...
        def __rdivmod__(self, other: Any, /) -> tuple[NDArray, NDArray]: ...
