"""Stencils: a Python function of one point and its neighbours, evaluated at every point of an array."""
