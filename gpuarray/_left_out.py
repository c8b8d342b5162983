"""NumPy's names that gpuarray leaves out for good, and why: for error messages and for the page of names."""

from __future__ import annotations

FUNCTIONS = {
    "are about `numpy.matrix`, which NumPy advises against": "asmatrix bmat",
    "are about NumPy itself: its settings, its version, its C code": (
        "get_include getbufsize geterrcall info setbufsize seterrcall show_config show_runtime test"
    ),
    "go through an array element by element in Python": "frompyfunc nested_iters",
    "have another name, which NumPy wants used: `vstack`": "row_stack",
    "are about calendars and texts of dates": "busday_count busday_offset datetime_as_string datetime_data is_busday",
    "make or read records, which chunks do not hold": "fromregex",
    "read and write several arrays in one zip file; `gpuarray.store` writes zarr": "savez savez_compressed",
    "write text, which is for small arrays: `numpy.savetxt(name, x.compute())`": "savetxt",
}
"""The functions, by reason."""

OTHERS = {
    "is about `numpy.matrix`, which NumPy advises against": "matrix",
    "goes through an array element by element; use functions of whole arrays, or numpy's on x.compute()": (
        "nditer flatiter broadcast"
    ),
    "is about records, which chunks do not hold": "rec recarray record",
    "is about masks; hand them on as arrays of their own (where=)": "ma",
    "is about texts; use numpy's on x.compute()": "char strings",
    "maps a file into memory; gpuarray.from_npy reads one chunk by chunk": "memmap",
    "is about calendars": "busdaycalendar",
    "is about C code": "ctypeslib f2py",
    "has another name: trapezoid": "trapz",
    "has another name: isin": "in1d",
    "has another name: prod": "product",
}
"""Classes, modules and names of the past, by reason."""

NUMPYS = ("dtypes", "exceptions", "testing", "typing")
"""Modules of NumPy's that scripts reach for through its name, and that serve our arrays as they are."""


def lookup(name: str) -> object:
    """What ``gpuarray.name`` is where there is nothing: a module of NumPy's, or AttributeError with the reason.

    >>> lookup("savetxt")
    Traceback (most recent call last):
    AttributeError: gpuarray has no savetxt; such functions write text, which is for small arrays: \
`numpy.savetxt(name, x.compute())`
    """
    import importlib

    if name in NUMPYS:
        return importlib.import_module(f"numpy.{name}")
    for why, names in FUNCTIONS.items():
        if name in names.split():
            raise AttributeError(f"gpuarray has no {name}; such functions {why}")
    for why, names in OTHERS.items():
        if name in names.split():
            raise AttributeError(f"gpuarray has no {name}: it {why}")
    raise AttributeError(f"module 'gpuarray' has no attribute {name!r}")
