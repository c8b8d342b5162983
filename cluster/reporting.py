"""`report`: a page about what runs did, for runs in this process and on clusters alike."""

from __future__ import annotations

import os
import tempfile
import threading
from pathlib import Path
from types import TracebackType
from typing import Any

from gpuarray.cluster import active
from gpuarray.cluster.events import RunStarted, Subscriber, monotonic
from gpuarray.cluster.recording import Recording
from gpuarray.cluster.timeline import Timeline
from gpuarray.kernels.errors import ConfigError

_listening: list[Report] = []
_lock = threading.Lock()


def listeners() -> tuple[Subscriber, ...]:
    """Subscribers for a run that starts now: the reports that are open."""
    return tuple(_listening)


class Report:
    """Listens to every run of a ``with`` block, and writes a page about them at its end.

    >>> import os, pathlib, tempfile
    >>> import gpuarray as ga
    >>> path = os.path.join(tempfile.mkdtemp(), "run.html")
    >>> with ga.cluster.report(path) as report:
    ...     total = ga.ones((1000, 1000), chunks=500).sum().compute()
    >>> pathlib.Path(path).read_text()[:15]
    '<!doctype html>'
    >>> report.recording.totals["sum"].tasks > 0
    True

    The page stands alone: no scripts, nothing fetched from anywhere, light or dark as the browser is set. It shows
    tasks by operation, bytes moved, and memory against its limit, by worker. Up to 2,000 tasks are drawn one by one; of
    more, the share of time that each operation took. On a cluster, workers are asked now and then what they hold.

    Parameters
    ----------
    path : the file to write when the block ends, also if it ends by an error; None: none, `html` gives the page
    title : the headline
    interval : seconds between two looks at the workers of a cluster

    Raises
    ------
    ConfigError
        at once, if there is no such folder, or the interval is not a positive number.
    """

    def __init__(
        self, path: str | os.PathLike[str] | None = None, *, title: str = "gpuarray", interval: float = 0.25
    ) -> None:
        self.path = None if path is None else Path(path).absolute()
        if self.path is not None and (self.path.is_dir() or not self.path.parent.is_dir()):
            raise ConfigError(
                f"no report can be written to {self.path}: it is a folder, or the folder around it is missing"
            )
        if isinstance(interval, bool) or not isinstance(interval, (int, float)) or not 0.01 <= interval < 1e6:
            raise ConfigError(f"interval={interval!r} must be a number of seconds, 0.01 or more")
        self.title, self.interval = str(title), float(interval)
        self.recording = Recording()
        self.timeline = Timeline(capacity=0)
        self._ended = threading.Event()
        self._watch: threading.Thread | None = None

    def __call__(self, event: Any) -> None:
        if isinstance(event, RunStarted):
            self._name()
        self.recording(event)
        self.timeline(event)

    def html(self) -> str:
        """The page, as it is now."""
        from gpuarray.cluster.page import page

        return page(self.recording, self.title)

    def summary(self) -> str:
        """The sums, as a text."""
        return self.timeline.summary()

    def _repr_html_(self) -> str:
        from gpuarray.cluster.page import framed

        return framed(self.html())

    def __enter__(self) -> Report:
        if self._watch is not None:
            raise ConfigError("this report has been used; make another one")
        self._watch = threading.Thread(target=self._look, name="gpuarray-report", daemon=True)
        with _lock:
            _listening.append(self)
        self._watch.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with _lock:
            _listening[:] = [other for other in _listening if other is not self]
        self._ended.set()
        if self._watch is not None:
            self._watch.join(timeout=5)  # a worker that does not answer is not waited for
        if self.path is not None:
            write(self.path, self.html())

    def _look(self) -> None:
        """Ask the workers of the cluster that is open, until the end and once more."""
        before: dict[str, tuple[float, dict[str, Any]]] = {}
        while True:
            last = self._ended.wait(self.interval if self._cluster() is not None else min(self.interval, 0.05))
            cluster = self._cluster()
            if cluster is not None:
                self._ask(cluster.executor, before)
            if last:
                return

    def _cluster(self) -> Any:
        return active.current()

    def _name(self) -> None:
        """Learn which workers there are."""
        cluster = self._cluster()
        if cluster is not None:
            for address, hand in tuple(cluster.executor.hands.items()):
                self.recording.workers[hand.number] = named(address, hand.number)

    def _ask(self, executor: Any, before: dict[str, tuple[float, dict[str, Any]]]) -> None:
        for address, hand in tuple(executor.hands.items()):
            name = named(address, hand.number)
            self.recording.workers[hand.number] = name
            try:
                found = executor.link.ask(address, "statistics")
            except Exception:  # it is gone, or the cluster closes: the run finds that out for itself
                continue
            now = monotonic()
            then, known = before.get(address, (now - self.interval, None))
            self.recording.looked(name, found, known, now - then)
            before[address] = now, found


def report(path: str | os.PathLike[str] | None = None, *, title: str = "gpuarray", interval: float = 0.25) -> Report:
    """`Report`: for the length of a ``with`` block, listen to every run; then write a page about them.

    >>> import gpuarray as ga
    >>> with ga.cluster.report() as report:
    ...     total = ga.ones((1000, 1000), chunks=500).sum().compute()
    >>> print(report.summary())  # doctest: +ELLIPSIS
    run ...: done in ... s
      stage ...
    """
    return Report(path, title=title, interval=interval)


def named(address: str, number: int) -> str:
    return f"worker {number} ({address.rpartition('/')[2]})"


def write(path: Path, text: str) -> None:
    """A file that is there whole or not at all."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(name, 0o666 & ~mask)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
