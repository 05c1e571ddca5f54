"""The file knows more than the log, or than the tab that comes first: what others bring must not be there twice."""

from __future__ import annotations

from copy import deepcopy

import pytest

from tests.documents.conftest import ROOM, Site, Tab, ab, sources
from tests.documents.test_returning_tabs import Away, come_back, forget, meet, retype
from tests.room.waiting import until

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.timeout(30),
]


async def a_later_save(site: Site) -> tuple[Away, Away]:
    """A tab that has a little, and one that has typed more, of which the file knows and the log does not."""
    site.write(ab())
    async with site.serving() as life:
        first = await meet(life, retype(0, "some"))
    log = deepcopy(site.log)
    async with site.serving() as life, life.documents.open(ROOM) as document:
        tab = first.again()
        await come_back(tab, document, first.lineage)
        source = tab.notebook.ycells[0]["source"]
        source += " more"
        await tab.flush()
        await until(lambda: sources(document) == ["some more", "b"])
        await document.mirror.save()
        await until(lambda: tab.state.get("dirty") is False)
        second = Away(tab, document.lineage)
    assert site.on_disk == ["some more", "b"]
    site.log = log
    return first, second


async def meets(site: Site, *tabs: Away, may_write: bool = True) -> list[Tab]:
    """These tabs come back in this order, to one server."""
    here: list[Tab] = []
    async with site.serving() as life, life.documents.open(ROOM) as document:
        for away in tabs:
            tab = away.again(may_write=may_write)
            await come_back(tab, document, away.lineage)
            here.append(tab)
        await until(lambda: all(tab.closed or tab.sources == sources(document) for tab in here))
        assert sources(document) == ["some more", "b"]
        assert [tab.closed for tab in here] == [None] * len(here)
    assert site.on_disk == ["some more", "b"]
    assert site.copies == []
    return here


@pytest.mark.parametrize("second_first", [True, False])
async def test_a_log_that_lacks_a_whole_life(site: Site, second_first: bool) -> None:
    first, second = await a_later_save(site)
    await meets(site, *((second, first) if second_first else (first, second)))


@pytest.mark.parametrize("second_first", [True, False])
async def test_no_log_and_two_tabs(site: Site, second_first: bool) -> None:
    first, second = await a_later_save(site)
    forget(site)
    await meets(site, *((second, first) if second_first else (first, second)))


async def test_the_second_comes_to_a_later_life(site: Site) -> None:
    first, second = await a_later_save(site)
    await meets(site, first)
    await meets(site, second)


async def test_a_reader_who_has_nothing_of_its_own_stays(site: Site) -> None:
    first, _ = await a_later_save(site)
    [reader] = await meets(site, first, may_write=False)
    assert reader.sources == ["some more", "b"]
