"""Which task may start next: a bounded look-ahead over the stream of a plan's tasks."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass

from gpuarray.cluster.task import Key, Plan, Task

_STEP = 4
"""Tasks read ahead per task started, until the window is full."""


@dataclass(slots=True, eq=False)
class Node:
    """A task in the window."""

    task: Task
    position: int
    """Its place in the plan."""
    missing: int
    """How many of its inputs do not exist yet."""
    started: bool = False


class Window:
    """The next tasks of a plan, the chunks that exist, and who still reads them. Not thread-safe.

    A task is ready when its inputs exist. Tasks start in the order of the plan, save that one which is ready may
    overtake up to `overtake` that are not.

    Parameters
    ----------
    depth : how many tasks are read ahead; a longer view of what will be read makes spilling wiser
    foresee : called with each task that reads chunks, and its position, when it comes into view
    """

    def __init__(
        self, plan: Plan, depth: int, overtake: int, foresee: Callable[[tuple[Key, ...], int], None] | None = None
    ) -> None:
        self._plan = plan
        self._stream: Iterator[Task] | None = iter(plan.tasks())
        self._depth = depth
        self._overtake = overtake
        self._foresee = foresee
        self._nodes: deque[Node] = deque()
        self._blocked: dict[Key, list[Node]] = {}
        self._readers: dict[Key, int] = {}
        self._kept = frozenset(plan.kept)
        self._position = 0

    def extend(self, count: int = _STEP) -> None:
        """Read up to `count` more tasks from the plan."""
        while count > 0 and self._stream is not None and len(self._nodes) < self._depth:
            task = next(self._stream, None)
            if task is None:
                self._stream = None
                return
            node = Node(task, self._position, 0)
            self._position += 1
            for key in task.inputs:
                if key not in self._readers:
                    node.missing += 1
                    self._blocked.setdefault(key, []).append(node)
            self._nodes.append(node)
            if task.inputs and self._foresee is not None:
                self._foresee(task.inputs, node.position)
            count -= 1

    def next(self) -> tuple[Node, bool] | None:
        """The next task that is ready, and whether it overtakes any; None if none is. It is not started yet."""
        head = self.head()
        if head is None:
            return None
        if not head.missing:
            return head, False
        nodes = self._nodes
        for n in range(1, self._overtake + 1):
            while n >= len(nodes):
                before = len(nodes)
                self.extend()
                if len(nodes) == before:
                    return None
            node = nodes[n]
            if not node.missing and not node.started:
                return node, True
        return None

    def start(self, node: Node) -> None:
        node.started = True
        self.extend()

    def head(self) -> Node | None:
        """The first task that was not started; None if every task of the plan was."""
        while self._nodes and self._nodes[0].started:
            self._nodes.popleft()
        if not self._nodes:
            self.extend()
        return self._nodes[0] if self._nodes else None

    def peek(self, count: int) -> list[Task]:
        """The first tasks, fewer than `count` if the plan has no more."""
        self.extend(count - len(self._nodes))
        return [node.task for node in self._nodes]

    def made(self, keys: Iterable[Key]) -> bool:
        """Record that chunks exist; whether a task became ready by it."""
        freed = False
        for key in keys:
            readers = self._plan.readers(key)
            if readers or key in self._kept:
                self._readers[key] = readers
            for node in self._blocked.pop(key, ()):
                node.missing -= 1
                freed = freed or not node.missing
        return freed

    def read(self, node: Node) -> list[Key]:
        """Record that a task has read its inputs; the chunks that nobody reads any more."""
        done = []
        for key in node.task.inputs:
            self._readers[key] -= 1
            if not self._readers[key] and key not in self._kept:
                del self._readers[key]
                done.append(key)
        return done

    def stuck(self) -> str:
        """Why nothing is ready, for a plan that breaks its promise."""
        node = self.head()
        lacking = [key for key in node.task.inputs if key not in self._readers] if node else []
        return f"task {node.task.key if node else '?'} reads {lacking}, which no task before it makes"

    def close(self) -> None:
        """Stop reading the plan."""
        stream, self._stream = self._stream, None
        if isinstance(stream, Generator):
            stream.close()
        self._nodes.clear()
        self._blocked.clear()
