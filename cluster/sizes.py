"""Sizes of memory, as people write them."""

from __future__ import annotations

import math
import numbers
import re

from gpuarray.kernels.errors import ConfigError

_UNITS = {"": 1, "b": 1}
for _power, _letter in enumerate("kmgtp", start=1):
    _UNITS[f"{_letter}ib"] = 1024**_power
    _UNITS[f"{_letter}b"] = _UNITS[_letter] = 1000**_power

_SIZE = re.compile(r"\s*([0-9][0-9_]{0,99}(?:\.[0-9]*)?(?:e[0-9]+)?)\s*([a-z]*)\s*", re.IGNORECASE)
_WAY_OUT = 'write a positive number of bytes or a text such as "8 GiB" or "500 MB"'


def parse_bytes(value: object, name: str = "size", *, most: int | None = None) -> int | None:
    """The number of bytes that `value` means; None stays None.

    >>> parse_bytes("8 GiB")
    8589934592
    >>> parse_bytes("1.5 kB"), parse_bytes(4096), parse_bytes(None)
    (1500, 4096, None)

    Parameters
    ----------
    value : an integer, a whole float, or a text: a number and a unit (B, kB, MB, GB, TB are powers of 1000,
        KiB, MiB, GiB, TiB powers of 1024; no unit means bytes), or None
    name : the setting, for the message
    most : the memory there is; more than that is refused

    Raises
    ------
    ConfigError
        if the value is no size, not positive, not finite, or more than `most`. Zero is refused: no limit is None.
    """
    if value is None:
        return None
    nbytes = _number(value, name)
    if nbytes < 1:
        raise ConfigError(f"{name}={value!r} is not positive; {_WAY_OUT}")
    if most is not None and nbytes > most:
        raise ConfigError(
            f"{name}={value!r} is {format_bytes(nbytes)}, more than the {format_bytes(most)} there are; lower it"
        )
    return nbytes


def _number(value: object, name: str) -> int:
    number: float
    if isinstance(value, str):
        match = _SIZE.fullmatch(value)
        if match is None or match[2].lower() not in _UNITS:
            if re.fullmatch(r"\s*-.*", value):
                raise ConfigError(f"{name}={value!r} is not positive; {_WAY_OUT}")
            raise ConfigError(f"{name}={value!r} is not a size; {_WAY_OUT}")
        digits = match[1].replace("_", "")
        unit = _UNITS[match[2].lower()]
        if digits.isdecimal():  # exact, however large
            return int(digits) * unit
        number = float(digits) * unit
        if unit > 1 and math.isfinite(number):
            return int(number)  # 0.1 GB is a size, if not to the byte
    elif isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise ConfigError(f"{name}={value!r} is not a size; {_WAY_OUT}")
    elif isinstance(value, numbers.Integral):
        return int(value)
    else:
        number = float(value)
    if not math.isfinite(number):
        raise ConfigError(f"{name}={value!r} is not finite; {_WAY_OUT}")
    if number != int(number):
        raise ConfigError(f"{name}={value!r} is not a whole number of bytes; {_WAY_OUT}")
    return int(number)


def format_bytes(nbytes: float) -> str:
    """A size for people, in powers of 1024.

    >>> format_bytes(8589934592), format_bytes(1000), format_bytes(1536)
    ('8 GiB', '1000 B', '1.5 KiB')
    """
    amount = float(nbytes)
    units = ["PiB", "TiB", "GiB", "MiB", "KiB", "B"]
    while abs(amount) >= 1024 and len(units) > 1:
        amount /= 1024
        units.pop()
    unit = units[-1]
    digits = f"{amount:.0f}" if unit == "B" or amount >= 100 else f"{amount:.3g}"
    return f"{digits} {unit}"
