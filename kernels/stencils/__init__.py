"""Stencils: a program evaluated at every point of a grid, on elements around the point, any number of times over."""
