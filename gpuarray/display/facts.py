"""What an explanation says beside its table, in sentences that text and HTML share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpuarray.cluster.sizes import format_bytes
from gpuarray.display.words import duration, listed, plural, shape_of, shortened, size, times

if TYPE_CHECKING:
    from gpuarray.plan.explain import Explanation, StageSummary

BECOMES = {"compute": "to a NumPy array", "persist": "kept in memory", "store": "written chunk by chunk"}


def headline(plan: Explanation) -> str:
    """The results, and how many tasks and stages make them."""
    if len(plan.results) == 1:
        shape, dtype, nbytes = plan.results[0]
        what = f"{shape_of(shape, dtype)}, {format_bytes(nbytes)}"
    else:
        what = f"{len(plan.results)} results, {format_bytes(sum(n for *_, n in plan.results))}"
    return f"{what}, {BECOMES[plan.then]}: {plural(plan.tasks, 'task')} in {plural(len(plan.stages), 'stage')}"


def notes(plan: Explanation) -> list[str]:
    """What a reader must know before the table."""
    said = []
    if plan.refusal is not None:
        how = "without a limit" if plan.planned_limit is None else "as if the result took no memory"
        said.append(f"Refused: {plan.refusal} (The stages below are planned {how}.)")
    elif plan.direct:
        said.append("Small: worked out at once on whole arrays. The plan below is how a larger one would be run.")
    if plan.sampled:
        said.append("Bytes and operations are estimated from a sample of the tasks.")
    return said


def totals(plan: Explanation) -> list[tuple[str, str]]:
    """(what, how much) for the lines below the table."""
    rows = [("read", reading(plan))]
    for peak in plan.peaks:
        if peak.tier == "disk":
            text = f"about {format_bytes(peak.nbytes)} spilled" if peak.nbytes else "nothing spilled"
        elif peak.limit is not None and peak.nbytes > peak.limit:
            text = f"{format_bytes(peak.nbytes)} wanted, more than the limit of {format_bytes(peak.limit)}"
        else:
            text = f"at most {format_bytes(peak.nbytes)}"
            text += f" of the limit of {format_bytes(peak.limit)}" if peak.limit is not None else ""
        if peak.tier == "host" and plan.reserved_nbytes:
            text += f", {format_bytes(plan.reserved_nbytes)} of it for the result"
        rows.append(("disk" if peak.tier == "disk" else f"{peak.tier} memory", text))
    rows.append(
        (
            "time",
            f"about {duration(plan.seconds)} at the machine's own speed (estimate, {plural(plan.threads, 'thread')})",
        )
    )
    return rows


def reading(plan: Explanation) -> str:
    files = [s for s in plan.sources if not s.in_memory]
    if not files:
        return "nothing from files"
    names = listed(shortened(s.name, 30, keep_end=True) for s in files[:3]) + (
        f" and {len(files) - 3} more" if len(files) > 3 else ""
    )
    return (
        f"{format_bytes(plan.read_nbytes)} from {names}, {plan.read_amplification:.2f} times the "
        f"{format_bytes(plan.needed_nbytes)} that are needed"
    )


def kernels(stage: StageSummary) -> str:
    """``compiled sum(add, square) [3 steps]``, one after another."""
    texts = []
    for kernel in stage.kernels:
        steps = "" if kernel.how == "library" else f" [{plural(kernel.operations, 'step')}]"
        texts.append(f"{kernel.how} {kernel.label}{steps}")
    return ", ".join(dict.fromkeys(texts)) or "no kernel"


def task_bytes(stage: StageSummary) -> str:
    """What the bytes of the largest task are made of."""
    parts = (
        (stage.task_inputs_nbytes, "in"),
        (stage.task_loads_nbytes, "loaded"),
        (stage.task_work_nbytes, "work"),
    )
    return " + ".join(f"{format_bytes(n)} {name}" for n, name in parts if n) or "none"


def grid(stage: StageSummary) -> str:
    return times(stage.grid)


def taken(stage: StageSummary) -> str:
    """Bytes of earlier results and of arrays in memory."""
    return size(stage.input_nbytes + stage.array_nbytes)


def made(stage: StageSummary) -> str:
    return size(stage.kept_nbytes + stage.written_nbytes)
