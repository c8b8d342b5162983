"""CUDA kernels: programs, stencils, reductions and scans as generated Numba-CUDA text, compiled without a GPU.

``*_code`` write the text, `calls` chooses kernel, grid and arguments for given arrays, `offline` compiles for a compute
capability to PTX and a cubin on disk, and `launch` hands the cubin to CuPy. Importing any of it imports neither Numba
nor CuPy; the names that the text may use are in `device`, and in `simulated` for Numba's simulator.
"""
