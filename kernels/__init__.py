"""What happens to one block or element. Knows NumPy, Numba and CuPy; knows no chunks and no graph."""
