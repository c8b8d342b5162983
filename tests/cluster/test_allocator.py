"""Freed chunks do not stay with the process."""

from __future__ import annotations

import subprocess
import sys

import pytest

from gpuarray.cluster.allocator import return_freed_memory

PROGRAM = """
import threading
import numpy as np
import psutil
from gpuarray.cluster.local import LocalExecutor
from gpuarray.kernels import backends

LocalExecutor(backends.get("numpy"), host_limit=1 << 30, threads=2)

def work():
    for _ in range(20):
        a = np.ones(3 << 20)  # 24 MiB, less than what the C library would keep
        b = np.ones(1 << 19)  # allocated behind it, so that the heap could not shrink
        del a

threads = [threading.Thread(target=work) for _ in range(4)]
base = psutil.Process().memory_info().rss
for t in threads:
    t.start()
for t in threads:
    t.join()
print((psutil.Process().memory_info().rss - base) >> 20)
"""


@pytest.mark.skipif(not return_freed_memory(), reason="not the GNU C library")
def test_freed_blocks_are_given_back() -> None:
    held = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert int(held.stdout) < 12, held.stdout


HEAPS = """
import ctypes, tempfile, threading
import numpy as np
from gpuarray.cluster.local import LocalExecutor
from gpuarray.kernels import backends

libc = ctypes.CDLL(None)
libc.fopen.restype = ctypes.c_void_p
libc.fclose.argtypes = (ctypes.c_void_p,)
libc.malloc_info.argtypes = (ctypes.c_int, ctypes.c_void_p)

def heaps():
    with tempfile.NamedTemporaryFile() as file:
        stream = libc.fopen(file.name.encode(), b"w")
        libc.malloc_info(0, stream)
        libc.fclose(stream)
        return file.read().count(b"<heap nr=")

LocalExecutor(backends.get("numpy"), host_limit=1 << 30, threads=2)
before = heaps()
all_here = threading.Barrier(4, timeout=30)

def work():
    a = np.ones(80_000)  # 640 KB, not mapped by itself
    all_here.wait()
    del a

threads = [threading.Thread(target=work) for _ in range(4)]
for t in threads:
    t.start()
for t in threads:
    t.join()
print(heaps() - before)
"""


@pytest.mark.skipif(not return_freed_memory(), reason="not the GNU C library")
def test_threads_share_a_heap() -> None:
    more = subprocess.run([sys.executable, "-c", HEAPS], capture_output=True, text=True, check=True)
    assert more.stdout == "0\n"
