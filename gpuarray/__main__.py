"""``python -m gpuarray`` is the command ``gpuarray``."""

from __future__ import annotations

import sys

from gpuarray.cli import main

if __name__ == "__main__":
    sys.exit(main())
