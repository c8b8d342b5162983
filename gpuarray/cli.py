"""The command ``gpuarray``: what is here, the compiled kernels, a demonstration, clusters, the benchmarks."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from gpuarray._version import __version__
from gpuarray.cluster.sizes import format_bytes, parse_bytes
from gpuarray.errors import ConfigError, GPUArrayError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status.

    >>> main(["info", "--json"])  # doctest: +ELLIPSIS
    {...}
    0
    """
    parser = _parser()
    options, rest = parser.parse_known_args(arguments)
    if rest and options.run is not _bench and not getattr(options, "passes_on", False):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    options.rest = rest
    try:
        status: int = options.run(options)
        sys.stdout.flush()
        return status
    except GPUArrayError as error:
        print(f"gpuarray: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # `gpuarray info | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gpuarray", description="NumPy for arrays that outgrow one GPU.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"gpuarray {__version__}")
    commands = parser.add_subparsers(required=True, metavar="command")

    info = commands.add_parser("info", allow_abbrev=False, help="versions, devices, memory, limits, and what works")
    info.add_argument("--json", action="store_true", help="as JSON")
    info.set_defaults(run=_info)

    cache = commands.add_parser("cache", allow_abbrev=False, help="where compiled kernels are kept, and their size")
    cache.add_argument("--clear", action="store_true", help="remove them; what is missing is compiled again")
    cache.set_defaults(run=_cache)

    demo = commands.add_parser(
        "demo", allow_abbrev=False, help="compute on an array larger than the memory it may use, and draw it"
    )
    demo.add_argument("--size", type=_size, default="4 GB", help="of the array (default: %(default)s)")
    demo.add_argument("--memory", type=_size, default="500 MiB", help="that the run may use (default: %(default)s)")
    demo.add_argument("--directory", type=Path, help="for the data and the picture (default: demo)")
    demo.add_argument("--keep", action="store_true", help="leave the data there")
    demo.set_defaults(run=_demo)

    from gpuarray.cluster import command

    command.add_parsers(commands)

    bench = commands.add_parser(
        "bench", add_help=False, help="run the benchmarks of a source checkout; it hands its options on"
    )
    bench.set_defaults(run=_bench)
    return parser


def _size(text: str) -> int:
    try:
        size = parse_bytes(text)
    except ConfigError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if size is None:
        raise argparse.ArgumentTypeError("a size is missing")
    return size


def _info(options: argparse.Namespace) -> int:
    from gpuarray import _report

    print(json.dumps(_report.report(), indent=2) if options.json else _report.text())
    return 0


def _cache(options: argparse.Namespace) -> int:
    from gpuarray import config
    from gpuarray.kernels import pruning

    folder = config.get().cache_path()
    kernels, nbytes = pruning.clear(folder) if options.clear else pruning.usage(folder)
    removed, many = "removed " if options.clear else "", "" if kernels == 1 else "s"
    print(f"{removed}{kernels} kernel{many}, {format_bytes(nbytes)}, in {folder}")
    return 0


def _demo(options: argparse.Namespace) -> int:
    from gpuarray import demo

    return demo.main(size=options.size, memory=options.memory, directory=options.directory, keep=options.keep)


def _bench(options: argparse.Namespace) -> int:
    root = Path(__file__).resolve().parents[1]
    if not (root / "benchmarks" / "__main__.py").is_file():
        print("gpuarray: the benchmarks come with the source checkout; run `make bench` there", file=sys.stderr)
        return 1
    path = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))
    # -P: a folder called benchmarks where the user happens to be is not meant
    command = [sys.executable, "-P", "-m", "benchmarks", *options.rest]
    return subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, check=False).returncode
