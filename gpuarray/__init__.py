"""NumPy for arrays that outgrow one GPU.

>>> import gpuarray as ga
>>> x = ga.random.default_rng(0).random((1000, 1000))
>>> y = x + x.T
>>> y[::2, 500:].mean(axis=1).compute().shape
(500,)

Functions have NumPy's names and arguments; arrays are lazy: see `NDArray`, `compute` and `config`.
"""

# ruff: noqa: F401 (the names are here to be imported by others; `__all__` below holds them)
from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING

from numpy import (
    False_,
    ScalarType,
    True_,
    base_repr,
    binary_repr,
    bool_,
    byte,
    bytes_,
    cdouble,
    character,
    clongdouble,
    complex64,
    complex128,
    complexfloating,
    csingle,
    datetime64,
    double,
    dtype,
    e,
    errstate,
    euler_gamma,
    flexible,
    float16,
    float32,
    float64,
    floating,
    format_float_positional,
    format_float_scientific,
    generic,
    get_printoptions,
    geterr,
    half,
    index_exp,
    inexact,
    inf,
    int8,
    int16,
    int32,
    int64,
    int_,
    intc,
    integer,
    intp,
    isdtype,
    issubdtype,
    iterable,
    little_endian,
    long,
    longdouble,
    longlong,
    mintypecode,
    nan,
    ndindex,
    newaxis,
    number,
    object_,
    pi,
    printoptions,
    promote_types,
    s_,
    sctypeDict,
    set_printoptions,
    seterr,
    short,
    signedinteger,
    single,
    str_,
    timedelta64,
    typecodes,
    typename,
    ubyte,
    uint,
    uint8,
    uint16,
    uint32,
    uint64,
    uintc,
    uintp,
    ulong,
    ulonglong,
    unsignedinteger,
    ushort,
    void,
)

from gpuarray import (
    _origin,
    cluster,
    config,
    elementwise,
    errors,
    fft,
    lib,
    linalg,
    ndimage,
    protocols,
    random,
    special,
    ufuncs,
)
from gpuarray._left_out import lookup as _lookup
from gpuarray._version import __version__
from gpuarray.array import NDArray, asarray
from gpuarray.bits import packbits, unpackbits
from gpuarray.blocks import map_blocks
from gpuarray.correlation import corrcoef, cov
from gpuarray.creation import (
    array,
    empty,
    empty_like,
    eye,
    from_dlpack,
    full,
    full_like,
    identity,
    ones,
    ones_like,
    zeros,
    zeros_like,
)
from gpuarray.cumulative import cumprod, cumsum, cumulative_prod, cumulative_sum, nancumprod, nancumsum
from gpuarray.dimensions import (
    atleast_1d,
    atleast_2d,
    atleast_3d,
    expand_dims,
    matrix_transpose,
    moveaxis,
    ndim,
    permute_dims,
    rollaxis,
    shape,
    size,
    squeeze,
    swapaxes,
    transpose,
)
from gpuarray.editing import block, delete, insert, trim_zeros
from gpuarray.errors import StencilError
from gpuarray.formulas import frexp, i0, real_if_close
from gpuarray.functional import apply_along_axis, apply_over_axes, choose, piecewise, select, vectorize
from gpuarray.gathering import (
    argwhere,
    compress,
    diagonal,
    extract,
    flatnonzero,
    nonzero,
    take,
    take_along_axis,
    trace,
)
from gpuarray.gradients import gradient
from gpuarray.grids import diag, diagflat, fromfunction, indices, meshgrid, tri, tril, triu
from gpuarray.gufuncs import apply_gufunc
from gpuarray.histograms import bincount, histogram, histogram2d, histogram_bin_edges, histogramdd
from gpuarray.index_arrays import (
    diag_indices,
    diag_indices_from,
    ix_,
    mask_indices,
    ravel_multi_index,
    tril_indices,
    tril_indices_from,
    triu_indices,
    triu_indices_from,
    unravel_index,
)
from gpuarray.indexers import c_, mgrid, ndenumerate, ogrid, r_
from gpuarray.interop import methods as _methods
from gpuarray.interop.conversion import (
    array_equiv,
    asanyarray,
    asarray_chkfinite,
    ascontiguousarray,
    asfortranarray,
    common_type,
    copyto,
    frombuffer,
    fromfile,
    fromiter,
    fromstring,
    genfromtxt,
    isfortran,
    isscalar,
    load,
    loadtxt,
    may_share_memory,
    min_scalar_type,
    require,
    save,
    shares_memory,
)
from gpuarray.interop.dask_bridge import from_dask, from_delayed
from gpuarray.interop.limits import finfo, iinfo
from gpuarray.interop.namespace import array_namespace_info as __array_namespace_info__
from gpuarray.interop.text import array2string, array_repr, array_str
from gpuarray.iteration import iterate
from gpuarray.joining import (
    append,
    array_split,
    column_stack,
    concat,
    concatenate,
    dsplit,
    dstack,
    hsplit,
    hstack,
    repeat,
    split,
    stack,
    tile,
    unstack,
    vsplit,
    vstack,
)
from gpuarray.linalg.einsum import einsum, einsum_path
from gpuarray.linalg.more import cross, kron, matvec, vecmat
from gpuarray.linalg.products import dot, inner, matmul, outer, tensordot, vdot, vecdot
from gpuarray.manipulation import (
    astype,
    broadcast_arrays,
    broadcast_shapes,
    broadcast_to,
    can_cast,
    copy,
    flip,
    fliplr,
    flipud,
    ravel,
    reshape,
    result_type,
    roll,
    rot90,
)
from gpuarray.numeric import (
    allclose,
    angle,
    around,
    array_equal,
    clip,
    diff,
    divmod,
    isclose,
    iscomplex,
    iscomplexobj,
    isreal,
    isrealobj,
    modf,
    nan_to_num,
    round,
    where,
)
from gpuarray.order_statistics import median, nanmedian, nanpercentile, nanquantile, percentile, quantile
from gpuarray.overlap import map_overlap
from gpuarray.padding import pad
from gpuarray.polynomials import (
    bartlett,
    blackman,
    hamming,
    hanning,
    kaiser,
    poly,
    poly1d,
    polyadd,
    polyder,
    polydiv,
    polyfit,
    polyint,
    polymul,
    polysub,
    polyval,
    roots,
    vander,
)
from gpuarray.ranges import arange, geomspace, linspace, logspace
from gpuarray.reductions import all, amax, amin, any, argmax, argmin, count_nonzero, max, min, prod, sum
from gpuarray.searching import digitize, interp, isin, searchsorted
from gpuarray.sets import (
    intersect1d,
    setdiff1d,
    setxor1d,
    union1d,
    unique,
    unique_all,
    unique_counts,
    unique_inverse,
    unique_values,
)
from gpuarray.several import compute, persist
from gpuarray.signals import convolve, correlate, ediff1d, trapezoid, unwrap
from gpuarray.sorting import argpartition, argsort, lexsort, partition, sort, sort_complex, topk
from gpuarray.statistics import (
    average,
    mean,
    nanargmax,
    nanargmin,
    nanmax,
    nanmean,
    nanmin,
    nanprod,
    nanstd,
    nansum,
    nanvar,
    ptp,
    std,
    var,
)
from gpuarray.stencils.stencil import stencil
from gpuarray.storage import from_hdf5, from_npy, from_zarr, store
from gpuarray.summary import explain, visualize
from gpuarray.windows import sliding_window_view
from gpuarray.writing import fill_diagonal, place, put, put_along_axis, putmask, resize

__array_api_version__ = "2025.12"
bool = bool_  # the array API's name for the dtype
ndarray = NDArray  # NumPy's name for the class

globals().update(elementwise.FUNCTIONS)

_MODULES = ("cluster", "config", "errors", "fft", "lib", "linalg", "ndimage", "random", "special")

__all__ = sorted(
    name
    for name, value in globals().items()
    if name == "__version__"
    or name in _MODULES
    or not (
        name.startswith("_")
        or isinstance(value, ModuleType)
        or name in ("annotations", "Any", "TYPE_CHECKING", "ModuleType")
    )
)

if TYPE_CHECKING:
    from gpuarray._functions import *  # noqa: F403 (the functions of the table)


def __getattr__(name: str) -> object:
    return _lookup(name)


_origin.check()
