"""The page of what the workers hold."""

from __future__ import annotations

import time
import urllib.request
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("distributed")

import gpuarray as ga
from gpuarray.cluster.panel import panel

PATIENCE = 120


class Balanced(HTMLParser):
    """Raises where tags are not closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.cells = 0

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        assert tag != "script"
        self.cells += tag in ("td", "th")
        if tag not in ("meta",):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def told(**tiers: tuple[int, int | None]) -> dict[str, Any]:
    made = {
        name: {"held": held, "reserved": 0, "limit": limit, "peak": held, "moved_in": 3}
        for name, (held, limit) in tiers.items()
    }
    return {"tiers": made, "fetched": 7 << 20, "fetches": 1, "sent": 0, "chunks": 1234}


def test_every_tier_of_every_worker_is_a_row() -> None:
    stores = {
        "tcp://b": {"gpuarray x": told(device=(5, 0), host=(30 << 20, 40 << 20), disk=(9 << 30, None))},
        "<a>": {"gpuarray x": told(host=(80, 40)), "gpuarray y": told(host=(0, 40))},
        "idle": {},
    }
    made = panel(stores)
    reader = Balanced()
    reader.feed(made)
    reader.close()
    assert not reader.open
    assert reader.cells == 11 * (1 + 5)
    assert "&lt;a&gt;" in made
    assert "<a>" not in made
    for words in ("30 MiB", "40 MiB", "9 GiB", "7 MiB", "1,234", "width:75.0%", "width:100.0%", "none"):
        assert words in made, words
    assert "No run has used" in panel({})


def read(link: str) -> str:
    with urllib.request.urlopen(link, timeout=PATIENCE) as answer:
        assert "script" not in answer.headers["Content-Security-Policy"]
        found: str = answer.read().decode()
        return found


def test_it_shows_what_workers_hold(tmp_path: Path) -> None:
    options: dict[str, Any] = {"threads_per_worker": 1, "spill_directory": tmp_path, "device": "cpu"}
    with ga.cluster.Cluster(n_workers=1, dashboard=":0", host_memory="50 MB", **options) as cluster:
        link = cluster.panel_link
        assert link is not None
        assert link.startswith("http://127.0.0.1:")
        x = ga.ones((3, 1_000_000), chunks=(1, 1_000_000)).persist()
        end = time.monotonic() + PATIENCE
        while "22.9 MiB" not in (page := read(link)):  # told with the next heartbeat
            assert time.monotonic() < end, page
            time.sleep(0.1)
        assert ">host<" in page
        assert ">disk<" in page
        with ga.cluster.Cluster(cluster.client, device="cpu") as other:  # the page is there once
            assert other.panel_link == link
            assert int((x.sum()).compute()) == 3_000_000
            assert ">host<" in read(link)


def test_without_a_dashboard_there_is_none(tmp_path: Path) -> None:
    with ga.cluster.Cluster(
        n_workers=1, threads_per_worker=1, dashboard=False, spill_directory=tmp_path, device="cpu"
    ) as cluster:
        link = cluster.panel_link
        if link is not None:
            with pytest.raises(OSError, match="404"):
                read(link)
