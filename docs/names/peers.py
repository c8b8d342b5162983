"""Record which of NumPy's functions the peers have, from the packages that are installed: writes peers.json.

    python docs/names/peers.py --cupynumeric wheel-or-folder

cuPyNumeric cannot be imported without its runtime, so its source is read: a folder or wheel that holds it.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import json
import sys
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
Read = Callable[[str], "str | None"]


def functions(module: Any) -> list[str]:
    """The public functions of one of NumPy's modules."""
    return sorted(
        n for n in module.__all__ if callable(getattr(module, n)) and not isinstance(getattr(module, n), type)
    )


def numpys() -> dict[str, list[str]]:
    drawn = sorted(n for n in dir(np.random.Generator) if not n.startswith("_") and n not in ("bit_generator", "spawn"))
    return {
        "numpy": functions(np),
        "numpy.linalg": functions(np.linalg),
        "numpy.fft": functions(np.fft),
        "numpy.random.Generator": drawn,
    }


def imported(package: str) -> dict[str, Iterable[str]]:
    module = importlib.import_module(package)
    random = importlib.import_module(package + ".random")
    return {
        "version": importlib.import_module(package.partition(".")[0]).__version__,
        "numpy": dir(module),
        "numpy.linalg": dir(importlib.import_module(package + ".linalg")),
        "numpy.fft": dir(importlib.import_module(package + ".fft")),
        "numpy.random.Generator": dir(random.Generator),
    }


def defined(read: Read, module: str) -> set[str]:
    """The names that a module of a package has, from its source."""
    name = module.replace(".", "/")
    text, package = read(f"{name}/__init__.py"), module
    if text is None:
        text, package = read(f"{name}.py"), module.rpartition(".")[0]
    names: set[str] = set()
    for statement in ast.parse(text or "").body:
        if isinstance(statement, (ast.FunctionDef, ast.ClassDef)):
            names.add(statement.name)
        elif isinstance(statement, (ast.Assign, ast.AnnAssign)):
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            names |= {t.id for t in targets if isinstance(t, ast.Name)}
        elif isinstance(statement, ast.ImportFrom) and (statement.level or statement.module == "numpy"):
            base = package.split(".")[: len(package.split(".")) - statement.level + 1]
            for alias in statement.names:
                if alias.name == "*":
                    names |= defined(read, ".".join([*base, *filter(None, [statement.module])]))
                elif statement.level or module == "cupynumeric":
                    names.add(alias.asname or alias.name)
    return names


def methods(text: str, name: str) -> set[str]:
    classes = (n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.ClassDef) and n.name == name)
    return {m.name for c in classes for m in c.body if isinstance(m, ast.FunctionDef)}


def read_source(path: Path) -> dict[str, Iterable[str]]:
    if path.is_dir():
        found: dict[str, str] = {str(p.relative_to(path)): p.read_text() for p in path.rglob("*.py")}
        version = next(path.glob("*cupynumeric*.dist-info")).stem.split("-")[1]
    else:
        with zipfile.ZipFile(path) as wheel:
            found = {n: wheel.read(n).decode() for n in wheel.namelist() if n.endswith(".py")}
        version = path.name.split("-")[1]
    return {
        "version": version,
        "numpy": defined(found.get, "cupynumeric"),
        "numpy.linalg": defined(found.get, "cupynumeric.linalg"),
        "numpy.fft": defined(found.get, "cupynumeric.fft"),
        "numpy.random.Generator": methods(found["cupynumeric/random/_generator.py"], "Generator"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cupynumeric", type=Path, required=True)
    arguments = parser.parse_args()
    names = numpys()
    peers = {
        "dask.array": imported("dask.array"),
        "cuPyNumeric": read_source(arguments.cupynumeric),
        "CuPy": imported("cupy"),
    }
    record: dict[str, dict[str, Any]] = {"NumPy": {"version": np.__version__, **names}}
    for peer, has in peers.items():
        record[peer] = {"version": has["version"]} | {g: sorted(set(has[g]) & set(n)) for g, n in names.items()}
    (HERE / "peers.json").write_text(json.dumps(record, indent=1) + "\n")
    for name, has in record.items():
        print(name, has["version"], *(len(has[g]) for g in names), file=sys.stderr)


if __name__ == "__main__":
    main()
