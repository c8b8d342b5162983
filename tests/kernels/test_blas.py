"""The threads of NumPy's BLAS."""

from __future__ import annotations

import pytest

from gpuarray.kernels.backends import blas


def test_the_librarys_threads_are_given_back() -> None:
    found = blas.controls()
    if found is None:
        pytest.skip("a BLAS whose threads cannot be told")
    before = found[0]()
    with blas.single, blas.single:
        assert found[0]() == 1
    with pytest.raises(ZeroDivisionError), blas.single:
        raise ZeroDivisionError
    assert found[0]() == before
