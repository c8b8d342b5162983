"""The gamma function and its logarithm.

Up to 24 gamma is ``1 / gamma(2 + t)``'s polynomial and a product, so that factorials are exact; beyond, Stirling's
formula. Negative arguments are reflected: ``gamma(x) gamma(-x) = -pi / (x sin(pi x))``.
"""

from __future__ import annotations

from typing import Any

from gpuarray.kernels.special.steps import exp, fabs, fma, log, power, round_down, select

_PI = 3.141592653589793
_ROOT_TWO_PI = 2.5066282746310002
_HALF_LOG_TWO_PI_LESS_HALF = 0.4189385332046727
_INFINITY = float("inf")
_NAN = float("nan")


def _reciprocal_gamma(t: Any) -> Any:
    """``1 / gamma(2 + t)`` for 0 <= t <= 1, within 2**-55."""
    p = fma(t, 1.7232536794270696e-08, -2.3644591971954752e-07)
    p = fma(t, p, 1.3762639526438316e-06)
    p = fma(t, p, -2.621566074234732e-06)
    p = fma(t, p, -1.752570367639147e-05)
    p = fma(t, p, 0.00014558719560135234)
    p = fma(t, p, -0.00036083501027921584)
    p = fma(t, p, -0.0008043303759066842)
    p = fma(t, p, 0.008023273103498018)
    p = fma(t, p, -0.01764524455579038)
    p = fma(t, p, -0.0245524900054071)
    p = fma(t, p, 0.1910911013877204)
    p = fma(t, p, -0.23309373642178835)
    p = fma(t, p, -0.42278433509846713)
    return fma(t, p, 1.0)


def _lgamma_polynomial(w: Any) -> Any:
    """``gammaln(u) / ((u - 1) (u - 2))`` of ``w = (u - 1.75) / (u + 1.75)`` for 1 <= u <= 3, within 2**-54."""
    p = fma(w, 0.03799129922850395, -0.03871287722236415)
    p = fma(w, p, 0.02546267607557561)
    p = fma(w, p, -0.030332817942179475)
    p = fma(w, p, 0.03170572698550927)
    p = fma(w, p, -0.03674311854803501)
    p = fma(w, p, 0.035963399825303596)
    p = fma(w, p, -0.04293942848214251)
    p = fma(w, p, 0.04201095536764014)
    p = fma(w, p, -0.05194778638984204)
    p = fma(w, p, 0.05045864303742199)
    p = fma(w, p, -0.06579368268648057)
    p = fma(w, p, 0.06311420539598268)
    p = fma(w, p, -0.08997434063196186)
    p = fma(w, p, 0.08412964237959013)
    p = fma(w, p, -0.14437303879661817)
    p = fma(w, p, 0.12718992499339582)
    p = fma(w, p, -0.4181855531883497)
    return fma(w, p, 0.4501393121092563)


def _stirling(z: Any) -> Any:
    """``x`` times what Stirling's formula lacks of ``gammaln(x)``, of ``z = x**-2`` for x >= 8."""
    p = fma(z, -0.0016526004455595122, 0.0008372834512071336)
    p = fma(z, p, -0.0005952025951802712)
    p = fma(z, p, 0.0007936506649488252)
    p = fma(z, p, -0.002777777777606244)
    return fma(z, p, 0.0833333333333333)


def _stirling_factor(u: Any) -> Any:
    """``x`` times what Stirling's factor lacks of ``gamma(x)``, of ``u = 1/x`` for x >= 8."""
    p = fma(u, 0.0005747918753737646, 3.098238520706925e-05)
    p = fma(u, p, -0.0006037689633098458)
    p = fma(u, p, 7.062790761368285e-05)
    p = fma(u, p, 0.000783999141291373)
    p = fma(u, p, -0.00022947110234082041)
    p = fma(u, p, -0.0026813271726879814)
    p = fma(u, p, 0.0034722222222796843)
    return fma(u, p, 0.08333333333333329)


def _sine_of_pi(z: Any) -> Any:
    """``sin(pi r) / r`` of ``z = r**2`` for |r| <= 1/2, within 2**-54."""
    p = fma(z, 7.697826768224191e-07, -2.1903497074626018e-05)
    p = fma(z, p, 0.0004662998161898394)
    p = fma(z, p, -0.007370430505916944)
    p = fma(z, p, 0.0821458865731029)
    p = fma(z, p, -0.5992645293189447)
    p = fma(z, p, 2.5501640398773007)
    p = fma(z, p, -5.167712780049969)
    return fma(z, p, 3.141592653589793)


def _sine(size: Any) -> Any:
    """``|sin(pi x)|``."""
    r = size - round_down(size + 0.5)
    return fabs(r * _sine_of_pi(r * r))


def _product(x: Any, first: Any) -> Any:
    """``(x - first) (x - first - 1) ...``, seven factors at most, each of at least 2. Differences are exact."""
    p = select(x >= first + 2.0, x - first, 1.0)
    p = select(x >= first + 3.0, p * (x - (first + 1.0)), p)
    p = select(x >= first + 4.0, p * (x - (first + 2.0)), p)
    p = select(x >= first + 5.0, p * (x - (first + 3.0)), p)
    p = select(x >= first + 6.0, p * (x - (first + 4.0)), p)
    p = select(x >= first + 7.0, p * (x - (first + 5.0)), p)
    return select(x >= first + 8.0, p * (x - (first + 6.0)), p)


def gamma(x: Any) -> Any:
    size = fabs(x)
    y = select(size > 200.0, 200.0, size)
    t = y - round_down(y)
    below = _reciprocal_gamma(t) * select(y < 1.0, y * (y + 1.0), select(y < 2.0, y, 1.0))
    # the smallest factors first: a factorial is then exact as long as it can be
    small = _product(y, 15.0) * _product(y, 8.0) * _product(y, 1.0) / below
    half = power(y, 0.5 * y - 0.25)
    u = 1.0 / y
    large = half * (exp(-y) * _ROOT_TWO_PI * fma(u, _stirling_factor(u), 1.0))
    far = y >= 24.0
    first = select(far, large, small)
    second = select(far, half, 1.0)
    whole = round_down(size)
    odd = round_down(0.5 * whole) * 2.0 != whole
    reflected = _PI / (size * _sine(size) * first) / second
    reflected = select(odd, reflected, -reflected)
    reflected = select(size == whole, _NAN, reflected)
    return select(size < 1e-20, 1.0 / x, select(x < 0.0, reflected, first * second))


def gammaln(x: Any) -> Any:
    size = fabs(x)
    t = size - round_down(size)
    low = size < 1.0
    middle = size < 3.0
    u = select(low, 1.0 + size, select(middle, size, 2.0 + t))
    less_one = select(low, size, u - 1.0)
    less_two = select(low, size - 1.0, select(middle, size - 2.0, t))
    inside = less_one * less_two * _lgamma_polynomial((u - 1.75) / (u + 1.75))
    far = size >= 8.0
    logarithm = log(select(low | far, size, select(middle, 1.0, _product(size, 1.0))))
    inverse = 1.0 / size
    beyond = (size - 0.5) * (logarithm - 1.0)
    beyond = beyond + fma(inverse, _stirling(inverse * inverse), _HALF_LOG_TWO_PI_LESS_HALF)
    result = select(far, beyond, inside + select(low, -logarithm, logarithm))
    whole = size == round_down(size)
    reflected = select(whole, _INFINITY, log(_PI / (size * _sine(size))) - result)
    return select(size < 1e-20, -logarithm, select(x < 0.0, reflected, result))
