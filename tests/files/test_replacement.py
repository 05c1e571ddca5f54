"""A file's name stands for a complete version at every moment, and what else belongs to the file stays."""

from __future__ import annotations

import hashlib
import os
import random
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.files.disk import NOBODY, as_nobody, limited, small_disk
from ydoc_exec.files.replacement import LEFT_OVER, FileState, Replacement, remove_left_over

pytestmark = pytest.mark.timeout(60)


def replace(path: Path, data: bytes) -> FileState:
    replacement = Replacement.begin(str(path))
    assert replacement is not None
    replacement.file.write(data)
    state = replacement.settle("sha256")
    assert replacement.digest == hashlib.sha256(data).hexdigest()
    replacement.take_place()
    replacement.make_lasting()
    return state


def names(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.iterdir())


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a.txt"
    path.write_bytes(b"old")
    return path


def test_the_old_version_stands_until_the_new_one_does(file: Path) -> None:
    replacement = Replacement.begin(str(file))
    assert replacement is not None
    replacement.file.write(b"new")
    replacement.settle("sha256")
    assert file.read_bytes() == b"old"
    replacement.take_place()
    assert file.read_bytes() == b"new"
    assert names(file.parent) == ["a.txt"]


def test_its_state_is_known_before_it_is_there(file: Path) -> None:
    before = FileState.of(str(file))
    state = replace(file, b"new")
    assert FileState.of(str(file)) == state != before


def test_an_emptied_file_is_another_version_too(file: Path) -> None:
    os.utime(file, (1, 1))
    replace(file, b"")
    assert file.stat().st_mtime > 1
    assert file.read_bytes() == b""


def test_a_new_file(tmp_path: Path) -> None:
    mask = os.umask(0o027)
    try:
        replace(tmp_path / "new.txt", b"new")
    finally:
        os.umask(mask)
    assert (tmp_path / "new.txt").read_bytes() == b"new"
    assert stat.S_IMODE((tmp_path / "new.txt").stat().st_mode) == 0o640


def test_given_up(file: Path) -> None:
    replacement = Replacement.begin(str(file))
    assert replacement is not None
    replacement.file.write(b"half")
    replacement.give_up()
    assert file.read_bytes() == b"old"
    assert names(file.parent) == ["a.txt"]


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o664, 0o755])
def test_the_mode_stays(file: Path, mode: int) -> None:
    file.chmod(mode)
    replace(file, b"new")
    assert stat.S_IMODE(file.stat().st_mode) == mode


@pytest.mark.skipif(os.name == "nt" or os.getuid() != 0, reason="only root gives files away")
def test_the_owner_stays(file: Path) -> None:
    os.chown(file, NOBODY, NOBODY)
    replace(file, b"new")
    assert (file.stat().st_uid, file.stat().st_gid) == (NOBODY, NOBODY)


@pytest.mark.skipif(not hasattr(os, "setxattr"), reason="no extended attributes here")
def test_extended_attributes_stay(file: Path) -> None:
    try:
        os.setxattr(file, "user.note", b"mine")
    except OSError:
        pytest.skip("no extended attributes on this file system")
    replace(file, b"new")
    assert os.getxattr(file, "user.note") == b"mine"


def test_links_stay_links(file: Path) -> None:
    folder = file.parent / "folder"
    folder.mkdir()
    (folder / "one").symlink_to("../a.txt")
    (folder / "two").symlink_to("one")
    replace(folder / "two", b"new")
    assert (folder / "two").is_symlink()
    assert (folder / "one").is_symlink()
    assert file.read_bytes() == b"new"
    (folder / "nowhere").symlink_to("../b.txt")
    replace(folder / "nowhere", b"b")
    assert (file.parent / "b.txt").read_bytes() == b"b"


def test_what_must_be_written_in_place(file: Path) -> None:
    """Else another name would keep the old content, and what is no file would become one."""
    (file.parent / "other name").hardlink_to(file)
    assert Replacement.begin(str(file)) is None
    os.mkfifo(file.parent / "pipe")
    assert Replacement.begin(str(file.parent / "pipe")) is None
    assert file.read_bytes() == b"old"
    assert names(file.parent) == ["a.txt", "other name", "pipe"]


@pytest.mark.skipif(os.name == "nt" or os.getuid() != 0, reason="only root makes files of somebody else")
def test_rights() -> None:
    with TemporaryDirectory() as directory:  # pytest's own ones let nobody else in
        folder = Path(directory)

        def check() -> None:
            assert Replacement.begin(str(folder / "shared.txt")) is None  # its owner could not be kept
            with pytest.raises(PermissionError):
                Replacement.begin(str(folder / "locked.txt"))
            with pytest.raises(PermissionError):
                Replacement.begin(str(folder / "closed" / "new.txt"))
            assert Replacement.begin(str(folder / "closed" / "mine.txt")) is None

        (folder / "closed").mkdir()
        for name, mode in (("shared.txt", 0o666), ("locked.txt", 0o444), ("closed/mine.txt", 0o666)):
            (folder / name).write_text("old")
            (folder / name).chmod(mode)
        folder.chmod(0o777)
        (folder / "closed").chmod(0o555)
        as_nobody(check)
        assert names(folder) == ["closed", "locked.txt", "shared.txt"]
        assert names(folder / "closed") == ["mine.txt"]


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Replacement.begin(str(tmp_path / "nowhere" / "a.txt"))


def test_a_name_with_no_room_beside_it(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 250)
    path.write_bytes(b"old")
    assert Replacement.begin(str(path)) is None


@pytest.mark.parametrize("gone", [Path.unlink, lambda path: path.rename(path.with_name("b.txt"))])
def test_a_file_that_went_meanwhile_does_not_come_back(file: Path, gone: Callable[[Path], object]) -> None:
    replacement = Replacement.begin(str(file))
    assert replacement is not None
    replacement.settle("sha256")
    gone(file)
    with pytest.raises(FileNotFoundError):
        replacement.take_place()
    replacement.give_up()
    assert "a.txt" not in names(file.parent)
    assert not [name for name in names(file.parent) if name.startswith(".~")]


def test_a_full_disk(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 128) as disk:
        path = disk / "a.txt"
        replace(path, b"old" * 1000)
        replacement = Replacement.begin(str(path))
        assert replacement is not None
        with pytest.raises(OSError, match="No space left"):
            replacement.file.write(b"new" * 100_000)
            replacement.settle("sha256")
        replacement.give_up()
        assert path.read_bytes() == b"old" * 1000
        assert names(disk) == ["a.txt"]


def test_a_file_that_may_not_grow(file: Path) -> None:
    replacement = Replacement.begin(str(file))
    assert replacement is not None
    with limited(1000), pytest.raises(OSError, match="too large"):
        replacement.file.write(b"new" * 100_000)
        replacement.settle("sha256")
    replacement.give_up()
    assert file.read_bytes() == b"old"


@pytest.mark.skipif(sys.platform != "linux", reason="no file can be mounted by itself")
def test_a_file_that_is_mounted_by_itself(tmp_path: Path, file: Path) -> None:
    """As containers do it: it cannot be replaced."""
    (tmp_path / "target.txt").touch()
    command = ["mount", "--bind", str(file), str(tmp_path / "target.txt")]
    if subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("nothing can be mounted here")
    try:
        replace(tmp_path / "target.txt", b"new")
        assert (tmp_path / "target.txt").read_bytes() == file.read_bytes() == b"new"
        assert names(tmp_path) == ["a.txt", "target.txt"]
    finally:
        subprocess.run(["umount", str(tmp_path / "target.txt")], check=True)


def test_whoever_reads_sees_one_version_or_the_other_even_if_the_writer_is_killed(tmp_path: Path) -> None:
    path, size = tmp_path / "a.txt", 2_000_000
    versions = {letter * size for letter in (b"a", b"b")}
    replace(path, b"a" * size)
    chance = random.Random(1)
    seen = set()
    for _ in range(8):
        command = [sys.executable, "-m", "tests.files.saving_process", str(path), str(size)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"ready\n"
            until = time.monotonic() + 0.05 + 0.1 * chance.random()
            while time.monotonic() < until:
                content = path.read_bytes()
                assert content in versions
                seen.add(content)
            writer.kill()
        assert path.read_bytes() in versions
    assert seen == versions


def test_what_killed_writers_left_is_removed_in_time(file: Path) -> None:
    replacement = Replacement.begin(str(file))  # somebody writes right now
    assert replacement is not None
    old = file.parent / ".~a.txt.0123abcd"
    others = [
        file.parent / name
        for name in (".~a.txt", ".~a.txt.0123abcd.txt", ".~b.txt.0123abcd", "a.txt.0123abcd")
    ]
    for path in (old, *others):
        path.touch()
        os.utime(path, (time.time() - 2 * LEFT_OVER,) * 2)
    remove_left_over(str(file))
    assert not old.exists()
    assert all(path.exists() for path in others)
    replacement.take_place()
