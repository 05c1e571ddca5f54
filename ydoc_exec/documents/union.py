"""Uniting two documents that have the same content and no history in common.

Applied one onto the other, they have everything twice: every item of both is there. So in the same transaction
one of each pair is deleted, and the document is made the content that was agreed on. Everybody who is sent that
one update sees only what has changed for them.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from typing import Any

from jupyter_ydoc import YNotebook, YUnicode
from jupyter_ydoc.ybasedoc import YBaseDoc
from pycrdt import Array, Assoc, Doc, Map, Text

from ydoc_exec.documents.text_edits import is_within

SERVERS_MAPS = ("state", "execution", "base", "lineage")
"""Root maps in which only the server has a say, or the last word."""

CELL_UNITS = 3
"""Who inserts or deletes less has done it to no cell: that has at least an id, a type and a source."""

Item = tuple[int, int]
"""The client and the clock of the item that holds a cell."""

Items = frozenset[Item]
"""The cells of one history."""

Inserted = Mapping[Item, tuple[str, str]]
"""Cells that somebody has inserted: the id and the source of each."""


def item_at(cells: Array[Any], index: int) -> Item:
    """The item that holds the cell at this place."""
    item = cells.sticky_index(index, Assoc.AFTER).to_json()["item"]
    return int(item["client"]), int(item["clock"])


def cell_items(document: YBaseDoc) -> Items:
    """The items that hold the cells of a notebook; none for other documents."""
    if not isinstance(document, YNotebook):
        return frozenset()
    return frozenset(_items(document.ycells))


def sources_of(document: YBaseDoc) -> dict[str, str]:
    """The sources of the cells, by their ids."""
    if not isinstance(document, YNotebook):
        return {}
    return {_said(cell.get("id")): _said(cell.get("source")) for _, cell in _cells(document)}


def inserted_cells(document: YBaseDoc, before: Items) -> Inserted:
    """The cells that were not there before."""
    if not isinstance(document, YNotebook):
        return {}
    return {
        item: (_said(cell.get("id")), _said(cell.get("source")))
        for item, cell in _cells(document)
        if item not in before
    }


def doubled_cells(document: YBaseDoc) -> Items:
    """The cells that have the id and the source of one above them."""
    found: set[tuple[str, str]] = set()
    doubled: set[Item] = set()
    for item, cell in inserted_cells(document, frozenset()).items():
        if cell in found:
            doubled.add(item)
        found.add(cell)
    return frozenset(doubled)


def drop_doubles(document: YNotebook) -> None:
    """Delete the cells that have the id and the source of one above them. Called inside a transaction.

    They are left when a server was killed between a client's move of a cell and its own.
    """
    drop_cells(document, doubled_cells(document))


def drop_cells(document: YNotebook, chosen: Items) -> None:
    """Delete these cells."""
    items = _items(document.ycells)
    with document.ydoc.transaction():
        for index in reversed(range(len(items))):
            if items[index] in chosen:
                del document.ycells[index]


def rename_cells(document: YNotebook, chosen: Items, names: Mapping[str, str]) -> None:
    """Give those of these cells other ids whose ids are in ``names``."""
    with document.ydoc.transaction():
        for item, cell in _cells(document):
            name = names.get(_said(cell.get("id")))
            if name is not None and item in chosen:
                cell["id"] = name


def name_cells(document: YNotebook, names: Mapping[Item, str]) -> None:
    """Give cells these ids, by the items that hold them."""
    with document.ydoc.transaction():
        for item, cell in _cells(document):
            if item in names:
                cell["id"] = names[item]


def cells_beyond(document: YNotebook, before: Mapping[int, int]) -> Items:
    """The cells that are beyond the state vector ``before``."""
    return frozenset(item for item in _items(document.ycells) if item[1] >= before.get(item[0], 0))


def again_inserted(document: YNotebook, before: Mapping[int, int]) -> dict[str, Item]:
    """The cells that are beyond the state vector ``before``, of which there was one already with all that is in them.

    By their ids.
    """
    there: dict[str, str] = {}
    new: dict[str, tuple[Item, str]] = {}
    for (author, clock), (name, source) in inserted_cells(document, frozenset()).items():
        if clock < before.get(author, 0):
            there.setdefault(name, source)
        else:
            new[name] = (author, clock), source
    return {
        name: item for name, (item, source) in new.items() if name in there and is_within(source, there[name])
    }


def copies_in(document: YNotebook, inserted: Inserted) -> dict[str, Item]:
    """Those of the cells that somebody else has inserted of which the document has another one; one for each id.

    A cell that is not any more as it was inserted is none.
    """
    cells = inserted_cells(document, frozenset())
    others = {name for item, (name, _) in cells.items() if item not in inserted}
    return {
        name: item
        for item, (name, source) in inserted.items()
        if name in others and item in cells and cells[item][1] == source
    }


def named_items(document: YNotebook) -> dict[str, Item]:
    """The item that holds each cell, by the cells' ids."""
    return {name: item for item, cell in _cells(document) if (name := _said(cell.get("id")))}


def unite(
    document: YBaseDoc,
    theirs: YBaseDoc,
    become: Callable[[], None],
    *,
    keep_theirs: bool,
    anew: Container[str] = (),
) -> frozenset[str]:
    """Let ``document`` have the history of ``theirs`` as well; which cells are those of ``theirs`` now.

    Called inside a transaction. ``become`` gives the document its content: cells that are there, found by their
    ids, it must change in place.

    Args:
        keep_theirs: whose cells stay: those of ``theirs``, which that side then sees unchanged, or the document's own.
        anew: the ids of cells of ``theirs`` that do not stay, though they may be those of both. What that side has
            erased in one is in it again; if it undid that in its old cell, it would be there twice.
    """
    doc: Doc[Any] = document.ydoc
    before = {name: _plan(doc.get(name, type=Map)) for name in SERVERS_MAPS}
    our_items, their_items = cell_items(document), cell_items(theirs)
    our_text = str(document.get()) if isinstance(document, YUnicode) else ""
    states = _states(document)
    doc.apply_update(theirs.ydoc.get_update())
    if isinstance(document, YNotebook):
        _leave_one(document.ycells, their_items if keep_theirs else our_items, their_items, anew)
    elif isinstance(document, YUnicode):
        _drop_text(doc.get("source", type=Text), our_text, theirs.ydoc.get("source", type=Text), keep_theirs)
    become()
    _set_states(document, states)
    for name, plan in before.items():
        _restore(doc.get(name, type=Map), plan)
    # Not all that were left: those that are in other places or have other trust were made anew.
    left = named_items(document) if isinstance(document, YNotebook) else {}
    return frozenset(name for name, item in left.items() if item in their_items)


def hand_over(document: YBaseDoc, before: YBaseDoc) -> None:
    """Let ``document`` say what the server said in the one ``before``, beside its content. Called inside a transaction."""
    for name in ("state", "execution"):
        _restore(document.ydoc.get(name, type=Map), _plan(before.ydoc.get(name, type=Map)))


def take_up(document: YBaseDoc, update: bytes) -> None:
    """Let ``document`` have what an update of its own history holds, except in the server's maps.

    Called inside a transaction.
    """
    doc: Doc[Any] = document.ydoc
    before = {name: _plan(doc.get(name, type=Map)) for name in SERVERS_MAPS}
    doc.apply_update(update)
    for name, plan in before.items():
        _restore(doc.get(name, type=Map), plan)


def hear(document: YBaseDoc, update: bytes) -> None:
    """Let ``document`` have what a client has that connects, whose word does not count about what is running.

    It may come from before a restart. Called inside a transaction.
    """
    live: Map[Any] = document.ydoc.get("execution", type=Map)
    before, states = _plan(live), _states(document)
    document.ydoc.apply_update(update)
    _set_states(document, states)
    _restore(live, before)


# Private


def _cells(document: YNotebook) -> list[tuple[Item, Map[Any]]]:
    """The cells with the items that hold them. What is no cell, which any client can write, is left out."""
    items = zip(_items(document.ycells), document.ycells, strict=True)
    return [(item, cell) for item, cell in items if isinstance(cell, Map)]


def _items(cells: Array[Any]) -> list[Item]:
    return [item_at(cells, index) for index in range(len(cells))]


def _leave_one(cells: Array[Any], staying: Items, theirs: Items, anew: Container[str]) -> None:
    """Leave the cells of one side, except those that are to be made anew.

    What only the other side has is made anew where it belongs. It lies before or behind all others, and to bring it
    to its place jupyter_ydoc would delete and make anew all cells that it passes, under the eyes of their people.
    """
    items = _items(cells)
    names = [_said(cell.get("id")) for cell in cells]
    chosen: dict[str, int] = {}
    for index, (item, name) in enumerate(zip(items, names, strict=True)):
        if item in staying and not (name in anew and item in theirs):
            chosen.setdefault(name, index)
    for index in reversed(range(len(items))):
        if chosen.get(names[index]) != index:
            del cells[index]


def _drop_text(both: Text, ours: str, theirs: Text, keep_theirs: bool) -> None:
    """Leave one of two texts, if they lie one behind the other, as they do unless they share something."""
    if not ours or not str(theirs):
        return
    first, second = ours, str(theirs)
    theirs_first = _first_item(both) == _first_item(theirs)
    if theirs_first:
        first, second = second, first
    if str(both) == first + second:
        border = len(first.encode())
        if keep_theirs == theirs_first:
            del both[border : border + len(second.encode())]
        else:
            del both[0:border]


def _states(document: YBaseDoc) -> dict[str, str]:
    """What each cell says of its execution."""
    if not isinstance(document, YNotebook):
        return {}
    return {
        _said(cell.get("id")): cell["execution_state"]
        for _, cell in _cells(document)
        if "execution_state" in cell
    }


def _set_states(document: YBaseDoc, states: dict[str, str]) -> None:
    """Let no cell say that it is running because it was, when the other side was seen last."""
    if not isinstance(document, YNotebook):
        return
    for _, cell in _cells(document):
        if "execution_state" in cell:
            state = states.get(_said(cell.get("id")), "idle")
            if cell["execution_state"] != state:
                cell["execution_state"] = state


def _said(value: Any) -> str:
    """An id or a source, or what a client wrote in its place; nothing for what is not the same text twice."""
    return "" if isinstance(value, (Map, Array, dict, list)) else str(value)


def _first_item(text: Text) -> Any:
    return text.sticky_index(0, Assoc.AFTER).to_json()["item"]


def _plan(shared: Any) -> Any:
    """What a shared value holds, with what it is made of, so that it can be made again."""
    if isinstance(shared, Map):
        return (Map, {key: _plan(item) for key, item in shared.items()})
    if isinstance(shared, Array):
        return (Array, [_plan(item) for item in shared])
    if isinstance(shared, Text):
        return (Text, str(shared))
    return (None, shared)


def _make(plan: Any) -> Any:
    kind, value = plan
    if kind is Map:
        return Map({key: _make(item) for key, item in value.items()})
    if kind is Array:
        return Array([_make(item) for item in value])
    return Text(value) if kind is Text else value


def _restore(shared: Map[Any], plan: Any) -> None:
    """Let a map hold again what it held. A text in it is what people are typing: what came of it stays."""
    wanted = plan[1]
    for key in list(shared.keys()):
        if key not in wanted:
            del shared[key]
    for key, item in wanted.items():
        held = shared.get(key)
        if isinstance(held, Map) and item[0] is Map:
            _restore(held, item)
        elif not (isinstance(held, Text) and item[0] is Text) and (key not in shared or _plan(held) != item):
            shared[key] = _make(item)
