"""Write the table of registers: ``python -m gpuarray.kernels.cuda FILE`` (see `registers`)."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from gpuarray.kernels.cuda import offline, registers


def main(arguments: list[str]) -> int:
    """The verb's exit code."""
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    if not offline.available():
        print("CUDA kernels cannot be compiled here: pip install 'numba-cuda[cu12]'", file=sys.stderr)
        return 1
    print(" " * 32 + "".join(f"sm_{a}{b}" for a, b in registers.CAPABILITIES))
    kernels = registers.table(tell=lambda line: print(line, flush=True))
    lines = [f"  {json.dumps(name)}: {json.dumps(row)}" for name, row in kernels.items()]
    text = f'{{"versions": {json.dumps(registers.versions())},\n "kernels": {{\n' + ",\n".join(lines) + "\n}}\n"
    Path(arguments[0]).write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
