"""A progress bar that shows itself only where somebody looks, and only for runs worth it."""

from __future__ import annotations

import sys
import threading
from typing import Any, Literal

from gpuarray.cluster.events import (
    Event,
    MemoryState,
    RunDone,
    RunFailed,
    RunStarted,
    TaskDone,
    TaskStarted,
    monotonic,
)
from gpuarray.cluster.sizes import format_bytes

_INTERVAL = 0.1
_TICK = 1.0
"""Seconds after which the bar is drawn again though nothing has happened: the time goes on."""

Setting = bool | Literal["auto"]


def progress_bars(setting: Setting) -> tuple[ProgressBar, ...]:
    """Subscribers for one run: a `ProgressBar`, or none where nobody would see it.

    A run with no subscribers makes no events, which a run of one small task can feel.

    >>> progress_bars(False)
    ()

    Parameters
    ----------
    setting : True for a bar, False for none, ``"auto"`` for one if a terminal or a notebook shows it
    """
    return (ProgressBar(),) if setting is True or (setting == "auto" and visible()) else ()


def visible() -> bool:
    """Whether somebody can see a bar: standard error is a terminal, or this is a notebook."""
    if "ipykernel" in sys.modules and "IPython" in sys.modules:
        shell = sys.modules["IPython"].get_ipython()
        if type(shell).__name__ == "ZMQInteractiveShell":
            return True
    try:
        return sys.stderr is not None and sys.stderr.isatty()
    except ValueError:  # closed
        return False


class ProgressBar:
    """Shows how many tasks of a run are done, what is computed, and the memory in use.

    It follows one run at a time: a run that starts during another, inside one of its tasks or in another thread,
    has no bar.

    Parameters
    ----------
    delay : seconds a run must last before its bar appears; the bar disappears with the run
    """

    def __init__(self, delay: float = 0.5) -> None:
        self._delay = delay
        self._lock = threading.Lock()
        self._run: int | None = None
        self._bar: Any = None

    def _open(self, event: RunStarted) -> None:
        self._run = event.run
        self._start, self._shown = event.time, 0.0
        self._done, self._total = 0, sum(stage.tasks for stage in event.stages)
        self._labels = {stage.number: stage.label for stage in event.stages}
        self._label = self._memory = ""
        self._ended = threading.Event()
        threading.Thread(target=self._tick, args=(self._ended,), name="gpuarray-progress", daemon=True).start()

    def _tick(self, ended: threading.Event) -> None:
        """Draw the bar while a task takes long, the first one above all: nobody would know that anything happens."""
        wait = self._delay
        while not ended.wait(wait):
            with self._lock:
                if not ended.is_set():
                    self._refresh()
            wait = _TICK

    def __call__(self, event: Event) -> None:
        if self._run is None:
            if isinstance(event, RunStarted):
                with self._lock:
                    self._open(event)
        elif event.run == self._run:
            with self._lock:
                if event.run == self._run:
                    self._follow(event)

    def _follow(self, event: Event) -> None:
        if isinstance(event, RunDone | RunFailed):
            self._close()
        elif isinstance(event, TaskDone):
            self._done += 1
            self._refresh()
        elif isinstance(event, TaskStarted):
            self._label = self._labels.get(event.key[0], "")
            self._refresh()
        elif isinstance(event, MemoryState):
            tier = event.tiers[0]
            used = format_bytes(tier.held + tier.reserved)
            self._memory = used if tier.limit is None else f"{used} of {format_bytes(tier.limit)}"

    def _refresh(self) -> None:
        now = monotonic()
        if now - self._start < self._delay or now - self._shown < _INTERVAL:
            return
        self._shown = now
        if self._bar is None:
            from tqdm.auto import tqdm  # 0.1 s that a short run does not pay

            self._bar = tqdm(total=self._total, unit="task", leave=False, dynamic_ncols=True, file=sys.stderr)
            self._bar.start_t -= now - self._start  # what was done before the bar appeared took time too
        self._draw()

    def _draw(self) -> None:
        self._bar.n = self._done
        self._bar.set_description_str(self._label[:40], refresh=False)
        self._bar.set_postfix_str(self._memory, refresh=False)
        self._bar.refresh()

    def _close(self) -> None:
        if self._bar is not None:
            self._draw()
            self._bar.close()
            self._bar = None
        self._ended.set()
        self._run = None
