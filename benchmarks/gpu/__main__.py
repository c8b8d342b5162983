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
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.gpu import report
from benchmarks.gpu.libraries import on
from benchmarks.gpu.work import ROWS

RESULTS = Path(__file__).resolve().parents[1] / "results"
LEAST = 5.0
"""Seconds without which no process is started."""
FOR_LIMITS, OURS = 60.0, 0.6
"""Seconds for what the hardware gives, and the share of those left then that gpuarray may take."""
GRACE = 45.0
"""Seconds after its time when a process is stopped."""
LOOK = 0.2
"""Seconds between two looks at what a process has written."""
Hear = Callable[[dict[str, Any], str], None]
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
    data: dict[str, Any] = {"date": datetime.date.today().isoformat(), "device": options.device, "tiny": tiny}
    data |= {"seed": seed, "machine": about, "complete": False}

    def hear(line: dict[str, Any], library: str) -> None:
        """Take a line of a library's, and write down what there is: a run may be cut off."""
        rates.update(line.get("limits", {}))
        if "row" in line:
            pieces.append(line)
        elif "missing" in line or "trouble" in line:
            reason = {key: line[key] for key in ("missing", "trouble") if key in line}
            whose = [(r.name, who) for r in rows for who in r.pieces if who.partition("/")[0] == library]
            pieces.extend({"row": name, "who": who, **reason} for name, who in whose)
        data.update(limits=rates, rows=report.judged(rows, pieces, rates, tiny))
        if not options.no_save:
            write(data, options.output)

    for k, library in enumerate(["limits", *libraries]):
        left = until - time.monotonic()
        if left < LEAST and pieces:
            hear({"missing": "there was no time left"}, library)
            continue
        # gpuarray comes first and may take most of the time; the others share the rest
        share = {"limits": min(left, FOR_LIMITS), "gpuarray": OURS * left}.get(library, left / (len(libraries) - k + 1))
        ask(library, options.device, tiny, [r.name for r in rows], seed, max(LEAST, share), hear)
    data["complete"] = True
    for row in data.setdefault("rows", []):
        print("\n".join(report.lines(row)), flush=True)
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


def ask(
    library: str, device: str, tiny: bool, rows: Sequence[str], seed: int, seconds: float, hear: Hear
) -> list[dict[str, Any]]:
    """What a library's process says, of which `hear` is told line by line, whether it ends well or not."""
    with tempfile.TemporaryDirectory(prefix="gpuarray-bench-") as folder:
        output = Path(folder) / "said.jsonl"
        output.touch()
        command = [sys.executable, "-P", "-m", "benchmarks.gpu.process", library, device, str(output)]
        command += ["--seconds", str(seconds), "--seed", str(seed), *(["--tiny"] if tiny else []), "--rows", *rows]
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        said: list[dict[str, Any]] = []
        until = time.monotonic() + seconds + GRACE  # a row that has begun is let end
        with (Path(folder) / "errors").open("w+") as errors:
            process = subprocess.Popen(
                command, env={**os.environ, "PYTHONPATH": path}, stdout=subprocess.DEVNULL, stderr=errors
            )
            try:
                while process.poll() is None and time.monotonic() < until:
                    time.sleep(LOOK)
                    listen(output, said, library, hear)
                trouble = "" if process.poll() is not None else "its process was stopped after its time"
            finally:
                process.kill()
                process.wait()
            listen(output, said, library, hear)
            if not trouble and process.returncode:
                errors.seek(0)
                trouble = f"its process ended with exit status {process.returncode}: {errors.read().strip()[-1500:]}"
        if trouble:
            print(f"{library}: {trouble}", file=sys.stderr)
            if not said:
                said.append({"trouble": trouble})
                hear(said[0], library)
        return said


def listen(output: Path, said: list[dict[str, Any]], library: str, hear: Hear) -> None:
    """Hear the lines that were written since the last time."""
    for line in output.read_text().splitlines()[len(said) :]:
        if line.endswith("}"):
            said.append(json.loads(line))
            hear(said[-1], library)


def driver() -> dict[str, str]:
    """The driver's version, where there is one."""
    try:
        command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        found = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.split()
    except (OSError, subprocess.SubprocessError):
        return {}
    return {"driver": found[0]} if found else {}


def write(data: dict[str, Any], folder: Path) -> Path:
    """The file of JSON, replaced as a whole, and the table; its path without a suffix."""
    folder.mkdir(parents=True, exist_ok=True)
    kind = "gpu" if data["device"] == "cuda" else "gpu-dry-run"
    base = folder / f"{data['date']}-{machine.slug(data['machine'])}-{kind}"
    for suffix, text in ((".json", json.dumps(data, indent=1) + "\n"), (".md", report.markdown(data))):
        part = base.with_suffix(suffix + ".part")
        part.write_text(text)
        part.replace(base.with_suffix(suffix))
    return base


def save(data: dict[str, Any], folder: Path) -> None:
    """One file of JSON, and a table and a picture made of it."""
    base = write(data, folder)
    saved = [".json", ".md"]
    try:
        report.draw(data, base.with_suffix(".png"))
        saved.append(".png")
    except ModuleNotFoundError as error:
        print(f"no picture: {error}; pip install matplotlib", file=sys.stderr)
    print(f"saved {base}{{{','.join(saved)}}}")


if __name__ == "__main__":
    sys.exit(main())
