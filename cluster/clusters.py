"""`Cluster`: workers to run on, started here or found elsewhere."""

from __future__ import annotations

import contextlib
import os
import weakref
from types import TracebackType
from typing import Any

from gpuarray.cluster import active
from gpuarray.cluster.arguments import (
    LOOPBACK,
    checked_address,
    checked_device,
    checked_options,
    dashboard_address,
    read_scheduler_file,
    seconds,
    whole,
)
from gpuarray.cluster.host import available_memory, available_threads
from gpuarray.cluster.orders import HOST_FRACTION, Limits
from gpuarray.cluster.security import connection_security, local_security
from gpuarray.cluster.sizes import format_bytes, parse_bytes
from gpuarray.kernels.errors import ClusterError, ConfigError


class Cluster:
    """Workers on which everything runs while this is open: `compute`, `persist`, `to_zarr`, `iterate`.

    >>> import gpuarray as ga
    >>> with ga.cluster.Cluster(n_workers=1, dashboard=False) as cluster:  # doctest: +SKIP
    ...     ga.arange(10.0).sum().compute()
    array(45.)

    Without a target it starts workers on this machine: one for each GPU where there are any (with dask-cuda), processes
    that compute on the CPU otherwise. It is open from when it is made until `close`, or the end of a ``with`` block;
    of several, runs go to the one opened last. What was persisted on it is lost when it closes.

    Parameters
    ----------
    target : a scheduler's address (``"tls://10.0.0.5:8786"``), a `distributed.Client`, or any of dask's cluster objects
        (`LocalCluster`, `SSHCluster`, `SLURMCluster`, `KubeCluster`); they are not closed with this one. None: start
        workers here
    scheduler_file : the file that ``gpuarray cluster scheduler --scheduler-file`` writes, in place of an address
    n_workers, threads_per_worker : of the workers that are started here
    device : ``"auto"``, ``"cpu"`` or ``"cuda"``
    device_memory, host_memory : bytes that one worker may hold, such as ``"8 GiB"``; None: what its GPU has, and 60 %
        of its share of the machine
    spill_directory : where a worker's chunks go that fit in neither; None: the machine's temporary folder, and the
        local directory of workers that are not started here
    dashboard : False, or where dask's dashboard listens; True: ``127.0.0.1:8787``
    security : ``"auto"``: none on this machine, TLS beyond it; a `distributed.Security`; or False, for a network that
        you trust
    host : where workers that are started here listen; TLS with temporary credentials if that is not this machine alone
    timeout : seconds that anything on the network may take
    retries : how often a task is tried again whose worker died under it
    **options : for `LocalCluster` or `LocalCUDACluster`, where workers are started here

    Raises
    ------
    ClusterError
        if the scheduler cannot be reached in time, has no workers, or they do not match this process.
    ConfigError
        if an argument makes no sense.
    """

    def __init__(
        self,
        target: Any = None,
        *,
        scheduler_file: str | os.PathLike[str] | None = None,
        n_workers: int | None = None,
        threads_per_worker: int | None = None,
        device: str = "auto",
        device_memory: Any = None,
        host_memory: Any = None,
        spill_directory: str | os.PathLike[str] | None = None,
        dashboard: bool | str = True,
        security: Any = "auto",
        host: str = LOOPBACK,
        timeout: float = 30.0,
        retries: int = 3,
        **options: Any,
    ) -> None:
        import_distributed()
        if target is not None and scheduler_file is not None:
            raise ConfigError("both a target and a scheduler_file are given; give one")
        checked_timeout = seconds(timeout, "timeout")
        tries = whole(retries, "retries", 0)
        limits = Limits(
            checked_device(device),
            parse_bytes(device_memory, "device_memory"),
            parse_bytes(host_memory, "host_memory"),
            None if spill_directory is None else os.path.abspath(os.fspath(spill_directory)),
        )
        local = target is None and scheduler_file is None
        started = {"n_workers": n_workers, "threads_per_worker": threads_per_worker, **options}
        if not local and any(value is not None for value in started.values()):
            names = ", ".join(name for name, value in started.items() if value is not None)
            raise ConfigError(f"{names}: these are for workers that are started here, and a target is given")
        self._closing = contextlib.ExitStack()
        with contextlib.ExitStack() as undo:
            undo.callback(self._closing.close)
            if local:
                limits = self._start(limits, n_workers, threads_per_worker, dashboard, security, host, options)
            else:
                self._connect(target, scheduler_file, security, checked_timeout)
            from gpuarray.cluster.distributed import DistributedExecutor

            self.executor = DistributedExecutor(self.client, limits, timeout=checked_timeout, retries=tries)
            self._closing.callback(self.executor.close)
            if dashboard is not False:
                self.executor.link.show()
            undo.pop_all()
        active.enter(self)
        self._finalizer = weakref.finalize(self, self._closing.close)
        self._closed = False

    # Opening

    def _start(
        self,
        limits: Limits,
        n_workers: int | None,
        threads_per_worker: int | None,
        dashboard: bool | str,
        security: Any,
        host: str,
        options: dict[str, Any],
    ) -> Limits:
        """Workers on this machine."""
        import multiprocessing
        import tempfile

        import dask
        from distributed import Client, LocalCluster, Nanny, Worker

        from gpuarray.kernels import cache

        if getattr(multiprocessing.current_process(), "_inheriting", False):
            raise ClusterError(
                "this is a worker that imports the script which started it, and would start workers itself: open the "
                "Cluster under if __name__ == '__main__':"
            )
        threads = None if threads_per_worker is None else whole(threads_per_worker, "threads_per_worker", 1)
        kind, number = LocalCluster, None if n_workers is None else whole(n_workers, "n_workers", 1)
        gpus = gpu_count() if limits.device in ("auto", "cuda") else 0
        if limits.device == "cuda" and not gpus:
            raise ConfigError('device="cuda": this machine has no GPU that can be used; leave it out, or write "cpu"')
        if gpus:
            if number is not None and number > gpus:
                raise ConfigError(f"n_workers={number}: there is one worker for each GPU, and {gpus} of them")
            kind, number, threads = cuda_cluster(), number or gpus, threads or 1
            options = {"device_memory_limit": 0, **options}
            limits = with_values(limits, device="cuda")
        elif number is None:
            number = max(1, available_threads() // (threads or max(1, available_threads() // 4)))
        threads = threads or max(1, available_threads() // number)
        if limits.host_memory is None:
            limits = with_values(limits, host_memory=max(1, int(HOST_FRACTION * available_memory() / number)))
        if limits.spill_directory is None:
            limits = with_values(limits, spill_directory=tempfile.gettempdir())
        limits = with_values(limits, cache_directory=str(cache.folder()))
        checked_options(options, kind, LocalCluster, Nanny, Worker)
        arguments = {
            "n_workers": number,
            "threads_per_worker": threads,
            "host": host,
            "dashboard_address": dashboard_address(dashboard),
            "scheduler_kwargs": {"dashboard": dashboard is not False},
            # the memory is ours: dask is to spill nothing, to pause nobody and to end no worker for it
            "memory_limit": 0,
            "security": local_security(security, host),
            **options,
        }
        # dask looks so long after a worker was lost if one of its name is back, and closes what restarts it if not: one
        # that has been lost again just then never returns
        self._closing.enter_context(dask.config.set({"distributed.deploy.lost-worker-timeout": "1 day"}))
        try:
            self.cluster = self._closing.enter_context(kind(**arguments))
        except (OSError, RuntimeError, TypeError, ValueError) as error:
            root = origin(error)
            hint = "; in a script, open it under if __name__ == '__main__':, as workers import the script"
            raise ClusterError(
                f"workers could not be started here: {type(root).__name__}: {root}"
                + (hint if isinstance(root, RuntimeError) else "")
            ) from error
        self.client = self._closing.enter_context(Client(self.cluster, set_as_default=False))
        return limits

    def _connect(self, target: Any, scheduler_file: Any, security: Any, timeout: float) -> None:
        """A scheduler that is there."""
        from distributed import Client
        from distributed.deploy.cluster import Cluster as DaskCluster

        self.cluster = None
        if isinstance(target, Client):
            if target.asynchronous:
                raise ConfigError("an asynchronous Client cannot be used: runs wait for results; make one without it")
            if target.status != "running":
                raise ClusterError(f"the Client is {target.status!r}; make a new one")
            self.client = target
            return
        if isinstance(target, DaskCluster):
            self.cluster = target
            try:
                client = Client(target, timeout=timeout, set_as_default=False)
            except (OSError, RuntimeError) as error:
                raise ClusterError(f"{target!r} cannot be used: {error}. Make a new one") from error
            self.client = self._closing.enter_context(client)
            return
        address = read_scheduler_file(scheduler_file) if scheduler_file is not None else target
        address = checked_address(address)
        credentials = connection_security(security, address)
        try:
            client = Client(address, timeout=timeout, security=credentials, set_as_default=False)
        except (OSError, ValueError, TypeError, RuntimeError) as error:
            raise ClusterError(
                f"no scheduler answers at {address} within {timeout:g} s ({type(error).__name__}: {error}). See that "
                "it runs, that the address is right, and that both use TLS with the same credentials or neither does"
            ) from error
        self.client = self._closing.enter_context(client)

    # Use

    @property
    def dashboard_link(self) -> str | None:
        """Where dask's dashboard is, or None where there is none."""
        try:
            link: str | None = self.client.dashboard_link
        except (KeyError, AttributeError):
            return None
        return link

    @property
    def panel_link(self) -> str | None:
        """Where a page shows what the workers' memory holds, what was spilled and what went over the network; None
        where there is no dashboard."""
        link = self.dashboard_link
        return None if link is None else link.removesuffix("/status") + "/gpuarray"

    @property
    def workers(self) -> tuple[str, ...]:
        """The addresses of the workers that are alive."""
        return tuple(self.executor.link.workers())

    def statistics(self) -> dict[str, dict[str, Any]]:
        """By worker: bytes held and limits of every tier, bytes that came from other workers and went to them."""
        return self.executor.statistics()

    def close(self) -> None:
        """End it: runs go where they went before, workers that were started here stop. Harmless the second time."""
        if not self._closed:
            self._closed = True
            active.leave(self)
            self._finalizer()

    def __enter__(self) -> Cluster:
        if self._closed:
            raise ClusterError("this Cluster is closed; make a new one")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        if self._closed:
            return "<Cluster: closed>"
        executor = self.executor
        return (
            f"<Cluster: {len(executor.hands)} workers of {executor.threads_each} threads, "
            f"{format_bytes(executor.limit)} each, at {executor.link.address}>"
        )


def with_values(limits: Limits, **values: Any) -> Limits:
    import dataclasses

    return dataclasses.replace(limits, **values)


def origin(error: BaseException) -> BaseException:
    """What an error came from: dask says only that something failed to start."""
    while (before := error.__cause__ or error.__context__) is not None:
        error = before
    return error


def import_distributed() -> None:
    """Raise ClusterError where dask.distributed is missing."""
    try:
        import distributed  # noqa: F401
    except ImportError as error:
        raise ClusterError(
            f"a cluster needs dask.distributed, which cannot be imported ({error}); install 'gpuarray-engine[cluster]'"
        ) from error


# GPUs


def gpu_count() -> int:
    """The GPUs that workers could use: none without CuPy, a driver and dask-cuda."""
    try:
        import cupy

        return int(cupy.cuda.runtime.getDeviceCount()) if cupy.cuda.is_available() else 0
    except Exception:  # a driver that is broken is no GPU
        return 0


def cuda_cluster() -> Any:
    """dask-cuda's cluster: one worker for each GPU, on the cores next to it."""
    try:
        from dask_cuda import LocalCUDACluster
    except Exception as error:  # it asks the driver when it is imported
        raise ClusterError(
            f"one worker for each GPU needs dask-cuda, which cannot be imported ({error}); install "
            "'gpuarray-engine[cluster-cuda12]' or [cluster-cuda13], or pass device=\"cpu\""
        ) from error
    return LocalCUDACluster
