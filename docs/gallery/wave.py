"""A drop in a square pool: the wave equation by leapfrog, two fields, walls that reflect.

python docs/gallery/wave.py            # wave/wave.gif
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

import gpuarray as ga


@ga.stencil(boundary="symmetric")
def wave(u, before, c2):
    """The surface one step later, and now: what was `u` is `before` in the next step."""
    lap = u[1, 0] + u[-1, 0] + u[0, 1] + u[0, -1] - 4 * u[0, 0]
    return 2 * u[0, 0] - before[0, 0] + c2 * lap, u[0, 0]


def drop(n):
    y, x = ga.meshgrid(ga.linspace(-1, 1, n), ga.linspace(-1, 1, n), indexing="ij")
    return ga.exp(-200 * ((x - 0.3) ** 2 + (y + 0.2) ** 2))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--steps", type=int, default=2_000)
    parser.add_argument("--every", type=int, default=25)
    parser.add_argument("--folder", type=Path, default=Path("wave"))
    options = parser.parse_args()
    options.folder.mkdir(exist_ok=True)
    frames = []

    def snapshot(step, u, before):
        stride = max(1, options.size // 256)
        grey = np.clip(128 + 400 * u[::stride, ::stride].compute(), 0, 255)
        frames.append(Image.fromarray(grey.astype(np.uint8)))

    surface = drop(options.size)
    ga.iterate(wave, (surface, surface), options.steps, c2=0.25, callback=snapshot, every=options.every)
    path = options.folder / "wave.gif"
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=50, loop=0)
    print(f"{len(frames)} frames in {path}")


if __name__ == "__main__":
    main()
