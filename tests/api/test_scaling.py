"""The model of scaling: its limits are those that arithmetic knows, and its inputs are checked."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from benchmarks import scaling

MACHINE = scaling.read(scaling.INPUTS)
FREE = replace(MACHINE, message_seconds=1e-30, task_seconds=1e-30, box_rate=1e30, network_rate=1e30, socket_rate=1e30)


@pytest.mark.parametrize("curve", scaling.CURVES, ids=lambda c: c.name)
@pytest.mark.parametrize("weak", [True, False])
def test_efficiency_is_one_for_one_and_never_more(curve, weak):
    found = scaling.efficiency(MACHINE, curve, weak)
    assert found[0] == pytest.approx(1.0)
    assert all(0 < value <= 1 + 1e-9 for value in found)


@pytest.mark.parametrize("curve", scaling.CURVES, ids=lambda c: c.name)
def test_without_costs_between_workers_scaling_is_ideal(curve):
    floor = 0.9 if curve.name == "heat" else 1 - 1e-6  # halos are still computed twice
    assert min(scaling.efficiency(FREE, curve, weak=True)) >= floor


@pytest.mark.parametrize("name", ["message_seconds", "task_seconds"])
@pytest.mark.parametrize("curve", scaling.CURVES, ids=lambda c: c.name)
def test_what_costs_more_takes_longer(name, curve):
    dearer = replace(MACHINE, **{name: 10 * getattr(MACHINE, name)})
    for workers in scaling.WORKERS:
        size = workers * curve.weak
        assert curve.seconds(dearer, workers, size) >= curve.seconds(MACHINE, workers, size)


def test_workers_that_share_cores_gain_nothing():
    shared = replace(FREE, cores=2)
    assert scaling.summed(shared, 4, 1e12) == pytest.approx(scaling.summed(shared, 2, 1e12))
    assert scaling.summed(shared, 2, 1e12) == pytest.approx(scaling.summed(shared, 1, 1e12) / 2)


def test_the_bound_is_named():
    heat = scaling.CURVES[0]
    assert scaling.bound(replace(FREE, task_seconds=1.0), heat, 1000) == "handing out tasks"
    assert scaling.bound(replace(FREE, network_rate=1e6), heat, 1000) == "bytes between workers"
    assert scaling.bound(FREE, heat, 1000) == "nothing yet"


def test_every_input_says_where_it_comes_from():
    inputs = json.loads(scaling.INPUTS.read_text())["inputs"]
    for name, entry in inputs.items():
        assert entry["unit"], name
        assert entry["from"].startswith(("assumed", "measured")), name


@pytest.mark.parametrize(
    "text", ["{", "{}", '{"inputs": {"box_rate": {"value": -1}}}', '{"inputs": {"x": {"value": 1}}}']
)
def test_bad_inputs_are_refused(text, tmp_path):
    path = tmp_path / "inputs.json"
    path.write_text(text)
    with pytest.raises(SystemExit, match=r"inputs\.json"):
        scaling.main(["--inputs", str(path), "--output", str(tmp_path / "x.png")])


def test_the_command_draws(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    assert scaling.main(["--output", str(tmp_path / "scaling.png")]) == 0
    assert (tmp_path / "scaling.png").stat().st_size > 10_000
    assert "1000" in capsys.readouterr().out
    rows = [{"work": w, "workers": n, "seconds": 1.0, "model": 1.1} for w in ("heat", "sum") for n in (1, 2, 4)]
    scaling.draw(MACHINE, rows, tmp_path / "measured.png")
    assert (tmp_path / "measured.png").stat().st_size > (tmp_path / "scaling.png").stat().st_size
