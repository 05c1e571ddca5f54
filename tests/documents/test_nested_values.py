"""Updates that would end the process are refused, whichever way they come."""

from __future__ import annotations

import pytest

from tests.documents.conftest import ROOM, Site, Tab, ab, sources
from tests.room.waiting import until
from ydoc_exec import sync

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.timeout(30),
]

NESTED = b"\x01\x01\x07\x00\x08\x01\x05cells\x01" + b"\x75\x01" * 200_000 + b"\x7e\x00"
"""A cell that is nothing but lists in lists. pycrdt would call itself for each of them."""


@pytest.mark.parametrize("frame", [sync.update(NESTED), sync.step2(NESTED)], ids=["update", "step 2"])
@pytest.mark.parametrize("same", [True, False], ids=["the same lineage", "another"])
async def test_their_sender_is_closed_and_nobody_else_notices(site: Site, frame: bytes, same: bool) -> None:
    site.write(ab())
    async with site.serving() as life, life.documents.open(ROOM) as document:
        good, bad = Tab(), Tab()
        await good.come_to(document)
        document.admit(bad.client, document.lineage if same else "another")
        await until(lambda: bad.frames)
        await bad.send(frame)
        # An update that comes before the answer to the room's question waits for it.
        await bad.flush()
        await until(lambda: bad.closed)
        await good.edit(0, "edited")
        await until(lambda: sources(document) == ["edited", "b"])
        assert good.closed is None
    assert site.on_disk == ["edited", "b"]
