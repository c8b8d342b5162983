"""The plainest executor there can be: one task after another, nothing spilled, everything checked."""

from __future__ import annotations

import pickle
from typing import Any

from gpuarray.cluster.task import Chunk, Key


class Serial:
    """Runs a plan in order and checks what it promises: inputs exist, bytes are as declared, readers are counted."""

    def __init__(self, backend: Any, *, pickled: bool = False) -> None:
        self.backend, self.pickled = backend, pickled
        self.peak = 0

    def run(self, plan: Any, subscribers: Any = ()) -> dict[Key, Chunk]:
        chunks: dict[Key, Chunk] = {}
        left: dict[Key, int] = {}
        for task in plan.tasks():
            work = pickle.loads(pickle.dumps(task.work)) if self.pickled else task.work
            assert all(key in chunks for key in task.inputs), f"{task.key} reads what is not there"
            result = work.run(self.backend, work.load(), {key: chunks[key] for key in task.inputs})
            declared = dict(task.outputs)
            assert result.kept.keys() == declared.keys()
            for key, chunk in result.kept.items():
                assert sum(a.nbytes for a in chunk) <= declared[key], f"{key} is larger than declared"
                left[key] = plan.readers(key)
                chunks[key] = chunk
            self.peak = max(self.peak, task.load_nbytes + task.work_nbytes)
            work.store(self.backend, result)
            for key in task.inputs:
                left[key] -= 1
                assert left[key] >= 0, f"{key} has more readers than counted"
                if left[key] == 0 and key not in plan.kept:
                    del chunks[key]
        return {key: chunks[key] for key in plan.kept}
