"""The client's line to scheduler and workers: everything here has a timeout, and says what is wrong."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import pickle
from collections.abc import Callable, Iterable
from typing import Any

from distributed import Client
from distributed.protocol import to_serialize

from gpuarray.cluster.asking import answer
from gpuarray.cluster.orders import Limits, Order
from gpuarray.cluster.panel import PATH, PanelPlugin
from gpuarray.cluster.plugin import StorePlugin
from gpuarray.cluster.schedule import Record
from gpuarray.cluster.task import Key
from gpuarray.cluster.worker import perform
from gpuarray.kernels.errors import ClusterError

logger = logging.getLogger("gpuarray")

_HELLO = 5.0
"""Seconds in which a worker that can be reached from here answers."""
_MARGIN = 5.0
"""Seconds that the event loop may be late."""


class LostWorker(Exception):
    """A worker does not answer."""

    def __init__(self, worker: str) -> None:
        super().__init__(worker)
        self.worker = worker


class Unreachable(ConnectionError):
    """A worker could not be asked, or has no store; what its store raises is none of this."""


class Link:
    """What a client asks and tells.

    Parameters
    ----------
    name : under which the workers' stores answer
    timeout : seconds for anything
    """

    def __init__(self, client: Client, name: str, timeout: float) -> None:
        self.client, self.name, self.timeout = client, name, timeout
        self.address = client.scheduler.address if client.scheduler is not None else "?"
        self._direct = True
        self.closed = False

    # Scheduler

    def check(self) -> None:
        """Raise ClusterError if the scheduler is gone, or the cluster was closed."""
        if self.closed:
            raise ClusterError(
                "the Cluster on which this was persisted is closed, and its chunks went with it; compute it again"
            )
        if self.client.status != "running":
            raise ClusterError(
                f"the scheduler at {self.address} is gone, or the client is closed (it is {self.client.status!r}). "
                "What runs had written is incomplete and what they kept is lost; connect again and run again"
            )

    def _sync(self, function: Callable[..., Any], **arguments: Any) -> Any:
        """Ask the scheduler."""
        self.check()
        try:
            return self.client.sync(function, callback_timeout=self.timeout, **arguments)
        except OSError as error:
            self.check()
            raise ClusterError(
                f"the scheduler at {self.address} did not answer within {self.timeout:g} s ({error!r}); "
                "see whether it runs, or raise timeout="
            ) from error

    def workers(self) -> dict[str, int]:
        """The workers that are alive, with their threads."""
        found: dict[str, int] = self._sync(self._ncores)
        return found

    async def _ncores(self) -> Any:
        return await self.client.scheduler.ncores()

    def install(self, limits: Limits) -> None:
        """Give every worker a store. Raises ClusterError where one does not match this process."""
        self._check_versions()
        plugin = StorePlugin(self.name, limits, self.timeout)
        try:
            self._sync(self._register, plugin=plugin)
        except ClusterError:
            raise
        except Exception as error:
            raise ClusterError(
                f"a worker of {self.address} cannot take part: {type(error).__name__}: {error}. Every worker needs "
                "this gpuarray and what it imports"
            ) from error
        workers = self.workers()
        if not workers:
            raise ClusterError(f"the scheduler at {self.address} has no worker; start one: gpuarray cluster worker ...")
        with contextlib.suppress(Unreachable):
            self.ask(next(iter(workers)), "facts", wait=_HELLO)
            return
        self._direct = False  # the workers' network is not ours: through the scheduler

    def show(self) -> None:
        """Have the scheduler serve the page of what the workers hold; one that cannot, without gpuarray, does not."""
        try:
            self._sync(self.client._register_scheduler_plugin, plugin=PanelPlugin(), name=PATH, idempotent=True)
        except Exception as error:
            logger.info("the scheduler at %s shows no page of ours: %r", self.address, error)

    async def _register(self, plugin: StorePlugin) -> None:
        replies = await self.client._register_worker_plugin(plugin=plugin, name=self.name, idempotent=True)
        for reply in replies.values():
            if reply["status"] == "error":
                raise reply["exception"]

    def _check_versions(self) -> None:
        """Refuse workers whose Python or NumPy differ: plans are pickled, and bits must be equal."""
        found = self._sync(self.client._get_versions)
        mine = facts_of(found["client"])
        for worker, versions in found["workers"].items():
            theirs = facts_of(versions)
            for name in ("python", "numpy"):
                if theirs[name] != mine[name]:
                    raise ClusterError(
                        f"the worker {worker} has {name} {theirs[name]}, this process {mine[name]}; results would "
                        "depend on where they are computed: install the same on both"
                    )

    # Workers

    def ask(self, worker: str, what: str, *, wait: float | None = None, **message: Any) -> dict[str, Any]:
        """Ask a worker's store.

        Raises Unreachable if it cannot be reached or has no store, and what the store raises.
        """
        self.check()
        timeout = wait or self.timeout
        message = {"what": what, **message}
        try:
            reply = self.client.sync(self._call, worker, message, timeout, callback_timeout=timeout + _MARGIN)
        except OSError as error:
            raise Unreachable(f"{worker}: {error!r}") from error
        if not isinstance(reply, dict):
            raise Unreachable(f"{worker} has no store")
        if reply["status"] == "error":
            raise pickle.loads(reply["error"])
        return reply

    async def _call(self, worker: str, message: dict[str, Any], timeout: float) -> Any:
        if "arrays" in message:
            message["arrays"] = [to_serialize(a) for a in message["arrays"]]
        if "plan" in message:
            message["plan"] = to_serialize(message["plan"])
        scheduler = self.client.scheduler
        if self._direct:
            question = getattr(self.client.rpc(worker), self.name)(**message)
        else:
            question = scheduler.proxy(msg={"op": self.name, **message}, worker=worker)
        return await answer(question, worker, scheduler, timeout)

    def facts(self, worker: str) -> dict[str, Any]:
        """What a worker's store can do."""
        try:
            return self.ask(worker, "facts")
        except Unreachable as error:
            raise ClusterError(f"the worker {worker} does not answer: {error!r}") from error

    def ready(self, worker: str) -> bool:
        """Whether a worker has its store."""
        try:
            return self.ask(worker, "facts", wait=_HELLO)["status"] == "OK"
        except Unreachable:
            return False

    def orders(self, worker: str) -> tuple[set[str], bool] | None:
        """The orders that a worker is carrying out, and whether it could take more; None if it does not answer."""
        try:
            reply = self.ask(worker, "orders", wait=_HELLO)
        except Unreachable:
            return None
        return set(reply["under_way"]), reply["idle"]

    def tell_later(self, what: str, **message: Any) -> None:
        """Tell all workers, without waiting. Safe in a finalizer, and whatever has become of the cluster."""
        if self.client.status == "running" and not self.closed:
            with contextlib.suppress(RuntimeError):  # the event loop is closed
                self.client.loop.add_callback(self._broadcast, {"op": self.name, "what": what, **message})

    async def _broadcast(self, message: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):
            await asyncio.wait_for(self.client.scheduler.broadcast(msg=message, on_error="ignore"), self.timeout)

    def write_results(self, worker: str, record: Record, tasks: Iterable[Key]) -> set[Key]:
        """Write what tasks have made for sinks of this process. Returns those whose results cannot be had."""
        lost: set[Key] = set()
        left = list(tasks)
        while left:
            try:
                reply = self.ask(worker, "results", run=record.name, keys=left)
            except Unreachable as error:
                logger.info("results are not to be had: %s", error)
                return lost.union(left)
            if reply["status"] != "OK":
                return lost.union(left)
            for sink, region, array in reply["results"]:
                record.sinks[sink].write(tuple(range(*edges) for edges in region), array)
            lost.update(map(tuple, reply["lost"]))
            left = [tuple(key) for key in reply["rest"]]
        return lost

    # Orders

    def submit(self, order: Order, worker: str, done: Callable[[Any], Any]) -> Any:
        """Send an order; `done` is called in another thread when it is carried out or given up."""
        future = self.client.submit(
            perform, order, key=order.name, workers=[worker], allow_other_workers=False, pure=False
        )
        future.add_done_callback(done)
        return future

    def outcome(self, future: Any) -> BaseException | None:
        """What an order that came back has raised; LostWorker where dask has given it up."""
        status = future.status
        if status == "finished":
            return None
        if status == "error":
            error: BaseException = future.exception(timeout=self.timeout)
            if type(error).__name__ in ("KilledWorker", "NoValidWorkerError"):
                return LostWorker("")
            return error
        self.check()
        return LostWorker("")

    def cancel(self, futures: list[Any]) -> None:
        """Give orders up; None stands for one that Ctrl-C has struck before it was sent."""
        futures = [future for future in futures if future is not None]
        if futures and self.client.status == "running":
            with contextlib.suppress(OSError, RuntimeError):
                self.client.sync(self.client._cancel, futures, callback_timeout=self.timeout)

    def remove(self) -> None:
        """Take the stores away from the workers."""
        if self.client.status == "running":
            with contextlib.suppress(OSError, RuntimeError, ValueError):
                self.client.sync(self.client._unregister_worker_plugin, name=self.name, callback_timeout=self.timeout)


def facts_of(versions: dict[str, Any]) -> dict[str, Any]:
    """The versions that must be equal: Python and NumPy to the second number."""
    packages = versions["packages"]

    def short(version: str | None) -> str | None:
        return None if version is None else ".".join(version.split(".")[:2])

    return {
        "python": short(packages.get("python")),
        "numpy": short(packages.get("numpy")),
    }
