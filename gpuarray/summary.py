"""What an array says about itself before it is computed: `explain`, `visualize`, and its picture in a notebook.

The code that counts and draws is imported when it is first asked for.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from gpuarray import config
from gpuarray.array import NDArray, as_node, install

if TYPE_CHECKING:
    from gpuarray.display.stages import Drawing
    from gpuarray.plan.attempt import Then
    from gpuarray.plan.explain import Explanation


def explain(*arrays: Any, then: Then = "compute") -> Explanation:
    """What computing arrays in one run would do: stages, tasks, bytes, memory and time. Nothing is computed.

    >>> import gpuarray as ga
    >>> x = ga.ones((4000, 4000), chunks=1000)
    >>> plan = ga.explain(x.mean(axis=0), x.max())
    >>> plan.needed_nbytes, plan.refusal
    (0, None)

    Parameters
    ----------
    *arrays : arrays that one run computes, so that what they share is done once
    then : what becomes of the results: ``"compute"`` makes NumPy arrays, ``"persist"`` keeps chunks in memory,
        ``"store"`` writes them to a compressed store, chunk by chunk

    It never raises MemoryLimitError: what would be refused is shown with the refusal. Raises ValueError for another
    `then`, or without arrays.
    """
    from gpuarray.executors import current
    from gpuarray.plan.attempt import Machine
    from gpuarray.plan.explain import explain as explained
    from gpuarray.plan.policy import policy
    from gpuarray.plan.roofline import rates

    if then not in ("compute", "persist", "store"):
        raise ValueError(f'then={then!r} is none of "compute", "persist" and "store"')
    if not arrays:
        raise ValueError("explain() needs at least one array")
    settings, engine = config.get(), current()
    machine = Machine(
        limit=engine.limit,
        threads=engine.threads,
        rates=rates(settings.cache_path(), engine.threads),
        device=engine.has_own_memory,
        host_limit=engine.host_limit,
        devices=engine.devices,
    )
    return explained([as_node(a) for a in arrays], then, machine, policy(settings.compile))


def visualize(*arrays: Any, filename: str | os.PathLike[str] | None = None, then: Then = "compute") -> Drawing:
    """Draw the stages of the run that computes arrays: boxes with their tasks and bytes, arrows with what is moved.

    >>> import gpuarray as ga
    >>> ga.visualize(ga.ones((2000, 2000), chunks=1000).sum())
    <drawing of 2 stages; shows in a notebook, save(filename) writes it>

    Parameters
    ----------
    filename : where to write it as well: ``.svg``, or ``.png`` and ``.pdf`` with matplotlib
    then : as in `explain`

    Raises ValueError without arrays, for plans of more than a few hundred stages and for other kinds of file.
    """
    from gpuarray.display.stages import draw

    if not arrays:
        raise ValueError("visualize() needs at least one array")
    drawing = draw(explain(*arrays, then=then))
    if filename is not None:
        drawing.save(filename)
    return drawing


def _explain(self: NDArray, *, then: Then = "compute") -> Explanation:
    """What computing this array would do: stages, tasks, bytes, memory and time. Nothing is computed.

    >>> import gpuarray as ga
    >>> len(ga.ones((2000, 2000), chunks=1000).sum().explain().stages)
    2

    `then` as in `gpuarray.explain`.
    """
    return explain(self, then=then)


def _visualize(self: NDArray, filename: str | os.PathLike[str] | None = None, *, then: Then = "compute") -> Drawing:
    """Draw the stages of the run that computes this array. Arguments as in `gpuarray.visualize`."""
    return visualize(self, filename=filename, then=then)


def _repr_html(self: NDArray) -> str:
    """A table and a picture of the chunks, for notebooks. Cheap, and computes nothing."""
    from gpuarray.display.html import array

    return array(self)


install("explain", _explain)
install("visualize", _visualize)
install("_repr_html_", _repr_html)
