"""What the workers' memory holds now, as a page beside dask's dashboard: no scripts, read again every two seconds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from distributed import SchedulerPlugin

from gpuarray.cluster.page import STYLE
from gpuarray.cluster.sizes import format_bytes

PATH = "/gpuarray"
METRIC = "gpuarray "
"""Begins the names under which workers tell the scheduler what their stores hold, with each heartbeat."""
EVERY = 2
"""Seconds after which the page is read again."""

Stores = Mapping[str, Mapping[str, Any]]
"""By worker: `Store.statistics` of each of its stores, by name."""


class PanelPlugin(SchedulerPlugin):
    """Serves the page where the scheduler serves its dashboard."""

    idempotent = True

    def start(self, scheduler: Any) -> None:
        """Add the page to the scheduler's HTTP server."""
        from tornado.web import RequestHandler

        class Panel(RequestHandler):
            def get(self) -> None:
                self.set_header("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
                self.finish(panel(stores_of(scheduler.workers)))

        scheduler.http_application.add_handlers(".*$", [(PATH, Panel)])


def stores_of(workers: Mapping[str, Any]) -> Stores:
    """What the workers of a scheduler have told of their stores."""
    return {
        worker.name if isinstance(worker.name, str) else address: {
            name: told for name, told in worker.metrics.items() if name.startswith(METRIC)
        }
        for address, worker in workers.items()
    }


def panel(stores: Stores) -> str:
    """The whole page.

    >>> tiers = {"host": {"held": 5 << 20, "reserved": 0, "limit": 10 << 20, "peak": 8 << 20, "moved_in": 0}}
    >>> told = {"tiers": tiers, "fetched": 1024, "fetches": 1, "sent": 0, "chunks": 3}
    >>> "5 MiB" in panel({"tcp://127.0.0.1:4000": {"gpuarray a": told}})
    True
    """
    rows = "".join(row for worker, told in sorted(stores.items()) for row in rows_of(worker, told))
    names = ("worker", "memory", "", "held", "reserved", "limit", "peak", "moved in", "chunks", "fetched", "sent")
    head = "".join(f"<th{'' if k < 3 else ' class=n'}>{name}</th>" for k, name in enumerate(names))
    body = (
        f"<table><tr>{head}</tr>{rows}</table>" if rows else '<p class="faint">No run has used these workers yet.</p>'
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>gpuarray: memory of the workers</title>'
        f'<meta http-equiv="refresh" content="{EVERY}"><meta name="viewport" content="width=device-width">'
        f"<style>{STYLE} .room {{ width:220px; background:var(--line); border-radius:4px }}</style></head>"
        f'<body><main><h1>Memory of the workers</h1><p class="faint">What gpuarray holds on each, as it was told with '
        "the last heartbeat. What moved into the disk's was spilled; what was fetched came from other workers.</p>"
        f"<section>{body}</section></main></body></html>\n"
    )


def rows_of(worker: str, told: Mapping[str, Any]) -> Iterator[str]:
    """A row for each tier of each store of a worker."""
    for store in told.values():
        network = [f"{store['chunks']:,}", *(format_bytes(store[name]) for name in ("fetched", "sent"))]
        for number, (name, tier) in enumerate(store["tiers"].items()):
            first = not number
            limit = tier["limit"]
            share = min(1.0, (tier["held"] + tier["reserved"]) / limit) if limit else 0.0
            bar = f'<div class="room"><div class="bar b0" style="width:{100 * share:.1f}%"></div></div>'
            figures = [format_bytes(tier[key]) for key in ("held", "reserved")]
            figures += ["none" if limit is None else format_bytes(limit)]
            figures += [format_bytes(tier[key]) for key in ("peak", "moved_in")] + (network if first else [""] * 3)
            cells = "".join(f'<td class="n">{figure}</td>' for figure in figures)
            yield f"<tr><td>{escape(worker) if first else ''}</td><td>{escape(name)}</td><td>{bar}</td>{cells}</tr>"
