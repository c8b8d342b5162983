"""Running a function on traced values, statement by statement: both branches of what only the point decides."""

from __future__ import annotations

import ast
import inspect
import operator
from collections.abc import Iterable, Iterator
from types import FunctionType
from typing import Any

import numpy as np

from gpuarray.stencils.asked import Answers
from gpuarray.stencils.choice import choose, is_traced
from gpuarray.stencils.flow import (
    BREAKS,
    CONTINUES,
    FAILS,
    FALLS,
    NOTHING,
    RETURNS,
    Branch,
    Flow,
    Returned,
    after,
    ends,
)
from gpuarray.stencils.names import Names
from gpuarray.stencils.source import source_of
from gpuarray.stencils.taps import Parameter, Refused

MAX_STATEMENTS = 100_000
"""Loops are unrolled; more than these never end, or should not be a stencil."""
MAX_DEPTH = 32
"""Functions that call functions."""


INPLACE = {
    ast.Add: (operator.add, operator.iadd),
    ast.Sub: (operator.sub, operator.isub),
    ast.Mult: (operator.mul, operator.imul),
    ast.Div: (operator.truediv, operator.itruediv),
    ast.FloorDiv: (operator.floordiv, operator.ifloordiv),
    ast.Mod: (operator.mod, operator.imod),
    ast.Pow: (operator.pow, operator.ipow),
    ast.BitAnd: (operator.and_, operator.iand),
    ast.BitOr: (operator.or_, operator.ior),
    ast.BitXor: (operator.xor, operator.ixor),
    ast.LShift: (operator.lshift, operator.ilshift),
    ast.RShift: (operator.rshift, operator.irshift),
    ast.MatMult: (operator.matmul, operator.imatmul),
}


class Interpreter(Answers):
    """One trace of a stencil, with the functions it calls."""

    depth = 0
    statements = 0
    raised: BaseException | None = None
    """What a `raise` of the user's raised: it goes to the caller as it is."""

    def interpret(self, function: FunctionType, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        source = source_of(function)
        if self.depth >= MAX_DEPTH:
            raise Refused(
                f"functions call each other more than {MAX_DEPTH} deep; only what is constant can end a recursion"
            )
        bound = inspect.signature(function, follow_wrapped=False).bind(*args, **kwargs)
        bound.apply_defaults()
        self.depth += 1
        try:
            return Frame(self, source, function, dict(bound.arguments)).result()
        finally:
            self.depth -= 1


class Frame(Names):
    """One call of a function: the statements one after the other."""

    def result(self) -> Any:
        flow = self.block(self.source.body)
        nothing = ends(flow) & {FALLS, NOTHING}
        if nothing and RETURNS not in ends(flow):
            raise self.source.refused(
                self.source.node, f"{self.source.name} returns nothing; return the value of the point"
            )
        if nothing:
            raise self.source.refused(
                self.source.node, f"{self.source.name} does not return a value on every path; add a return at the end"
            )
        return self.chosen(flow)

    def chosen(self, flow: Flow) -> Any:
        """The value that is returned."""
        if isinstance(flow, Returned):
            return flow.value
        if not isinstance(flow, Branch):
            raise self.source.refused(self.source.node, f"{self.source.name} raises an error in every case")
        for one, other in ((flow.yes, flow.no), (flow.no, flow.yes)):
            if ends(one) == {FAILS}:
                return self.chosen(other)
        yes, no = self.chosen(flow.yes), self.chosen(flow.no)
        try:
            return choose(flow.condition, yes, no)
        except Refused as error:
            raise self.source.refused(
                self.source.node,
                f"{self.source.name} returns different kinds of things: {error.text}",
                "value",
                flow.condition,
            ) from None

    def block(self, statements: Iterable[ast.stmt]) -> Flow:
        flow: Flow = FALLS
        for statement in statements:
            self.run.statements += 1
            if self.run.statements > MAX_STATEMENTS:
                raise self.source.refused(
                    statement, f"more than {MAX_STATEMENTS:,} statements are run for one point; does a loop never end?"
                )
            try:
                flow = after(flow, self.statement(statement))
            except Exception as error:
                made = self.explained(error, statement)
                if made is error:
                    raise
                raise made from made.__cause__
            if FALLS not in ends(flow):
                break
        return flow

    def statement(self, node: ast.stmt) -> Flow:
        if isinstance(node, ast.Return):
            value = None if node.value is None else self.value(node.value)
            return NOTHING if value is None else Returned(value)
        if isinstance(node, ast.If):
            return self.branch(node)
        if isinstance(node, (ast.For, ast.While)):
            return self.loop(node)
        if isinstance(node, (ast.Break, ast.Continue)):
            return BREAKS if isinstance(node, ast.Break) else CONTINUES
        if isinstance(node, (ast.Raise, ast.Assert)):
            return self.failure(node)
        if isinstance(node, ast.Assign):
            value = self.value(node.value)
            for target in node.targets:
                self.assign(target, value)
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            self.assign(node.target, self.value(node.value))
        elif isinstance(node, ast.AugAssign):
            self.augment(node)
        elif isinstance(node, ast.Expr):
            self.value(node.value)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            exec(compile(ast.Module([node], []), self.source.filename, "exec", dont_inherit=True), self.names)
        return FALLS

    def augment(self, node: ast.AugAssign) -> None:
        plain, inplace = INPLACE[type(node.op)]
        if isinstance(node.target, ast.Subscript):
            container, index = self.value(node.target.value), self.index(node.target.slice)
            old, more = self.run.item(container, index), self.value(node.value)
            made = self.updated(plain, inplace, old, more)
            if not isinstance(container, Parameter):
                self.check_change(container, index, made)
            container[index] = made
            return
        assert isinstance(node.target, ast.Name)
        old = self.value(ast.copy_location(ast.Name(node.target.id, ast.Load()), node.target))
        self.assign(node.target, self.updated(plain, inplace, old, self.value(node.value)))

    def updated(self, plain: Any, inplace: Any, old: Any, more: Any) -> Any:
        """``old += more``: a new number; a list or an array is changed, as in Python."""
        if isinstance(old, (list, dict, set, np.ndarray, bytearray)) and not is_traced(more):
            if self.run.conditional:
                self.run.refuse_change(old)
            return inplace(old, more)
        return plain(old, more)

    def failure(self, node: ast.Raise | ast.Assert) -> Flow:
        """`raise` and `assert`, which may depend on coefficients only."""
        if isinstance(node, ast.Assert):
            test = self.value(node.test)
            if is_traced(test):
                if self.run.trace.depends_on_coefficients_alone(test):
                    self.run.trace.assumed = True
                    return FALLS
                raise self.source.refused(
                    node, "an assertion about values of the point cannot be made while the stencil runs; leave it out"
                )
            if not test:
                self.run.raised = AssertionError(*([] if node.msg is None else [self.value(node.msg)]))
                raise self.run.raised
            return FALLS
        if self.run.conditional:
            return FAILS
        made = RuntimeError("No active exception to reraise") if node.exc is None else self.value(node.exc)
        made = made() if isinstance(made, type) else made
        if not isinstance(made, BaseException):
            raise TypeError(f"exceptions must derive from BaseException, not {type(made).__name__}")
        self.run.raised = made
        raise made

    def branch(self, node: ast.If) -> Flow:
        test = self.value(node.test)
        if not is_traced(test):
            return self.block(node.body if test else node.orelse)
        condition = self.run.condition(test)
        before, lost = self.locals(), dict(self.lost)
        self.run.conditional += 1
        try:
            yes = self.block(node.body)
            after_yes, lost_yes = self.locals(), self.lost
            self.restore(before, dict(lost))
            no = self.block(node.orelse)
        finally:
            self.run.conditional -= 1
        for end in ends(yes) | ends(no):
            if end in (BREAKS, CONTINUES):
                raise self.source.refused(
                    node,
                    f"`{end.how}` under a condition that is only known when the stencil runs; loops run equally often "
                    "at every point: choose what is added instead",
                    "value",
                    condition,
                )
            if end is FAILS and not self.run.trace.depends_on_coefficients_alone(condition):
                raise self.source.refused(
                    node, "a stencil cannot raise an error at some of the points; return numpy.nan there", "value", test
                )
        if FALLS in ends(yes):
            if FALLS in ends(no):
                self.merge(node, condition, after_yes, lost_yes)
            else:
                self.restore(after_yes, lost_yes)
        return Branch(condition, yes, no)

    def loop(self, node: ast.For | ast.While) -> Flow:
        flow: Flow = FALLS
        rounds = self.rounds(node)
        for _ in rounds:
            made = self.block(node.body)
            if made is BREAKS:
                return flow
            flow = after(flow, FALLS if made is CONTINUES else made)
            if FALLS not in ends(flow):
                return flow
        return after(flow, self.block(node.orelse))

    def rounds(self, node: ast.For | ast.While) -> Iterator[None]:
        if isinstance(node, ast.For):
            values = self.value(node.iter)
            if is_traced(values) and not isinstance(values, Parameter):
                raise self.source.refused(node, "a number of the point cannot be looped over", "value", values)
            for value in values:
                self.assign(node.target, value)
                yield
            return
        while True:
            test = self.value(node.test)
            if is_traced(test):
                raise self.source.refused(
                    node,
                    "a `while` whose end is only known when the stencil runs; write a `for` over a constant number of "
                    "rounds and choose what changes in each",
                    "value",
                    test,
                )
            if not test:
                return
            self.run.statements += 1
            yield
