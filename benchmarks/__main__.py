"""The command: `python -m benchmarks`, which `make bench` and `gpuarray bench` call."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks import machine, plot, table
from benchmarks.rows import Row
from benchmarks.runner import Report, run_row, settle
from benchmarks.suites import rows

RESULTS = Path(__file__).resolve().parent / "results"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the table; the exit status is 1 where results differ, 0 whether or not the targets are met."""
    options = _parser().parse_args(arguments)
    every = rows()
    chosen = _choose(every, options.only)
    if options.list:
        print("\n".join(f"{r.name:<24}{r.work.format(**(r.quick if options.quick else r.full))}" for r in chosen))
        return 0
    about = machine.describe()
    print(f"{about['processor']}, {about['cores']} cores, load {os.getloadavg()[0]:.1f}, commit {about['commit']}")
    print(table.header())
    reports: list[Report] = []
    try:
        for row in chosen:
            settle(options.load, options.patience, _say)
            report = run_row(
                row,
                quick=options.quick,
                repeat=options.repeat or (3 if options.quick else 5),
                peers=not options.alone,
                folder=options.directory,
                say=lambda text, name=row.name: _say(f"{name}: {text}"),
            )
            _say("")
            print("\n".join(table.lines(report)), flush=True)
            reports.append(report)
    except KeyboardInterrupt:
        _say("")
        print("interrupted; the rows above are complete", file=sys.stderr)
        return 130
    finally:
        if reports and not options.no_save:
            _save(reports, about, options.output, options.quick)
    print(table.summary(reports))
    return 1 if any(r.trouble for r in reports) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m benchmarks", description=__doc__, allow_abbrev=False)
    parser.add_argument("--quick", action="store_true", help="small sizes, a few minutes; targets are not judged")
    parser.add_argument(
        "--only", action="append", metavar="NAME", help="only rows whose name contains this; repeatable"
    )
    parser.add_argument("--repeat", type=_count, help="runs of each, of which the median counts (default: 5, quick 3)")
    parser.add_argument("--alone", action="store_true", help="gpuarray without its peers")
    parser.add_argument("--list", action="store_true", help="print the rows and stop")
    parser.add_argument("--no-save", action="store_true", help="write no files")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder of the results (default: %(default)s)")
    parser.add_argument(
        "--directory", type=Path, default=Path(tempfile.gettempdir()), help="for scratch files (default: %(default)s)"
    )
    parser.add_argument("--load", type=float, default=0.5, help="load average to wait for (default: %(default)s)")
    parser.add_argument("--patience", type=float, default=30, help="seconds to wait for it (default: %(default)s)")
    return parser


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least one run")
    return number


def _choose(every: Sequence[Row], only: Sequence[str] | None) -> list[Row]:
    chosen = [r for r in every if not only or any(o in r.name for o in only)]
    for name in only or ():
        if not any(name in r.name for r in every):
            raise SystemExit(f"there is no row {name!r}; there are {', '.join(r.name for r in every)}")
    return chosen


def _say(text: str) -> None:
    """What is going on, in one line that is written over, where somebody looks."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{text}")
        sys.stderr.flush()


def _save(reports: Sequence[Report], about: dict[str, object], folder: Path, quick: bool) -> None:
    """Write what was measured over what was known of these rows on this machine; other rows stay."""
    folder.mkdir(parents=True, exist_ok=True)
    base = folder / (machine.slug(about) + ("-quick" if quick else ""))
    merged = _merged(reports, _saved(base.with_suffix(".json")))
    data = {"quick": quick, "machine": about, "rows": [r.as_dict() for r in merged]}
    base.with_suffix(".json").write_text(json.dumps(data, indent=1) + "\n")
    base.with_suffix(".md").write_text(table.markdown(merged, about))
    saved = [".json", ".md"]
    try:
        plot.draw(merged, about, base.with_suffix(".png"))
        saved.append(".png")
    except ModuleNotFoundError as error:
        print(f"no picture: {error}; pip install matplotlib", file=sys.stderr)
    print(f"saved {base}{{{','.join(saved)}}}")


def _saved(path: Path) -> list[Report]:
    """The rows of a file, if it is one of ours."""
    try:
        return [Report.of(row) for row in json.loads(path.read_text())["rows"]]
    except FileNotFoundError:
        return []
    except (ValueError, KeyError, TypeError) as error:
        raise SystemExit(f"{path} is no file of results ({error!r}); move it away, or name another --output") from None


def _merged(reports: Sequence[Report], before: Sequence[Report]) -> list[Report]:
    """New rows for old ones of their name, in the order of the suites."""
    found = {r.name: r for r in (*before, *reports)}
    order = [r.name for r in rows()]
    return [found[name] for name in (*order, *(n for n in found if n not in order)) if name in found]


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # or scratch files would stay
    sys.exit(main())
