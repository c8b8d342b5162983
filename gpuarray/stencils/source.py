"""A function's own source as a syntax tree, and its expressions compiled so that the interpreter is asked."""

from __future__ import annotations

import ast
import copy
import linecache
import os
from collections.abc import Iterator, Sequence
from functools import lru_cache
from types import CodeType, FunctionType
from typing import Any

from gpuarray.stencils.taps import Refused

Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


class Source:
    """The statements of a function. Expressions are compiled once each, however often the function is traced."""

    def __init__(self, function: FunctionType, node: Function, lines: list[str]) -> None:
        self.name, self.filename, self.lines = function.__name__, function.__code__.co_filename, lines
        self.node = node
        if isinstance(node, ast.Lambda):
            self.body: list[ast.stmt] = [ast.copy_location(ast.Return(node.body), node.body)]
        else:
            self.body = node.body
        arguments = node.args
        listed = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        self.parameters = tuple(a.arg for a in listed)
        extra = [a.arg for a in (arguments.vararg, arguments.kwarg) if a is not None]
        check(self)
        self.locals = frozenset({*self.parameters, *extra, *assigned(self.body)})
        self.names = frozenset(n.id for s in self.body for n in ast.walk(s) if isinstance(n, ast.Name)) - self.locals
        """What it may read from outside."""
        self._compiled: dict[ast.expr, CodeType] = {}

    def compiled(self, expression: ast.expr) -> CodeType:
        """An expression as code to be evaluated in the names of the function and of `Asked`."""
        code = self._compiled.get(expression)
        if code is None:
            made = ast.fix_missing_locations(ast.Expression(Asking().visit(copy.deepcopy(expression))))
            code = self._compiled[expression] = compile(made, self.filename, "eval", dont_inherit=True)
        return code

    def refused(self, node: ast.AST, text: str, kind: str = "", value: Any = None) -> Refused:
        """An error that says where."""
        error = Refused(text, kind, value)
        self.locate(error, getattr(node, "lineno", self.node.lineno))
        return error

    def locate(self, error: Refused, line: int) -> None:
        """Say where, unless that is known: the innermost place is said first."""
        if error.place is None:
            error.place = f"{os.path.basename(self.filename)}:{line}, in {self.name}"
            error.line = self.text(line)

    def note(self, error: Exception, line: int) -> None:
        """Say where on an error that stays what it is: the innermost place alone."""
        if not hasattr(error, "__notes__"):
            text = self.text(line)
            place = f"in {self.name}, {os.path.basename(self.filename)}:{line}"
            error.add_note(f"{place}: {text}" if text else place)

    def text(self, line: int) -> str:
        return self.lines[line - 1].strip() if 0 < line <= len(self.lines) else ""


def source_of(function: FunctionType) -> Source:
    """The source of a function or lambda. Raises Refused where it is nowhere to be found."""
    code = function.__code__
    try:
        return _parsed((code, code.co_filename), _Held(function))
    except Refused as error:
        if error.place is None:
            error.place = f"{os.path.basename(code.co_filename)}:{code.co_firstlineno}, in {function.__name__}"
        raise


class _Held:
    """A function beside a key that tells its code already."""

    def __init__(self, function: FunctionType) -> None:
        self.function = function

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Held)

    def __hash__(self) -> int:
        return 0


@lru_cache(maxsize=1024)
def _parsed(key: tuple[CodeType, str], held: _Held) -> Source:
    code, function = key[0], held.function
    linecache.checkcache(code.co_filename)
    text = "".join(linecache.getlines(code.co_filename, function.__globals__))
    found = candidates(code, _tree(text)) if text else []
    if not found:
        raise Refused(
            f"the source of {function.__name__} cannot be found, and a stencil is read from its source; write it in a "
            "file or a notebook"
        )
    if len(found) > 1:
        raise Refused(f"several functions on line {code.co_firstlineno} look alike; write each on a line of its own")
    return Source(function, found[0], text.splitlines())


@lru_cache(maxsize=16)
def _tree(text: str) -> ast.Module:
    try:
        return ast.parse(text)
    except SyntaxError as error:
        raise Refused(f"its file does not parse any more ({error.msg}, line {error.lineno}); reload it") from None


def candidates(code: CodeType, tree: ast.Module) -> Sequence[Function]:
    """The functions of a file that may be the one whose code this is."""
    if code.co_name != "<lambda>":
        return [
            n
            for n in ast.walk(tree)
            if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef))
            and n.name == code.co_name
            and min([n.lineno, *(d.lineno for d in n.decorator_list)]) == code.co_firstlineno
        ]
    lambdas = [n for n in ast.walk(tree) if isinstance(n, ast.Lambda) and n.lineno == code.co_firstlineno]
    if len(lambdas) < 2:
        return lambdas
    spans = [(a, c, b, d) for a, b, c, d in code.co_positions() if a and b and c is not None and d is not None]
    if not spans:
        return lambdas
    low = min((a, c) for a, c, _, _ in spans if (a, c) != (code.co_firstlineno, 0))
    inside = [
        n for n in lambdas if (n.body.lineno, n.body.col_offset) <= low <= (n.body.end_lineno, n.body.end_col_offset)
    ]
    return inside[-1:]  # the innermost: `ast.walk` comes to it last


def assigned(body: list[ast.stmt]) -> Iterator[str]:
    """The names that statements assign."""
    for statement in body:
        for node in ast.walk(statement):
            targets: list[ast.expr] = []
            if isinstance(node, ast.Assign):
                targets = node.targets
            elif isinstance(node, (ast.AugAssign, ast.AnnAssign, ast.For)):
                targets = [node.target]
            elif isinstance(node, (ast.Import, ast.ImportFrom)):
                yield from ((a.asname or a.name).partition(".")[0] for a in node.names)
            for target in targets:
                for n in ast.walk(target):
                    if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store):
                        yield n.id


STATEMENTS = (
    *(ast.Assign, ast.AugAssign, ast.AnnAssign, ast.If, ast.For, ast.While, ast.Return, ast.Expr, ast.Pass),
    *(ast.Break, ast.Continue, ast.Raise, ast.Assert, ast.Import, ast.ImportFrom),
)
INSTEAD: dict[type[ast.AST], tuple[str, str]] = {
    ast.FunctionDef: ("a function inside a stencil", "define it beside the stencil and call it"),
    ast.ClassDef: ("a class inside a stencil", "define it outside"),
    ast.With: ("`with`", "leave it out: a stencil only computes"),
    ast.Try: ("`try`", "a stencil's arithmetic raises nothing: test with an `if`, or numpy.isfinite"),
    ast.Global: ("`global`", "a stencil returns its results"),
    ast.Nonlocal: ("`nonlocal`", "a stencil returns its results"),
    ast.Delete: ("`del`", "leave it out"),
    ast.Match: ("`match`", "write `if` and `elif`"),
    ast.Yield: ("`yield`", "return all values at the end"),
    ast.YieldFrom: ("`yield`", "return all values at the end"),
    ast.Await: ("`await`", "leave it out"),
    ast.AsyncFunctionDef: ("an async function", "write def"),
    ast.NamedExpr: ("`:=`", "write the assignment on a line of its own"),
}


def check(source: Source) -> None:
    """Refuse what the interpreter does not take."""
    if isinstance(source.node, ast.AsyncFunctionDef):
        raise source.refused(source.node, "an async function cannot be a stencil; write def")
    for statement in source.body:
        for node in ast.walk(statement):
            if type(node) in INSTEAD or (isinstance(node, ast.stmt) and not isinstance(node, STATEMENTS)):
                what, instead = INSTEAD.get(type(node), (f"`{type(node).__name__.lower()}`", "leave it out"))
                raise source.refused(node, f"{what} cannot stand in a stencil; {instead}")
            if isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load):
                raise source.refused(node, "a stencil changes nothing outside itself: assign to a name and return it")
            if (
                isinstance(node, ast.Subscript)
                and not isinstance(node.ctx, ast.Load)
                and isinstance(node.value, ast.Name)
                and node.value.id in source.parameters
            ):
                name = node.value.id
                raise source.refused(
                    node,
                    f"a stencil does not write to its input: return the new value of {name} instead of assigning to "
                    f"{name}[...]",
                )


class Asked:
    """The names under which an expression finds the interpreter: no name that a user can write."""

    CALL, ITEM, CHOOSE, AND, OR = "<call>", "<item>", "<choose>", "<and>", "<or>"
    NOT, COMPARE, TRUTH, SLICE = "<not>", "<compare>", "<truth>", "<slice>"


class Asking(ast.NodeTransformer):
    """Expressions whose meaning Python fixes become calls of the interpreter, which may build a graph instead."""

    def _asks(self, at: ast.expr, name: str, *args: ast.expr, keywords: list[ast.keyword] | None = None) -> ast.expr:
        called = ast.copy_location(ast.Name(name, ast.Load()), at)
        return ast.copy_location(ast.Call(called, list(args), keywords or []), at)

    def _later(self, value: ast.expr) -> ast.expr:
        nothing = ast.arguments(posonlyargs=[], args=[], kwonlyargs=[], kw_defaults=[], defaults=[])
        return ast.copy_location(ast.Lambda(nothing, value), value)

    def visit_Call(self, node: ast.Call) -> Any:
        self.generic_visit(node)
        return self._asks(node, Asked.CALL, node.func, *node.args, keywords=node.keywords)

    def visit_Subscript(self, node: ast.Subscript) -> Any:
        self.generic_visit(node)
        return self._asks(node, Asked.ITEM, node.value, self._index(node.slice))

    def _index(self, node: ast.expr) -> ast.expr:
        if isinstance(node, ast.Slice):
            ends = [ast.Constant(None) if e is None else e for e in (node.lower, node.upper, node.step)]
            return self._asks(node, Asked.SLICE, *ends)
        if isinstance(node, ast.Tuple):
            return ast.copy_location(ast.Tuple([self._index(e) for e in node.elts], ast.Load()), node)
        return node

    def visit_IfExp(self, node: ast.IfExp) -> Any:
        self.generic_visit(node)
        return self._asks(node, Asked.CHOOSE, node.test, self._later(node.body), self._later(node.orelse))

    def visit_BoolOp(self, node: ast.BoolOp) -> Any:
        self.generic_visit(node)
        name = Asked.AND if isinstance(node.op, ast.And) else Asked.OR
        return self._asks(node, name, *map(self._later, node.values))

    def visit_UnaryOp(self, node: ast.UnaryOp) -> Any:
        self.generic_visit(node)
        return self._asks(node, Asked.NOT, node.operand) if isinstance(node.op, ast.Not) else node

    def visit_Compare(self, node: ast.Compare) -> Any:
        self.generic_visit(node)
        if len(node.ops) == 1 and not isinstance(node.ops[0], (ast.In, ast.NotIn)):
            return node
        operations = ast.Constant(" ".join(type(o).__name__ for o in node.ops))
        return self._asks(node, Asked.COMPARE, operations, node.left, *map(self._later, node.comparators))

    def visit_comprehension(self, node: ast.comprehension) -> Any:
        self.generic_visit(node)
        node.ifs = [self._asks(test, Asked.TRUTH, test) for test in node.ifs]
        return node
