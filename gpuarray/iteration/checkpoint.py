"""Checkpoints: the state of an iteration in a folder, so that a killed run goes on to the same bits.

A checkpoint is complete before it is named: the fields are written to a folder of their own, then `state.json`, which
names that folder, is replaced in one step, then the folder before it goes. What a kill leaves half written is never
named, and is removed by the next save.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from gpuarray.array import NDArray
from gpuarray.errors import StorageError
from gpuarray.iteration.steps import State, Steps
from gpuarray.several import compute
from gpuarray.storage.zarr import from_zarr

VERSION = 1
NAME = "state.json"


@dataclass(frozen=True)
class Checkpoint:
    """The folder of one iteration."""

    folder: Path
    plan: Steps
    mark: str
    """What tells this iteration from another."""

    @classmethod
    def at(cls, folder: Any, plan: Steps) -> Checkpoint:
        try:
            path = Path(os.fspath(folder))
        except TypeError:
            raise plan.stencil.error(f"checkpoint={folder!r} must be the path of a folder") from None
        return cls(path, plan, mark_of(plan))

    def latest(self) -> tuple[Steps, int, State]:
        """What to go on with, from which step and state: the plan, 0 and its own state where nothing was kept."""
        try:
            text = (self.folder / NAME).read_text()
        except NotADirectoryError:
            raise self.plan.stencil.error(
                f"checkpoint={str(self.folder)!r} is a file, or in one; name a folder"
            ) from None
        except FileNotFoundError:
            if self.folder.is_dir() and any(not p.name.startswith("step-") for p in self.folder.iterdir()):
                raise self.plan.stencil.error(
                    f"checkpoint={str(self.folder)!r} is a folder with other things in it; name a new one"
                ) from None
            return self.plan, 0, self.plan.state
        step, mark, compiled = self._parsed(text)
        if mark != self.mark:
            raise self.plan.stencil.error(
                f"checkpoint={str(self.folder)!r} holds the state of another iteration (another stencil, state, "
                "boundary or coefficients); remove the folder, or name another"
            )
        if step > self.plan.most:
            raise self.plan.stencil.error(
                f"checkpoint={str(self.folder)!r} is at step {step}, past steps={self.plan.most}; ask for more steps, "
                "or remove the folder"
            )
        folder = self.folder / f"step-{step}"
        state = tuple(
            from_zarr(folder / f"{k}.zarr", chunks=x.chunks if x.size else None) for k, x in enumerate(self.plan.state)
        )
        return replace(self.plan, recorded=compiled), step, state

    def _parsed(self, text: str) -> tuple[int, str, bool]:
        try:
            found = json.loads(text)
            version, step, mark, compiled = (found[k] for k in ("version", "step", "iteration", "compiled"))
            kinds = (type(step), type(mark), type(compiled))
            if version != VERSION or kinds != (int, str, bool) or step < 0:
                raise ValueError(f"version {version!r}, step {step!r}")
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise StorageError(
                f"{self.folder / NAME} is damaged ({error}); remove the folder to begin again"
            ) from error
        return step, mark, compiled

    def save(self, step: int, state: State, compiled: bool) -> None:
        """Keep the state after a step, and forget the one before."""
        target = self.folder / f"step-{step}"
        shutil.rmtree(target, ignore_errors=True)  # a kill may have left it half written
        target.mkdir(parents=True)
        for k, x in enumerate(state):
            x.to_zarr(target / f"{k}.zarr")
        new = self.folder / f"{NAME}.new"
        with open(new, "w") as file:
            json.dump({"version": VERSION, "step": step, "iteration": self.mark, "compiled": compiled}, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(new, self.folder / NAME)
        for other in self.folder.glob("step-*"):
            if other != target:
                shutil.rmtree(other, ignore_errors=True)


def mark_of(plan: Steps) -> str:
    """A digest of what decides the bits of an iteration: program, edges, scalars, and what tells arrays apart."""
    digest = hashlib.sha256()
    program, row = plan.at(0) if plan.most else (None, ())
    digest.update(repr((VERSION, program, plan.edges, row)).encode())
    for x in (*plan.state, *plan.arrays):
        digest.update(repr((x.shape, x.dtype.str)).encode())
        for values in compute(*few(x)):
            digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()


def few(x: NDArray) -> list[NDArray]:
    """Some small pieces of an array: to read all of it would take as long as steps do."""
    if not x.size:
        return []
    pieces = []
    for part in range(5):
        at = tuple(slice(s := part * (n - 1) // 4, min(n, s + 4)) for n in x.shape)
        pieces.append(x[at])
    return pieces
