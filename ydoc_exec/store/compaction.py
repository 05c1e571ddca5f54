"""When a document's log is worth being replaced by one snapshot.

Opening a document applies what its log holds. Applying an update takes some microseconds however small it is, so
not only the bytes count but also how many there are: 1 MiB of keystrokes are 35,000 updates. A snapshot is made on the
event loop and written as a whole (20 MB: tens of milliseconds), so the larger it is the more has to be gained by it.
"""

from __future__ import annotations

from dataclasses import dataclass

BYTES_PER_UPDATE = 1024
"""Opening a document takes about as long for so many bytes of snapshot as for one update beside it."""

CLOSING = 10
"""At the end of a document's life a log is worth a snapshot when it is so many times smaller than while it is
open: nobody waits, it is the last chance, and the next who opens it gains."""

SLACK_BYTES = 64 * 1024
"""So much more than the snapshot is nothing to a disk."""


@dataclass(slots=True)
class LogGrowth:
    """What a document's log holds: one snapshot, and the updates after it. Sizes in bytes."""

    snapshot_bytes: int = 0
    updates: int = 0
    update_bytes: int = 0
    largest_bytes: int = 0

    @property
    def bytes(self) -> int:
        """All of it."""
        return self.snapshot_bytes + self.update_bytes

    def add(self, update_bytes: int) -> None:
        """One update more."""
        self.updates += 1
        self.update_bytes += update_bytes
        self.largest_bytes = max(self.largest_bytes, update_bytes)

    def restart(self, snapshot_bytes: int) -> None:
        """The log begins anew with a snapshot."""
        self.snapshot_bytes = snapshot_bytes
        self.updates = self.update_bytes = self.largest_bytes = 0

    def is_due(self, max_updates: int, max_bytes: int) -> bool:
        """Whether the log should be compacted now, while the document is open.

        A document's log is thus never much more than ``max_updates`` updates or one for each KiB of snapshot, nor than
        twice its snapshot, ``max_bytes`` and its largest update. That one does not count: what was put into the
        document in one piece, as a paste, is most likely still there and would be in the snapshot too.
        """
        return self.updates > max(max_updates, self.snapshot_bytes // BYTES_PER_UPDATE) or (
            self.update_bytes - self.largest_bytes > max(max_bytes, self.snapshot_bytes)
        )

    def is_worth_closing_with(self, snapshot_bytes: int, max_updates: int) -> bool:
        """Whether a snapshot of this size should take the log's place at the end of the document's life."""
        if self.updates == 0:
            return False
        return (
            self.updates > max(max_updates, snapshot_bytes // BYTES_PER_UPDATE) // CLOSING
            or self.bytes > 2 * snapshot_bytes + SLACK_BYTES
        )
