"""``x[key]`` and ``x[key] = value``: NumPy's indexing, as nodes."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

import numpy as np

from gpuarray.graph.elementwise import Map
from gpuarray.graph.move import Assign, Reshape
from gpuarray.graph.node import Node
from gpuarray.graph.reduce import Combine
from gpuarray.graph.scatter import Compress, Scatter, sections
from gpuarray.graph.select import AxisMap, Indices, Select

if TYPE_CHECKING:
    from gpuarray.array import NDArray

Key = tuple[Any, ...]
"""An index expression with one entry per axis, and None for each new one; no ellipsis."""


def getitem(x: NDArray, key: Any) -> NDArray:
    """``x[key]``: a view where the key is of slices, integers and new axes, and the result no single element.

    Raises IndexError as NumPy does: too many indices, out of bounds, masks of another shape, indices that are
    neither integers nor booleans.
    """
    from gpuarray.array import NDArray
    from gpuarray.views import sliced

    full = expand_key(key, x.shape)
    if any(is_mask(k) for k in full):
        return NDArray(masked(x, full))
    if any(is_array(k) for k in full):
        return NDArray(advanced(x.node, full))
    if all(type(k) is int for k in full):
        return NDArray(basic(x.node, full))
    return sliced(x, full)


def expand_key(key: Any, shape: tuple[int, ...]) -> Key:
    """One entry per axis: fills in the ellipsis and the axes left out, turns lists and lazy arrays into arrays."""
    entries = list(key) if isinstance(key, tuple) else [key]
    entries = [as_index(k) for k in entries]
    used = sum(k.ndim if is_mask(k) else k is not None and k is not Ellipsis for k in entries)
    ellipses = [i for i, k in enumerate(entries) if k is Ellipsis]
    if len(ellipses) > 1:
        raise IndexError("an index can only have a single ellipsis ('...')")
    if used > len(shape):
        raise IndexError(f"too many indices: {used} for an array of {len(shape)} dimensions, shape {shape}")
    at = ellipses[0] if ellipses else len(entries)
    filled = [slice(None)] * (len(shape) - used)
    return (*entries[:at], *filled, *entries[at + 1 :])


def as_index(k: Any) -> Any:
    from gpuarray.array import NDArray

    if k is None or k is Ellipsis or isinstance(k, slice):
        return k
    if isinstance(k, NDArray):
        if k.dtype.kind not in "biu":
            raise IndexError(f"arrays used as indices must be of integer or boolean type, got {k.dtype}")
        if k.ndim == 0 or k.dtype.kind in "iu":
            value = k.compute()
            return operator.index(value) if value.ndim == 0 and value.dtype.kind in "iu" else value
        return k
    if isinstance(k, (bool, np.bool_)):
        return np.asarray(k)
    if hasattr(k, "__index__") and not isinstance(k, np.ndarray):
        return operator.index(k)
    array = np.asarray(k)
    if array.size == 0 and not isinstance(k, np.ndarray):
        array = array.astype(np.intp)
    if array.dtype.kind not in "biu":
        raise IndexError(
            f"only integers, slices, ellipsis, None, and integer or boolean arrays are indices; got {k!r} "
            f"of type {type(k).__name__}"
        )
    return operator.index(array[()]) if array.ndim == 0 and array.dtype.kind in "iu" else array


def is_array(k: Any) -> bool:
    return isinstance(k, np.ndarray)


def is_mask(k: Any) -> bool:
    return getattr(getattr(k, "dtype", None), "kind", "") == "b"


def check_position(i: int, n: int, axis: int) -> int:
    if not -n <= i < n:
        rule = f"it must lie in [{-n}, {n - 1}]" if n else "an empty axis has no elements"
        raise IndexError(f"index {i} is out of bounds for axis {axis} with size {n}; {rule}")
    return i % n


def basic(node: Node, key: Key) -> Node:
    """Slices, integers and new axes: one view."""
    maps: list[AxisMap] = []
    shape: list[int] = []
    axis = 0
    for k in key:
        if k is None:
            shape.append(1)
            continue
        n = node.shape[axis]
        if isinstance(k, slice):
            r = range(n)[checked(k)]
            maps.append((len(shape), r))
            shape.append(len(r))
        else:
            maps.append(check_position(k, n, axis))
        axis += 1
    made: Node = Select(tuple(shape), tuple(maps), node)
    return made


def checked(k: slice) -> slice:
    """The slice, with bounds that are integers."""
    try:
        return slice(*(None if b is None else operator.index(b) for b in (k.start, k.stop, k.step)))
    except TypeError:
        raise TypeError(f"slice indices must be integers or None, got {k}") from None


def advanced(node: Node, key: Key) -> Node:
    """Integer arrays, broadcast against each other, with slices and new axes around them."""
    arrays = [(i, k) for i, k in enumerate(key) if is_array(k) or isinstance(k, int)]
    broadcast = broadcast_indices([k for _, k in arrays])
    positions = [i for i, _ in arrays]
    adjacent = positions == list(range(positions[0], positions[-1] + 1))
    maps: list[AxisMap] = []
    shape: list[int] = []
    flat = int(np.prod(broadcast, dtype=np.int64))
    gathered = 0 if not adjacent else None
    if gathered == 0:
        shape.append(flat)
    axis = 0
    for k in key:
        if k is None:
            shape.append(1)
            continue
        n = node.shape[axis]
        if isinstance(k, slice):
            r = range(n)[checked(k)]
            maps.append((len(shape), r))
            shape.append(len(r))
        else:
            if gathered is None:
                gathered = len(shape)
                shape.append(flat)
            maps.append((gathered, Indices(positions_along(k, broadcast, n, axis))))
        axis += 1
    assert gathered is not None  # the key has an array
    if flat == 0 or any(n == 0 for n in shape):
        maps = [
            (m[0], range(0)) if not isinstance(m, int) and isinstance(m[1], Indices) and flat == 0 else m for m in maps
        ]
    picked: Node = Select(tuple(shape), tuple(maps), node)
    if len(broadcast) == 1:
        return picked
    made: Node = Reshape((*shape[:gathered], *broadcast, *shape[gathered + 1 :]), picked)
    return made


def broadcast_indices(arrays: list[Any]) -> tuple[int, ...]:
    shapes = [np.shape(k) for k in arrays]
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        raise IndexError(
            f"shape mismatch: index arrays of shapes {', '.join(map(str, shapes))} do not broadcast together"
        ) from None


def positions_along(k: Any, broadcast: tuple[int, ...], n: int, axis: int) -> np.ndarray[Any, Any]:
    given = np.broadcast_to(np.asarray(k), broadcast).ravel()
    bad = (given < -n) | (given >= n)  # in its own dtype: the largest of uint64 would be -1 in int64
    if bad.any():
        check_position(int(given[bad][0]), n, axis)
    array = given.astype(np.int64, copy=False)
    return np.where(array < 0, array + n, array)


def masked(x: NDArray, key: Key) -> Node:
    """A boolean mask over some axes. The elements it selects are counted first, so that the shape is known."""
    from gpuarray.array import NDArray, asarray

    masks = [(i, k) for i, k in enumerate(key) if is_mask(k)]
    others = [k for i, k in enumerate(key) if not is_mask(k) and not (isinstance(k, slice) and k == slice(None))]
    if len(masks) > 1 or any(is_array(k) or isinstance(k, int) for k in others):
        concrete = tuple(p for k in key for p in (np.nonzero(np.asarray(k)) if is_mask(k) else (k,)))
        return advanced(x.node, concrete)
    at, mask = masks[0]
    axis = sum(k is not None for k in key[:at])
    covered = x.shape[axis : axis + mask.ndim]
    nothing = mask.size == 0 and all(m in (0, n) for m, n in zip(mask.shape, covered, strict=True))
    if mask.shape != covered and not nothing:
        raise IndexError(
            f"boolean index of shape {mask.shape} does not match the axes it indexes, of shape {covered}, "
            f"in an array of shape {x.shape}"
        )
    lazy = mask if isinstance(mask, NDArray) else asarray(mask)
    if mask.ndim == 0:  # a new axis in front, of length one or zero
        chosen = np.zeros(int(bool(lazy)), dtype=np.int64)
        return advanced(basic(x.node, (None, *[slice(None)] * x.ndim)), (chosen, *key[:at], *key[at + 1 :]))
    if others or mask.ndim != x.ndim or mask.shape != covered:
        found = np.nonzero(lazy.compute())
        return advanced(x.node, (*key[:at], *found, *key[at + 1 :]))
    return compress(x.node, lazy)


def compress(node: Node, mask: NDArray) -> Node:
    """The elements of an array where a mask of its shape is true, in C order."""
    from gpuarray.array import NDArray
    from gpuarray.optimize.reductions import partial_of

    total = int(np.prod(node.shape, dtype=np.int64))
    flat = node if node.ndim == 1 else Reshape((total,), node)
    flat_mask = mask.node if mask.ndim == 1 else Reshape((total,), mask.node)
    parts = sections(flat.chunks[0])
    # States of a count, one for each part, finished without being merged.
    counting = Combine("count_nonzero", (), (), np.dtype(np.int64), partial_of("count_nonzero", (parts,), flat_mask))
    counts = NDArray(counting).compute()
    made: Node = Compress(parts, tuple(int(c) for c in counts), flat, flat_mask)
    return made


def setitem(x: NDArray, key: Any, value: Any) -> Node:
    """The node that `x` stands for after ``x[key] = value``.

    Raises ValueError where `value` does not broadcast to what `key` selects, IndexError as `getitem` does.
    """
    from gpuarray.array import NDArray, as_node
    from gpuarray.manipulation import astype

    if isinstance(value, (str, bytes)):
        value = np.asarray(value).astype(x.dtype)
    node = as_node(value, x.dtype)
    if node.dtype != x.dtype:
        node = astype(NDArray(node), x.dtype).node
    full = expand_key(key, x.shape)
    if len(full) == 1 and is_mask(full[0]) and full[0].shape == x.shape and node.shape in ((), (1,)):
        mask = as_node(full[0])
        if node.shape == (1,) and x.ndim != 1:
            node = Select((), (0,), node)
        made: Node = Map("where", x.dtype, mask, node, x.node)
        return made
    scalars = [k for k in full if is_mask(k) and k.ndim == 0]
    if scalars:  # each stands for an axis of length one or zero in front
        full = tuple(k for k in full if not (is_mask(k) and k.ndim == 0))
        if any(is_array(k) for k in full) or any(is_mask(k) for k in full):
            raise IndexError("a boolean without dimensions cannot be assigned through together with other arrays")
        if not all(bool(k) for k in scalars):
            return x.node
    if any(is_mask(k) or is_array(k) for k in full):
        return scattered(x, full, node)
    if isinstance(value, NDArray) and value.view_of is not None and value.view_of.is_at(x, full):
        return x.node  # the end of x[key] += y, which has written through its view
    return assigned(x.node, full, node)


def assigned(base: Node, key: Key, value: Node) -> Node:
    """Assignment to slices, integers and new axes."""
    view = basic(base, key)
    value = fitted(value, view.shape)
    ranges: list[range] = []
    maps: list[AxisMap] = []
    shape: list[int] = []
    assert isinstance(view, Select)
    # The value seen from the base's axes: integers become axes of length one, negative steps are turned round.
    by_axis: dict[int, tuple[int, range]] = {}
    for m in view.maps:
        if isinstance(m, int):
            ranges.append(range(m, m + 1))
            shape.append(1)
            continue
        assert isinstance(m[1], range)
        r = m[1]
        n = len(r)
        ranges.append(r if r.step > 0 else r[::-1])
        by_axis[m[0]] = (len(shape), range(n) if r.step > 0 else range(n - 1, -1, -1))
        shape.append(n)
    if any(not r for r in ranges):
        return base
    for axis in range(value.ndim):
        maps.append(by_axis.get(axis, 0))
    seen: Node = Select(tuple(shape), tuple(maps), value)
    made: Node = Assign(tuple(ranges), base, seen)
    return made


def fitted(value: Node, shape: tuple[int, ...]) -> Node:
    """A value broadcast to the shape it is assigned to."""
    while value.ndim > len(shape) and value.shape[0] == 1:
        value = Select(value.shape[1:], (0, *((a, range(n)) for a, n in enumerate(value.shape[1:]))), value)
    try:
        matches = np.broadcast_shapes(value.shape, shape) == shape
    except ValueError:
        matches = False
    if not matches:
        raise ValueError(f"could not broadcast a value of shape {value.shape} into the selection of shape {shape}")
    return broadcast(value, shape)


def broadcast(node: Node, shape: tuple[int, ...]) -> Node:
    """A view of `node` with a larger shape."""
    if node.shape == shape:
        return node
    before = len(shape) - node.ndim
    maps: list[AxisMap] = [
        0 if n == 1 and shape[before + a] != 1 else (before + a, range(n)) for a, n in enumerate(node.shape)
    ]
    made: Node = Select(shape, tuple(maps), node)
    return made


def scattered(x: NDArray, key: Key, value: Node) -> Node:
    """Assignment through integer arrays or masks: the last value wins where a position is named twice."""
    concrete: list[Any] = []
    for k in key:
        if is_mask(k):
            concrete += np.nonzero(np.asarray(k.compute() if hasattr(k, "compute") else k))
        else:
            concrete.append(k)
    positions = flat_positions_of(x.shape, tuple(concrete))
    flat: Node = Reshape((positions.size,), fitted(value, positions.shape))
    made: Node = Scatter(Indices(positions.ravel()), x.node, flat)
    return made


def flat_positions_of(shape: tuple[int, ...], key: Key) -> np.ndarray[Any, Any]:
    """The flat positions that an index expression selects, in memory for those alone."""
    flat: Any = np.int64(0)
    for axis, n in enumerate(shape):
        along = np.arange(n, dtype=np.int64).reshape((n, *(1,) * (len(shape) - axis - 1)))
        flat = flat * n + np.broadcast_to(along, shape)[key]
    return np.asarray(flat)
