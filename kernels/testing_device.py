"""What every backend with memory of its own must do: a test class that the tests of such a backend inherit."""

from __future__ import annotations

import itertools
import threading
from typing import Any

import numpy as np
import pytest

from gpuarray.kernels.testing_tools import SHAPES, identity, sample

FLOAT = np.dtype("float64")


def filled(backend: Any, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The same values in pinned memory."""
    pinned = backend.pinned(array.nbytes).view(array.dtype).reshape(array.shape)
    pinned[...] = array
    return pinned


class DeviceTests:
    """The contract of `gpuarray.kernels.backends.base.DeviceBackend`, beyond that of `Backend`.

    Inherit, and give the backend as a fixture of that name.
    """

    @pytest.fixture(autouse=True)
    def _active(self, backend: Any) -> Any:
        with backend.active():
            yield
        backend.synchronize()

    def test_pinned_memory_is_bytes(self, backend: Any) -> None:
        for nbytes in (0, 1, 4097):
            array = backend.pinned(nbytes)
            assert (type(array), array.dtype, array.shape) == (np.ndarray, np.uint8, (nbytes,))
            assert array.flags.c_contiguous
            assert array.flags.writeable
            array[:] = 7
        assert backend.pinned(64).view(FLOAT).shape == (8,)

    @pytest.mark.parametrize("shape", SHAPES)
    @pytest.mark.parametrize("dtype", ["?", "b", "e", "d", "D"])
    @pytest.mark.parametrize("pinned", [True, False])
    def test_copies_go_there_and_back(self, backend: Any, shape: tuple[int, ...], dtype: str, pinned: bool) -> None:
        host = sample(shape, dtype)
        copy = backend.upload(filled(backend, host) if pinned else host)
        assert (copy.array.shape, copy.array.dtype) == (host.shape, host.dtype)
        there = copy.wait()
        assert there is copy.array
        assert copy.wait() is there
        out = filled(backend, np.zeros_like(host)) if pinned else None
        back = backend.download(there, out)
        found = back.wait()
        assert found is back.array
        assert out is None or found is out
        assert type(found) is np.ndarray
        np.testing.assert_array_equal(found, host)
        np.testing.assert_array_equal(backend.to_host(there), host)

    def test_an_array_is_copied_in_parts(self, backend: Any) -> None:
        host = sample((7, 1001), "d")
        whole = backend.allocate(host.shape, host.dtype)
        flat = whole.reshape(-1)
        assert (whole.shape, whole.dtype, whole.flags.c_contiguous) == (host.shape, FLOAT, True)
        cuts = [0, 1, 1000, 1000, 3003, 7007]
        bounds = list(itertools.pairwise(cuts))
        parts = [flat[a:b] for a, b in bounds]
        pieces = [filled(backend, host.reshape(-1)[a:b]) for a, b in bounds]
        for copy in [backend.upload(piece, part) for piece, part in zip(pieces, parts, strict=True)]:
            copy.wait()
        np.testing.assert_array_equal(backend.to_host(whole), host)
        outs = [filled(backend, np.zeros_like(piece)) for piece in pieces]
        copies = [backend.download(part, out) for part, out in zip(parts, outs, strict=True)]
        found = [copy.wait() for copy in reversed(copies)]
        np.testing.assert_array_equal(np.concatenate(found[::-1]), host.reshape(-1))

    def test_rows_of_an_array_are_copied(self, backend: Any) -> None:
        host = sample((6, 5, 4), "i")
        whole = backend.allocate(host.shape, host.dtype)
        parts = [whole[1:4], whole[0], whole[4, :2], whole[4, 2:], whole[5:]]
        sources = [host[1:4], host[0], host[4, :2], host[4, 2:], host[5:]]
        for copy in [backend.upload(source, part) for source, part in zip(sources, parts, strict=True)]:
            copy.wait()
        np.testing.assert_array_equal(backend.to_host(whole), host)

    def test_a_download_comes_after_the_work_queued_before_it(self, backend: Any) -> None:
        host = np.zeros(100_000)
        x = backend.upload(filled(backend, host)).wait()
        y = x
        for _ in range(50):
            y = y + 1
        copy = backend.download(y, filled(backend, host))
        del y
        for _ in range(10):  # memory that is reused must not be that of the copy under way
            z = x + 9
        np.testing.assert_array_equal(copy.wait(), host + 50)
        np.testing.assert_array_equal(backend.to_host(z), host + 9)
        backend.record().wait()

    def test_a_download_of_what_is_done_is_made_beside_the_work(self, backend: Any) -> None:
        host = np.zeros(100_000)
        x = backend.upload(filled(backend, host)).wait()
        y = x + 1
        backend.record().wait()
        z = y
        for _ in range(50):
            z = z + 1
        copies = [backend.download(a, filled(backend, host), done=True) for a in (x, y)]
        del x, y
        for expected, copy in zip((0, 1), copies, strict=True):
            np.testing.assert_array_equal(copy.wait(), host + expected)
        backend.record().wait()
        np.testing.assert_array_equal(backend.download(z, done=True).wait(), host + 51)

    def test_pinned_memory_is_used_again_after_a_copy(self, backend: Any) -> None:
        staging = backend.pinned(8 * 5000).view(FLOAT)
        arrays = []
        for n in range(20):
            staging[:] = n
            arrays.append(backend.upload(staging).wait())
        for n, array in enumerate(arrays):
            assert (backend.download(array, staging).wait() == n).all()

    def test_uploaded_memory_is_used_again_after_an_event(self, backend: Any) -> None:
        staging = backend.pinned(8 * 50_000).view(FLOAT)
        sums = []
        for n in range(20):
            staging[:] = n
            x = backend.upload(staging).wait()
            program = identity("float64")
            sums.append(backend.elementwise(program, (x,), x.shape, compiled=False).sum())
            backend.record().wait()
            del x
        assert [float(backend.to_host(s)) for s in sums] == [50_000.0 * n for n in range(20)]

    def test_bad_copies_are_refused(self, backend: Any) -> None:
        host = np.zeros((4, 4))
        there = backend.upload(host).wait()
        for out in (backend.allocate((4, 3), FLOAT), backend.allocate((4, 4), np.dtype("float32")), there.T):
            with pytest.raises(ValueError, match=r"is not copied to|in C order"):
                backend.upload(host, out)
        for other in (np.zeros((16,)), np.zeros((4, 4), "i8"), np.zeros((4, 4)).T):
            with pytest.raises(ValueError, match=r"is not copied to|in C order"):
                backend.download(there, other)
        with pytest.raises(ValueError, match="in C order"):
            backend.upload(host[:, ::2])
        with pytest.raises(ValueError, match="in C order"):
            backend.download(there[:, ::2])
        with pytest.raises(TypeError):
            backend.upload(there)
        with pytest.raises(TypeError):
            backend.download(host)
        with pytest.raises(TypeError):
            backend.upload(host, host)
        with pytest.raises(TypeError):
            backend.download(there, there)

    def test_copies_from_many_threads(self, backend: Any) -> None:
        wrong: list[Any] = []

        def work(seed: int) -> None:
            try:
                with backend.active():
                    for n in range(10):
                        host = np.full(3000 + seed, 100.0 * seed + n)
                        x = backend.upload(filled(backend, host)).wait()
                        y = x + 1
                        copy = backend.download(y)
                        backend.record().wait()
                        if not (copy.wait() == host + 1).all():
                            wrong.append((seed, n))
            except BaseException as error:
                wrong.append(error)

        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert wrong == []

    def test_out_of_memory_is_a_memory_error_and_leaves_the_device_usable(self, limited: Any) -> None:
        """`limited`: a backend, or the same one, that has no more than 1 MiB."""
        with limited.active():
            held = limited.upload(np.zeros(1000)).wait()
            for ask in (
                lambda: limited.allocate((1 << 18,), FLOAT),
                lambda: limited.upload(np.zeros(1 << 18)),
                lambda: limited.empty((1 << 18,), FLOAT),
                lambda: limited.from_host(np.zeros(1 << 18)),
            ):
                with pytest.raises(MemoryError):
                    ask()
            np.testing.assert_array_equal(limited.to_host(held + 1), np.ones(1000))
            del held
