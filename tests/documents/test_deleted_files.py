"""Names that stand for other files than before: renamed, deleted, and given to new ones, in Jupyter and outside.

Contents must never meet that do not belong together, and what is nowhere else is kept (F6, P4).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.documents.collaborating import Server, is_closed, of
from tests.documents.conftest import Tab, ab
from tests.documents.test_returning_tabs import come_back
from tests.notebooks import cell, notebook
from tests.room.waiting import until
from ydoc_exec.documents.collaboration import Collaboration
from ydoc_exec.documents.deleted_files import DeletedFiles
from ydoc_exec.ids import Lineage, RoomId
from ydoc_exec.store.sqlite_update_log import SqliteUpdateLog
from ydoc_exec.store.update_log import History

pytestmark = pytest.mark.anyio

NEW = notebook(cell("new-1", "new"), cell("new-2", ""))


@pytest.fixture
def server(tmp_path: Path) -> Server:
    server = Server(tmp_path)
    write(server, "a.ipynb", ab())
    return server


def write(server: Server, path: str, content: dict[str, Any]) -> None:
    (server.root / path).write_text(json.dumps(content))


def on_disk(server: Server, path: str) -> list[str]:
    try:
        return ["".join(cell["source"]) for cell in json.loads((server.root / path).read_text())["cells"]]
    except ValueError:
        return []  # half-way: this server has the plain contents manager


async def recorded(server: Server, room: RoomId) -> History | None:
    path = server.settings.log_path
    assert path is not None
    async with SqliteUpdateLog(path) as log:
        return await log.read(room)


async def edited(collaboration: Collaboration, room: RoomId, text: str) -> tuple[Tab, Lineage]:
    """A tab types into the first cell, sees that it is saved and goes away; the document is closed."""
    tab = Tab()
    async with collaboration.documents.open(room) as document:
        await tab.come_to(document)
        await tab.edit(0, text)
        await until(lambda: of(document)[0] == text and not document.mirror.dirty)
        await until(lambda: tab.state["dirty"] is False)
        lineage = document.lineage
        tab.leave()
    await until(lambda: is_closed(collaboration, room))
    return tab, lineage


async def unsaved(server: Server, text: str) -> tuple[RoomId, Tab, Lineage]:
    """A life at whose end the log has what no file has."""
    room = server.room("a.ipynb")
    async with server.serving() as collaboration:
        tab = Tab()
        async with collaboration.documents.open(room) as document:
            await tab.come_to(document)
            server.contents.broken = OSError("No space left on device")
            await tab.edit(0, text)
            await until(lambda: of(document)[0] == text)
            lineage = document.lineage
    server.contents.broken = None
    return room, tab, lineage


@pytest.mark.parametrize("restart", [False, True])
async def test_renamed_and_a_new_file_with_the_old_name(server: Server, restart: bool) -> None:
    old = server.room("a.ipynb")
    async with server.serving() as collaboration:
        tab, lineage = await edited(collaboration, old, "edited")
        server.rename("a.ipynb", "b.ipynb")
        write(server, "a.ipynb", NEW)
        if not restart:
            await check_both(server, collaboration, old, tab, lineage)
    if restart:
        async with server.serving() as collaboration:
            await check_both(server, collaboration, old, tab, lineage)
    assert on_disk(server, "a.ipynb") == ["new, typed", ""]
    assert on_disk(server, "b.ipynb") == ["edited again", "b"]


async def check_both(
    server: Server, collaboration: Collaboration, old: RoomId, tab: Tab, lineage: Lineage
) -> None:
    new = server.room("a.ipynb")
    assert new != old
    await edited(collaboration, new, "new, typed")
    async with collaboration.documents.open(old) as document:
        assert of(document) == ["edited", "b"]
        assert document.lineage == lineage
        again = Tab()
        again.doc.apply_update(tab.doc.get_update())
        again._unsent.clear()
        await come_back(again, document, lineage)
        await again.edit(0, "edited again")
        await until(lambda: of(document) == ["edited again", "b"])
        again.leave()
    await until(lambda: is_closed(collaboration, old))


async def test_deleted_through_the_server(server: Server) -> None:
    """The history is removed, and a new file of this name has nothing of it."""
    old = server.room("a.ipynb")
    async with server.serving() as collaboration:
        await edited(collaboration, old, "edited")
        server.delete(collaboration, "a.ipynb")
        write(server, "a.ipynb", NEW)
        new = server.room("a.ipynb")
        await edited(collaboration, new, "new, typed")
        assert on_disk(server, "a.ipynb") == ["new, typed", ""]
    assert await recorded(server, old) is None
    assert await recorded(server, new) is not None


async def test_a_folder_deleted_through_the_server(server: Server) -> None:
    (server.root / "folder").mkdir()
    for path in ("folder/c.ipynb", "folder.ipynb"):
        write(server, path, ab())
    inside, beside = server.room("folder/c.ipynb"), server.room("folder.ipynb")
    async with server.serving() as collaboration:
        for room in (inside, beside):
            await edited(collaboration, room, "edited")
        (server.root / "folder/c.ipynb").unlink()
        server.file_ids.delete("folder")
        collaboration.documents.deleted("/folder/")
    assert await recorded(server, inside) is None
    assert await recorded(server, beside) is not None


async def test_deleted_while_it_lingers(server: Server) -> None:
    """It is closed at once: a new file of this name must not find it."""
    server.set(linger=3600.0)
    old = server.room("a.ipynb")
    async with server.serving() as collaboration:
        async with collaboration.documents.open(old):
            pass
        assert not is_closed(collaboration, old)
        server.delete(collaboration, "a.ipynb")
        await until(lambda: is_closed(collaboration, old))
    assert not (server.root / "a.ipynb").exists()
    assert await recorded(server, old) is None
    assert copies(server) == []


async def test_deleted_while_somebody_has_it_open(server: Server) -> None:
    """They keep it until they leave; it is not written again by itself, and then it is forgotten."""
    old = server.room("a.ipynb")
    async with server.serving() as collaboration:
        async with collaboration.documents.open(old) as document:
            tab = Tab()
            await tab.come_to(document)
            server.delete(collaboration, "a.ipynb")
            await until(lambda: document.mirror.missing)
            await tab.edit(0, "still here")
            await until(lambda: of(document) == ["still here", "b"])
            tab.leave()
        await until(lambda: is_closed(collaboration, old))
    assert not (server.root / "a.ipynb").exists()
    assert await recorded(server, old) is None
    [copy] = copies(server)
    assert [cell["source"] for cell in copy["cells"]] == ["still here", "b"]


async def test_deleted_while_somebody_types_and_its_name_given_to_a_new_file(server: Server) -> None:
    """The two never meet, and what was typed and not saved is a recovery copy."""
    old = server.room("a.ipynb")
    async with server.serving() as collaboration:
        async with collaboration.documents.open(old) as document:
            tab = Tab()
            await tab.come_to(document)
            server.delete(collaboration, "a.ipynb")
            await until(lambda: document.mirror.missing)
            write(server, "a.ipynb", NEW)
            new = server.room("a.ipynb")
            assert new != old
            await tab.edit(0, "in the deleted one")
            await until(lambda: of(document) == ["in the deleted one", "b"])
            async with collaboration.documents.open(new) as other:
                second = Tab()
                await second.come_to(other)
                assert second.sources == ["new", ""]
                await second.edit(0, "in the new one")
                await until(lambda: on_disk(server, "a.ipynb") == ["in the new one", ""])
                await until(lambda: second.state["dirty"] is False)
                assert of(other) == ["in the new one", ""]
                second.leave()
            assert of(document) == ["in the deleted one", "b"]
            tab.leave()
        await until(lambda: is_closed(collaboration, old))
    assert on_disk(server, "a.ipynb") == ["in the new one", ""]
    [copy] = copies(server)
    assert [cell["source"] for cell in copy["cells"]] == ["in the deleted one", "b"]
    assert await recorded(server, old) is None


async def test_deleted_outside_it_may_come_back(server: Server) -> None:
    """As when a branch is checked out: the id stays, and so does the history."""
    room, _, lineage = await unsaved(server, "only in the log")
    text = (server.root / "a.ipynb").read_text()
    (server.root / "a.ipynb").unlink()
    async with server.serving() as collaboration:
        with pytest.raises(Exception, match="There is no document"):
            async with collaboration.documents.open(room):
                pass
        (server.root / "a.ipynb").write_text(text)
        async with collaboration.documents.open(room) as document:
            assert of(document) == ["only in the log", "b"]
            assert document.lineage == lineage


def copies(server: Server) -> list[Any]:
    return [json.loads(file.read_text()) for file in (server.data / "recovery").glob("**/content*")]


async def test_a_new_file_in_the_place_of_one_deleted_outside(server: Server) -> None:
    """Both have one id. The new one has nothing of the old one, and what was not saved is a recovery copy."""
    room, _, lineage = await unsaved(server, "only in the log")
    (server.root / "a.ipynb").unlink()
    write(server, "a.ipynb", NEW)
    assert server.room("a.ipynb") == room
    async with server.serving() as collaboration:
        await edited(collaboration, room, "new, typed")
        async with collaboration.documents.open(room) as document:
            assert of(document) == ["new, typed", ""]
            assert document.lineage != lineage
    assert on_disk(server, "a.ipynb") == ["new, typed", ""]
    [copy] = copies(server)
    assert [cell["source"] for cell in copy["cells"]] == ["only in the log", "b"]


async def test_a_new_file_in_the_place_of_one_that_was_saved(server: Server) -> None:
    """The file had everything: nothing is kept beside it, and a tab of the old one sees the new one."""
    room = server.room("a.ipynb")
    async with server.serving() as collaboration:
        tab, lineage = await edited(collaboration, room, "edited")
        await until(lambda: on_disk(server, "a.ipynb") == ["edited", "b"])
        (server.root / "a.ipynb").unlink()
        write(server, "a.ipynb", NEW)
        async with collaboration.documents.open(room) as document:
            assert of(document) == ["new", ""]
            again = Tab()
            again.doc.apply_update(tab.doc.get_update())
            again._unsent.clear()
            await come_back(again, document, lineage)
            await until(lambda: again.sources == of(document))
            assert of(document) == ["new", ""]
    assert copies(server) == []
    assert on_disk(server, "a.ipynb") == ["new", ""]


async def test_a_file_that_another_program_rewrote_is_the_same_one(server: Server) -> None:
    room, _, _ = await unsaved(server, "only in the log")
    write(server, "a.ipynb", ab("a", "b outside"))
    async with server.serving() as collaboration, collaboration.documents.open(room) as document:
        assert of(document) == ["only in the log", "b outside"]
    assert copies(server) == []


# Which histories are forgotten, whoever hears first of a deletion


@pytest.mark.parametrize("id_is_gone", [True, False])
def test_who_is_told_first_does_not_matter(id_is_gone: bool) -> None:
    a, b = RoomId("json", "notebook", "a"), RoomId("text", "file", "b")
    paths: dict[str, str | None] = {"a": "folder/a", "b": "folder/b"}
    forgotten: list[RoomId] = []
    files = DeletedFiles(paths.get, forgotten.append)
    with files.opened(a), files.opened(b):
        pass
    if id_is_gone:
        paths["a"] = None
    assert files.deleted("folder/a") == []
    assert forgotten == [a]
    assert files.deleted("folder/a") == []
    assert forgotten == [a]


def test_a_file_that_was_renamed_is_not_deleted_with_its_old_name() -> None:
    a = RoomId("json", "notebook", "a")
    paths: dict[str, str | None] = {"a": "old"}
    forgotten: list[RoomId] = []
    files = DeletedFiles(paths.get, forgotten.append)
    with files.opened(a):
        paths["a"] = "new"
        assert files.deleted("old") == []
    assert files.deleted("old") == []
    assert forgotten == []
    assert files.deleted("new") == []
    assert forgotten == [a]


def test_what_is_open_is_forgotten_when_it_is_closed() -> None:
    a = RoomId("json", "notebook", "a")
    paths: dict[str, str | None] = {"a": "a"}
    forgotten: list[RoomId] = []
    files = DeletedFiles(paths.get, forgotten.append)
    with files.opened(a):
        paths["a"] = None
        assert files.deleted("a") == [a]
        assert forgotten == []
    assert forgotten == [a]
