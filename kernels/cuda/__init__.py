"""CUDA kernels: programs, stencils and reductions as generated Numba-CUDA text, compiled without a GPU.

``*_code`` write the text, `offline` compiles it for a compute capability to PTX and a cubin on disk, and `launch` hands
the cubin to CuPy. Importing any of it imports neither Numba nor CuPy; the names that the text may use are in `device`,
and in `simulated` for Numba's simulator.
"""
