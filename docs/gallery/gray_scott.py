"""Gray and Scott's reaction and diffusion: worms and spots that grow and divide. Two fields on a torus.

    python docs/gallery/gray_scott.py      # gray-scott/gray-scott.png

J. E. Pearson, Complex patterns in a simple system, Science 261 (1993).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib

import gpuarray as ga

matplotlib.use("Agg")
import matplotlib.pyplot as plt


def laplacian(w):
    return w[1, 0] + w[-1, 0] + w[0, 1] + w[0, -1] - 4 * w[0, 0]


@ga.stencil(boundary="periodic")
def gray_scott(u, v, feed, kill):
    reaction = u[0, 0] * v[0, 0] * v[0, 0]
    return (
        u[0, 0] + 0.16 * laplacian(u) - reaction + feed * (1 - u[0, 0]),
        v[0, 0] + 0.08 * laplacian(v) + reaction - (feed + kill) * v[0, 0],
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--steps", type=int, default=8_000)
    parser.add_argument("--folder", type=Path, default=Path("gray-scott"))
    options = parser.parse_args()
    options.folder.mkdir(exist_ok=True)
    n = options.size

    noise = 0.02 * ga.random.default_rng(1).random((n, n))
    u, v = 1 - noise, noise
    for y, x in ((0.5, 0.5), (0.3, 0.6), (0.7, 0.2)):  # a few squares where the reaction begins
        square = slice(int(y * n), int(y * n) + 24), slice(int(x * n), int(x * n) + 24)
        u[square], v[square] = 0.5, 0.25

    u, v = ga.iterate(gray_scott, (u, v), options.steps, feed=0.035, kill=0.062)

    path = options.folder / "gray-scott.png"
    figure, axes = plt.subplots(figsize=(6, 6), layout="constrained")
    axes.imshow(v[:: max(1, n // 1024), :: max(1, n // 1024)].compute(), cmap="magma")
    axes.set(xticks=[], yticks=[], title=f"Gray-Scott, {n} x {n}, {options.steps:,} steps")
    figure.savefig(path, dpi=120)
    print(path)


if __name__ == "__main__":
    main()
