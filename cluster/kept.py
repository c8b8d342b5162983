"""Chunks on workers that outlive a run."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from gpuarray.cluster.finalizers import finalize
from gpuarray.cluster.link import Unreachable
from gpuarray.cluster.schedule import Record
from gpuarray.cluster.task import Chunk, Key
from gpuarray.kernels.errors import ClusterError, TaskError

if TYPE_CHECKING:
    from gpuarray.cluster.distributed import DistributedExecutor


class ClusterKept(Mapping[Key, Chunk]):
    """The chunks that outlive a run, held by the workers until this mapping is gone."""

    def __init__(self, executor: DistributedExecutor, record: Record) -> None:
        self.executor, self.record = executor, record
        self._keys = dict.fromkeys(sorted(record.kept))
        finalize(self, executor.let_go, record)

    def __getitem__(self, key: Key) -> Chunk:
        if key not in self._keys:
            raise KeyError(key)
        record, link = self.record, self.executor.link
        for _ in range(1 + self.executor.retries):
            link.check()
            self.executor.restore(record, [key])
            try:
                reply = link.ask(record.places.get(key, ""), "part", run=record.name, key=key, box=None)
            except Unreachable:
                reply = {"status": "gone"}
            if reply["status"] == "OK":
                return tuple(map(np.asarray, reply["arrays"]))
            record.places.pop(key, None)
        raise ClusterError(f"chunk {key} was lost as often as it was made again; look into the workers' logs")

    def on_host(self, key: Key, part: tuple[slice, ...] | None = None) -> Chunk:
        return tuple(array[part or ...] for array in self[key])

    def chunk(self, number: int) -> Chunk:
        """As a stage that is given to a plan: the executor knows where the chunks are."""
        raise TaskError("internal error: chunks on workers were asked of the client")

    def __iter__(self) -> Iterator[Key]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)


def checksum(chunk: Chunk) -> int:
    """Tells whether arrays have changed."""
    digest = 0
    for array in chunk:
        digest = zlib.crc32(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data, digest)
    return digest
