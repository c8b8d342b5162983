"""What the names in a function stand for while it is traced, and where errors about them are."""

from __future__ import annotations

import ast
import builtins
import os
from types import FunctionType
from typing import TYPE_CHECKING, Any

import numpy as np

from gpuarray.array import NDArray
from gpuarray.stencils.calls import checked, holds_traced
from gpuarray.stencils.choice import choose, described, is_traced
from gpuarray.stencils.source import Source
from gpuarray.stencils.taps import Parameter, Refused

if TYPE_CHECKING:
    from gpuarray.stencils.interpret import Interpreter

HERE = os.path.dirname(os.path.abspath(__file__)) + os.sep
ENGINE = os.path.dirname(os.path.dirname(HERE)) + os.sep


def is_engine(filename: str) -> bool:
    """Whether a file is one that knows nothing of stencils: what it raises is about operands."""
    return filename.startswith(ENGINE) and not filename.startswith(HERE)


def outside(source: Source, function: FunctionType) -> dict[str, Any]:
    """The names that a function reads from its closure and its module."""
    found = {name: function.__globals__[name] for name in source.names if name in function.__globals__}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            found[name] = cell.cell_contents
        except ValueError:  # not assigned yet
            found.pop(name, None)
    return found


class Names:
    """The names of one call of a function."""

    def __init__(self, run: Interpreter, source: Source, function: FunctionType, arguments: dict[str, Any]) -> None:
        self.run, self.source = run, source
        self.names: dict[str, Any] = {**outside(source, function), **arguments, **run.names}
        self.names["__builtins__"] = builtins.__dict__
        self.lost: dict[str, str] = {}
        """Names that have no value any more, and why."""

    def value(self, expression: ast.expr) -> Any:
        try:
            return eval(self.source.compiled(expression), self.names)
        except Exception as error:
            raise self.explained(error, expression) from error.__cause__

    def explained(self, error: Exception, at: ast.AST) -> Exception:
        """An error with the place where it came about. What the user's own code raises stays what it is."""
        line = getattr(at, "lineno", self.source.node.lineno)
        trace, innermost = error.__traceback__, ""
        while trace is not None:
            if trace.tb_frame.f_globals is self.names:
                line = trace.tb_lineno
            innermost = trace.tb_frame.f_code.co_filename
            trace = trace.tb_next
        made = error
        if error is self.run.raised:
            pass
        elif isinstance(error, NameError):
            made = Refused(self.unknown(error.name or str(error)))
        elif isinstance(error, RecursionError):
            made = Refused("it is nested too deeply; write it with a loop, or as several stencils")
        elif isinstance(error, TypeError) or (isinstance(error, ValueError) and is_engine(innermost)):
            made = Refused(str(error), "dtype")
        if isinstance(made, Refused):
            made.__cause__ = error if made is not error else error.__cause__
            self.source.locate(made, line)
        else:
            self.source.note(made, line)
        return made

    def unknown(self, name: str) -> str:
        if name in self.lost:
            return self.lost[name]
        if name in self.source.locals:
            return f"{name} is used before it has a value"
        return f"{name} is not defined, neither in the stencil nor outside it"

    def assign(self, target: ast.expr, value: Any) -> None:
        if isinstance(target, ast.Name):
            self.names[target.id] = checked(value, target.id) if is_traced(value) else value
            self.lost.pop(target.id, None)
        elif isinstance(target, ast.Starred):
            self.assign(target.value, list(value))
        elif isinstance(target, (ast.Tuple, ast.List)):
            self.unpack(target, value)
        else:
            assert isinstance(target, ast.Subscript)
            container, index = self.value(target.value), self.index(target.slice)
            if not isinstance(container, Parameter):  # which says that a stencil does not write
                self.check_change(container, index, value)
            container[index] = value

    def index(self, expression: ast.expr) -> Any:
        """What stands in a subscript, slices among it."""
        load = ast.Subscript(ast.Name("<subscripted>", ast.Load()), expression, ast.Load())
        self.names["<subscripted>"] = _Subscripted()
        return self.value(ast.fix_missing_locations(ast.copy_location(load, expression)))

    def check_change(self, container: Any, index: Any, value: Any) -> None:
        if self.run.conditional:
            self.run.refuse_change(container)
        if holds_traced(index):
            raise Refused("a table cannot be written at a place that is only known when the stencil runs", "value")
        if isinstance(container, np.ndarray) and holds_traced(value):
            raise Refused("a NumPy array cannot hold values of the point; keep them in a list")

    def unpack(self, target: ast.Tuple | ast.List, value: Any) -> None:
        if is_traced(value):
            raise Refused(f"{described(value)} cannot be unpacked into {len(target.elts)} names")
        values, places = list(value), target.elts
        starred = next((k for k, t in enumerate(places) if isinstance(t, ast.Starred)), None)
        count = len(values)
        if count != len(places) if starred is None else count < len(places) - 1:
            raise Refused(f"{count} values cannot be unpacked into {len(places)} names")
        if starred is not None:
            stop = starred + count - len(places) + 1
            values[starred:stop] = [values[starred:stop]]
        for place, v in zip(places, values, strict=True):
            self.assign(place, v)

    def locals(self) -> dict[str, Any]:
        return {k: self.names[k] for k in self.source.locals if k in self.names}

    def restore(self, values: dict[str, Any], lost: dict[str, str]) -> None:
        for name in self.source.locals:
            self.names.pop(name, None)
        self.names.update(values)
        self.lost = lost

    def merge(self, node: ast.If, condition: NDArray, yes: dict[str, Any], lost: dict[str, str]) -> None:
        """The names after both branches: each has the value of the branch that the point takes."""
        no = self.locals()
        self.lost |= lost
        for name in {**yes, **no}:
            if name not in yes or name not in no:
                why = "has a value in one branch only"
            else:
                try:
                    self.names[name] = choose(condition, yes[name], no[name])
                    continue
                except Refused as error:
                    why = f"is of different kinds in the branches ({error.text})"
            self.names.pop(name, None)
            self.lost.setdefault(name, f"{name} {why} of the `if` in line {node.lineno}; give it a number in both")


class _Subscripted:
    """Gives back the index it is asked for."""

    def __getitem__(self, index: Any) -> Any:
        return index
