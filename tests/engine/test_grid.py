"""Chunks and regions are integer arithmetic: every operation against a plain list of positions."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuarray.graph import grid
from gpuarray.graph.cells import cells
from gpuarray.graph.grid import Lengths
from gpuarray.graph.move import axis_groups, box_of, meet
from gpuarray.graph.select import Indices, images

lengths = st.lists(st.integers(1, 9), min_size=1, max_size=8).map(Lengths.of)
steps = st.integers(1, 5)


@st.composite
def within(draw: st.DrawFn, n: int) -> range:
    lo = draw(st.integers(0, n))
    return range(lo, draw(st.integers(lo, n)), draw(steps))


class TestLengths:
    @given(st.lists(st.integers(1, 9), min_size=1, max_size=8))
    def test_is_the_sequence_it_was_made_of(self, made_of: list[int]) -> None:
        made = Lengths.of(made_of)
        assert tuple(made) == tuple(made_of) == made
        assert made[-1] == made_of[-1]
        assert made[1:] == tuple(made_of[1:])
        assert made.largest == max(made_of)
        assert made.total == sum(made_of)
        assert made.edges() == tuple(np.cumsum([0, *made_of]))
        assert pickle.loads(pickle.dumps(made)) == made

    def test_equal_lengths_take_no_memory(self) -> None:
        made = Lengths.regular(10**15, 3)
        assert len(made) == -(-(10**15) // 3)
        assert made[-1] == 10**15 % 3
        assert made.find(10**14) == 10**14 // 3

    def test_equal_however_made(self) -> None:
        assert Lengths.of([4, 4, 2]) == Lengths.regular(10, 4)
        assert hash(Lengths.of([4, 4, 2])) == hash(Lengths.regular(10, 4))
        assert Lengths.of([2, 4, 4]) != Lengths.regular(10, 4)
        assert Lengths.of([5]) == Lengths.regular(5, 9) == (5,)
        assert Lengths.of([0]) == Lengths.regular(0, 7)

    @given(lengths, st.data())
    def test_find(self, made: Lengths, data: st.DataObject) -> None:
        i = data.draw(st.integers(0, made.total - 1))
        assert i in made.span(made.find(i))

    def test_long_ones_are_shortened_in_print(self) -> None:
        assert repr(Lengths.regular(10**9, 1)) == "(1, 1, 1, ..., 1; 1,000,000,000 chunks)"


@given(lengths, lengths, st.data())
def test_touching_covers_a_region_once(rows: Lengths, columns: Lengths, data: st.DataObject) -> None:
    region = (data.draw(within(rows.total)), data.draw(within(columns.total)))
    whole = np.arange(rows.total * columns.total).reshape(rows.total, columns.total)
    filled = np.full(grid.shape_of(region), -1)
    for number, inside, at in grid.touching((rows, columns), region):
        chunk = whole[grid.as_slices(grid.region_at((rows, columns), number))]
        assert (filled[at] == -1).all()
        filled[at] = chunk[inside]
    np.testing.assert_array_equal(filled, whole[grid.as_slices(region)])


@given(st.integers(0, 30), st.data())
def test_within_finds_a_region_in_an_array_of_a_larger_one(n: int, data: st.DataObject) -> None:
    base = data.draw(within(n))
    picked = data.draw(within(len(base)))
    r = base[picked.start : picked.stop : picked.step]
    values = np.arange(n)[base.start : base.stop : base.step]
    np.testing.assert_array_equal(values[grid.within(r, base)], list(r))


@given(within(40), within(40))
def test_meet_is_the_intersection(a: range, b: range) -> None:
    both = meet(a, b)
    assert set(both) == set(a) & set(b)
    assert list(both) == sorted(both)


@given(lengths, st.data())
def test_images_cut_a_slice_where_the_chunks_are(made: Lengths, data: st.DataObject) -> None:
    n = made.total
    step = data.draw(st.sampled_from([1, 2, 3, -1, -2]))
    positions = range(n)[data.draw(st.integers(-n, n)) : data.draw(st.integers(-n, n)) : step]
    cut = images(positions, made)
    assert cut.total == len(positions)
    assert all(k > 0 for k in cut) or cut.total == 0
    if len(made) > 1 and len(made) <= len(positions):
        for k in range(len(cut)):
            touched = {made.find(positions[i]) for i in cut.span(k)}
            assert len(touched) <= 1


@given(st.lists(st.integers(1, 12), min_size=1, max_size=4), st.data())
def test_box_holds_the_interval_and_is_contiguous(shape: list[int], data: st.DataObject) -> None:
    total = int(np.prod(shape))
    lo = data.draw(st.integers(0, total - 1))
    hi = data.draw(st.integers(lo + 1, total))
    whole = np.arange(total).reshape(shape)
    box = whole[tuple(slice(r.start, r.stop) for r in box_of(shape, range(lo, hi)))].ravel()
    assert set(range(lo, hi)) <= set(box)
    np.testing.assert_array_equal(box, np.arange(box[0], box[-1] + 1))


def test_axis_groups_are_as_small_as_can_be() -> None:
    assert axis_groups((6, 4, 5), (24, 5)) == (((0, 1), (0,)), ((2,), (1,)))
    assert axis_groups((24,), (2, 3, 4)) == (((0,), (0, 1, 2)),)
    assert axis_groups((), (1, 1)) == (((), (0,)), ((), (1,)))


class TestCells:
    """Cells are a function of the chunks alone, end where chunks end or inside them, and are not small."""

    def test_large_chunks_are_split(self) -> None:
        (cut,) = cells((Lengths.regular(10**7, 10**7),), (0,))
        assert cut is not None
        assert cut.largest == 2**18

    def test_small_chunks_are_put_together(self) -> None:
        (cut,) = cells((Lengths.regular(10**6, 10),), (0,))
        assert cut is not None
        assert 10 <= len(cut) <= 16

    def test_billions_of_chunks_take_no_memory(self) -> None:
        (cut,) = cells((Lengths.regular(10**12, 1),), (0,))
        assert cut is not None
        assert cut.largest == 2**16

    @given(lengths)
    def test_small_irregular_chunks(self, made: Lengths) -> None:
        (cut,) = cells((made,), (0,))
        assert cut is not None
        assert cut.total == made.total

    @pytest.mark.parametrize("axes", [(0,), (1,), (0, 1)])
    def test_axes_that_stay_are_not_cut(self, axes: tuple[int, ...]) -> None:
        cut = cells((Lengths.regular(5000, 1000), Lengths.regular(5000, 1000)), axes)
        assert [c is not None for c in cut] == [a in axes for a in range(2)]


@given(st.integers(0, 30), st.data())
def test_compose_is_a_slice_of_a_slice(n: int, data: st.DataObject) -> None:
    def some(m: int) -> range:
        bounds = st.none() | st.integers(-m - 1, m + 1)
        return range(m)[data.draw(bounds) : data.draw(bounds) : data.draw(st.sampled_from([1, 2, 3, -1, -2, -3]))]

    outer = some(n)
    inner = some(len(outer))
    expected = [outer[i] for i in inner]
    assert list(grid.compose(outer, inner)) == expected
    np.testing.assert_array_equal(Indices(np.arange(n)[::-1]).at(outer), np.arange(n)[::-1][list(outer)])
