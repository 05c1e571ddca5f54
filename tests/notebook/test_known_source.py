"""The hash that jupyter-server-documents makes of a cell's text."""

from __future__ import annotations

import pytest

from ydoc_exec.notebook.known_source import KnownSource, murmur2


@pytest.mark.parametrize(
    "text, value",
    [
        ("", 0),
        ("a", 2456313694),
        ("ab", 446775395),
        ("abc", 324500635),
        ("abcd", 646393889),
        ("print('one')", 941952032),
        ("é 10%", 554352645),
        ("x = '📊'\n", 3982513723),
    ],
)
def test_it_is_what_the_front_end_says(text: str, value: int) -> None:
    """The values were made by the function in version 0.3.3 of that front end, in Node."""
    assert murmur2(text) == str(value)


def test_a_known_source() -> None:
    assert KnownSource(text="abc").is_of("abc")
    assert not KnownSource(text="abc").is_of("abd")
    assert KnownSource(hash="324500635").is_of("abc")
    assert not KnownSource(hash="324500635").is_of("abd")
    assert not KnownSource(hash="0324500635").is_of("abc")
    assert KnownSource(hash="0").is_of("")
