"""Engine tests plan everything: arrays this small would otherwise be worked out directly."""

from __future__ import annotations

import pytest

from gpuarray.plan import direct


@pytest.fixture(autouse=True)
def planned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(direct, "SMALL", 0)
