"""Trusted notebooks are signed when they are saved, but not while everybody waits for the disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from jupyter_server.services.contents.largefilemanager import AsyncLargeFileManager
from nbformat.sign import MemorySignatureStore, NotebookNotary

from tests.notebooks import cell, notebook
from ydoc_exec.documents.open_files import OpenFiles
from ydoc_exec.handlers.contents_manager import taken_over

pytestmark = pytest.mark.anyio

PAGE = {"output_type": "display_data", "data": {"text/html": "<b>1</b>"}, "metadata": {}}


def page(*, trusted: bool) -> Any:
    """A notebook whose output would do something if it were trusted."""
    shown = cell("a", "a", outputs=[PAGE])
    shown["metadata"]["trusted"] = trusted
    return notebook(shown)


@pytest.fixture
def contents(tmp_path: Path) -> Iterator[Any]:
    """A contents manager, taken over, with signatures in a file."""
    (tmp_path / "root").mkdir()
    notary: type[Any] = NotebookNotary
    manager: Any = AsyncLargeFileManager(
        root_dir=str(tmp_path / "root"), notary=notary(data_dir=str(tmp_path))
    )
    with taken_over(manager, OpenFiles(None, lambda path: path)):  # type: ignore[arg-type]
        yield manager
    manager.notary.close()


async def write(contents: Any, content: Any) -> None:
    """Save past the documents, as a document's mirror does in the end."""
    manager: Any = next(cls for cls in type(contents).__mro__ if cls.__name__ == "SigningInThread")
    await manager.save(contents, {"type": "notebook", "format": "json", "content": content}, "a.ipynb")


async def save(contents: Any, content: Any) -> bool:
    """Whether what was saved is trusted when it is read."""
    await write(contents, content)
    read = await contents.get("a.ipynb")
    return bool(read["content"]["cells"][0]["metadata"]["trusted"])


async def test_it_is_trusted_when_it_is_read_again(contents: Any) -> None:
    assert await save(contents, page(trusted=True))


async def test_what_was_not_trusted_is_not(contents: Any) -> None:
    assert not await save(contents, page(trusted=False))


async def test_the_event_loop_writes_nothing_to_the_database(contents: Any) -> None:
    before = contents.notary.store.db.total_changes
    await write(contents, page(trusted=True))
    assert contents.notary.store.db.total_changes == before


async def test_a_database_that_is_broken_is_made_anew(contents: Any) -> None:
    contents.notary.store.db.execute("DROP TABLE nbsignatures")
    contents.notary.store.db.commit()
    content = notebook(cell("a", "a"))
    content["cells"][0]["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "a"}]
    assert await save(contents, content)


async def test_signatures_that_are_kept_otherwise_are_left_to_those_who_do(contents: Any) -> None:
    contents.notary.store = MemorySignatureStore()  # type: ignore[no-untyped-call, unused-ignore]
    assert await save(contents, page(trusted=True))
    assert contents.notary.store.data


async def test_trusting_a_notebook_signs_it_at_once(contents: Any) -> None:
    assert not await save(contents, page(trusted=False))
    await contents.trust_notebook("a.ipynb")
    read = await contents.get("a.ipynb")
    assert read["content"]["cells"][0]["metadata"]["trusted"]
    nbformat.validate(read["content"])
