"""What the numbers were measured on."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks.libraries import threads

PACKAGES = (
    "gpuarray-engine",
    "numpy",
    "numba",
    "dask",
    "zarr",
    "numexpr",
    "jax",
    "cubed",
    "cupy-cuda12x",
    "cupy-cuda13x",
    "numba-cuda",
    "torch",
)
ROOT = Path(__file__).resolve().parents[1]


def describe() -> dict[str, Any]:
    """The machine, the versions and the commit, without names of users, hosts or folders."""
    return {
        "processor": processor(),
        "cores": threads(),
        "memory_bytes": memory(),
        "gpus": gpus(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "packages": {name: v for name in PACKAGES if (v := version(name))},
        "commit": commit(),
    }


def processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or platform.machine()
    name = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    number = re.search(r"^model\s*:\s*(\d+)$", text, re.MULTILINE)
    features = [f for f in ("avx512f", "avx2") if re.search(rf"\b{f}\b", text)]
    parts = [name[1].strip() if name else platform.machine(), f"model {number[1]}" if number else "", *features[:1]]
    return ", ".join(filter(None, parts))


def memory() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return 0


def gpus() -> list[str]:
    try:
        command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
        found = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return []
    return found.stdout.splitlines()


def version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def commit() -> str:
    """The commit that is checked out, with a plus sign where files were changed since."""
    try:
        head = _git("rev-parse", "--short=12", "HEAD")
        changed = _git("status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return head + ("+" if changed else "")


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True, timeout=20)
    return done.stdout.strip()


def slug(machine: dict[str, Any]) -> str:
    """A short name for files: what the machine is, not what it is called.

    >>> slug({"processor": "AMD EPYC 9B14, model 17, avx512f", "cores": 2, "memory_bytes": 25 * 10**9, "gpus": []})
    'amd-epyc-9b14-2-cores-25gb'
    """
    words = machine["gpus"][0] if machine["gpus"] else re.sub(r"\(\w+\)|@.*|,.*|CPU", " ", machine["processor"])
    name = "-".join(re.findall(r"[a-z0-9]+", words.lower()))
    return f"{name}-{machine['cores']}-cores-{machine['memory_bytes'] / 1e9:.0f}gb"
