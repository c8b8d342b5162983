"""The loops of compiled reductions around evaluator and fold, the same for every program and reduction.

`along` and `across` take the address of a table of words (`FIELDS`, then lists). For each block of elements they call the
evaluator, which fills a buffer with the block, and the fold (`gpuarray.kernels.reduce_code`), which reduces the buffer to
a state; they merge states in binary trees and write them to the state arrays.

A state of a tile of cells lies in `tile * cell_bytes` bytes, value by value. Importing this module imports Numba.
"""

from __future__ import annotations

# Compiled code: Numba infers the types, so annotations would only be noise.
# mypy: disable-error-code="no-untyped-def,no-untyped-call"
import numpy as np
from numba.extending import register_jitable

from gpuarray.kernels.pointers import ahead, call, load, pointer, store

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
    put(pointer(f), 0, MERGE)
    put(pointer(f), 11, first)
    put(pointer(f), 12, second)
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
    depth = word(q, 4)
    moving = word(q, 21)
    while True:
        drain(fold, f, word(q, 16) + depth * word(q, 17), state, nbytes)
        if depth == 0:
            break
        depth -= 1
        push(fold, f, word(q, 16) + depth * word(q, 17), state, nbytes)
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
    moving = word(q, 21)
    first = 4 + 3 * word(q, 24)
    for k in range(moving):
        put(e, first + 3 * k, word(places, k) + at * word(cut_steps, k))
    put(e, word(q, 10), units * word(q, 11))
    call(word(q, 0), word(q, 1))


@register_jitable
def lane_count(n):
    return 32 if n >= 128 else (8 if n >= 16 else 1)


@register_jitable
def along(words):
    """One cell at a time."""
    q = pointer(words)
    evaluate, fold, f = word(q, 0), word(q, 2), word(q, 3)
    e, g = pointer(word(q, 1)), pointer(f)
    outers, keeps = word(q, 4), word(q, 6)
    L, S, C, p = word(q, 8), word(q, 9), word(q, 22), word(q, 23)
    moving, states, state, cell_bytes = word(q, 21), word(q, 25), word(q, 15), word(q, 26)
    starts = ahead(q, 8 * word(q, 30))
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
    counter = word(q, 16) + outers * word(q, 17)
    single = outers == 0 and L <= S
    for a in range(keeps):
        put(keep_counts, a, 0)
    for _ in range(word(q, 7)):
        copy(starts, places, 8 * moving)
        for a in range(outers):
            put(outer_counts, a, 0)
        for _ in range(word(q, 5)):
            at = 0
            held = 0
            while at < L:
                c = min(C, L - at)
                if C < S:
                    c = min(c, S - held)  # a block begins with lane 0
                if evaluate != 0:
                    evaluate_block(q, e, places, cut_steps, at, c)
                    first = word(q, 12)
                else:
                    first = word(places, 0) + at * word(cut_steps, 0)
                done = 0
                while done < c:
                    if held == 0:
                        put(g, 0, BEGIN)
                        put(g, 8, lane_count(min(S, L - at - done) * p))
                        call(fold, f)
                    take = min(S - held, c - done)
                    put(g, 0, ADD)
                    put(g, 1, first + done * word(q, 20))
                    put(g, 2, word(q, 13) + done * p * word(q, 29))
                    put(g, 4, take * p)
                    call(fold, f)
                    held += take
                    done += take
                    if held == S or at + done == L:
                        put(g, 0, FINISH)
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
    evaluate, fold, f = word(q, 0), word(q, 2), word(q, 3)
    e, g = pointer(word(q, 1)), pointer(f)
    outers, keeps = word(q, 4), word(q, 6)
    L, S, C, p = word(q, 8), word(q, 9), word(q, 22), word(q, 23)
    moving, states, state, cell_bytes = word(q, 21), word(q, 25), word(q, 15), word(q, 26)
    V, tile, folded, one = word(q, 18), word(q, 19), word(q, 27), word(q, 28)
    row_counter = one + cell_bytes
    nbytes = tile * cell_bytes
    starts = ahead(q, 8 * word(q, 30))
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
    counter = word(q, 16) + outers * word(q, 17)
    for a in range(keeps):
        put(keep_counts, a, 0)
    for _ in range(word(q, 7)):
        for v0 in range(0, V, tile):
            cells = min(tile, V - v0)
            put(g, 9, cells)
            put(g, 10, tile)
            for k in range(moving):
                put(places, k, word(starts, k) + v0 * word(cell_steps, k))
            for a in range(outers):
                put(outer_counts, a, 0)
            if evaluate != 0:
                put(e, 0, cells)
            for _ in range(word(q, 5)):
                for b in range(0, L, S):
                    u = min(S, L - b)
                    put(g, 0, BEGIN)
                    put(g, 8, lane_count(u * p))
                    call(fold, f)
                    for at in range(0, u, C):
                        c = min(C, u - at)
                        if evaluate != 0:
                            evaluate_block(q, e, places, cut_steps, b + at, c)
                            put(g, 1, word(q, 12))
                        else:
                            put(g, 1, word(places, 0) + (b + at) * word(cut_steps, 0))
                        put(g, 0, ADD)
                        put(g, 2, word(q, 13))
                        put(g, 3, at * p)
                        put(g, 4, c * p)
                        call(fold, f)
                    put(g, 0, FINISH)
                    call(fold, f)
                    push(fold, f, counter, state, nbytes)
                climb(fold, f, q, state, nbytes, places, outer_lengths, outer_counts, outer_changes)
            if folded == 0:
                deliver(state, tile, cells, outs, out_steps, v0, sizes, ends, states)
            else:
                put(g, 9, 1)
                put(g, 10, 1)
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
