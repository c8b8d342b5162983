"""Questions to workers that may die before they answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

LOOK = 1.0
"""Seconds without an answer after which the scheduler is asked whether a worker is alive, again and again."""


async def answer(question: Awaitable[Any], worker: str, scheduler: Any, timeout: float) -> Any:
    """What a worker answers.

    dask tries for long to connect to a worker that is gone; the scheduler knows sooner.

    Parameters
    ----------
    scheduler : a connection of dask's to it
    timeout : seconds in all

    Raises
    ------
    OSError
        if the worker is gone, or there is no answer in time.
    """
    task = asyncio.ensure_future(question)
    try:
        async with asyncio.timeout(timeout):
            while not (await asyncio.wait({task}, timeout=LOOK))[0]:
                if worker not in await scheduler.ncores():
                    raise ConnectionError(f"{worker} is gone")
            return task.result()
    finally:
        task.cancel()
