"""All cases of the corpus."""

from __future__ import annotations

from tests.corpus.case import Case
from tests.corpus.cases import clearing, displays, errors, late, libraries, replies, results, streams, updates

CASES: list[Case] = [
    *streams.CASES,
    *displays.CASES,
    *results.CASES,
    *updates.CASES,
    *clearing.CASES,
    *errors.CASES,
    *late.CASES,
    *replies.CASES,
    *libraries.CASES,
]
