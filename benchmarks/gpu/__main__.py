"""The command: ``python -m benchmarks.gpu``, which ``make gpu`` calls after the tests."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.gpu import report
from benchmarks.gpu.libraries import on
from benchmarks.gpu.work import ROWS

RESULTS = Path(__file__).resolve().parents[1] / "results"
LEAST = 5.0
"""Seconds without which no process is started."""
ROOT = Path(__file__).resolve().parents[2]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the table; the exit status is 1 where a result is wrong or gpuarray fails, whether or not bounds are met."""
    options = _parser().parse_args(arguments)
    tiny = options.tiny or options.device == "fake"
    rows = [r for r in ROWS if not options.only or any(o in r.name for o in options.only)]
    if not rows:
        raise SystemExit(f"there is no such row; there are {', '.join(r.name for r in ROWS)}")
    if options.list:
        print("\n".join(f"{r.name:<24}{r.work.format(**vars(r.size(tiny)))}" for r in rows))
        return 0
    about = {**machine.describe(), **driver()}
    seed = secrets.randbits(32) if options.seed is None else options.seed
    until = time.monotonic() + options.seconds
    rates: dict[str, float] = {}
    pieces: list[dict[str, Any]] = []
    libraries = ["gpuarray"] if options.alone else on(options.device)
    for k, library in enumerate(["limits", *libraries]):
        # gpuarray comes first and may take half of the time; the others share the rest
        left = until - time.monotonic()
        share = left if library == "limits" else left / 2 if library == "gpuarray" else left / (len(libraries) - k + 1)
        if left < LEAST and pieces:
            said: list[dict[str, Any]] = [{"missing": "there was no time left"}]
        else:
            said = ask(library, options.device, tiny, [r.name for r in rows], seed, max(LEAST, share))
        for line in said:
            rates |= line.get("limits", {})
            if "row" in line:
                pieces.append(line)
            elif "missing" in line or "trouble" in line:
                reason = {key: line[key] for key in ("missing", "trouble") if key in line}
                pieces += [
                    {"row": r.name, "who": who, **reason}
                    for r in rows
                    for who in r.pieces
                    if who.partition("/")[0] == library
                ]
    found = report.judged(rows, pieces, rates, tiny)
    for row in found:
        print("\n".join(report.lines(row)), flush=True)
    data = {
        "date": datetime.date.today().isoformat(),
        "device": options.device,
        "tiny": tiny,
        "seed": seed,
        "machine": about,
        "limits": rates,
        "rows": found,
    }
    if not options.no_save:
        save(data, options.output)
    ours = [p for p in pieces if p["who"] == "gpuarray"]
    failed = [p for p in pieces if "trouble" in p]
    return 1 if any("trouble" in p for p in ours) or any("Wrong" in p["trouble"] for p in failed) or not ours else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m benchmarks.gpu", description=__doc__, allow_abbrev=False)
    parser.add_argument("--device", choices=("cuda", "fake"), default="cuda", help='"fake" is a dry run, of tiny sizes')
    parser.add_argument("--tiny", action="store_true", help="tiny sizes on a GPU: all is compiled, nothing is judged")
    parser.add_argument(
        "--only", action="append", metavar="NAME", help="only rows whose name contains this; repeatable"
    )
    parser.add_argument("--alone", action="store_true", help="gpuarray without its peers")
    parser.add_argument("--seconds", type=float, default=300.0, help="that all may take (default: %(default)s)")
    parser.add_argument("--seed", type=int, help="of the random data (default: another one each time)")
    parser.add_argument("--list", action="store_true", help="print the rows and stop")
    parser.add_argument("--no-save", action="store_true", help="write no files")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder of the results (default: %(default)s)")
    return parser


def ask(library: str, device: str, tiny: bool, rows: Sequence[str], seed: int, seconds: float) -> list[dict[str, Any]]:
    """What a library's process says; what it said before it died or was out of time is kept."""
    with tempfile.TemporaryDirectory(prefix="gpuarray-bench-") as folder:
        output = Path(folder) / "said.jsonl"
        output.touch()
        command = [sys.executable, "-P", "-m", "benchmarks.gpu.process", library, device, str(output)]
        command += ["--seconds", str(seconds), "--seed", str(seed), *(["--tiny"] if tiny else []), "--rows", *rows]
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        trouble = ""
        try:
            done = subprocess.run(
                command,
                env={**os.environ, "PYTHONPATH": path},
                timeout=seconds + 60,  # a row that has begun is let end
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                trouble = f"its process ended with exit status {done.returncode}: {done.stderr.strip()[-1500:]}"
        except subprocess.TimeoutExpired:
            trouble = "its process was stopped after its time"
        said = [json.loads(line) for line in output.read_text().splitlines() if line.endswith("}")]
        if trouble:
            print(f"{library}: {trouble}", file=sys.stderr)
            said = said or [{"trouble": trouble}]
        return said


def driver() -> dict[str, str]:
    """The driver's version, where there is one."""
    try:
        command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        found = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.split()
    except (OSError, subprocess.SubprocessError):
        return {}
    return {"driver": found[0]} if found else {}


def save(data: dict[str, Any], folder: Path) -> None:
    """One file of JSON, and a table and a picture made of it."""
    folder.mkdir(parents=True, exist_ok=True)
    kind = "gpu" if data["device"] == "cuda" else "gpu-dry-run"
    base = folder / f"{data['date']}-{machine.slug(data['machine'])}-{kind}"
    base.with_suffix(".json").write_text(json.dumps(data, indent=1) + "\n")
    base.with_suffix(".md").write_text(report.markdown(data))
    saved = [".json", ".md"]
    try:
        report.draw(data, base.with_suffix(".png"))
        saved.append(".png")
    except ModuleNotFoundError as error:
        print(f"no picture: {error}; pip install matplotlib", file=sys.stderr)
    print(f"saved {base}{{{','.join(saved)}}}")


if __name__ == "__main__":
    sys.exit(main())
