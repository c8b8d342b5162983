"""The settings file: one YAML mapping of names to plain values, read with the line each stands on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import yaml

from gpuarray.errors import ConfigError

_MOST_BYTES = 1 << 20


def read(path: Path) -> Iterator[tuple[str, object, str]]:
    """(name, value, source) of every line of the file.

    Raises
    ------
    ConfigError
        if the file cannot be read, is no mapping, or has a name twice or a value that is not plain.
    """
    root = _parse(path)
    if root is None or root.tag == "tag:yaml.org,2002:null":
        return
    if not isinstance(root, yaml.MappingNode):
        raise _error(path, root, "this is no mapping; write lines such as device_memory: 8 GiB")
    seen: dict[str, int] = {}
    plain = yaml.constructor.SafeConstructor()
    for key, value in root.value:
        if not isinstance(key, yaml.ScalarNode):
            raise _error(path, key, "a setting's name is a word; write lines such as device_memory: 8 GiB")
        name = key.value
        if name in seen:
            raise _error(path, key, f"{name!r} stands on line {seen[name]} too; keep one of them")
        seen[name] = key.start_mark.line + 1
        if not isinstance(value, yaml.ScalarNode):
            raise _error(path, value, f"{name} is a list or a mapping; a setting is one text or number")
        try:
            constructed = plain.construct_object(value)
        except (yaml.YAMLError, ValueError, OverflowError) as error:
            raise _error(path, value, f"{name}={value.value!r} cannot be read ({_first(error)}); quote it") from None
        yield name, constructed, _place(path, value)


def _parse(path: Path) -> yaml.Node | None:
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"settings file {path} cannot be read: {error.strerror}; mend or remove it") from error
    if len(data) > _MOST_BYTES:
        raise ConfigError(f"settings file {path} is larger than {_MOST_BYTES} bytes; that is no settings file")
    try:
        node: yaml.Node | None = yaml.compose(data, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ConfigError(f"settings file {path}{line}: not YAML ({error.problem}); mend that line") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"settings file {path}: not YAML ({_first(error)}); write it as UTF-8 text") from None
    return node


def _place(path: Path, node: yaml.Node) -> str:
    return f"settings file {path}, line {node.start_mark.line + 1}"


def _error(path: Path, node: yaml.Node, what: str) -> ConfigError:
    return ConfigError(f"{_place(path, node)}: {what}")


def _first(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
