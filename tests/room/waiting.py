"""Waiting for what cannot be waited for."""

from __future__ import annotations

from collections.abc import Callable

from anyio import fail_after, sleep


async def until(condition: Callable[[], object]) -> None:
    """Return when the condition holds; it is looked at again and again."""
    with fail_after(30):
        while not condition():  # noqa: ASYNC110 - a file or a plain value sets no event
            await sleep(0.002)
