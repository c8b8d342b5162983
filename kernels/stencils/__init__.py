"""Stencils: a program evaluated at every point of a grid, on elements around the point, any number of times over.

========================  ===================================================================================
`program`, `boxes`        what a stencil is, and which part of the fields a part of the result needs
`interpreter`             level by level with whole-array operations; `margins` says what stands past the edges
`compiled`                where Numba can: `visits` of memory, cut by `plan` into tiles (`tile`); levels lie in `rings`
`code`, `stream`          the text of the kernels: one step over a box, and the way of planes through the levels
`scratch`                 what all of it allocates
========================  ===================================================================================
"""
