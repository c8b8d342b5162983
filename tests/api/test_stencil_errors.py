"""What a stencil cannot be: every refusal names the file, the line and the way out."""

from __future__ import annotations

import itertools
import math
import operator
import random
import re

import numpy as np
import pytest

import gpuarray as ga
from gpuarray.errors import GPUArrayError, StencilError

W = np.ones(3)
LAZY = ga.ones(3)
LAZY_NUMBER = ga.ones(3).sum()
SEEN: list[float] = []


def loop_for_ever(x):
    return loop_for_ever(x) + 1  # here


def broken_helper(u):
    return u[1] + math.isqrt(u[0])  # the helper's line


def writes(u):
    u[0] = 1.0  # here
    return u[0]


def writes_by_another_name(u):
    v = u
    v[0] = 1.0  # here
    return u[1]


def adds_in_place(u):
    u[0] += 1.0  # here
    return u[0]


def adds_in_place_by_another_name(u):
    v = u
    v[0] += 1.0  # here
    return u[1]


def bare_and_subscripted(u):
    return u[1] + u  # here


def subscripted_after_bare(u):
    a = u * 2
    return a + u[1]  # here


def other_count(u):
    return u[0, 0] + u[0]  # here


def slices(u):
    return u[0:1, 0]  # here


def floats(u):
    return u[0.5]  # here


def arrays_as_offsets(u):
    return u[np.array([1, 2])]  # here


def lists_as_offsets(u):
    return u[[1, 2]]  # here


def ellipsis(u):
    return u[..., 1]  # here


def nothing_as_offset(u):
    return u[None]  # here


def booleans_as_offsets(u):
    return u[True]  # here


def no_offset(u):
    return u[()]  # here


def far(u):
    return u[65]  # here


def traced_offset(u, v):
    return u[v[0].astype(int)]  # here


def traced_table_index(u):
    return W[u[0].astype(int)] * u[1]  # here


def twice_subscripted(u):
    return u[0][1]  # here


def while_loop(u):
    x = u[0]
    while x > 1:  # here
        x = x / 2
    return x


def traced_bound(u):
    x = 0
    for i in range(int(u[0])):  # here
        x += i
    return x


def loops_over_field(u):
    return sum(x for x in u)  # here


def breaks(u):
    x = u[0]
    for _ in range(3):
        if x > 1:  # here
            break
        x = x * 2
    return x


def continues(u):
    x = u[0]
    for _ in range(3):
        if x > 1:  # here
            continue
        x = x * 2
    return x


def filters(u):
    return sum(u[i] for i in (-1, 1) if u[i] > 0)  # here


def asserts(u):
    assert u[0] > 0  # here
    return u[0]


def raises(u):
    if u[0] > 0:  # here
        raise ValueError("no")
    return u[0]


def with_block(u):
    with open("x"):  # here
        return u[0]


def tries(u):
    try:  # here
        return u[0]
    except ValueError:
        return 0


def uses_global(u):
    global SEEN  # here
    return u[0]


def nested(u):
    def g():  # here
        return 1

    return u[0] * g()


def class_inside(u):
    class G:  # here
        pass

    return u[0]


def generator(u):
    yield u[0]  # here


async def coroutine(u):  # here
    return u[0]


def walrus(u):
    return (a := u[0]) + a  # here


def deletes(u):
    a = u[0]
    del a  # here
    return u[1]


def sets_attribute(u):
    W.flags.writeable = False  # here
    return u[0]


def matches(u):
    match 1:  # here
        case 1:
            return u[0]


def isqrt(u):
    return math.isqrt(u[0])  # here


def numpys_sum(u):
    return np.sum([u[0], u[1]])  # here


def numpys_dot(u):
    return np.dot(W, [u[-1], u[0], u[1]])  # here


def an_array_at_every_point(u):
    a = W * u[0]  # here
    return a


def an_array_from_outside(u):
    return u[0] * LAZY[0]  # here


def a_number_from_outside(u):
    return u[0] * LAZY_NUMBER


def a_reduction(u):
    return u[0].sum()  # here


def cumulative(u):
    return np.cumsum(u[0])  # here


def sorts(u):
    return sorted([u[0], u[1]])[0]  # here


def sort_key(u):
    return max([u[0], u[1]], key=abs)  # here


def three_argument_pow(u):
    return pow(u[0], 2, 3)  # here


def unknown(u):
    return u[0] * nonsense  # noqa: F821  # here


def unbound(u):
    a = b + u[0]  # noqa: F821  # here
    b = 1
    return a * b


def bound_in_one_branch(u):
    if u[0] > 0:
        a = 1.0
    return a * u[1]  # here


def different_kinds(u):
    if u[0] > 0:
        a = (1.0, 2.0)
    else:
        a = (1.0, 2.0, 3.0)
    return a[0] * u[1]  # here


def different_kinds_in_an_expression(u):
    a = "x" if u[0] > 0 else 2  # here
    return a


def nothing(u):
    u[0]


def returns_none(u):
    x = u[0]
    return x if x is None else None


def one_path(u):
    if u[0] > 0:
        return u[1]


def different_counts(u):
    if u[0] > 0:
        return u[1], u[0]
    return u[1]


def text(u):
    return "x" if u[0] is None else "y"


def an_array(u):
    return W if u[0] is not None else 1


def empty(u):
    u[0]
    return ()


def only_bare(k):
    return k * 2


def recursion(u):
    return loop_for_ever(u[0])


def for_ever(u):
    while True:
        pass  # here
    return u[0]


def many(u):
    return sum(u[i, j, k] for i in range(11) for j in range(11) for k in range(11))  # here


def appends_in_a_branch(u):
    values = [1.0]
    if u[0] > 0:
        values.append(u[1])  # here
    return values[-1]


def writes_in_a_branch(u):
    values = [1.0]
    if u[0] > 0:
        values[0] = u[1]  # here
    return values[0]


def extends_in_a_branch(u):
    values = [1.0]
    if u[0] > 0:
        values += [u[1]]  # here
    return values[-1]


def appends_in_an_expression(u):
    values = [1.0]
    x = values.append(2.0) if u[0] > 0 else 1.0  # here
    return x


def push(values):
    values.append(2.0)  # in a helper
    return 1


def pushes_in_a_branch(u):
    values = [1.0]
    if u[0] > 0:
        push(values)
    return values[-1]


def next_in_a_branch(u):
    values = itertools.count()
    if u[0] > 0:
        a = next(values)  # here
    else:
        a = 0
    return a


def into_a_numpy_array(u):
    a = np.zeros(3)
    a[0] = u[0]  # here
    return a[0]


def shape(u):
    return u[0] / u.shape[0]  # here


def length(u):
    return u[0] / len(u)  # here


def complex_floor(u):
    return np.floor(u[0] * 1j)  # here


def text_operand(u):
    return u[0] + "a"  # here


def evaluates(u):
    return eval("u[0]")  # here


def names(u):
    return locals()["u"][0]  # here


def matrices(u):
    return u[0] @ u[1]  # here


def unpacks(u):
    a, b = u[0]  # here
    return a + b


def unpacks_too_few(u):
    a, b = (u[0],)  # here
    return a + b


def truth_in_c(u):
    return operator.truth(u[0])  # here


def float_in_c(u):
    return math.fsum([u[0], u[1]])  # here


def generator_in_c(u):
    return math.fsum(u[i] for i in (0, 1))  # here


WAYS = {
    writes: "return the new value of u",
    writes_by_another_name: "return the new value of u",
    adds_in_place: "return the new value of u",
    adds_in_place_by_another_name: "return the new value of u",
    bare_and_subscripted: r"write u\[0\]",
    subscripted_after_bare: r"write u\[0\]",
    other_count: r"u\[0\] has 1 offset, u\[0, 0\] in .*has 2",
    slices: "a slice is no offset of u",
    floats: "0.5 is no offset of u",
    arrays_as_offsets: "no offset",
    lists_as_offsets: r"\[1, 2\] is no offset",
    ellipsis: "Ellipsis is no offset",
    nothing_as_offset: "None is no offset",
    booleans_as_offsets: "True is no offset",
    no_offset: r"u\[\(\)\] has no offset",
    far: "offset 65 of u is farther than 64",
    traced_offset: "choose between elements with a conditional expression",
    traced_table_index: "choose between its elements",
    twice_subscripted: r"one subscript, as in u\[0, 1\]",
    while_loop: "write a `for`",
    traced_bound: "bounds are constants",
    loops_over_field: "loop over constant offsets",
    breaks: "choose what is added",
    continues: "choose what is added",
    filters: "x if condition else 0",
    asserts: "leave it out",
    raises: "return numpy.nan",
    with_block: "leave it out",
    tries: "numpy.isfinite",
    uses_global: "returns its results",
    nested: "beside the stencil",
    class_inside: "outside",
    generator: "return all values",
    coroutine: "write def",
    walrus: "line of its own",
    deletes: "leave it out",
    sets_attribute: "assign to a name",
    matches: "write `if` and `elif`",
    isqrt: r"math\.isqrt cannot be called",
    numpys_sum: r"numpy\.sum.*write sum\(w\[i\]",
    numpys_dot: r"numpy\.dot.*write sum\(w\[i\]",
    an_array_at_every_point: r"array of shape \(3,\).*w\[i\] \* u\[i\]",
    an_array_from_outside: "pass it as an argument",
    a_number_from_outside: "pass it as an argument",
    a_reduction: "not elementwise",
    cumulative: r"numpy\.cumsum has no counterpart",
    sorts: "sorted cannot be called",
    sort_key: "key=.*conditional expressions",
    three_argument_pow: r"base \*\* exponent % mod",
    unknown: "nonsense is not defined",
    unbound: "b is used before it has a value",
    bound_in_one_branch: "a has a value in one branch only of the `if` in line",
    different_kinds: "2 elements, the other 3",
    different_kinds_in_an_expression: "differ in kind: one of them is 'x', the other 2",
    nothing: "returns nothing; return the value",
    returns_none: "returns nothing; return the value",
    one_path: "add a return at the end",
    different_counts: "different kinds of things: one of them is a tuple",
    text: "returns 'y'",
    an_array: "returns a ndarray",
    empty: "empty tuple",
    only_bare: r"write u\[0, 0\]",
    recursion: "32 deep",
    for_ever: "does a loop never end",
    many: "more than 1,000 different elements",
    appends_in_a_branch: "a list is changed under a condition",
    writes_in_a_branch: "a list is changed under a condition",
    extends_in_a_branch: "a list is changed under a condition",
    appends_in_an_expression: "a list is changed under a condition",
    next_in_a_branch: "a count is changed under a condition",
    into_a_numpy_array: "keep them in a list",
    shape: "knows no shape of u",
    length: "knows no shape of u",
    complex_floor: "floor is not defined for complex128",
    text_operand: "add is not defined for float64, str",
    evaluates: "write the expression itself",
    names: "use the names themselves",
    matrices: r"use \*",
    unpacks: "cannot be unpacked into 2 names",
    unpacks_too_few: "1 values cannot be unpacked into 2 names",
    truth_in_c: "only known when the stencil runs",
    float_in_c: "fsum cannot be called",
    generator_in_c: "fsum cannot be called",
}


def line_of(function):
    """The line marked "here" in the function, its first one else, and the text of it."""
    with open(__file__, encoding="utf-8") as file:
        lines = file.read().splitlines()
    first = function.__code__.co_firstlineno
    stop = next(k for k in range(first, len(lines)) if lines[k].startswith(("def ", "async ", "WAYS", "class ")))
    marked = [k + 1 for k in range(first - 1, stop) if lines[k].endswith("# here")]
    return (marked or [first])[0], lines[(marked or [first])[0] - 1].strip()


@pytest.mark.parametrize("function", WAYS, ids=lambda f: f.__name__)
def test_refused_when_defined(function):
    with pytest.raises(ga.StencilError, match=WAYS[function]) as caught:
        ga.stencil(function)
    place = loop_for_ever if function is recursion else function
    line, text = line_of(place)
    message = str(caught.value)
    assert re.match(rf"test_stencil_errors\.py:{line}, (in )?{place.__name__}: ", message), (line, message)
    if "in" in message.split(":")[1]:
        assert message.endswith(f"\n    {text}")
    assert isinstance(caught.value, GPUArrayError)
    assert isinstance(caught.value, ValueError)


def test_a_helper_changes_nothing_in_a_branch():
    with pytest.raises(ga.StencilError, match=r"in push: a list is changed under a condition"):
        ga.stencil(pushes_in_a_branch)


def test_the_line_of_a_helper_and_of_a_long_expression():
    with pytest.raises(ga.StencilError, match=r"in broken_helper: math\.isqrt.*\n.*# the helper's line") as caught:
        ga.stencil(lambda u: broken_helper(u))
    line = broken_helper.__code__.co_firstlineno + 1
    assert f"test_stencil_errors.py:{line}" in str(caught.value)

    def long(u):
        return (
            u[0]
            + u[1]
            + math.isqrt(u[1])
        )  # fmt: skip

    with pytest.raises(ga.StencilError, match=r"\n    \+ math\.isqrt\(u\[1\]\)$"):
        ga.stencil(long)


def test_what_is_no_function():
    for value in (3, np.sin, "x", ga.ones(3), LAZY.sum):
        with pytest.raises(TypeError, match="takes a Python function"):
            ga.stencil(value)
    with pytest.raises(ga.StencilError, match=r"no \*args"):
        ga.stencil(lambda *args: args[0])
    with pytest.raises(ga.StencilError, match=r"no \*kwargs"):
        ga.stencil(lambda u, **kwargs: u[0])
    with pytest.raises(ga.StencilError, match="another name"):
        ga.stencil(lambda u, boundary: u[0])
    with pytest.raises(ga.StencilError, match=r"source of f cannot be found.*write it in a file"):
        ga.stencil(_without_source())
    with pytest.raises(ga.StencilError, match="no mode"):
        ga.stencil(lambda u: u[0], boundary="nonsense")
    with pytest.raises(ga.StencilError, match="2 entries for 1 axis"):
        ga.stencil(boundary=("fixed", "fixed"))(lambda u: u[0])


def _without_source():
    names = {}
    exec("def f(u): return u[0]", names)
    return names["f"]


def test_errors_of_dtypes_wait_for_the_call():
    f = ga.stencil(lambda u, v: (u[0] & 1) * v[0])
    assert f(np.arange(3), np.ones(3)).dtype == np.float64
    with pytest.raises(ga.StencilError, match=r"bitwise_and is not defined for float64.*"):
        f(np.ones(3), np.ones(3))
    with pytest.raises(ga.StencilError, match=r"returns 2 values and has 1 field;"):
        ga.stencil(lambda u: (u[0], u[1])).program((np.dtype(float),), {}, True)


def test_errors_of_operands_say_where():
    with pytest.raises(ga.StencilError, match=r"in <lambda>: integers to negative integer powers"):
        ga.stencil(lambda u: u[0] ** -1)(np.arange(3))
    with pytest.raises(ValueError, match="invalid literal") as caught:
        ga.stencil(lambda u: u[0] * int("x"))
    assert not isinstance(caught.value, ga.StencilError)


def test_too_long():
    def f(u):
        x = u[0]
        for i in range(3001):
            x = x * u[1] + i
        return x

    with pytest.raises(ga.StencilError, match=r"6,00\d operations, and at most 3,000"):
        ga.stencil(f)


def test_deep_nesting_is_no_crash():
    def f(u):
        x = 0.0
        for i in range(400):
            if u[0] < i:
                return x
            x = x + u[1]
        return x

    a = np.array([3.5, 1.0, 2.5, 2.0, 0.0])
    expected = [4 * 1.0, 2 * 2.5, 3 * 2.0, 3 * 0.0]
    assert ga.stencil(f)(a).compute()[:4].tolist() == expected


def too_large_a_number(u):
    return u[0] + 300


def divides(u, k):
    scale = 1 / k
    return u[0] * scale


def checks(u, k):
    if k < 0:
        raise LookupError("k must not be negative")
    return u[0] * k


@pytest.mark.parametrize(
    ("function", "args", "kind", "line"),
    [
        (too_large_a_number, (np.zeros(3, "u1"),), OverflowError, "in too_large_a_number, {file}: return u[0] + 300"),
        (divides, (np.zeros(3), 0), ZeroDivisionError, "in divides, {file}: scale = 1 / k"),
        (checks, (np.zeros(3), -1), LookupError, 'in checks, {file}: raise LookupError("k must not be negative")'),
    ],
)
def test_errors_that_stay_what_they_are_say_where(function, args, kind, line):
    first = function.__code__.co_firstlineno + (2 if function is checks else 1)
    with pytest.raises(kind) as caught:
        ga.stencil(function)(*args)
    assert caught.value.__notes__ == [line.format(file=f"test_stencil_errors.py:{first}")]


@pytest.mark.parametrize("draw", [random.random, np.random.default_rng(0).random, np.random.normal])
def test_random_numbers_are_no_constants(draw):
    with pytest.raises(StencilError, match=r"called once.*array of random numbers"):
        ga.stencil(lambda u: u[0] * draw())(np.zeros(3))
