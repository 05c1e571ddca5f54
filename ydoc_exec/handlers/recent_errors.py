"""The last warnings and errors of this package, for who looks after the server and has not its log at hand."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone

import ydoc_exec

REMEMBERED = 50
LONGEST = 2000
"""Characters of one message."""


class RecentErrors(logging.Handler):
    """Remembers what is logged below the package's name, warnings and worse."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._records: deque[dict[str, str]] = deque(maxlen=REMEMBERED)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """As long as this lasts."""
        logger = logging.getLogger(ydoc_exec.__name__)
        logger.addHandler(self)
        try:
            yield
        finally:
            logger.removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """What ``logging`` calls."""
        text = record.getMessage()
        if record.exc_info is not None and record.exc_info[1] is not None:
            text = f"{text} ({record.exc_info[1]!r})"
        at = datetime.fromtimestamp(record.created, timezone.utc).isoformat().replace("+00:00", "Z")
        self._records.append(
            {"at": at, "level": record.levelname.lower(), "where": record.name, "text": text[:LONGEST]}
        )
        # Without handlers Python prints warnings and errors. We are one, and do not print.
        if logging.lastResort is not None and not logging.getLogger().handlers:
            logging.lastResort.handle(record)

    def last(self) -> list[dict[str, str]]:
        """The newest first."""
        return list(reversed(self._records))
