"""Morphology against SciPy, however the array is cut."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.ndimage as scipy

import gpuarray as ga
from gpuarray import ndimage

SHAPES = [(1,), (9,), (5, 7), (3, 4, 5), (0, 4)]
STRUCTURES = {1: [[1, 1, 1], [1, 1], [0, 1, 1, 1], [1, 0, 1]], 2: [np.ones((3, 3)), np.eye(3), [[1, 1, 0, 1]]]}
BINARY = ["binary_erosion", "binary_dilation", "binary_opening", "binary_closing"]
GREY = ["grey_erosion", "grey_dilation", "grey_opening", "grey_closing"]
MADE_OF_THEM = ["white_tophat", "black_tophat", "morphological_gradient", "morphological_laplace"]


def blobs(shape: tuple[int, ...], share: float = 0.6) -> Any:
    return np.random.default_rng(len(shape)).random(shape) < share


def both(name: str, a: Any, *args: Any, chunks: Any = 2, **kwargs: Any) -> None:
    theirs = np.asarray(getattr(scipy, name)(a, *args, **kwargs))
    mine = getattr(ndimage, name)(ga.asarray(a, chunks=chunks), *args, **kwargs)
    assert mine.dtype == theirs.dtype
    np.testing.assert_array_equal(mine.compute(), theirs)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", BINARY)
def test_binary(name: str, shape: tuple[int, ...]) -> None:
    a = blobs(shape)
    for structure in (None, *STRUCTURES.get(len(shape), [])):
        for kwargs in ({}, {"iterations": 3}, {"border_value": 1}, {"iterations": 2, "border_value": 1}):
            both(name, a, structure, **kwargs)
    both(name, a * 3.5)
    made = getattr(ndimage, name)(ga.asarray(a), output="uint8")  # SciPy takes no notice of a dtype here
    assert made.dtype == np.uint8
    np.testing.assert_array_equal(made.compute(), getattr(scipy, name)(a))
    mask = blobs(shape[::-1], 0.7).T
    both(name, a, mask=mask)
    both(name, a, mask=mask.astype(int) * 2, iterations=2)


@pytest.mark.parametrize("name", BINARY)
def test_origins_and_axes(name: str) -> None:
    a = blobs((6, 7))
    for origin in (-1, 0, 1, (1, 0), (0, -1)):
        both(name, a, np.ones((3, 3)), origin=origin)
        both(name, a, np.tri(3, k=1), 1, origin=origin)
    both(name, a, np.ones((2, 4)), origin=(0, 1) if name != "binary_opening" else (0, 0))
    both(name, a, [1, 1, 0], axes=(1,))
    both(name, blobs((3, 5, 4)), np.eye(3), axes=(0, 2), iterations=2)


@pytest.mark.parametrize("name", ["binary_erosion", "binary_dilation"])
def test_until_nothing_changes(name: str) -> None:
    a = blobs((23, 19), 0.9 if name == "binary_erosion" else 0.03)
    mask = blobs((19, 23), 0.7).T
    for iterations in (0, -1):
        both(name, a, iterations=iterations, mask=mask, chunks=8)
    both(name, a, np.ones((3, 3)), iterations=-1, mask=mask, chunks=(5, 19))
    both("binary_propagation", a, mask=mask, chunks=8)


@pytest.mark.parametrize("shape", [(30,), (17, 21), (6, 7, 8)])
def test_holes(shape: tuple[int, ...]) -> None:
    a = blobs(shape, 0.55)
    both("binary_fill_holes", a, chunks=6)
    both("binary_fill_holes", a, np.ones((3,) * len(shape)), chunks=6)
    both("binary_hit_or_miss", a, chunks=6)


def test_hit_or_miss() -> None:
    a = blobs((12, 13))
    corner = np.array([[0, 0, 0], [0, 1, 1], [0, 1, 1]])
    both("binary_hit_or_miss", a, corner)
    both("binary_hit_or_miss", a, corner, 1 - np.tri(3), origin1=(0, 1), origin2=1)
    both("binary_hit_or_miss", a, [1, 1, 0], axes=(0,))


@pytest.mark.parametrize("mode", ["reflect", "mirror", "nearest", "wrap", "constant"])
@pytest.mark.parametrize("name", GREY + MADE_OF_THEM)
def test_grey(name: str, mode: str) -> None:
    heights = np.random.default_rng(1).integers(-2, 3, (3, 4))
    for dtype in ("uint8", "int32", "float64"):
        a = np.random.default_rng(0).integers(0, 50, (7, 9)).astype(dtype)
        kwargs = {"mode": mode, "cval": 7}
        for origin in (0, -1):
            both(name, a, 3, origin=origin, **kwargs)
            both(name, a, (2, 4), origin=0, **kwargs)
            both(name, a, footprint=np.tri(3), origin=origin, **kwargs)
            if dtype == "float64":
                both(name, a, structure=heights, origin=(0, origin), **kwargs)
                both(name, a, footprint=heights > 0, structure=heights, **kwargs)
    both(name, np.arange(11.0), 20, mode=mode, chunks=4)
    both(name, np.zeros((0, 3)), 3, mode=mode)
    both(name, blobs((4, 5, 3)).astype("f4"), 3, axes=(0, 2), mode=mode)


def test_booleans_have_tophats() -> None:
    a = blobs((9, 8))
    for name in ("white_tophat", "black_tophat"):
        both(name, a, 3)


def test_steps_are_done_together_out_of_core() -> None:
    a = blobs((600, 500), 0.97)
    with ga.config.set(host_memory="700 kB"):
        made = ndimage.binary_erosion(ga.asarray(a, chunks=100), iterations=7)
        np.testing.assert_array_equal(made.compute(), scipy.binary_erosion(a, iterations=7))


def test_structures() -> None:
    for rank in range(4):
        for connectivity in range(4):
            mine = ndimage.generate_binary_structure(rank, connectivity)
            np.testing.assert_array_equal(mine, scipy.generate_binary_structure(rank, connectivity))
    for structure in (np.ones(3), np.eye(3), np.tri(2, 4), scipy.generate_binary_structure(3, 1)):
        for n in (1, 2, 4):
            np.testing.assert_array_equal(
                ndimage.iterate_structure(structure, n), scipy.iterate_structure(structure, n)
            )
    assert ndimage.iterate_structure(np.ones((3, 3)), 3, (1, 0))[1] == [3, 0]


def test_bad_input() -> None:
    x = ga.ones((4, 5))
    cases: list[tuple[Any, type, str]] = [
        (lambda: ndimage.binary_erosion(x, [1, 1]), ValueError, "1 dimensions, and 2 axes"),
        (lambda: ndimage.binary_erosion(x, np.ones((0, 3))), ValueError, "must not be empty"),
        (lambda: ndimage.binary_erosion(x, mask=ga.ones(4)), ValueError, r"mask of shape \(4,\)"),
        (lambda: ndimage.binary_erosion(x, iterations=1.5), TypeError, "iterations=1.5"),
        (lambda: ndimage.binary_dilation(x, origin=2), ValueError, "origin"),
        (lambda: ndimage.binary_dilation(x * 1j), TypeError, "real numbers"),
        (lambda: ndimage.grey_erosion(x), ValueError, "needs size="),
        (lambda: ndimage.grey_dilation(x), ValueError, "needs size="),
        (lambda: ndimage.grey_dilation(x, footprint=[1, 1]), ValueError, "1 dimensions"),
        (lambda: ndimage.grey_erosion(x, structure=np.ones((2, 2)), footprint=np.ones((2, 3))), ValueError, "shape"),
        (lambda: ndimage.grey_erosion(x, structure=np.ones((40, 40))), ValueError, "1000 elements"),
        (lambda: ndimage.morphological_laplace(x > 0, 3), TypeError, "booleans"),
    ]
    for call, kind, words in cases:
        with pytest.raises(kind, match=words):
            call()
    empty = np.zeros((3, 3))
    assert ndimage.binary_erosion(x, empty).all()
    assert not ndimage.binary_dilation(x, empty).any()
