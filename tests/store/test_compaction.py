"""When a log is compacted: what it may hold, and how often a snapshot is paid for."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ydoc_exec.store.compaction import BYTES_PER_UPDATE, SLACK_BYTES, LogGrowth

UPDATES = 500
BYTES = 2**20


def grown(snapshot: int, *updates: int) -> LogGrowth:
    growth = LogGrowth()
    growth.restart(snapshot)
    for size in updates:
        growth.add(size)
    return growth


def due(growth: LogGrowth) -> bool:
    return growth.is_due(UPDATES, BYTES)


def test_many_small_updates() -> None:
    assert not due(grown(1000, *[30] * UPDATES))
    assert due(grown(1000, *[30] * (UPDATES + 1)))


def test_a_large_document_may_have_more_of_them() -> None:
    megabytes = 20 * 2**20
    assert not due(grown(megabytes, *[30] * 20_000))
    assert due(grown(megabytes, *[30] * 20_481))


def test_few_large_updates() -> None:
    assert not due(grown(1000, 2**19, 2**19, 2**19))
    assert due(grown(1000, 2**19, 2**19 + 1, 2**19 + 1))
    assert not due(grown(2**23, *[2**20] * 9))
    assert due(grown(2**23, *[2**20] * 10))


def test_one_update_of_any_size_is_no_reason() -> None:
    assert not due(grown(1000, 2**30))
    assert not due(grown(1000, *[10] * 100, 2**30, *[10] * 100))
    assert due(grown(1000, 2**30, 2**30))


def test_a_new_snapshot_is_a_new_beginning() -> None:
    growth = grown(1000, *[30] * 1000)
    growth.restart(2000)
    assert growth == LogGrowth(snapshot_bytes=2000)


def test_at_the_end_less_is_enough() -> None:
    assert not grown(1000).is_worth_closing_with(1000, UPDATES)
    assert not grown(1000, *[30] * 50).is_worth_closing_with(1500, UPDATES)
    assert grown(1000, *[30] * 51).is_worth_closing_with(1500, UPDATES)


def test_at_the_end_a_document_that_became_small_is_written_small() -> None:
    assert grown(20 * 2**20, 100).is_worth_closing_with(1000, UPDATES)
    assert not grown(20 * 2**20, 100).is_worth_closing_with(20 * 2**20, UPDATES)


sizes = st.integers(1, 2**21)


@given(st.integers(0, 2**24), st.lists(sizes, max_size=30), st.integers(1, 3000))
def test_what_a_log_holds_is_bounded(snapshot: int, large: list[int], small: int) -> None:
    """Whatever is added, a log that was asked after each update holds no more than is said."""
    growth = grown(snapshot)
    for size in [*large, *[20] * small]:
        growth.add(size)
        if due(growth):
            growth.restart(growth.snapshot_bytes + growth.update_bytes)  # nothing was ever deleted
        assert growth.updates <= max(UPDATES, growth.snapshot_bytes // BYTES_PER_UPDATE)
        assert growth.update_bytes <= max(BYTES, growth.snapshot_bytes) + growth.largest_bytes


@given(st.lists(st.integers(1, 5000), min_size=1, max_size=3000))
def test_snapshots_cost_little_beside_what_made_them_necessary(updates: list[int]) -> None:
    """In a document that only grows, all its snapshots together are a small multiple of it and of its updates."""
    growth = grown(0)
    written = 0
    for size in updates:
        growth.add(size)
        if due(growth):
            growth.restart(growth.snapshot_bytes + growth.update_bytes)
            written += growth.snapshot_bytes
    assert written <= BYTES_PER_UPDATE * len(updates) + 2 * sum(updates)


@given(st.integers(0, 2**22), st.lists(sizes, max_size=20), st.integers(0, 2**22))
def test_what_a_closed_document_leaves(before: int, updates: list[int], snapshot: int) -> None:
    growth = grown(before, *updates)
    if updates and growth.is_worth_closing_with(snapshot, UPDATES):
        growth.restart(snapshot)
    elif updates:
        assert growth.snapshot_bytes + growth.update_bytes <= 2 * snapshot + SLACK_BYTES
        assert growth.updates <= max(UPDATES, snapshot // BYTES_PER_UPDATE) // 10
