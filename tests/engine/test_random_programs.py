"""Thousands of random programs give what NumPy gives. A failure prints its seed and its program."""

from __future__ import annotations

import os
import warnings
from typing import Any

import numpy as np
import pytest

import gpuarray as ga
from gpuarray import executors, run
from gpuarray.kernels.backends.fake import Fake
from gpuarray.plan import direct
from tests.engine.programs import Program
from tests.engine.serial import Serial

PROGRAMS = int(os.environ.get("RANDOM_PROGRAMS", "6000"))
BATCH = 50
SETTINGS: list[dict[str, Any]] = [
    {},
    {"host_memory": "2 MiB"},
    {"host_memory": "256 KiB", "threads": 3},
    {"device": "fake", "device_memory": "1 MiB"},
    {"device": "fake", "device_memory": "64 KiB"},
]
"""Results have at most 160 KB. The fake device raises where more than `device_memory` is allocated."""


def compare(result: np.ndarray, expected: np.ndarray, text: list[str]) -> None:
    message = "\n".join(text)
    assert result.shape == expected.shape, message
    assert result.dtype == expected.dtype, message
    if expected.dtype.kind in "fc":
        with np.errstate(all="ignore"):
            scale = float(np.max(np.abs(expected), initial=0, where=np.isfinite(expected)))
        tolerance = {"e": 2e-3, "f": 2e-4, "F": 2e-4}.get(expected.dtype.char, 1e-9)
        np.testing.assert_allclose(result, expected, rtol=tolerance, atol=tolerance * max(scale, 1), err_msg=message)
    else:
        np.testing.assert_array_equal(result, expected, err_msg=message)


@pytest.mark.parametrize("first", range(0, PROGRAMS // 10, BATCH))
def test_no_task_takes_more_of_a_device_than_it_declares(first: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(direct, "SMALL", 0)
    device = Fake()
    engine = executors.Engine(Serial(device), device, 2**18, 2**30, 2)
    monkeypatch.setattr(run, "current", lambda: engine)
    for seed in range(first, first + BATCH):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            program = Program(seed)
            x, expected = program.result
            try:
                compare(x.compute(), expected, program.text)
            except Exception as error:
                error.add_note("\n".join(program.text))
                raise


@pytest.mark.parametrize("first", range(0, PROGRAMS, BATCH))
def test_equals_numpy(first: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in range(first, first + BATCH):
        monkeypatch.setattr(direct, "SMALL", 2**18 if seed % 5 == 0 else 0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # NumPy's own, of what is compared with
            program = Program(seed)
            x, expected = program.result
            try:
                with ga.config.set(**SETTINGS[seed % len(SETTINGS)]):
                    result = x.compute()
            except Exception as error:
                error.add_note("\n".join(program.text))
                raise
            compare(result, expected, program.text)
