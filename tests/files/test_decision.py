"""What is done when the file, the document and what they had in common disagree."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ydoc_exec.files.decision import Base, Decision, Fingerprint, decide, fingerprint

F, D, OTHER = Fingerprint("f"), Fingerprint("d"), Fingerprint("other")


@pytest.mark.parametrize(
    "file, document, decision",
    [
        (F, D, Decision.KEEP),
        (F, OTHER, Decision.SAVE),
        (OTHER, D, Decision.RELOAD),
        (OTHER, OTHER, Decision.MERGE),
        (D, F, Decision.MERGE),
    ],
)
def test_decision(file: Fingerprint, document: Fingerprint, decision: Decision) -> None:
    assert decide(file, document, Base(F, D)) is decision


def test_a_base_is_read_as_it_was_written() -> None:
    base = Base(F, D)
    assert Base.parse(str(base)) == base


def test_what_is_no_base_is_none() -> None:
    assert Base.parse("") is None
    assert Base.parse("abc") is None


def notebook(**metadata: Any) -> dict[str, Any]:
    return {"cells": [{"id": "a", "source": "x", "metadata": metadata}], "metadata": {}, "nbformat": 4}


def test_trust_is_no_content() -> None:
    assert (
        fingerprint(notebook(trusted=True)) == fingerprint(notebook(trusted=False)) == fingerprint(notebook())
    )


def test_other_metadata_is() -> None:
    assert fingerprint(notebook(tags=["a"])) != fingerprint(notebook())


def test_a_text_has_a_fingerprint() -> None:
    assert fingerprint("a\r\n") != fingerprint("a\n")


def test_half_an_emoji_has_a_fingerprint() -> None:
    assert fingerprint("\ud83d") != fingerprint("")


@pytest.mark.parametrize("cells", [[None], ["x"], [{"metadata": None}], None, {}])
def test_what_is_no_notebook_has_a_fingerprint(cells: Any) -> None:
    assert fingerprint({"cells": cells})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters()), inner, max_size=4),
    max_leaves=30,
)


@given(JSON)
def test_it_is_made_of_the_whole_json(content: Any) -> None:
    """Bases are kept: a fingerprint is the same in every version of this package."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert fingerprint(content) == hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:40]
