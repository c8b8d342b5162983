"""The loops of compiled reductions around evaluator and fold, the same for every program and reduction.

`along` and `across` take the address of a table of words (`FIELDS`, then lists). For each block of elements they call
the evaluator, which fills a buffer with the block, and the fold (`gpuarray.kernels.reduce_code`), which reduces the
buffer to a state; they merge states in binary trees and write them to the state arrays. With a fused evaluator
(`gpuarray.kernels.fused_code`) there is no buffer: it leaves the block in the lanes.

A state of a tile of cells lies in `tile * cell_bytes` bytes, value by value. Importing this module imports Numba.
"""

from __future__ import annotations

# Compiled code: Numba infers the types, so annotations would only be noise.
# mypy: disable-error-code="no-untyped-def,no-untyped-call"
import numpy as np
from numba.extending import register_jitable

from gpuarray.kernels.pointers import ahead, call, load, pointer, store

FIELDS = (
    "EVALUATE",  # address of the evaluator, or 0: read the one operand where it lies
    "TABLE",  # address of the evaluator's table
    "FOLD",  # addresses of the fold and of its table
    "FOLD_TABLE",
    "OUTERS",  # reduced axes around the cut one, and positions along them
    "OUTER",
    "KEEPS",  # axes of cells, and positions along them
    "KEPT",
    "LENGTH",  # units along the cut axis
    "BLOCK",  # units of a block
    "SIZE_WORD",  # where the evaluator's table wants the units, and times what
    "SIZE_FACTOR",
    "X",  # buffers: elements; masks or indices; lanes; a state; trees, with the bytes of each
    "Z",
    "LANES",
    "STATE",
    "COUNTERS",
    "COUNTER_BYTES",
    "CELLS",  # across: cells side by side, and how many at a time
    "TILE",
    "UNIT_BYTES",  # along: bytes of a unit where it is read
    "MOVING",  # the evaluator's moving inputs
    "CHUNK",  # units evaluated at once
    "UNIT",  # elements of a unit
    "OUTPUTS",  # the evaluator's outputs
    "STATES",  # values of a state, and bytes of the state of one cell
    "CELL_BYTES",
    "FOLDED",  # across: whether the axis of the cells is itself reduced
    "ONE",  # across: the state of a single cell, and behind it the tree of a row of cells
    "Z_BYTES",  # bytes of a mask or an index
    "WIDTH_WORD",  # along: where the table of an evaluator that folds wants the number of lanes; 0: it does not fold
    "HEADER",  # how many words these are; the lists follow
)
"""The first words of the loops' table."""
(
    EVALUATE,
    TABLE,
    FOLD,
    FOLD_TABLE,
    OUTERS,
    OUTER,
    KEEPS,
    KEPT,
    LENGTH,
    BLOCK,
    SIZE_WORD,
    SIZE_FACTOR,
    X,
    Z,
    LANES,
    STATE,
    COUNTERS,
    COUNTER_BYTES,
    CELLS,
    TILE,
    UNIT_BYTES,
    MOVING,
    CHUNK,
    UNIT,
    OUTPUTS,
    STATES,
    CELL_BYTES,
    FOLDED,
    ONE,
    Z_BYTES,
    WIDTH_WORD,
    HEADER,
) = range(len(FIELDS))

FOLD_FIELDS = (
    *("OP", "FX", "FZ", "FIRST", "COUNT", "PITCH", "Z_PITCH", "LANES_AT", "WIDTH", "TILE_CELLS", "TILE_PITCH"),
    *("MERGE_FROM", "MERGE_INTO", "RESULT"),
)
"""Words of a fold's table: what to do; where elements and masks or indices lie, the number of the first and how many,
the bytes from one to the next (across); lanes and how many; cells of the tile, and of a whole tile; states to merge and
to make."""
(OP, FX, FZ, FIRST, COUNT, PITCH, Z_PITCH, LANES_AT, WIDTH, TILE_CELLS, TILE_PITCH, MERGE_FROM, MERGE_INTO, RESULT) = (
    range(len(FOLD_FIELDS))
)
BEGIN, ADD, FINISH, MERGE = 0, 1, 2, 3
"""What a fold is asked to do."""


@register_jitable
def word(table, k):
    return load("a", np.int64, table, k)


@register_jitable
def put(table, k, value):
    store("a", np.int64, table, k, value)


@register_jitable
def copy(source, target, nbytes):
    for k in range(nbytes >> 3):
        put(target, k, word(source, k))


@register_jitable
def merge(fold, f, first, second):
    """Merge the state at `first` with the one at `second`, into `second`."""
    put(pointer(f), OP, MERGE)
    put(pointer(f), MERGE_FROM, first)
    put(pointer(f), MERGE_INTO, second)
    call(fold, f)


@register_jitable
def push(fold, f, counter, state, nbytes):
    """Take a state into a counter: bit b of the count says whether slot b holds 2**b merged states."""
    count = word(pointer(counter), 0)
    put(pointer(counter), 0, count + 1)
    slot = counter + 64
    while count & 1:
        merge(fold, f, slot, state)
        count >>= 1
        slot += nbytes
    copy(pointer(state), pointer(slot), nbytes)


@register_jitable
def drain(fold, f, counter, state, nbytes):
    """Merge what a counter holds into `state`; the counter is empty then."""
    count = word(pointer(counter), 0)
    put(pointer(counter), 0, 0)
    slot = counter + 64
    empty = True
    while count:
        if count & 1:
            if empty:
                copy(pointer(slot), pointer(state), nbytes)
            else:
                merge(fold, f, slot, state)
            empty = False
        count >>= 1
        slot += nbytes


@register_jitable
def advance(axes, lengths, counts, changes, values, width):
    """Count up a set of axes, the last fastest, and move `width` values along; the axis that advanced, or -1."""
    a = axes - 1
    while a >= 0:
        c = word(counts, a) + 1
        if c < word(lengths, a):
            put(counts, a, c)
            for k in range(width):
                put(values, k, word(values, k) + word(changes, a * width + k))
            break
        put(counts, a, 0)
        a -= 1
    return a


@register_jitable
def climb(fold, f, q, state, nbytes, places, lengths, counts, changes):
    """After the blocks of a row: merge them, and what lies outwards of every axis that is through."""
    depth = word(q, OUTERS)
    moving = word(q, MOVING)
    while True:
        drain(fold, f, word(q, COUNTERS) + depth * word(q, COUNTER_BYTES), state, nbytes)
        if depth == 0:
            break
        depth -= 1
        push(fold, f, word(q, COUNTERS) + depth * word(q, COUNTER_BYTES), state, nbytes)
        c = word(counts, depth) + 1
        if c < word(lengths, depth):
            put(counts, depth, c)
            for k in range(moving):
                put(places, k, word(places, k) + word(changes, depth * moving + k))
            break
        put(counts, depth, 0)


@register_jitable
def deliver(state, tile, cells, outs, steps, v0, sizes, ends, states):
    """Write the state of a tile of cells to the state arrays."""
    for s in range(states):
        source = ahead(pointer(state), tile * word(ends, s))
        step = word(steps, s)
        target = pointer(word(outs, s) + v0 * step)
        size = word(sizes, s)
        for j in range(cells):
            place = ahead(target, j * step)
            if size == 8:
                store("out", np.int64, place, 0, load("a", np.int64, source, j))
            elif size == 4:
                store("out", np.int32, place, 0, load("a", np.int32, source, j))
            elif size == 16:
                store("out", np.int64, place, 0, load("a", np.int64, source, 2 * j))
                store("out", np.int64, place, 1, load("a", np.int64, source, 2 * j + 1))
            elif size == 2:
                store("out", np.int16, place, 0, load("a", np.int16, source, j))
            else:
                store("out", np.int8, place, 0, load("a", np.int8, source, j))


@register_jitable
def evaluate_block(q, e, places, cut_steps, at, units):
    """Have the evaluator fill the buffer with `units` positions along the cut axis from `at` on."""
    moving = word(q, MOVING)
    first = 4 + 3 * word(q, OUTPUTS)
    for k in range(moving):
        put(e, first + 3 * k, word(places, k) + at * word(cut_steps, k))
    put(e, word(q, SIZE_WORD), units * word(q, SIZE_FACTOR))
    call(word(q, EVALUATE), word(q, TABLE))


@register_jitable
def lane_count(n):
    return 32 if n >= 128 else (8 if n >= 16 else 1)


@register_jitable
def along(words):
    """One cell at a time."""
    q = pointer(words)
    evaluate, fold, f = word(q, EVALUATE), word(q, FOLD), word(q, FOLD_TABLE)
    e, g = pointer(word(q, TABLE)), pointer(f)
    outers, keeps = word(q, OUTERS), word(q, KEEPS)
    L, S, C, p = word(q, LENGTH), word(q, BLOCK), word(q, CHUNK), word(q, UNIT)
    moving, states, state, cell_bytes = word(q, MOVING), word(q, STATES), word(q, STATE), word(q, CELL_BYTES)
    starts = ahead(q, 8 * word(q, HEADER))
    places = ahead(starts, 8 * (moving + states))
    cut_steps = ahead(places, 8 * moving)
    out_steps = ahead(cut_steps, 16 * moving)
    sizes = ahead(out_steps, 8 * states)
    ends = ahead(sizes, 8 * states)
    keep_lengths = ahead(ends, 8 * states)
    keep_counts = ahead(keep_lengths, 8 * keeps)
    keep_changes = ahead(keep_counts, 8 * keeps)
    outer_lengths = ahead(keep_changes, 8 * keeps * (moving + states))
    outer_counts = ahead(outer_lengths, 8 * outers)
    outer_changes = ahead(outer_counts, 8 * outers)
    counter = word(q, COUNTERS) + outers * word(q, COUNTER_BYTES)
    width_word = word(q, WIDTH_WORD)
    single = outers == 0 and L <= S
    for a in range(outers + 1):
        put(pointer(word(q, COUNTERS) + a * word(q, COUNTER_BYTES)), 0, 0)
    for a in range(keeps):
        put(keep_counts, a, 0)
    for _ in range(word(q, KEPT)):
        copy(starts, places, 8 * moving)
        for a in range(outers):
            put(outer_counts, a, 0)
        for _ in range(word(q, OUTER)):
            at = 0
            held = 0
            width = 0
            while at < L:
                c = min(C, L - at)
                if C < S:
                    c = min(c, S - held)  # a block begins with lane 0
                if width_word != 0:
                    first = 0
                elif evaluate != 0:
                    evaluate_block(q, e, places, cut_steps, at, c)
                    first = word(q, X)
                else:
                    first = word(places, 0) + at * word(cut_steps, 0)
                done = 0
                while done < c:
                    if held == 0:
                        put(g, OP, BEGIN)
                        width = lane_count(min(S, L - at - done) * p)
                        put(g, WIDTH, width)
                        call(fold, f)
                    take = min(S - held, c - done)
                    if width_word != 0:
                        put(e, width_word, width)
                        evaluate_block(q, e, places, cut_steps, at + done, take)
                    else:
                        put(g, OP, ADD)
                        put(g, FX, first + done * word(q, UNIT_BYTES))
                        put(g, FZ, word(q, Z) + done * p * word(q, Z_BYTES))
                        put(g, COUNT, take * p)
                        call(fold, f)
                    held += take
                    done += take
                    if held == S or at + done == L:
                        put(g, OP, FINISH)
                        call(fold, f)
                        if not single:
                            push(fold, f, counter, state, cell_bytes)
                        held = 0
                at += c
            if not single:
                climb(fold, f, q, state, cell_bytes, places, outer_lengths, outer_counts, outer_changes)
        deliver(state, 1, 1, ahead(starts, 8 * moving), out_steps, 0, sizes, ends, states)
        advance(keeps, keep_lengths, keep_counts, keep_changes, starts, moving + states)


@register_jitable
def across(words):
    """A tile of cells at a time, neighbours along the axis that is walked across."""
    q = pointer(words)
    evaluate, fold, f = word(q, EVALUATE), word(q, FOLD), word(q, FOLD_TABLE)
    e, g = pointer(word(q, TABLE)), pointer(f)
    outers, keeps = word(q, OUTERS), word(q, KEEPS)
    L, S, C, p = word(q, LENGTH), word(q, BLOCK), word(q, CHUNK), word(q, UNIT)
    moving, states, state, cell_bytes = word(q, MOVING), word(q, STATES), word(q, STATE), word(q, CELL_BYTES)
    V, tile, folded, one = word(q, CELLS), word(q, TILE), word(q, FOLDED), word(q, ONE)
    row_counter = one + cell_bytes
    nbytes = tile * cell_bytes
    starts = ahead(q, 8 * word(q, HEADER))
    outs = ahead(starts, 8 * moving)
    places = ahead(outs, 8 * states)
    cut_steps = ahead(places, 8 * moving)
    cell_steps = ahead(cut_steps, 8 * moving)
    out_steps = ahead(cell_steps, 8 * moving)
    sizes = ahead(out_steps, 8 * states)
    ends = ahead(sizes, 8 * states)
    keep_lengths = ahead(ends, 8 * states)
    keep_counts = ahead(keep_lengths, 8 * keeps)
    keep_changes = ahead(keep_counts, 8 * keeps)
    outer_lengths = ahead(keep_changes, 8 * keeps * (moving + states))
    outer_counts = ahead(outer_lengths, 8 * outers)
    outer_changes = ahead(outer_counts, 8 * outers)
    counter = word(q, COUNTERS) + outers * word(q, COUNTER_BYTES)
    for a in range(outers + 1):
        put(pointer(word(q, COUNTERS) + a * word(q, COUNTER_BYTES)), 0, 0)
    put(pointer(row_counter), 0, 0)
    for a in range(keeps):
        put(keep_counts, a, 0)
    for _ in range(word(q, KEPT)):
        for v0 in range(0, V, tile):
            cells = min(tile, V - v0)
            put(g, TILE_CELLS, cells)
            put(g, TILE_PITCH, tile)
            for k in range(moving):
                put(places, k, word(starts, k) + v0 * word(cell_steps, k))
            for a in range(outers):
                put(outer_counts, a, 0)
            if evaluate != 0:
                put(e, 0, cells)
            for _ in range(word(q, OUTER)):
                for b in range(0, L, S):
                    u = min(S, L - b)
                    put(g, OP, BEGIN)
                    put(g, WIDTH, lane_count(u * p))
                    call(fold, f)
                    for at in range(0, u, C):
                        c = min(C, u - at)
                        if evaluate != 0:
                            evaluate_block(q, e, places, cut_steps, b + at, c)
                            put(g, FX, word(q, X))
                        else:
                            put(g, FX, word(places, 0) + (b + at) * word(cut_steps, 0))
                        put(g, OP, ADD)
                        put(g, FZ, word(q, Z))
                        put(g, FIRST, at * p)
                        put(g, COUNT, c * p)
                        call(fold, f)
                    put(g, OP, FINISH)
                    call(fold, f)
                    push(fold, f, counter, state, nbytes)
                climb(fold, f, q, state, nbytes, places, outer_lengths, outer_counts, outer_changes)
            if folded == 0:
                deliver(state, tile, cells, outs, out_steps, v0, sizes, ends, states)
            else:
                put(g, TILE_CELLS, 1)
                put(g, TILE_PITCH, 1)
                for j in range(cells):
                    deliver_cell(state, tile, j, one, sizes, ends, states)
                    push(fold, f, row_counter, one, cell_bytes)
        if folded != 0:
            drain(fold, f, row_counter, one, cell_bytes)
            deliver(one, 1, 1, outs, out_steps, 0, sizes, ends, states)
        advance(keeps, keep_lengths, keep_counts, keep_changes, starts, moving + states)


@register_jitable
def deliver_cell(state, tile, j, one, sizes, ends, states):
    """Copy cell `j` of a tile to a state of its own."""
    for s in range(states):
        size = word(sizes, s)
        source = ahead(pointer(state), tile * word(ends, s) + j * size)
        target = ahead(pointer(one), word(ends, s))
        for k in range(size):
            store("a", np.int8, target, k, load("a", np.int8, source, k))
