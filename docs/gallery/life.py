"""Conway's game of life on a torus of a hundred million cells, and the census of a hundred generations.

python docs/gallery/life.py            # life/life.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib

import gpuarray as ga

matplotlib.use("Agg")
import matplotlib.pyplot as plt


@ga.stencil(boundary="periodic")
def life(cell):
    neighbours = sum(cell[i, j] for i in (-1, 0, 1) for j in (-1, 0, 1) if (i, j) != (0, 0))
    if cell[0, 0] == 1:
        return 1 if neighbours == 2 or neighbours == 3 else 0
    return 1 if neighbours == 3 else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=10_000)
    parser.add_argument("--generations", type=int, default=100)
    parser.add_argument("--folder", type=Path, default=Path("life"))
    options = parser.parse_args()
    options.folder.mkdir(exist_ok=True)
    n = options.size

    soup = (ga.random.default_rng(7).random((n, n)) < 0.3).astype("uint8")
    alive = {0: int(soup.sum(dtype="int64"))}

    def census(generation, cells):
        alive[generation] = int(cells.sum(dtype="int64"))

    cells = ga.iterate(life, soup, options.generations, callback=census, every=max(1, options.generations // 20))

    path = options.folder / "life.png"
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 5), layout="constrained")
    left.imshow(cells[:300, :300].compute(), cmap="binary")
    left.set(title=f"300 x 300 of {n:,} x {n:,} cells, generation {options.generations}", xticks=[], yticks=[])
    right.plot(*zip(*alive.items(), strict=True))
    right.set(title="cells alive", xlabel="generation", ylim=(0, None))
    figure.savefig(path, dpi=110)
    print(path)


if __name__ == "__main__":
    main()
