"""Libraries that take any array of the standard take ours."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

import gpuarray as ga


def test_array_api_compat_recognises_us():
    compat = pytest.importorskip("array_api_compat")
    x = ga.ones((4, 5))
    assert compat.is_array_api_obj(x)
    assert compat.array_namespace(x, ga.arange(3), 1.5) is ga
    assert compat.array_namespace(x, api_version="2024.12") is ga
    assert (compat.device(x), compat.size(x)) == ("cpu", 20)
    assert compat.to_device(x, "cpu") is x
    assert compat.is_writeable_array(x)
    assert not compat.is_numpy_array(x)


def test_libraries_exchange_data_with_us():
    strict = pytest.importorskip("array_api_strict")
    theirs = strict.asarray([[1.0, 2.0], [3.0, 4.0]])
    ours = ga.from_dlpack(theirs)
    assert isinstance(ours, ga.NDArray)
    assert ours.tolist() == [[1, 2], [3, 4]]
    assert bool(strict.all(strict.from_dlpack(ours + 1) == theirs + 1))
    with pytest.raises(TypeError):
        theirs + ours


SCIPY = """
import json, sys, warnings
warnings.simplefilter("ignore")
import numpy as np, gpuarray as ga
import scipy.cluster.vq as vq, scipy.constants, scipy.fft, scipy.integrate, scipy.ndimage, scipy.optimize
import scipy.signal, scipy.spatial.distance, scipy.special, scipy.stats as stats
a = np.random.default_rng(0).random((20, 4))
calls = {
    "stats.zscore": lambda x: stats.zscore(x),
    "stats.gmean": lambda x: stats.gmean(x),
    "stats.skew": lambda x: stats.skew(x),
    "stats.kurtosis": lambda x: stats.kurtosis(x),
    "stats.pearsonr": lambda x: stats.pearsonr(x[:, 0], x[:, 1]).statistic,
    "stats.ttest_1samp": lambda x: stats.ttest_1samp(x, 0.5).statistic,
    "stats.describe": lambda x: stats.describe(x).variance,
    "stats.entropy": lambda x: stats.entropy(x),
    "stats.circmean": lambda x: stats.circmean(x),
    "vq.whiten": lambda x: vq.whiten(x),
    "vq.vq": lambda x: vq.vq(x, x[:3])[1],
    "fft.fft": lambda x: scipy.fft.fft(x),
    "fft.rfftn": lambda x: scipy.fft.rfftn(x),
    "integrate.trapezoid": lambda x: scipy.integrate.trapezoid(x, axis=0),
    "integrate.cumulative_trapezoid": lambda x: scipy.integrate.cumulative_trapezoid(x, axis=0),
    "optimize.rosen": lambda x: scipy.optimize.rosen(x[:, 0]),
    "signal.detrend": lambda x: scipy.signal.detrend(x, axis=0, type="constant"),
    "special.expit": lambda x: scipy.special.expit(x),
    "special.logsumexp": lambda x: scipy.special.logsumexp(x, axis=0),
    "special.softmax": lambda x: scipy.special.softmax(x, axis=1),
    "spatial.pdist": lambda x: scipy.spatial.distance.pdist(x),
    "constants.convert_temperature": lambda x: scipy.constants.convert_temperature(x, "C", "K"),
    "ndimage.gaussian_filter": lambda x: scipy.ndimage.gaussian_filter(x, 1),
}
wrong = {}
for name, call in calls.items():
    try:
        made = call(ga.asarray(a, chunks=(7, 2)))
        if not isinstance(made, ga.NDArray):
            wrong[name] = f"a {type(made).__name__}"
        elif not np.allclose(made.compute(), call(a)):
            wrong[name] = "other values"
    except Exception as error:
        wrong[name] = f"{type(error).__name__}: {error}"
json.dump(wrong, sys.stdout)
"""


LEARN = """
import json, sys, warnings
warnings.simplefilter("ignore")
import numpy as np, gpuarray as ga, sklearn
from sklearn import linear_model, metrics, preprocessing
a = np.random.default_rng(0).random((30, 4))
labels = np.arange(30) % 3, np.arange(30) % 4 % 3
arrays = {
    "MinMaxScaler": lambda x: preprocessing.MinMaxScaler().fit_transform(x),
    "MaxAbsScaler": lambda x: preprocessing.MaxAbsScaler().fit_transform(x),
    "StandardScaler": lambda x: preprocessing.StandardScaler().fit_transform(x),
    "Normalizer": lambda x: preprocessing.Normalizer().fit_transform(x),
    "PolynomialFeatures": lambda x: preprocessing.PolynomialFeatures().fit_transform(x),
    "cosine_similarity": lambda x: metrics.pairwise.cosine_similarity(x),
    "euclidean_distances": lambda x: metrics.pairwise.euclidean_distances(x),
}
numbers = {
    "mean_squared_error": lambda x: metrics.mean_squared_error(x[:, 0], x[:, 1]),
    "r2_score": lambda x: metrics.r2_score(x[:, 0], x[:, 1]),
}
wrong = {}
for name, call in (arrays | numbers).items():
    expected = call(a)
    try:
        with sklearn.config_context(array_api_dispatch=True):
            made = call(ga.asarray(a, chunks=(7, 2)))
        if not isinstance(made, ga.NDArray if name in arrays else float):
            wrong[name] = f"a {type(made).__name__}"
        elif not np.allclose(np.asarray(made), expected):
            wrong[name] = "other values"
    except Exception as error:
        wrong[name] = f"{type(error).__name__}: {error}"
json.dump(wrong, sys.stdout)
"""


def wrong_in(code: str) -> dict[str, str]:
    """What a program says went wrong that runs with the array API switched on in SciPy."""
    environment = {**os.environ, "SCIPY_ARRAY_API": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=300)
    assert run.returncode == 0, run.stderr
    found: dict[str, str] = json.loads(run.stdout)
    return found


def test_scipy_takes_and_gives_our_arrays():
    pytest.importorskip("scipy", minversion="1.17")
    assert wrong_in(SCIPY) == {}


def test_scikit_learn_takes_and_gives_our_arrays():
    pytest.importorskip("sklearn", minversion="1.6")
    assert wrong_in(LEARN) == {}
