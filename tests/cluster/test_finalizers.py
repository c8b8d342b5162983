"""Finalizers in which Ctrl-C strikes."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

import gpuarray as ga
from gpuarray.cluster.finalizers import finalize, uninterrupted


class Thing:
    pass


def test_ctrl_c_in_a_finalizer_strikes_when_it_is_done() -> None:
    calls: list[str] = []

    def func(name: str) -> None:
        calls.append(name)
        if len(calls) == 1:
            raise KeyboardInterrupt

    thing = Thing()
    finalize(thing, func, "a")
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012
        del thing
        time.sleep(20)
    assert calls == ["a", "a"]


def test_ctrl_c_in_a_del() -> None:
    calls = []

    class Owner:
        def __del__(self) -> None:
            uninterrupted(self.close)

        def close(self) -> None:
            calls.append(1)
            if len(calls) == 1:
                raise KeyboardInterrupt

    owner = Owner()
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012
        del owner
        time.sleep(20)
    assert len(calls) == 2


def test_ctrl_c_as_the_files_of_an_array_are_deleted(spill: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unlink, struck = os.unlink, []

    def strikes(path: str, *args: object, **kwargs: object) -> None:
        if not struck:
            struck.append(path)
            raise KeyboardInterrupt
        unlink(path, *args, **kwargs)  # type: ignore[arg-type]

    with ga.config.set(host_memory="2 MB", spill_directory=spill, threads=2):
        x = (ga.arange(10**6, chunks=20_000) + 1).persist()
        assert any(spill.iterdir())
        monkeypatch.setattr(os, "unlink", strikes)
        with pytest.raises(KeyboardInterrupt):  # noqa: PT012
            del x
            time.sleep(20)
        assert struck
        assert int((ga.arange(10**6, chunks=20_000) + 1).persist().sum()) == 500_000_500_000
