"""Write docs/numpy-names.md and its totals in README.md from the code: python docs/names/table.py [--check]

What a function is, is seen by running its own example: whether it ran anything before `compute` was called, and of
which steps the graph consists that it made.
"""

from __future__ import annotations

import argparse
import doctest
import functools
import inspect
import io
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

import gpuarray as ga
from gpuarray import run as engine
from gpuarray._left_out import FUNCTIONS as LEFT_OUT
from gpuarray.graph.contract import MatMul
from gpuarray.graph.elementwise import Map
from gpuarray.graph.leaves import Const, Index, Source
from gpuarray.graph.move import Assign, Concat, Rechunk, Reshape
from gpuarray.graph.node import Node, toposort
from gpuarray.graph.reduce import Combine, Partial, Reduce
from gpuarray.graph.scan import ExclusiveScan, Scan
from gpuarray.graph.scatter import Compress, Scatter
from gpuarray.graph.select import Select
from gpuarray.graph.stencil import Sweep
from gpuarray.kernels.table import ELEMENTWISE

HERE = Path(__file__).parent
PAGE, README = HERE.parent / "numpy-names.md", HERE.parents[1] / "README.md"
OPEN, CLOSE = "<!-- NumPy's names: python docs/names/table.py writes this -->", "<!-- end -->"

MODULES: dict[str, tuple[str, Any]] = {
    "numpy": ("Functions of `numpy`", ga),
    "numpy.linalg": ("`numpy.linalg`", ga.linalg),
    "numpy.fft": ("`numpy.fft`", ga.fft),
    "numpy.random.Generator": ("Distributions: methods of `numpy.random.Generator`", ga.random.Generator),
}

MOVES = (Assign, Concat, Rechunk, Reshape, Select, Source, Const, Compress, Scatter)
COMPILED = (Index, Reduce, Partial, Combine, Scan, ExclusiveScan, Sweep)

SINCE = {"0.1": "*"}
"""Names that a version brought; "*" is every name that no other has."""

ONE_MATRIX = {
    "numpy.linalg": [
        "cond",
        "eig",
        "eigh",
        "eigvals",
        "eigvalsh",
        "matrix_rank",
        "pinv",
        "svd",
        "svdvals",
        "tensorinv",
        "tensorsolve",
    ],
}
"""What takes a whole matrix into memory; stacks of matrices are gone through one after another."""


@dataclass
class Seen:
    """What an example showed of a function."""

    called: bool = False
    ran: bool = False
    arrays: bool = False
    nodes: set[Node] = field(default_factory=set)


def arrays_in(value: Any) -> Iterator[ga.NDArray]:
    if isinstance(value, ga.NDArray):
        yield value
    elif isinstance(value, (list, tuple)):
        for v in value:
            yield from arrays_in(v)


@contextmanager
def watched(function: Callable[..., Any], seen: Seen) -> Iterator[None]:
    """Let `seen` learn of every call of a function by its public names."""
    inside = [0]

    def noticed(runs: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(runs)
        def run(*args: Any, **kwargs: Any) -> Any:
            if inside[0]:
                seen.ran = True
                seen.nodes |= set(toposort(*args[0]))
            return runs(*args, **kwargs)

        return run

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        target = next((a for a in args if isinstance(a, ga.NDArray)), None)
        before = None if target is None else target.node
        inside[0] += 1
        try:
            made = function(*args, **kwargs)
        finally:
            inside[0] -= 1
        written = made is None and target is not None and target.node is not before
        found = [target] if written else list(arrays_in(made))
        seen.called = True
        seen.arrays = seen.arrays or bool(found)
        seen.nodes |= {n for x in found for n in toposort(x.node)}
        return made

    places: list[Any] = [ga, ga.linalg, ga.fft, *ga.random.Generator.__mro__[:-1]]
    with ExitStack() as stack:
        for place in places:
            for name, value in list(vars(place).items()):
                if value is function:
                    stack.enter_context(patch.object(place, name, call))
        for name in ("compute_nodes", "persist_nodes", "run"):
            stack.enter_context(patch.object(engine, name, noticed(getattr(engine, name))))
        yield


def observed(function: Callable[..., Any]) -> Seen:
    """Run a function's example."""
    seen = Seen()
    example = doctest.DocTestParser().get_doctest(inspect.getdoc(function) or "", {}, "example", None, 0)
    with watched(function, seen), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        doctest.DocTestRunner(verbose=False).run(example, out=lambda text: None)
    return seen


def compiled(node: Node) -> bool:
    """Whether a step becomes code of ours."""
    if not isinstance(node, Map):
        return isinstance(node, COMPILED)
    if node.op == "cast":
        return True
    row = ELEMENTWISE[node.op]
    loop, result = row.resolve(*(i.dtype for i in node.inputs))
    return row.code_for(loop, result) is not None


def kernels(nodes: set[Node]) -> tuple[str, str]:
    """What computes on the CPU, and on a GPU."""
    cpu = {"Numba" if compiled(n) else "NumPy" for n in nodes if not isinstance(n, MOVES) and not isinstance(n, MatMul)}
    if any(isinstance(n, MatMul) for n in nodes):
        cpu.add("BLAS")
    words = [w for w in ("Numba", "NumPy", "BLAS") if w in cpu] or ["copies"]
    cuda = {"Numba": "own", "NumPy": "CuPy", "BLAS": "cuBLAS", "copies": "copies"}
    return ", ".join(words), ", ".join(cuda[w] for w in words)


@dataclass(frozen=True)
class Row:
    """One name of NumPy's."""

    name: str
    there: bool
    lazy: str = ""
    out_of_core: str = ""
    cpu: str = ""
    cuda: str = ""
    since: str = ""


def row(group: str, name: str, place: Any) -> Row:
    if place is None or not (
        hasattr(place, name) and (not isinstance(place, ModuleType) or name in getattr(place, "__all__", dir(place)))
    ):
        return Row(name, False)
    function = getattr(place, name)
    since = next(v for v, names in SINCE.items() if names == "*" or name in names.split())
    if not getattr(function, "__module__", "").startswith("gpuarray"):
        return Row(name, True, "NumPy's", "", "", "", since)
    seen = observed(function)
    if not seen.called:
        raise LookupError(f"the example of {group}.{name} does not call it")
    if not seen.arrays:
        return Row(name, True, "no array" if not seen.ran else "computes", "", "", "", since)
    whole = name in ONE_MATRIX.get(group, ())
    cpu, cuda = kernels(seen.nodes)
    return Row(name, True, "runs first" if seen.ran else "yes", "one matrix" if whole else "yes", cpu, cuda, since)


def rows(record: dict[str, Any]) -> dict[str, list[Row]]:
    return {g: [row(g, n, place) for n in record["NumPy"][g]] for g, (_, place) in MODULES.items()}


def totals(record: dict[str, Any], table: dict[str, list[Row]]) -> str:
    """The table for README.md."""
    heads = ["`numpy`", "`numpy.linalg`", "`numpy.fft`", "`numpy.random.Generator`"]
    lines = ["| functions of | " + " | ".join(heads) + " |", "|---|" + "---:|" * len(heads)]
    lines.append(f"| NumPy {record['NumPy']['version']} | " + " | ".join(str(len(r)) for r in table.values()) + " |")
    lines.append("| **gpuarray** | " + " | ".join(str(sum(x.there for x in r)) for r in table.values()) + " |")
    for peer, has in record.items():
        if peer != "NumPy":
            lines.append(f"| {peer} {has['version']} | " + " | ".join(str(len(has[g])) for g in table) + " |")
    return "\n".join(lines)


INTRODUCTION = """# NumPy's names

Which of NumPy's public functions gpuarray has, beside three other libraries. `python docs/names/table.py` writes this
page from the code, and a test fails where it is stale.

{totals}

Of the {there} functions that gpuarray has, {lazy} give lazy arrays without computing anything, and {out} work within a
memory limit on arrays that are larger. `np.f(x)` calls gpuarray's `f`; where there is none it raises a TypeError that
says so, and never computes the whole array in silence.

In the tables below:

- **lazy**: *yes*, nothing is computed before `compute`; *runs first*, the shape or the values asked for depend on data,
  so a part is computed at the call; *computes*, the result is no array but what was computed; *no array*, the function
  answers from shapes and dtypes; *NumPy's*, it is NumPy's own function, which knows nothing of arrays.
- **out of core**: *yes*, chunk by chunk within the limit; *one matrix*, stacks are gone through, but a single matrix
  must fit (of `svd` and what rests on it: unless it is tall or wide).
- **CPU** and **CUDA**: what computes its example. *Numba* and *own* are kernels generated by gpuarray, fused with what
  comes before and after; *NumPy* and *CuPy* are calls of theirs for each chunk; *copies* moves data alone.
- The last three columns: whether the library has a function of that name, from the packages in these versions.
"""


def page(record: dict[str, Any], table: dict[str, list[Row]]) -> str:
    every = [r for found in table.values() for r in found if r.there]
    lazy, out = sum(r.lazy == "yes" for r in every), sum(bool(r.out_of_core) for r in every)
    parts = [INTRODUCTION.format(totals=totals(record, table), there=len(every), lazy=lazy, out=out)]
    peers = [p for p in record if p != "NumPy"]
    for group, (title, _) in MODULES.items():
        lines = [f"## {title}", "", f"| name | lazy | out of core | CPU | CUDA | since | {' | '.join(peers)} |"]
        lines.append("|---" * (6 + len(peers)) + "|")
        for r in table[group]:
            marks = " | ".join("✓" if r.name in record[p][group] else "" for p in peers)
            ours = f"{r.lazy} | {r.out_of_core} | {r.cpu} | {r.cuda} | {r.since}" if r.there else "**no** | | | |"
            lines.append(f"| {r.name} | {ours} | {marks} |")
        parts.append("\n".join(lines) + "\n")
    missing = {g: [r.name for r in found if not r.there] for g, found in table.items()}
    parts.append(left_out(missing))
    return "\n".join(parts)


def left_out(missing: dict[str, list[str]]) -> str:
    lines = ["## Left out, and why", ""]
    reasons = {n: why for why, names in LEFT_OUT.items() for n in names.split()}
    for why, names in LEFT_OUT.items():
        found = [n for n in names.split() if n in missing["numpy"]]
        if found:
            lines.append(f"- {', '.join(f'`{n}`' for n in found)}: they {why}.")
    to_come = [f"`{g}.{n}`" for g, names in missing.items() for n in names if n not in reasons]
    lines += ["", "To come: " + ", ".join(to_come) + "." if to_come else "Nothing else is missing."]
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail where a file is stale")
    check = parser.parse_args().check
    stale = [path for path, text in made().items() if path.read_text() != text]
    for path, text in made().items():
        if path in stale and not check:
            path.write_text(text)
    print(*(f"{p.name} is {'stale' if check else 'written'}" for p in stale), sep="\n")
    return int(check and bool(stale))


@functools.cache
def made() -> dict[Path, str]:
    """The text of each file."""
    record = json.loads((HERE / "peers.json").read_text())
    table = rows(record)
    before, _, rest = README.read_text().partition(OPEN)
    _, _, after = rest.partition(CLOSE)
    readme = f"{before}{OPEN}\n\n{totals(record, table)}\n\n{CLOSE}{after}"
    return {PAGE: page(record, table), README: readme}


if __name__ == "__main__":
    sys.exit(main())
