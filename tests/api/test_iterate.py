"""`iterate`: time stepping, its interruptions, and going on after a kill."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpuarray as ga


@ga.stencil
def heat(u, k):
    return u[0, 0] + k * (u[1, 0] + u[-1, 0] + u[0, 1] + u[0, -1] - 4 * u[0, 0])


@ga.stencil(boundary="periodic")
def wave(u, before, c):
    return 2 * u[0] - before[0] + c * (u[1] - 2 * u[0] + u[-1]), u[0]


@ga.stencil(boundary="periodic")
def shallow_water(h, hu, g, r):
    """Lax and Friedrichs' scheme in one dimension: what leaves a cell enters the next."""
    flux = hu[1] - hu[-1]
    pressure = hu[1] ** 2 / h[1] + g / 2 * h[1] ** 2 - hu[-1] ** 2 / h[-1] - g / 2 * h[-1] ** 2
    return (h[1] + h[-1]) / 2 - r * flux, (hu[1] + hu[-1]) / 2 - r * pressure


def heat_numpy(u: np.ndarray, steps: int, k=lambda step: 0.1) -> np.ndarray:
    u = u.copy()
    for step in range(steps):
        new = u.copy()
        new[1:-1, 1:-1] = u[1:-1, 1:-1] + k(step) * (
            u[2:, 1:-1] + u[:-2, 1:-1] + u[1:-1, 2:] + u[1:-1, :-2] - 4 * u[1:-1, 1:-1]
        )
        u = new
    return u


def plate(shape=(23, 31)) -> np.ndarray:
    return np.random.default_rng(0).random(shape)


@pytest.mark.parametrize("per_visit", [None, 1, 2, 3, 5, 8, 100])
@pytest.mark.parametrize("chunks", [(23, 31), (5, 31), (7, 4)])
def test_has_the_bits_of_single_steps(per_visit, chunks) -> None:
    x = ga.iterate(heat, ga.asarray(plate(), chunks=chunks), steps=13, k=0.1, steps_per_visit=per_visit)
    assert np.array_equal(x.compute(), heat_numpy(plate(), 13))


def test_compiled_has_the_same_bits() -> None:
    with ga.config.set(compile="always"):
        x = ga.iterate(heat, ga.asarray(plate(), chunks=(9, 31)), steps=25, k=0.1, steps_per_visit=4)
        assert np.array_equal(x.compute(), heat_numpy(plate(), 25))


def test_is_lazy() -> None:
    x = ga.iterate(heat, ga.zeros((10**6, 10**6)), steps=10**6, k=0.1)
    assert x.shape == (10**6, 10**6)


def test_no_steps() -> None:
    x = ga.iterate(heat, plate(), steps=0, k=0.1)
    assert np.array_equal(x.compute(), plate())


def test_a_coefficient_may_depend_on_the_step() -> None:
    x = ga.iterate(heat, plate(), steps=9, k=lambda step: 0.01 * step, steps_per_visit=4)
    assert np.array_equal(x.compute(), heat_numpy(plate(), 9, k=lambda step: 0.01 * step))


def test_a_coefficient_may_be_an_array() -> None:
    k = np.linspace(0, 0.2, 23)[:, None]
    x = ga.iterate(heat, plate(), steps=7, k=np.broadcast_to(k, (23, 31)).copy(), steps_per_visit=3)
    expected = plate()
    for _ in range(7):
        new = expected.copy()
        new[1:-1, 1:-1] = expected[1:-1, 1:-1] + k[1:-1] * (
            expected[2:, 1:-1]
            + expected[:-2, 1:-1]
            + expected[1:-1, 2:]
            + expected[1:-1, :-2]
            - 4 * expected[1:-1, 1:-1]
        )
        expected = new
    assert np.array_equal(x.compute(), expected)


def test_several_fields() -> None:
    u = np.random.default_rng(1).random(40)
    a, b = u, u.copy()
    for _ in range(30):
        a, b = 2 * a - b + 0.25 * (np.roll(a, -1) - 2 * a + np.roll(a, 1)), a
    x, y = ga.iterate(wave, (ga.asarray(u, chunks=7), u), steps=30, c=0.25)
    assert np.array_equal(x.compute(), a)
    assert np.array_equal(y.compute(), b)


def test_shallow_water_keeps_its_mass() -> None:
    h = 1 + np.exp(-100 * np.linspace(-1, 1, 200) ** 2)
    x, _ = ga.iterate(shallow_water, (ga.asarray(h, chunks=60), np.zeros(200)), steps=500, g=9.81, r=0.1)
    found = x.compute()
    assert abs(found.sum() - h.sum()) <= 1e-12 * h.sum()
    assert np.abs(found - h).max() > 0.1


def test_heat_converges_to_the_analytic_solution() -> None:
    errors = []
    for n in (16, 32, 64):
        x = np.linspace(0, 1, n + 1)
        u = np.sin(np.pi * x)[:, None] * np.sin(np.pi * x)
        steps = n * n // 16  # to the same time
        found = ga.iterate(heat, u, steps=steps, k=0.2).compute()
        t = steps * 0.2 / n**2
        errors.append(np.abs(found - u * np.exp(-2 * np.pi**2 * t)).max())
    assert errors[0] / errors[1] > 3.5
    assert errors[1] / errors[2] > 3.5


class TestUntil:
    def test_stops_at_a_condition(self) -> None:
        seen = []
        x = ga.iterate(
            heat, plate(), k=0.2, until=lambda u: seen.append(1) or u[1:-1, 1:-1].std() < 0.06, check_every=5
        )
        assert len(seen) > 1
        assert np.array_equal(x.compute(), heat_numpy(plate(), 5 * len(seen), lambda step: 0.2))

    def test_sees_the_state_one_step_before(self) -> None:
        def settled(u, before) -> bool:
            now, then = ga.compute(u, before)
            assert np.array_equal(now, heat_numpy(then, 1))
            return abs(now - then).max() < 0.01

        x = ga.iterate(heat, plate(), steps=1000, k=0.1, until=settled, check_every=7)
        assert abs(x - heat(x, 0.1)).max() < 0.01

    def test_steps_are_the_most(self) -> None:
        x = ga.iterate(heat, plate(), steps=12, k=0.1, until=lambda u: False, check_every=5)
        assert np.array_equal(x.compute(), heat_numpy(plate(), 12))


class TestCallback:
    def test_after_every_so_many_steps_and_the_last(self) -> None:
        seen = {}
        ga.iterate(heat, plate(), steps=10, k=0.1, callback=lambda step, u: seen.update({step: u.compute()}), every=4)
        assert list(seen) == [4, 8, 10]
        for step, u in seen.items():
            assert np.array_equal(u, heat_numpy(plate(), step))

    def test_what_it_raises_comes_out(self) -> None:
        def fails(step, u) -> None:
            raise RuntimeError("enough")

        with pytest.raises(RuntimeError, match="enough"):
            ga.iterate(heat, plate(), steps=10, k=0.1, callback=fails)


class TestCheckpoint:
    def run(self, folder: Path, steps: int = 20, k: float = 0.1, state=None, **more):
        state = plate() if state is None else state
        return ga.iterate(heat, state, steps=steps, k=k, checkpoint=folder, checkpoint_every=6, **more)

    def test_goes_on(self, tmp_path: Path) -> None:
        folder = tmp_path / "c"
        self.run(folder, steps=8)
        assert json.loads((folder / "state.json").read_text())["step"] == 8
        calls = []
        x = self.run(folder, callback=lambda step, u: calls.append(step), every=1)
        assert calls == list(range(9, 21))
        assert np.array_equal(x.compute(), heat_numpy(plate(), 20))
        assert [p.name for p in folder.glob("step-*")] == ["step-20"]

    def test_is_kept_on_the_way_to_a_condition(self, tmp_path: Path) -> None:
        def struck(u) -> bool:
            kept.append((tmp_path / "c" / "state.json").exists())
            if len(kept) == 3:
                raise KeyboardInterrupt
            return False

        kept: list[bool] = []
        with pytest.raises(KeyboardInterrupt):
            ga.iterate(heat, plate(), k=0.1, until=struck, check_every=5, checkpoint=tmp_path / "c")
        assert kept == [False, True, True]
        assert json.loads((tmp_path / "c" / "state.json").read_text())["step"] == 10

    def test_goes_on_to_many_more_steps_as_it_began(self, tmp_path: Path) -> None:
        """So many that they would have been compiled from the first, had they been asked for at once."""
        self.run(tmp_path / "c", steps=6)
        recorded = json.loads((tmp_path / "c" / "state.json").read_text())
        assert recorded["compiled"] is False
        x = ga.iterate(
            heat, plate(), steps=100_000, k=0.1, until=lambda u: True, check_every=10, checkpoint=tmp_path / "c"
        )
        assert np.array_equal(x.compute(), heat_numpy(plate(), 10))

    def test_done_already(self, tmp_path: Path) -> None:
        self.run(tmp_path / "c")
        x = self.run(tmp_path / "c", callback=lambda step, u: pytest.fail("nothing is left to do"))
        assert np.array_equal(x.compute(), heat_numpy(plate(), 20))

    def test_of_another_iteration(self, tmp_path: Path) -> None:
        self.run(tmp_path / "c")
        with pytest.raises(ga.StencilError, match="another iteration"):
            self.run(tmp_path / "c", k=0.2)
        with pytest.raises(ga.StencilError, match="another iteration"):
            self.run(tmp_path / "c", state=plate() + 1)
        with pytest.raises(ga.StencilError, match="past steps=5"):
            self.run(tmp_path / "c", steps=5)

    def test_damaged(self, tmp_path: Path) -> None:
        self.run(tmp_path / "c")
        for text in ("", "[]", "{", '{"version": 1, "step": "x", "iteration": 3}', "[" * 100_000):
            (tmp_path / "c" / "state.json").write_text(text)
            with pytest.raises(ga.errors.StorageError, match="damaged"):
                self.run(tmp_path / "c")

    def test_a_folder_with_other_things(self, tmp_path: Path) -> None:
        (tmp_path / "thesis.tex").write_text("years of work")
        with pytest.raises(ga.StencilError, match="other things"):
            self.run(tmp_path)
        assert (tmp_path / "thesis.tex").exists()

    @pytest.mark.slow
    def test_after_a_kill(self, tmp_path: Path) -> None:
        """Killed again and again at moments that differ, it ends with the bits of an undisturbed run."""
        script = tmp_path / "run.py"
        script.write_text(
            textwrap.dedent(
                """
                import sys
                import numpy as np
                import gpuarray as ga

                @ga.stencil
                def heat(u, k):
                    return u[0, 0] + k * (u[1, 0] + u[-1, 0] + u[0, 1] + u[0, -1] - 4 * u[0, 0])

                u = np.random.default_rng(0).random((60, 50))
                x = ga.iterate(heat, u, steps=160, k=0.1, checkpoint=sys.argv[1], checkpoint_every=2)
                np.save(sys.argv[2], x.compute())
                """
            )
        )
        folder, result = tmp_path / "c", tmp_path / "result.npy"
        command = [sys.executable, str(script), str(folder), str(result)]
        environment = {**os.environ, "PYTHONPATH": str(Path(ga.__file__).parents[1])}

        def step() -> int:
            """How far it has come: what is kept is named last, and as a whole."""
            state = folder / "state.json"
            return int(json.loads(state.read_text())["step"]) if state.exists() else 0

        kills = 0
        for attempt in range(20):
            aim = step() + 1 + 20 * attempt
            process = subprocess.Popen(command, env=environment)
            end = time.monotonic() + 120
            while process.poll() is None and step() < aim:
                assert time.monotonic() < end
                time.sleep(0.001)
            if process.poll() is not None:
                assert process.returncode == 0
                break
            time.sleep(0.0007 * attempt)  # anywhere in the next visit
            process.kill()
            process.wait()
            kills += 1
        else:
            pytest.fail("never finished")
        assert kills
        assert np.array_equal(np.load(result), heat_numpy(np.random.default_rng(0).random((60, 50)), 160))


class TestBadInput:
    @pytest.mark.parametrize("steps", [-1, 2.5, "3", True, None])
    def test_steps(self, steps) -> None:
        with pytest.raises(ga.StencilError, match="steps"):
            ga.iterate(heat, plate(), steps=steps, k=0.1)

    def test_nan(self) -> None:
        with pytest.raises(ga.StencilError, match=r"k.*nan.*test_iterate.py:\d+|test_iterate.py:\d+.*nan"):
            ga.iterate(heat, plate(), steps=3, k=float("nan"))
        with pytest.raises(ga.StencilError, match="nan"):
            ga.iterate(heat, plate(), steps=3, k=lambda step: float("nan") if step == 2 else 0.1).compute()

    def test_coefficients(self) -> None:
        with pytest.raises((ga.StencilError, TypeError), match="k"):
            ga.iterate(heat, plate(), steps=3)
        with pytest.raises((ga.StencilError, TypeError), match="kk"):
            ga.iterate(heat, plate(), steps=3, k=0.1, kk=0.2)

    def test_state(self) -> None:
        with pytest.raises(ga.StencilError, match="2 arrays"):
            ga.iterate(wave, np.zeros(5), steps=3, c=0.1)
        with pytest.raises((ga.StencilError, ValueError), match="dimension"):
            ga.iterate(heat, np.zeros(5), steps=3, k=0.1)
        with pytest.raises(ga.StencilError, match=r"int64.*astype"):
            ga.iterate(heat, np.zeros((5, 5), int), steps=3, k=0.1)

    def test_pauses(self) -> None:
        for name in ("check_every", "every", "checkpoint_every", "steps_per_visit"):
            with pytest.raises(ga.StencilError, match=name):
                ga.iterate(
                    heat,
                    plate(),
                    steps=3,
                    k=0.1,
                    until=lambda u: False,
                    callback=print,
                    checkpoint="c",
                    **{name: 0},
                )
        with pytest.raises(ga.StencilError, match="callback"):
            ga.iterate(heat, plate(), steps=3, k=0.1, every=2)

    def test_not_a_stencil(self) -> None:
        with pytest.raises(TypeError, match=r"@gpuarray\.stencil"):
            ga.iterate(lambda u: u, plate(), steps=3)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"steps": True}, ga.errors.StencilError, "steps=True must be a whole number"),
        ({"until": "never"}, TypeError, "until='never' must be a function of the state"),
        ({"steps": 2, "callback": 3}, TypeError, "callback=3 must be a function of the state"),
        ({"steps": 2, "until": lambda u: u > 0, "check_every": 1}, ga.errors.StencilError, r"return a condition"),
        ({"steps": 2, "checkpoint": __file__}, ga.errors.StencilError, "is a file, or in one; name a folder"),
    ],
)  # fmt: skip
def test_arguments_that_are_something_else(given: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        ga.iterate(heat, plate(), k=0.1, **given)
