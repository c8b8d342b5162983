"""Rows of the table: arithmetic."""

from __future__ import annotations

from gpuarray.kernels.row import Elementwise, kinds

ROWS: tuple[Elementwise, ...] = (
    Elementwise(
        "add",
        2,
        "Sum.",
        kinds("iufc", "{0} + {1}") | kinds("b", "{0} | {1}"),
        ufunc="add",
        dunder="add",
    ),
    Elementwise("subtract", 2, "Difference.", kinds("iufc", "{0} - {1}"), ufunc="subtract", dunder="sub"),
    Elementwise(
        "multiply",
        2,
        "Product.",
        kinds("iufc", "{0} * {1}") | kinds("b", "{0} & {1}"),
        ufunc="multiply",
        dunder="mul",
    ),
    Elementwise(
        "divide",
        2,
        "Quotient in floating point.",
        kinds("f", "{0} / {1}"),
        ufunc="divide",
        dunder="truediv",
        aliases=("true_divide",),
        cost=4,
    ),
    Elementwise("negative", 1, "-x.", kinds("iufc", "-{0}"), ufunc="negative", dunder="neg"),
    Elementwise("square", 1, "x * x.", kinds("iufc", "{0} * {0}") | kinds("b", "{0}"), ufunc="square"),
    Elementwise("sqrt", 1, "Square root.", kinds("f", "math.sqrt({0})"), ufunc="sqrt", cost=6),
    Elementwise("exp", 1, "e to the power x.", kinds("f", "math.exp({0})"), ufunc="exp", cost=20),
    Elementwise("less", 2, "x1 < x2.", kinds("biuf", "{0} < {1}"), ufunc="less", dunder="lt"),
)
