"""A made-up record of daily temperatures: seasons, a warming trend, continents, an ocean that swings, and weather."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

YEAR = 365.25
FIRST_YEAR = 1980
_DAYS = 15_000
"""Days of a record of 4 GB."""
_CHUNK = 16 << 20
"""Bytes of a chunk: whole maps of some days."""


@dataclass(frozen=True)
class Grid:
    """How many days, latitudes and longitudes there are."""

    days: int
    latitudes: int
    longitudes: int

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.days, self.latitudes, self.longitudes

    @property
    def nbytes(self) -> int:
        return 4 * math.prod(self.shape)

    @property
    def chunks(self) -> tuple[int, int, int]:
        """Of the zarr arrays."""
        together = max(1, min(_CHUNK // (4 * self.latitudes * self.longitudes), -(-self.days // 8)))
        return together, self.latitudes, self.longitudes


def grid_of(size: int) -> Grid:
    """The grid whose float32 record has about `size` bytes.

    >>> grid_of(4 * 10**9)
    Grid(days=15432, latitudes=180, longitudes=360)
    """
    days = min(_DAYS, max(730, int(_DAYS * (size / 4e9) ** (1 / 3))))
    latitudes = max(4, round(math.sqrt(size / 4 / days / 2)))
    if latitudes > 20:
        latitudes = round(latitudes, -1)
    return Grid(max(2, size // (8 * latitudes * latitudes)), latitudes, 2 * latitudes)


def temperature(ga: Any, grid: Grid) -> Any:
    """Degrees Celsius, float32, as a lazy array: coordinates and random numbers, nothing that is stored."""
    days, latitudes, longitudes = grid.shape
    chunks = grid.chunks
    day = ga.arange(days, dtype="float32", chunks=chunks[0])[:, None, None]
    north = ga.sin((ga.arange(latitudes, dtype="float32")[:, None] + 0.5) * (math.pi / latitudes) - math.pi / 2)
    east = ga.arange(longitudes, dtype="float32") * (2 * math.pi / longitudes)
    land = continents(ga, north, east)
    year = day / YEAR

    climate = 27 - 48 * north**2 - 7 * land
    season = (4 + 20 * land) * north * ga.cos((day - 200) * (2 * math.pi / YEAR))
    trend = 0.04 * year * (1 + 3 * north**4)
    ocean = 2.5 * ga.exp(-((north / 0.2) ** 2)) * (1 + ga.cos(east - 4)) * (1 - land)
    swing = ga.sin(year * (2 * math.pi / 4.3)) + ga.sin(year * (2 * math.pi / 2.9))
    storms = 6 * north**2 * (1 - north**2)
    travel = day * 0.55
    waves = storms * (ga.cos(5 * east) * ga.cos(travel) + ga.sin(5 * east) * ga.sin(travel))
    weather = ga.random.default_rng(1980).standard_normal(grid.shape, dtype="float32", chunks=chunks)
    noise = (1 + 2.5 * north**2 * (0.5 + land)) * weather
    return (climate + season + trend + ocean * swing + waves + noise).astype("float32")


def continents(ga: Any, north: Any, east: Any) -> Any:
    """1 on land, 0 at sea, of a planet that is not ours."""
    height = (
        ga.sin(east + 0.6) * ga.cos(2.2 * north - 0.5)
        + 0.8 * ga.sin(2 * east - 1.1) * ga.sin(2.5 * north + 0.9)
        + 0.5 * ga.cos(3 * east + 2.0 * north)
        + 0.3 * ga.sin(5 * east - 4.0 * north)
        + 0.2 * ga.cos(9 * east + 7.0 * north)
    )
    return 1 / (1 + ga.exp(-12 * (height - 0.25)))
