"""Copies survive what happens to their folder, are bounded, and come back as they were given."""

from __future__ import annotations

import json
import logging
import os
import resource
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from anyio import create_task_group
from hypothesis import given
from hypothesis import strategies as st

from ydoc_exec.errors import CopyFailed, CopyNotFound
from ydoc_exec.files.recovery_copies import LEFTOVER_SECONDS, RecoveryCopies, RecoveryCopy
from ydoc_exec.ids import RoomId

pytestmark = pytest.mark.anyio

A = RoomId("json", "notebook", "file-a")
B = RoomId("text", "file", "file-b")
NOTEBOOK = {"cells": [], "metadata": {"title": "Größe 😀"}, "nbformat": 4, "nbformat_minor": 5}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "some" / "recovery"


@pytest.fixture
def copies(folder: Path) -> RecoveryCopies:
    return open_(folder)


def open_(folder: Path, per_document: int = 20, total_bytes: int = 2**20) -> RecoveryCopies:
    return RecoveryCopies(folder, per_document=per_document, total_bytes=total_bytes)


def kept(copies: RecoveryCopies, text: str, room: RoomId = B) -> RecoveryCopy:
    return copies.keep_now(room, "b.txt", "wiped", text)


async def texts(copies: RecoveryCopies) -> list[Any]:
    return [await copies.read(copy) for copy in await copies.all()]


@pytest.mark.parametrize(
    "room, content",
    [
        (A, NOTEBOOK),
        (B, ""),
        (B, "lines\r\nas they are\n😀"),
        (B, "half of it: \ud83d"),
        (A, {"cells": [{"source": "half of it: \ud83d", "count": 1.5, "big": 2**60}]}),
        (RoomId("base64", "blob", "file-c"), b"\x00\xff"),
        (RoomId("json", "updates", "file-a"), ["AAA=", None, True]),
    ],
)
async def test_it_comes_back_as_it_was_given(folder: Path, room: RoomId, content: Any) -> None:
    copy = await open_(folder).keep(room, "a/b.ipynb", "conflict", content, "somebody")
    again = open_(folder)
    assert await again.all() == [copy]
    assert await again.read(copy) == content
    assert copy.room == room
    assert (copy.path, copy.reason, copy.user) == ("a/b.ipynb", "conflict", "somebody")
    assert copy.created.endswith("+00:00")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(content=json_values | st.binary())
def test_any_content_does(tmp_path_factory: pytest.TempPathFactory, content: Any) -> None:
    copies = open_(tmp_path_factory.mktemp("copies"))
    assert copies._read(copies.keep_now(B, "b", "wiped", content)) == content


async def test_what_no_file_can_have_is_kept_as_text(copies: RecoveryCopies) -> None:
    copy = copies.keep_now(A, "a.ipynb", "wiped", {"cells": [{"bytes": b"\x00\x01"}]})
    assert await copies.read(copy) == {"cells": [{"bytes": "AAE=\n"}]}


async def test_the_content_can_be_read_without_a_server(folder: Path, copies: RecoveryCopies) -> None:
    copy = copies.keep_now(A, "a/b.ipynb", "wiped", NOTEBOOK)
    file = folder / copy.id / "content.ipynb"
    assert json.loads(file.read_text()) == NOTEBOOK
    modes = [stat.S_IMODE(os.stat(path).st_mode) for path in (file, file.parent, folder)]
    assert modes == [0o600, 0o700, 0o700]


@pytest.mark.parametrize(
    "path", ["a", "", "x/.hidden", "..", "a.\x00", "a.py/../..", "a" * 5000 + ".ipynb", "a.😀"]
)
async def test_a_path_is_only_a_name(folder: Path, copies: RecoveryCopies, path: str) -> None:
    copy = copies.keep_now(B, path, "wiped", "text")
    assert (await copies.all())[0].path == path
    assert await copies.read(copy) == "text"
    assert os.listdir(folder) == [copy.id]


async def test_the_newest_is_first(copies: RecoveryCopies, folder: Path) -> None:
    for number in range(12):
        kept(copies if number % 2 else open_(folder), str(number))
    assert await texts(copies) == [str(number) for number in range(11, -1, -1)]


async def test_later_copies_are_newer_whatever_the_clock_says(copies: RecoveryCopies, folder: Path) -> None:
    first = kept(copies, "first")
    header = folder / first.id / "copy.json"
    header.write_text(header.read_text().replace(first.created, "2999-01-01T00:00:00.000+00:00"))
    again = open_(folder, per_document=2)
    second = kept(again, "second")
    assert [copy.created[:4] for copy in await again.all()] == [second.created[:4], "2999"]
    assert await texts(again) == ["second", "first"]
    kept(again, "third")
    assert await texts(again) == ["third", "second"]


async def test_the_same_is_not_kept_twice(copies: RecoveryCopies, folder: Path) -> None:
    first = kept(copies, "text")
    assert kept(copies, "text") == first
    assert kept(open_(folder), "text") == first
    assert kept(copies, "text", replace(B, file_id="another")) != first
    assert copies.keep_now(B, "b.txt", "restored", "text") != first
    kept(copies, "another text")
    assert kept(copies, "text") != first
    assert len(await copies.all()) == 5


async def test_a_document_has_so_many(folder: Path) -> None:
    copies = open_(folder, per_document=3)
    for number in range(5):
        kept(copies, f"a{number}", A)
        kept(copies, f"b{number}", B)
    assert sorted(await texts(copies)) == ["a2", "a3", "a4", "b2", "b3", "b4"]
    assert len(os.listdir(folder)) == 6


async def test_all_together_have_so_much(folder: Path) -> None:
    copies = open_(folder, total_bytes=1000)
    kept(copies, "a" * 300, A)
    kept(copies, "b" * 300, B)
    kept(copies, "B" * 300, B)
    assert len(await copies.all()) == 3
    kept(copies, "A" * 300, A)
    # The oldest ones of which there are newer ones go first.
    assert await texts(copies) == ["A" * 300, "B" * 300, "b" * 300]
    kept(copies, "c" * 900, replace(A, file_id="c"))
    assert await texts(copies) == ["c" * 900]


async def test_the_newest_is_kept_however_large_it_is(folder: Path) -> None:
    copies = open_(folder, per_document=0, total_bytes=0)
    for text in ("a" * 100, "b" * 200):
        kept(copies, text)
        assert await texts(copies) == [text]


@given(
    made=st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 9)), max_size=12),
    per_document=st.integers(0, 4),
    total_bytes=st.integers(0, 40),
)
def test_bounds(
    tmp_path_factory: pytest.TempPathFactory,
    made: list[tuple[str, int]],
    per_document: int,
    total_bytes: int,
) -> None:
    copies = open_(tmp_path_factory.mktemp("copies"), per_document, total_bytes)
    for index, (file, length) in enumerate(made):
        copy = kept(copies, f"{index:02}" + "x" * length, replace(B, file_id=file))
        there = copies._all()
        assert there[0] == copy
        assert there == sorted(there, key=lambda one: one.id, reverse=True)
        for name in "abc":
            assert len([one for one in there if one.file_id == name]) <= max(per_document, 1)
        assert len(there) == 1 or sum(one.size for one in there) <= total_bytes


async def test_a_copy_is_deleted(copies: RecoveryCopies, folder: Path) -> None:
    first, second = kept(copies, "first"), kept(copies, "second")
    await open_(folder).delete(first)
    assert await copies.all() == [second]
    for gone in (copies.delete(first), copies.read(first)):
        with pytest.raises(CopyNotFound, match=first.id):
            await gone
    assert os.listdir(folder) == [second.id]


async def test_a_folder_that_is_not_there_has_none(copies: RecoveryCopies, folder: Path) -> None:
    assert await copies.all() == []
    kept(copies, "text")
    for name in os.listdir(folder):
        (folder / name).rename(folder.parent / name)
    os.rmdir(folder)
    assert await copies.all() == []
    kept(copies, "text")
    assert await texts(copies) == ["text"]


async def test_what_is_no_copy_is_left_alone(
    copies: RecoveryCopies, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    copy = kept(copies, "text")
    good = json.loads((folder / copy.id / "copy.json").read_text())
    headers = {
        "00000007-00000000": "",
        "00000007-00000001": "[]",
        "00000007-00000002": "{",
        "00000007-00000003": json.dumps({**good, "id": "00000007-99999999"}),
        "00000007-00000004": json.dumps({**good, "id": "00000007-00000004", "size": "large"}),
        "00000007-00000005": json.dumps({**good, "id": "00000007-00000005", "encoding": "rot13"}),
        "00000007-00000006": "[" * 100_000,
        "00000007-00000008": json.dumps({**good, "id": "00000007-00000008", "path": None}),
    }
    for name, header in headers.items():
        (folder / name).mkdir()
        (folder / name / "copy.json").write_text(header)
    (folder / "00000007-00000009").mkdir()
    (folder / "00000007-0000000a").write_text("a file")
    (folder / "notes.txt").write_text("mine")
    (folder / ".00000001-12345678.part").mkdir()
    before = set(os.listdir(folder))
    again = open_(folder, per_document=1)
    with caplog.at_level(logging.WARNING):
        assert await again.all() == [copy]
        assert await again.all() == [copy]
    assert len(caplog.records) == len(headers) + 2
    newer = kept(again, "newer")
    assert int(newer.id.partition("-")[0]) == 8
    assert set(os.listdir(folder)) == before - {copy.id} | {newer.id}


async def test_a_damaged_copy_is_said_to_be_one(copies: RecoveryCopies, folder: Path) -> None:
    copy = kept(copies, "text")
    (folder / copy.id / "content.txt").write_text("tex")
    with pytest.raises(CopyFailed, match="damaged"):
        await copies.read(copy)
    (folder / copy.id / "content.txt").unlink()
    (folder / copy.id / "content.txt").mkdir()
    with pytest.raises(CopyFailed):
        await copies.read(copy)


@pytest.fixture
def blocked(folder: Path) -> Path:
    """A file where the folder should be."""
    folder.parent.mkdir()
    folder.touch()
    return folder


async def test_a_folder_that_cannot_be_one(copies: RecoveryCopies, blocked: Path) -> None:
    with pytest.raises(CopyFailed, match="listed"):
        await copies.all()
    with pytest.raises(CopyFailed, match="kept"):
        kept(copies, "text")
    with pytest.raises(CopyFailed, match="kept"):
        await copies.keep(B, "b.txt", "wiped", "text")
    os.unlink(blocked)
    kept(copies, "text")
    assert await texts(copies) == ["text"]


@contextmanager
def disk_with(bytes_: int) -> Iterator[None]:
    """No file can become larger than this: to whoever writes it is as a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_a_full_disk_keeps_what_it_has(copies: RecoveryCopies, folder: Path) -> None:
    first = kept(copies, "x" * 100)
    with disk_with(5000), pytest.raises(CopyFailed, match="kept"):
        kept(copies, "y" * 10_000)
    assert os.listdir(folder) == [first.id]
    assert await texts(copies) == ["x" * 100]
    second = kept(copies, "y" * 10_000)
    assert await copies.all() == [second, first]


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is read-only to root")
async def test_a_folder_that_is_read_only(copies: RecoveryCopies, folder: Path) -> None:
    first = kept(copies, "first")
    os.chmod(folder, 0o500)
    try:
        with pytest.raises(CopyFailed):
            kept(copies, "second")
        with pytest.raises(CopyFailed):
            await copies.delete(first)
        assert await texts(copies) == ["first"]
    finally:
        os.chmod(folder, 0o700)


async def test_what_ended_servers_left_is_cleared(folder: Path) -> None:
    copies = open_(folder)
    os.makedirs(folder)
    old, new = folder / ".00000003-12345678.part", folder / ".00000004-12345678.gone"
    for leftover in (old, new):
        leftover.mkdir()
        (leftover / "content.txt").write_text("half")
    long_ago = old.stat().st_mtime - LEFTOVER_SECONDS - 60
    os.utime(old, (long_ago, long_ago))
    copy = kept(copies, "text")
    assert set(os.listdir(folder)) == {copy.id, new.name}


async def test_several_at_once(copies: RecoveryCopies, folder: Path) -> None:
    other = open_(folder)
    async with create_task_group() as tasks:
        for number in range(20):
            where = other if number % 2 else copies
            tasks.start_soon(where.keep, replace(B, file_id=str(number)), "b.txt", "wiped", str(number))
    assert sorted(await texts(open_(folder)), key=int) == [str(number) for number in range(20)]
    assert await copies.all() == await other.all()
