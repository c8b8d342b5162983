"""Spill files: what comes back, what is refused, what is left behind."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from gpuarray.cluster import segments
from gpuarray.cluster.disk import PREFIX, DiskTier
from gpuarray.cluster.owner import OWNER_FILE, sweep
from gpuarray.kernels.errors import ConfigError, SpillError

KEY = (3, 0, 7)
ROOT = Path(__file__).parents[2]


@pytest.fixture
def disk(spill):
    tier = DiskTier(spill)
    yield tier
    tier.close()


def folder_of(spill):
    (folder,) = spill.iterdir()
    return folder


STRUCTURED = np.dtype([("a", "<i4"), ("b", "<f8", (2,))])


@pytest.mark.parametrize(
    "array",
    [
        np.arange(12.0).reshape(3, 4),
        np.asfortranarray(np.arange(12.0).reshape(3, 4)),
        np.arange(24).reshape(2, 3, 4).transpose(1, 2, 0),
        np.arange(20)[::-2],
        np.broadcast_to(np.float32(2), (3, 3)),
        np.array(5j),
        np.zeros((0, 3)),
        np.zeros((3, 0), order="F"),
        np.array([np.nan, np.inf, -0.0], np.float16),
        np.array(["ab", "c"]),
        np.array(["2020-01-01", "NaT"], "M8[ns]"),
        np.zeros(3, STRUCTURED),
        np.arange(5, dtype=">i4"),
        np.array([True, False]),
        np.zeros(0, "S0"),
    ],
    ids=lambda array: f"{array.dtype}{array.shape}",
)
def test_arrays_come_back_as_they_were(disk, array):
    (back,) = disk.get(KEY, disk.put(KEY, (array,)))
    assert back.dtype == array.dtype
    assert back.shape == array.shape
    assert back.tobytes() == array.tobytes()
    assert back.flags.writeable
    if array.flags.f_contiguous:
        assert back.flags.f_contiguous


def test_a_chunk_of_several_arrays_larger_than_a_block(disk, monkeypatch):
    monkeypatch.setattr("gpuarray.cluster.parts.BLOCK", 1000)
    chunk = (np.random.default_rng(0).random(1001), np.arange(3, dtype=np.int8), np.zeros(0))
    for got, array in zip(disk.get(KEY, disk.put(KEY, chunk)), chunk, strict=True):
        np.testing.assert_array_equal(got, array)


@pytest.mark.parametrize("dtype", [object, np.dtypes.StringDType()])
def test_arrays_of_references_are_refused(disk, spill, dtype):
    with pytest.raises(SpillError, match="holds references, which no file can; use another dtype"):
        disk.put(KEY, (np.array(["a"], dtype),))
    assert list(spill.iterdir()) == []


def test_nothing_is_on_disk_before_the_first_file_and_after_the_last(disk, spill):
    assert list(spill.iterdir()) == []
    one, two = (disk.put(KEY, (np.zeros(3),)) for _ in range(2))
    assert folder_of(spill).name.startswith(PREFIX)
    disk.drop(one)
    assert len(list(folder_of(spill).iterdir())) == 2
    disk.drop(two)
    assert list(spill.iterdir()) == []
    disk.drop(disk.put(KEY, (np.zeros(3),)))
    assert list(spill.iterdir()) == []


def test_only_the_user_may_look_and_names_cannot_be_guessed(disk, spill):
    files = [disk.put(KEY, (np.zeros(segments.SHARED // 8),)) for _ in range(2)]
    assert stat.S_IMODE(folder_of(spill).stat().st_mode) == 0o700
    assert all(stat.S_IMODE(os.stat(file.path).st_mode) == 0o600 for file in files)
    names = {Path(file.path).name for file in files}
    assert len(names) == 2
    assert all(len(name) == 16 and int(name, 16) >= 0 for name in names)


def truncate(file):
    os.truncate(file.path, file.offset + 863)


def flip(at):
    def damage(file):
        with open(file.path, "r+b") as stream:
            stream.seek(file.offset + at)
            byte = stream.read(1)
            stream.seek(-1, os.SEEK_CUR)
            stream.write(bytes([byte[0] ^ 1]))

    return damage


def replace_by_link(file):
    os.rename(file.path, file.path + "x")
    os.symlink(file.path + "x", file.path)


def replace_by_folder(file):
    os.unlink(file.path)
    os.mkdir(file.path)


def replace_by_other(file):
    data = Path(file.path).read_bytes()
    Path(file.path).write_bytes(data[:4096] + data[8192 : 8192 + 864] + data[4096 + 864 :])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (truncate, f"has {4096 + 863} bytes instead of at least {4096 + 864}"),
        (lambda file: os.truncate(file.path, 0), "has 0 bytes instead of"),
        (flip(863), "is damaged: its checksum does not match"),
        (flip(64), "is damaged: its checksum does not match"),
        (flip(0), "has another header"),
        (flip(30), "has another header"),
        (lambda file: os.unlink(file.path), "was deleted"),
        (replace_by_link, "was replaced by a symbolic link"),
        (replace_by_folder, "is no regular file any more"),
        (replace_by_other, "has another header"),
    ],
)
def test_damage_is_found_and_named(disk, damage, message):
    before, file, after = (disk.put(KEY, (np.arange(100.0) + n,)) for n in range(3))
    assert (before.offset, file.offset, after.offset) == (0, 4096, 8192)
    damage(file)
    with pytest.raises(SpillError) as caught:
        disk.get(KEY, file)
    text = str(caught.value)
    assert message in text
    assert file.path in text
    assert "(3, 0, 7)" in text
    assert "run the computation again" in text
    # what comes later is not harmed, nor does it hide the damage
    np.testing.assert_array_equal(disk.get(KEY, disk.put(KEY, (np.arange(50.0),)))[0], np.arange(50.0))
    with pytest.raises(SpillError, match=message):
        disk.get(KEY, file)


def test_a_folder_that_was_removed_is_named(disk, spill):
    file = disk.put(KEY, (np.zeros(3),))
    for path in folder_of(spill).iterdir():
        path.unlink()
    folder_of(spill).rmdir()
    with pytest.raises(SpillError, match="was deleted"):
        disk.get(KEY, file)
    with pytest.raises(SpillError, match="cannot be written"):
        disk.put(KEY, (np.zeros(3),))


def test_bad_directories_are_refused_at_once(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(ConfigError, match=r"'.*/file' is not a folder"):
        DiskTier(file)
    with pytest.raises(ConfigError, match=r"'.*/file' is not a folder"):
        DiskTier(file / "below")
    with pytest.raises(ConfigError, match=r"'.*/no' does not exist; create it"):
        DiskTier(tmp_path / "no" / "where")


@pytest.mark.skipif(os.getuid() == 0, reason="root may write anywhere")
def test_an_unwritable_directory_is_refused_at_once(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(ConfigError, match="cannot be written; change its permissions"):
        DiskTier(tmp_path)


def test_a_missing_last_folder_is_made_when_needed(tmp_path):
    directory = tmp_path / "new"
    disk = DiskTier(directory)
    assert not directory.exists()
    disk.drop(disk.put(KEY, (np.zeros(3),)))
    assert list(directory.iterdir()) == []
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700


def test_a_directory_that_vanished_is_a_spill_error(tmp_path):
    directory = tmp_path / "a" / "b"
    directory.mkdir(parents=True)
    disk = DiskTier(directory)
    directory.rmdir()
    directory.parent.rmdir()
    with pytest.raises(SpillError, match=r"no spill folder can be made in .*; make room there or set another"):
        disk.put(KEY, (np.zeros(3),))


def in_a_process(code, *arguments, **options):
    script = "import sys\nimport numpy as np\nfrom gpuarray.cluster.disk import DiskTier\n" + code
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options,
    )  # fmt: skip


def test_a_file_too_large_is_refused_and_nothing_is_left(spill):
    """RLIMIT_FSIZE plays the disk that is full: a write ends short, and then with an error."""
    process = in_a_process(
        """
import os, resource
from gpuarray.kernels.errors import SpillError
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
disk = DiskTier(sys.argv[1])
small = disk.put((1,), (np.arange(500.0),))
try:
    disk.put((2,), (np.arange(5000.0),))
except SpillError as error:
    print(error)
assert len(os.listdir(os.path.dirname(small.path))) == 2
assert (disk.get((1,), small)[0] == np.arange(500.0)).all()
disk.drop(small)
print(os.listdir(sys.argv[1]))
""",
        spill,
    )
    out, err = process.communicate(timeout=180)
    assert err == ""
    assert "is full: chunk (2,) needs 39.1 KiB" in out
    assert "set another spill_directory or raise the memory limit" in out
    assert out.rstrip().endswith("[]")


@pytest.mark.skipif(sys.platform != "linux" or os.getuid() != 0, reason="needs to mount a file system")
def test_a_full_file_system(tmp_path):
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", tmp_path], capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        disk = DiskTier(tmp_path)
        small = disk.put(KEY, (np.arange(1000.0),))
        for _ in range(3):
            with pytest.raises(SpillError, match=r"is full: chunk .* needs 78.1 KiB, .* are free"):
                disk.put(KEY, (np.arange(10_000.0),))
        np.testing.assert_array_equal(disk.get(KEY, small)[0], np.arange(1000.0))
        disk.drop(disk.put(KEY, (np.arange(4000.0),)))
        disk.close()
        assert list(tmp_path.iterdir()) == []
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_small_chunks_share_files_and_use_them_again(disk, spill, monkeypatch):
    monkeypatch.setattr(segments, "SEGMENT", 64 << 10)
    files = [disk.put((i,), (np.full(1000, i),)) for i in range(40)]
    paths = {file.path for file in files}
    assert len(paths) < 10
    for file in files[1::2]:
        disk.drop(file)
    again = [disk.put((i,), (np.full(1000, -i),)) for i in range(20)]
    assert {file.path for file in again} <= paths
    assert len({(file.path, file.offset) for file in again + files[::2]}) == 40
    for i, file in enumerate(files[::2]):
        assert (disk.get((i,), file)[0] == 2 * i).all()
    for i, file in enumerate(again):
        assert (disk.get((i,), file)[0] == -i).all()
    with pytest.raises(SpillError, match="has another header"):
        disk.get((1,), files[1])  # as a process that was forked before may try
    disk.drop(files[1])  # a second time: it is nobody's any more
    assert (disk.get((0,), again[-1])[0] == -19).all()
    for file in again + files[::2]:
        disk.drop(file)
    assert list(spill.iterdir()) == []


def test_what_is_dropped_while_it_is_read_is_read_to_the_end(disk, spill):
    file = disk.put(KEY, (np.arange(1000),))
    got = np.empty(1000, int)
    with disk.reading(KEY, file) as fill:
        fill(got.view(np.uint8)[:4000].data)
        disk.drop(file)
        other = disk.put(KEY, (np.zeros(1000, int),))
        assert other.offset != file.offset
        fill(got.view(np.uint8)[4000:].data)
    np.testing.assert_array_equal(got, np.arange(1000))
    assert disk.put(KEY, (np.zeros(1000, int),)).offset == file.offset
    disk.drop(other)


def test_much_that_is_free_inside_files_goes_back_to_the_file_system(disk, spill, monkeypatch):
    monkeypatch.setattr(segments, "SPARE", 100_000)
    files = [disk.put((i,), (np.full(2000, i),)) for i in range(100)]
    (path,) = {file.path for file in files}
    full = os.stat(path).st_blocks
    for file in files[1:]:
        disk.drop(file)
    assert (disk.get(KEY, files[0])[0] == 0).all()
    if sys.platform == "linux":
        assert os.stat(path).st_blocks < full // 3
    again = [disk.put((i,), (np.full(2000, i),)) for i in range(50)]
    assert {file.path for file in again} == {path}
    assert all((disk.get(KEY, file)[0] == i).all() for i, file in enumerate(again))


def test_purging_frees_what_nobody_knows(disk, spill):
    known, lost = (disk.put(KEY, (np.full(100, n),)) for n in range(2))
    (folder_of(spill) / "0123456789abcdef").write_text("half")
    disk.purge({known})
    assert (disk.get(KEY, known)[0] == 0).all()
    assert {p.name for p in folder_of(spill).iterdir()} == {OWNER_FILE, Path(known.path).name}
    assert disk.put(KEY, (np.zeros(100),)).offset == lost.offset
    disk.purge(set())
    assert list(spill.iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux" or os.getuid() != 0, reason="needs to mount a file system")
def test_what_is_free_inside_files_is_there_for_others_when_the_disk_is_full(tmp_path):
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", tmp_path], capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        disk = DiskTier(tmp_path)
        small = [disk.put(KEY, (np.full(900, n),)) for n in range(20)]
        for file in small[1::2]:
            disk.drop(file)
        large = disk.put(KEY, (np.arange(15_000),))  # as much as was freed, in one piece
        np.testing.assert_array_equal(disk.get(KEY, large)[0], np.arange(15_000))
        for n, file in enumerate(small[::2]):
            assert (disk.get(KEY, file)[0] == 2 * n).all()
        disk.close()
    finally:
        subprocess.run(["umount", tmp_path], check=True)


SPILL_FOREVER = """
disk = DiskTier(sys.argv[1])
disk.put((0,), (np.zeros(100),))
print("ready", flush=True)
while True:
    disk.put((1,), (np.zeros(100_000),))
"""


def test_what_a_killed_process_left_is_swept_at_the_next_start(spill):
    process = in_a_process(SPILL_FOREVER, spill)
    assert process.stdout.readline() == "ready\n"
    left = folder_of(spill)
    # while its owner lives, nobody sweeps it
    other = DiskTier(spill)
    other.drop(other.put(KEY, (np.zeros(3),)))
    assert left.exists()
    time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait(180)
    process.stdout.close()
    process.stderr.close()
    assert left.exists()
    other.drop(other.put(KEY, (np.zeros(3),)))
    assert list(spill.iterdir()) == []


def test_interrupted_while_spilling_nothing_is_left(spill):
    process = in_a_process(SPILL_FOREVER, spill)
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=180)
    assert "KeyboardInterrupt" in err
    assert list(spill.iterdir()) == []


def test_two_processes_in_one_directory(spill):
    code = """
disk = DiskTier(sys.argv[1])
for n in range(40):
    files = [disk.put((n, i), (np.full(1000, n + i),)) for i in range(3)]
    for i, file in enumerate(files):
        assert (disk.get((n, i), file)[0] == n + i).all()
        disk.drop(file)
"""
    for process in [in_a_process(code, spill) for _ in range(3)]:
        assert process.communicate(timeout=180) == ("", "")


def test_threads_share_a_tier(disk):
    failures = []

    def work(n):
        try:
            for i in range(30):
                file = disk.put((n, i), (np.full(500, n * 100 + i),))
                if not (disk.get((n, i), file)[0] == n * 100 + i).all():
                    failures.append((n, i))
                disk.drop(file)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


class TestSweep:
    """Which folders are taken for abandoned."""

    def make(self, spill, record, name="gpuarray-spill-1"):
        folder = spill / name
        folder.mkdir()
        (folder / "0123").write_bytes(b"data")
        if record is not None:
            (folder / OWNER_FILE).write_text(record if isinstance(record, str) else json.dumps(record))
        return folder

    def record(self, spill, **changes):
        disk = DiskTier(spill)
        disk.put(KEY, (np.zeros(3),))
        record = json.loads((folder_of(spill) / OWNER_FILE).read_text())
        disk.close()
        return {**record, **changes}

    def remove(self, folder):
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()

    @pytest.mark.parametrize(
        "changes", [{"pid": 2**30}, {"start": "12345"}, {"boot": "before"}], ids=["pid", "start", "boot"]
    )
    def test_the_dead(self, spill, changes):
        folder = self.make(spill, self.record(spill, **changes))
        assert sweep(str(spill), PREFIX) == [str(folder)]

    def test_the_living_and_those_elsewhere(self, spill):
        for changes in ({}, {"host": "another-machine", "pid": 2**30}):
            folder = self.make(spill, self.record(spill, **changes))
            assert sweep(str(spill), PREFIX) == []
            self.remove(folder)

    @pytest.mark.parametrize("record", ["", "{}", "[1, 2]", '{"host": 1, "pid": "x"}', "\x00" * 100])
    def test_records_that_cannot_be_read_are_left_alone(self, spill, record):
        folder = self.make(spill, record)
        assert sweep(str(spill), PREFIX) == []
        self.remove(folder)

    def test_no_record_means_about_to_be_written_for_a_minute(self, spill):
        folder = self.make(spill, None)
        assert sweep(str(spill), PREFIX) == []
        os.utime(folder, (time.time() - 100, time.time() - 100))
        assert sweep(str(spill), PREFIX) == [str(folder)]

    def test_other_names_files_and_links_are_left_alone(self, spill, tmp_path):
        dead = self.record(spill, pid=2**30)
        target = tmp_path / "target"
        target.mkdir()
        (target / OWNER_FILE).write_text(json.dumps(dead))
        link = spill / (PREFIX + "link")
        link.symlink_to(target)
        file = spill / (PREFIX + "file")
        file.write_text("")
        other = self.make(spill, dead, name="mine")
        assert sweep(str(spill), PREFIX) == []
        link.unlink()
        file.unlink()
        self.remove(other)

    def test_a_missing_directory_has_nothing(self, tmp_path):
        assert sweep(str(tmp_path / "no"), PREFIX) == []
