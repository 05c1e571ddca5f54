"""An outside change is taken up cell by cell, and nothing that anybody typed gets lost in silence."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ydoc_exec.files.merge import Merged, merge

Notebook = dict[str, Any]


def cell(name: str, source: str = "", count: int | None = None, **more: Any) -> dict[str, Any]:
    outputs = [] if count is None else [{"output_type": "stream", "name": "stdout", "text": str(count)}]
    return {
        "id": name,
        "cell_type": "code",
        "source": source,
        "metadata": {},
        "outputs": outputs,
        "execution_count": count,
        **more,
    }


def text(name: str, source: str = "") -> dict[str, Any]:
    return {"id": name, "cell_type": "markdown", "source": source, "metadata": {}}


def notebook(*cells: dict[str, Any], **metadata: Any) -> Notebook:
    return {"cells": list(cells), "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


def merged(base: Notebook, ours: Notebook, theirs: Notebook, live: tuple[str, ...] = ()) -> Merged:
    result = merge(base, ours, theirs, live)
    assert result is not None
    return result


def names(content: Notebook) -> str:
    return "".join(cell["id"] for cell in content["cells"])


def order(base: str, ours: str, theirs: str) -> str:
    sides = [notebook(*map(cell, side)) for side in (base, ours, theirs)]
    return names(merged(sides[0], sides[1], sides[2]).content)


@pytest.mark.parametrize(
    "base, ours, theirs, expected",
    [
        ("abc", "abc", "abc", "abc"),
        ("abc", "abc", "axbc", "axbc"),
        ("abc", "axbc", "abc", "axbc"),
        ("abc", "xabc", "abcy", "xabcy"),
        ("abc", "abc", "cba", "cba"),
        ("abc", "cba", "abc", "cba"),
        ("abc", "cba", "axbc", "cbax"),
        ("abc", "axbc", "cba", "cbax"),
        ("abc", "ac", "abc", "ac"),
        ("abc", "abc", "ac", "ac"),
        ("abc", "bc", "ab", "b"),
        ("abc", "axyc", "abc", "axyc"),
        ("abc", "xyz", "abc", "xyz"),
        ("abc", "abc", "", ""),
        ("abc", "abcx", "", "x"),
        ("", "a", "b", "ab"),
        ("abc", "bac", "acb", "bac"),
    ],
)
def test_order(base: str, ours: str, theirs: str, expected: str) -> None:
    assert order(base, ours, theirs) == expected


def test_edits_of_different_cells_both_survive() -> None:
    base = notebook(cell("a", "1"), cell("b", "2"))
    result = merged(
        base, notebook(cell("a", "ours"), cell("b", "2")), notebook(cell("a", "1"), cell("b", "theirs"))
    )
    assert [cell["source"] for cell in result.content["cells"]] == ["ours", "theirs"]
    assert result.conflicts == ()


def test_of_two_edits_of_one_cell_ours_stays_and_it_is_said() -> None:
    result = merged(notebook(cell("a", "1")), notebook(cell("a", "ours")), notebook(cell("a", "theirs")))
    assert result.content["cells"][0]["source"] == "ours"
    assert result.conflicts == ("a",)


def test_the_same_edit_is_no_conflict() -> None:
    edited = notebook(cell("a", "same"))
    result = merged(notebook(cell("a", "1")), edited, edited)
    assert result == Merged(edited, ())


def test_source_of_one_side_and_result_of_the_other() -> None:
    result = merged(notebook(cell("a", "1")), notebook(cell("a", "typed")), notebook(cell("a", "1", count=7)))
    assert result.content["cells"] == [cell("a", "typed", count=7)]
    assert result.conflicts == ()


def test_count_and_outputs_stay_together() -> None:
    result = merged(notebook(cell("a", count=1)), notebook(cell("a", count=2)), notebook(cell("a", count=3)))
    assert result.content["cells"] == [cell("a", count=2)]
    assert result.conflicts == ("a",)


def test_results_of_live_cells_are_ours() -> None:
    base = notebook(cell("a", "1", count=1))
    running = notebook(cell("a", "1"))
    result = merged(base, running, notebook(cell("a", "theirs", count=9)), live=("a",))
    assert result.content["cells"] == [cell("a", "theirs")]
    assert result.conflicts == ()
    # Also if nothing has come yet, so that it looks untouched.
    result = merged(base, base, notebook(cell("a", "1", count=9)), live=("a",))
    assert result.content == base


def test_a_live_cell_is_neither_deleted_nor_made_text() -> None:
    base = notebook(cell("a", "1"), cell("b"))
    assert names(merged(base, base, notebook(cell("b")), live=("a",)).content) == "ab"
    result = merged(base, base, notebook(text("a", "1"), cell("b")), live=("a",))
    assert result.content["cells"][0]["cell_type"] == "code"
    assert result.content["cells"][0]["outputs"] == []


def test_a_cell_that_was_made_text_has_no_result() -> None:
    base = notebook(cell("a", "1", count=1))
    for ours, theirs in (
        (notebook(cell("a", "1", count=2)), notebook(text("a", "1"))),
        (notebook(text("a", "1")), notebook(cell("a", "1", count=2))),
    ):
        assert merged(base, ours, theirs).content["cells"] == [text("a", "1")]


def test_an_edited_cell_survives_being_deleted() -> None:
    base = notebook(cell("a", "1"), cell("b"))
    edited, without = notebook(cell("a", "edited"), cell("b")), notebook(cell("b"))
    assert merged(base, edited, without).content == edited
    assert merged(base, without, edited).content == edited


def test_being_trusted_or_not_is_no_edit() -> None:
    base = notebook(cell("a", metadata={"trusted": True}), cell("b"))
    theirs = notebook(cell("b"))
    ours = notebook(cell("a", metadata={"trusted": False}), cell("b"))
    assert names(merged(base, ours, theirs).content) == "b"


TRUSTED, UNTRUSTED = {"trusted": True, "tags": ["x"]}, {"trusted": False, "tags": ["x"]}


def test_results_made_elsewhere_are_trusted_as_the_contents_manager_says() -> None:
    base = notebook(cell("a", count=1, metadata=TRUSTED))
    for metadata in (TRUSTED, UNTRUSTED):
        theirs = notebook(cell("a", count=2, metadata=metadata))
        assert merged(base, base, theirs).content == theirs
    without = notebook(cell("a", count=2, metadata={}))
    [a] = merged(base, base, without).content["cells"]
    assert a["metadata"] == {"trusted": False}


def test_results_that_both_have_are_trusted_if_one_side_does() -> None:
    """The contents manager may not know of our run, nor we of a signature."""
    ours, theirs = (notebook(cell("a", count=1, metadata=metadata)) for metadata in (TRUSTED, UNTRUSTED))
    assert merged(ours, ours, theirs).content == ours
    assert merged(theirs, theirs, ours).content == ours
    again = notebook({**cell("a", count=1, metadata=UNTRUSTED), "execution_count": 9})
    assert merged(ours, ours, again).content["cells"] == [
        {**cell("a", count=1, metadata=TRUSTED), "execution_count": 9}
    ]


def test_results_that_stay_ours_are_trusted_as_they_were() -> None:
    base = notebook(cell("a", count=1, metadata=UNTRUSTED))
    ours = notebook(cell("a", count=2, metadata=UNTRUSTED))
    theirs = notebook(cell("a", count=3, metadata=TRUSTED))
    assert merged(base, ours, theirs).content == ours
    assert merged(base, ours, theirs, live=("a",)).content == ours
    assert merged(notebook(), ours, theirs).content == ours
    ran = notebook(cell("a", count=2, metadata=TRUSTED))
    forged = notebook(cell("a", count=3, metadata=UNTRUSTED))
    assert merged(base, ran, forged).content == ran


def test_a_text_that_was_made_code_elsewhere_is_not_trusted_for_what_the_text_said() -> None:
    base = notebook({**text("a"), "metadata": {"trusted": True}})
    theirs = notebook(cell("a", count=1, metadata=UNTRUSTED))
    [a] = merged(base, base, theirs).content["cells"]
    assert (a["cell_type"], a["metadata"]["trusted"]) == ("code", False)


def test_metadata_is_merged_key_by_key() -> None:
    base = notebook(cell("a", metadata={"x": 1, "gone": 1}), kernelspec={"name": "k"})
    ours = notebook(cell("a", metadata={"x": 1, "gone": 1, "ours": 1}), kernelspec={"name": "k"}, o=1)
    theirs = notebook(cell("a", metadata={"x": 2}), kernelspec={"name": "other"})
    result = merged(base, ours, theirs)
    assert result.content["cells"][0]["metadata"] == {"x": 2, "ours": 1}
    assert result.content["metadata"] == {"kernelspec": {"name": "other"}, "o": 1}
    assert result.conflicts == ()


def test_the_same_new_cell_on_both_sides() -> None:
    result = merged(notebook(), notebook(cell("a", "ours")), notebook(cell("a", "theirs")))
    assert result.content["cells"] == [cell("a", "ours")]
    assert result.conflicts == ("a",)


@pytest.mark.parametrize(
    "broken",
    [
        notebook({"cell_type": "code"}),
        notebook(cell("a"), cell("a")),
        notebook({**cell("a"), "id": None}),
        notebook({**cell("a"), "id": ["a"]}),
        notebook({**cell("a"), "id": ""}),
    ],
)
def test_cells_that_cannot_be_told_apart_are_not_merged(broken: Notebook) -> None:
    good = notebook(cell("a"))
    assert merge(broken, good, good) is None
    assert merge(good, broken, good) is None
    assert merge(good, good, broken) is None


# Properties

a_cell = st.builds(
    lambda kind, source, count, trusted: (
        cell("", source, count, metadata=trusted) if kind else {**text("", source), "metadata": trusted}
    ),
    st.booleans(),
    st.sampled_from(["", "x", "y", "z"]),
    st.sampled_from([None, 1, 2]),
    st.sampled_from([{}, {"tags": ["t"]}, {"tags": ["u"], "k": {"v": 1}}]),
)


@st.composite
def judged(draw: st.DrawFn) -> Notebook:
    """A notebook with a word on the trust in each cell, as documents have it and contents managers give it."""
    content: Notebook = draw(notebooks())
    for one in content["cells"]:
        one["metadata"] = {**one["metadata"], "trusted": draw(st.booleans())}
    return content


@st.composite
def notebooks(draw: st.DrawFn) -> Notebook:
    ids = draw(st.lists(st.sampled_from("abcdef"), unique=True, max_size=6))
    metadata = draw(st.sampled_from([{}, {"k": 1}, {"k": 2, "m": 1}]))
    return notebook(*({**draw(a_cell), "id": name} for name in ids), **metadata)


live_cells = st.frozensets(st.sampled_from("abcdef"))


@given(notebooks(), notebooks())
def test_if_nothing_was_done_here_theirs_is_taken(base: Notebook, theirs: Notebook) -> None:
    assert merged(base, base, theirs) == Merged(theirs, ())


@given(notebooks(), notebooks())
def test_if_nothing_was_done_there_ours_stays(base: Notebook, ours: Notebook) -> None:
    assert merged(base, ours, base) == Merged(ours, ())


@given(notebooks(), notebooks(), notebooks(), live_cells)
def test_nothing_typed_is_dropped_unsaid(
    base: Notebook, ours: Notebook, theirs: Notebook, live: frozenset[str]
) -> None:
    result = merged(base, ours, theirs, tuple(live))
    cells = {cell["id"]: cell for cell in result.content["cells"]}
    assert len(cells) == len(result.content["cells"]), "an id twice"
    old = {cell["id"]: cell for cell in base["cells"]}
    for side in (ours, theirs):
        for one in side["cells"]:
            name = one["id"]
            if name in old and one["source"] == old[name]["source"]:
                continue  # not typed by this side
            if name not in result.conflicts:
                assert cells[name]["source"] == one["source"]
    # Ours is what is open before somebody's eyes: it never goes, whatever the conflicts.
    for one in ours["cells"]:
        if one["id"] not in old or one["source"] != old[one["id"]]["source"]:
            assert cells[one["id"]]["source"] == one["source"]


@given(notebooks(), notebooks(), notebooks(), live_cells)
def test_live_results_never_come_from_the_file(
    base: Notebook, ours: Notebook, theirs: Notebook, live: frozenset[str]
) -> None:
    cells = {cell["id"]: cell for cell in merged(base, ours, theirs, tuple(live)).content["cells"]}
    for one in ours["cells"]:
        if one["id"] in live:
            assert cells[one["id"]].get("outputs") == one.get("outputs")
            assert cells[one["id"]].get("execution_count") == one.get("execution_count")


@given(notebooks(), notebooks(), notebooks())
def test_code_has_results_and_text_has_none(base: Notebook, ours: Notebook, theirs: Notebook) -> None:
    for one in merged(base, ours, theirs).content["cells"]:
        assert ("outputs" in one) == ("execution_count" in one)
        if one["cell_type"] == "markdown":
            assert "outputs" not in one


@given(notebooks(), notebooks(), notebooks())
def test_a_merge_is_over_when_it_is_done(base: Notebook, ours: Notebook, theirs: Notebook) -> None:
    """With the file as what they have in common, the result has nothing more to take from it."""
    once = merged(base, ours, theirs).content
    assert merged(theirs, once, theirs).content == once


@given(judged(), judged(), judged(), live_cells)
def test_nothing_is_trusted_that_no_side_trusts(
    base: Notebook, ours: Notebook, theirs: Notebook, live: frozenset[str]
) -> None:
    sides = [{cell["id"]: cell for cell in side["cells"]} for side in (ours, theirs)]
    for one in merged(base, ours, theirs, tuple(live)).content["cells"]:
        if one["cell_type"] != "code":
            continue
        same = [
            side[one["id"]]
            for side in sides
            if one["id"] in side and side[one["id"]].get("outputs") == one["outputs"]
        ]
        assert same, "its outputs are nobody's"
        assert one["metadata"]["trusted"] == any(cell["metadata"]["trusted"] for cell in same)
