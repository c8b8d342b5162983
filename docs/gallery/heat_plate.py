"""The heat equation on a plate, as textbooks pose it: 400 x 400 points, edges held at 100, 0, 0 and 30 degrees.

    python docs/gallery/heat_plate.py                       # ten contour pictures in heat-plate/
    python docs/gallery/heat_plate.py --size 40000 --steps 1000 --every 50 --memory "4 GiB" --animate

The second line is the same program on 12.8 GB, larger than the memory it may use: the state goes from zarr to zarr,
and every fiftieth step becomes a frame of `heat-plate/heat.gif`: the corner where the hot edges meet.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import matplotlib
import numpy as np

import gpuarray as ga

matplotlib.use("Agg")
import matplotlib.pyplot as plt

a, dx, dy = 0.1, 0.01, 0.01
dt = dx**2 * dy**2 / (2 * a * (dx**2 + dy**2))  # the largest stable step


@ga.stencil
def heat(u, dt):
    """One step of du/dt = a (d2u/dx2 + d2u/dy2), forward in time, central in space."""
    uxx = (u[1, 0] - 2 * u[0, 0] + u[-1, 0]) / dx**2
    uyy = (u[0, 1] - 2 * u[0, 0] + u[0, -1]) / dy**2
    return u[0, 0] + dt * a * (uxx + uyy)


def plate(n):
    u = ga.zeros((n, n))
    u[:, 0] = 100  # left
    u[:, -1] = 0  # right
    u[0, :] = 0  # bottom
    u[-1, :] = 30  # top
    return u


def picture(path, step, u):
    """The whole of a small plate; of a large one the corner of the hot edges, as far as heat has come."""
    n = u.shape[0]
    side = min(n, max(400, 10 * math.isqrt(step)))
    stride = side // 400 or 1
    values = u[n - side :: stride, :side:stride].compute()
    figure, axes = plt.subplots(figsize=(5, 4.2), layout="constrained")
    contours = axes.contourf(values, levels=np.linspace(0, 100, 41), cmap="inferno")
    figure.colorbar(contours, label="degrees", ticks=range(0, 101, 20))
    part = "" if side == n else f", upper left {side:,} of {n:,}"
    axes.set(title=f"t = {step * dt:.4g} s, step {step:,}{part}", aspect="equal", xticks=[], yticks=[])
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=400)
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--every", type=int, default=1_000)
    parser.add_argument("--memory", help='what the engine may hold, "4 GiB"')
    parser.add_argument("--animate", action="store_true", help="a GIF of the pictures")
    parser.add_argument("--folder", type=Path, default=Path("heat-plate"))
    options = parser.parse_args()
    options.folder.mkdir(exist_ok=True)
    pictures = []

    def snapshot(step, u):
        pictures.append(options.folder / f"heat-{step:06}.png")
        picture(pictures[-1], step, u)

    with ga.config.set(host_memory=options.memory):
        ga.iterate(heat, plate(options.size), options.steps, dt=dt, callback=snapshot, every=options.every)
    if options.animate:
        animate(pictures, options.folder / "heat.gif")
    print(f"{len(pictures)} pictures in {options.folder}/")


def animate(pictures, path):
    from PIL import Image

    frames = [Image.open(p).convert("P") for p in pictures]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=120, loop=0)


if __name__ == "__main__":
    main()
