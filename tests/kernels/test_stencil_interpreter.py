"""The interpreted sweep against `numpy.pad` on whole arrays, and what it says of its memory."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from gpuarray.kernels.stencils import interpreter
from gpuarray.kernels.stencils.margins import elements, runs
from gpuarray.kernels.stencils.program import MODES, Edge
from gpuarray.kernels.testing_stencils import Case, assert_same_bits, data, draw, draw_edges, oracle, within

DTYPES = ["d", "f", "l", "b", "B", "?", "D", "F", "e"]


def run(case: Case, out: tuple[range, ...], spare: int = 0) -> tuple[np.ndarray, ...]:
    arrays, origins = case.level0(out, spare)
    return interpreter.sweep(np, case.stencil, case.edges, case.scalars, case.domain, out, arrays, origins)


@pytest.mark.parametrize("ndim", [1, 2, 3, 4, 5])
def test_random_stencils(ndim: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(ndim)
    lengths = [0, 1, 2, 3, 4, 7, 12][: 9 - ndim]
    often = [1, 5, 5, 5, 8, 8, 8][: len(lengths)]
    for trial in range(90 if ndim < 4 else 30):
        monkeypatch.setattr(interpreter, "TILE", int(rng.choice([7 if ndim < 4 else 200, 60, 32_768])))
        dtypes = str(rng.choice(DTYPES)) * int(rng.integers(1, 4))
        stencil = draw(rng, ndim, dtypes, int(rng.integers(1, len(dtypes) + 1)), int(rng.integers(0, 4)))
        domain = tuple(map(int, rng.choice(lengths, ndim, p=np.array(often) / sum(often))))
        edges = draw_edges(rng, stencil, trial % 4 == 0)
        case = data(rng, stencil, edges, domain, int(rng.integers(1, 6)))
        wanted = oracle(case)
        for out in (case.whole(), case.box(rng), case.box(rng)):
            for got, value in zip(run(case, out, int(rng.integers(3))), wanted, strict=True):
                assert_same_bits(got, within(value, out), f"{stencil.taps} {edges} {domain} {out}")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_runs_say_what_elements_say(mode: str, n: int) -> None:
    for other in MODES:
        if (mode == "periodic") != (other == "periodic"):
            continue
        ends = Edge(mode), Edge(other)  # type: ignore[arg-type]
        for start in range(-2 * n - 1, n + 3):
            for stop in range(start + 1, 3 * n + 2):
                wanted, found = range(start, stop), []
                for run in runs(wanted, n, ends, False):
                    assert run.at == len(found)
                    if run.outside is None:
                        found += [run.start + run.step * k for k in range(run.length)]
                    else:
                        assert all((p >= n) == run.outside for p in wanted[run.at : run.at + run.length])
                        found += [None] * run.length
                assert found == elements(wanted, n, ends, False)


@pytest.mark.parametrize("steps", [1, 2, 3, 5])
@pytest.mark.parametrize("shape", [(600, 500), (3, 90_000), (120, 50, 40)])
def test_scratch_is_promised(steps: int, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    stencil = draw(rng, len(shape), "ddd", 2, 3)
    case = data(rng, stencil, draw_edges(rng, stencil), shape, steps)
    out = tuple(range(n // 4, n - 1) for n in shape)
    arrays, origins = case.level0(out)
    into = interpreter.new(np, stencil, out)
    given = (stencil, case.edges, case.scalars, shape, out, arrays, origins, into)
    interpreter.sweep(np, *given)
    tracemalloc.start()
    interpreter.sweep(np, *given)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    promised = interpreter.scratch_nbytes(stencil, case.edges, shape, out, steps)
    assert peak <= promised + 100_000  # what Python itself holds
    assert promised < 2.2 * sum(a.nbytes for a in arrays[:2]) + (12 << 20)
