"""NumPy's functions on our arrays: ``np.sin(x)``, ``np.add.reduce(x)``, ``np.concatenate([x, y])``.

Each is ours of the same name. There is no fallback that would compute: what we lack is an error that says so.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from gpuarray.array import NDArray, install
from gpuarray.elementwise import into, ufunc_home
from gpuarray.ufuncs import METHODS

NAMESPACES = {
    "numpy": "",
    "numpy.linalg": "linalg",
    "numpy.fft": "fft",
    "numpy.lib.stride_tricks": "",
    "numpy.random": "random",
    "scipy.special": "special",
}
"""Where NumPy's modules, and SciPy's of ufuncs, have their counterparts."""


def ours(module: str, name: str) -> Callable[..., Any] | None:
    """Our function for one of NumPy's, or None."""
    import gpuarray

    inner = NAMESPACES.get(module)
    if inner is None:
        return None
    namespace = getattr(gpuarray, inner, None) if inner else gpuarray
    if namespace is None or name not in namespace.__all__:
        return None
    found = getattr(namespace, name)
    return found if getattr(found, "__module__", "").startswith("gpuarray") and not isinstance(found, type) else None


def array_ufunc(self: NDArray, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
    """``ufunc(x)``, ``ufunc.reduce(x)``, ``ufunc.accumulate(x)`` and ``ufunc.outer(x, y)``."""
    out = kwargs.pop("out", ())
    if not all(_known(type(x), "__array_ufunc__") for x in (*inputs, *out)):
        return NotImplemented
    module, name = ufunc_home(ufunc), ufunc.__name__
    full_name = f"{module}.{name}".lstrip(".") + ("" if method == "__call__" else f".{method}")
    function = ours(module, name) if module == "numpy" or method == "__call__" else None
    if function is None:
        raise TypeError(missing(full_name))
    if method != "__call__":
        function = partial(METHODS[method], ufunc)
    if len(out) == 1:
        kwargs["out"] = out[0]
    where = kwargs.pop("where", True) if len(out) > 1 else True
    made = _called(function, full_name, inputs, kwargs)
    return made if len(out) < 2 else tuple(into(o, m, where=where) for o, m in zip(out, made, strict=True))


OTHERS: tuple[Any, ...] = (np.ndarray.__array_ufunc__, np.ndarray.__array_function__)


def _known(kind: type, protocol: str) -> bool:
    """Whether we may deal with values of a type: those with protocols of their own are asked instead."""
    if issubclass(kind, NDArray):
        return True
    theirs = getattr(kind, protocol, None)
    return theirs is None or theirs in OTHERS


def array_function(
    self: NDArray, func: Callable[..., Any], types: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """Any other function of NumPy's, and the makers of arrays with ``like=x``."""
    if not all(_known(kind, "__array_function__") for kind in types):
        return NotImplemented
    module, name = getattr(func, "__module__", None) or "numpy", getattr(func, "__name__", repr(func))
    function = ours(module, name)
    if function is None:
        raise TypeError(missing(f"{module}.{name}"))
    return _called(function, f"{module}.{name}", args, kwargs)


LAYOUT = {"order": ("C", "F", "A", "K", None), "subok": (True, False)}
"""Arguments about memory and subclasses, of which lazy arrays have neither: with these values they say nothing."""


def _called(function: Callable[..., Any], name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    import inspect

    signature = inspect.signature(function)
    for argument in LAYOUT.keys() & kwargs.keys() - signature.parameters.keys():
        if kwargs[argument] in LAYOUT[argument]:
            kwargs = {k: v for k, v in kwargs.items() if k != argument}
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        raise TypeError(f"{name} on a gpuarray.NDArray: {error}; gpuarray's has fewer arguments") from None
    return function(*args, **kwargs)


def missing(name: str) -> str:
    return (
        f"{name} has no counterpart in gpuarray, and computing the whole array for it would be a surprise; call it on "
        "x.compute(), or on each chunk with gpuarray.map_blocks"
    )


install("__array_ufunc__", array_ufunc)
install("__array_function__", array_function)
