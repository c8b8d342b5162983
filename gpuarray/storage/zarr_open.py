"""Opens zarr arrays, and turns whatever can be wrong with a store into one clear error."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gpuarray.errors import StorageError
from gpuarray.storage.common import as_path, check_shape, check_stored_dtype, public_name

MARK = "gpuarray"
"""The attribute that says whether writing an array has finished: ``{"complete": false}`` until it has."""
MAX_METADATA = 64 << 20
"""Bytes of a metadata file beyond which it is taken for damaged."""


def import_zarr() -> Any:
    try:
        import zarr
    except ImportError as error:
        raise ImportError('zarr is not installed; install it with: pip install "gpuarray-engine[io]"') from error
    return zarr


def open_array(store: Any, path: str | None, options: Mapping[str, Any] | None = None, mode: str = "r") -> Any:
    """A checked `zarr.Array`, with its name for messages."""
    zarr = import_zarr()
    if isinstance(store, zarr.Array):
        if path is not None:
            raise TypeError("path= is for stores; a zarr.Array is one array already")
        array, name = store, array_name(store)
    else:
        store, name = locate(store, path)
        with described(name):
            if isinstance(store, str) and os.path.isfile(store) and store.endswith(".zip"):
                store = zarr.storage.ZipStore(store, mode="r")
            array = zarr.open_array(store, path=path or "", mode=mode, storage_options=url_options(store, options))
    with described(name):
        dtype, shape, grain = array.dtype, array.shape, array.chunks
        outer = array.shards or grain
    check_stored_dtype(dtype, name)
    check_shape(shape, dtype, name)
    if len(grain) != len(shape) or any(c < 1 for c in (*grain, *outer)):
        raise StorageError(f"{name}: chunks of shape {grain} do not cut an array of shape {shape}")
    return array, name


def locate(store: Any, path: str | None) -> tuple[Any, str]:
    """The store with "~" and links resolved where it is a folder, and a name for messages; odd paths are refused."""
    if path is not None and not isinstance(path, str):
        raise TypeError(f"path= takes a text such as 'group/name', not {type(path).__name__}")
    parts = (path or "").replace("\\", "/").split("/")
    if any(part in (".", "..") for part in parts) or "\0" in (path or ""):
        raise StorageError(f"the path {path!r} leads out of the store; name an array inside it, 'group/name'")
    if type(store).__name__ == "LocalStore":
        store = store.root
    if isinstance(store, (str, os.PathLike)) and "://" not in str(store):
        where = os.path.realpath(as_path(store, "zarr"))
        for name in (".zarray", "zarr.json"):
            _check_metadata(os.path.join(where, *[p for p in parts if p], name))
        store = where
    inner = "/".join(p for p in parts if p)
    return store, public_name(store) + ("/" + inner if inner else "")


def _check_metadata(file: str) -> None:
    try:
        size = os.stat(file).st_size
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:  # a loop of links, no permission
        raise StorageError(f"{file}: {error.strerror}") from None
    if size > MAX_METADATA:
        raise StorageError(f"{file} has {size} bytes; metadata has at most {MAX_METADATA}, so the store is damaged")


def url_options(store: Any, options: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return dict(options) if options is not None and isinstance(store, str) and "://" in store else None


def array_name(array: Any) -> str:
    store = public_name(array.store).removeprefix("file://")
    return f"{store}/{array.path}" if array.path else store


@contextmanager
def quiet() -> Iterator[None]:
    """The library warns of formats that are not settled; what is read back equals what was written."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="zarr")
        yield


@contextmanager
def described(name: str) -> Iterator[None]:
    """Turn whatever zarr raises about a store into one of our errors, with no secrets of a URL in it."""
    try:
        with quiet():
            yield
    except (StorageError, ImportError):
        raise
    except Exception as error:
        kind = type(error).__name__
        text = public_name(error)[:300] or kind
        if kind == "NodeTypeValidationError" or kind == "ContainsGroupError":
            raise StorageError(f"{name} is a group, not an array{_arrays_in(name)}") from None
        if isinstance(error, FileNotFoundError) or kind in ("ArrayNotFoundError", "NodeNotFoundError"):
            raise FileNotFoundError(f"there is no zarr array at {name}{_arrays_in(name)}") from None
        if isinstance(error, PermissionError):
            raise PermissionError(f"{name}: {text}") from None
        raise StorageError(f"{name} cannot be read as a zarr array: {text}") from None


def _arrays_in(name: str) -> str:
    """The arrays in the group at `name` or in the nearest one above, as the end of a message."""
    folder = Path(name)
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    if not any((folder / meta).is_file() for meta in ("zarr.json", ".zgroup")):
        return ""
    found = []
    for k, file in enumerate(sorted(folder.rglob("*"))):
        if file.name == ".zarray" or (file.name == "zarr.json" and b'"array"' in file.read_bytes()[:100_000]):
            found.append(str(file.parent.relative_to(folder)))
        if len(found) == 20 or k > 10_000:
            found.append("...")
            break
    return f"; {folder} holds the arrays {', '.join(found)}: pass path=" if found else f"; {folder} holds no arrays"


def is_incomplete(array: Any) -> bool:
    mark = array.attrs.get(MARK)
    return isinstance(mark, Mapping) and mark.get("complete") is False
