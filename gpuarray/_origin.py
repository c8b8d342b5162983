"""Another project on PyPI is called `gpuarray` too (0.5.0, WebGPU): say so where it is in the way.

Both import as `gpuarray`. Installed into the same folder, each overwrites the other's ``__init__.py``; installed
elsewhere on the path, it depends on the working directory which of the two an ``import gpuarray`` finds.
"""

from __future__ import annotations

import os
import sys

_MARK = os.path.join("gpuarray", "shaders.py")
"""A file that the other project has and this one never will."""


def other() -> str | None:
    """The folder that holds the other `gpuarray`, or None.

    >>> other() is None
    True

    One look at the disk for each entry of the path: microseconds.
    """
    home = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    for folder in (home, *sys.path):
        if isinstance(folder, str) and os.path.isfile(os.path.join(folder, _MARK)):
            return folder or os.getcwd()
    return None


def check() -> None:
    """Warn where the other project is installed beside this one; called once, when `gpuarray` is imported.

    >>> check()
    """
    if (folder := other()) is not None:
        import warnings

        warnings.warn(
            f"another project called gpuarray (on PyPI: 0.5.0, WebGPU) is installed in {folder} and takes the name of "
            "this one (gpuarray-engine); run `pip uninstall gpuarray`, then reinstall gpuarray-engine",
            RuntimeWarning,
            stacklevel=3,
        )
