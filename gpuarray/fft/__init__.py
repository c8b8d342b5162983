"""Discrete Fourier transforms, along any axes of arrays larger than memory.

>>> import gpuarray as ga
>>> ga.fft.fft([1.0, 0.0, 0.0, 0.0]).compute()
array([1.+0.j, 1.+0.j, 1.+0.j, 1.+0.j])

A transform needs its axis whole, so the array is cut along the others, and cut anew between one axis and the next.
An axis that is too long for memory itself is split in two (the four-step algorithm). Single precision stays single.
"""

from __future__ import annotations

from gpuarray.fft.helper import fftfreq, fftshift, ifftshift, rfftfreq
from gpuarray.fft.one import fft, hfft, ifft, ihfft, irfft, rfft
from gpuarray.fft.several import fft2, fftn, ifft2, ifftn, irfft2, irfftn, rfft2, rfftn

__all__ = [
    "fft",
    "fft2",
    "fftfreq",
    "fftn",
    "fftshift",
    "hfft",
    "ifft",
    "ifft2",
    "ifftn",
    "ifftshift",
    "ihfft",
    "irfft",
    "irfft2",
    "irfftn",
    "rfft",
    "rfft2",
    "rfftfreq",
    "rfftn",
]
