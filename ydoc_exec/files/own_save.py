"""What a file mirror and whoever writes files for the contents manager tell each other about one save.

A contents manager's ``save`` takes a model and a path, and says little: another program may write the file after the
mirror has looked at it and before it is replaced, or between the replacement and the answer. So the mirror's
save is known, while it lasts, to what writes the bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from ydoc_exec.files.replacement import FileState

_under_way: ContextVar[OwnSave | None] = ContextVar("own_save", default=None)


@dataclass
class OwnSave:
    """One save by a file mirror.

    Args:
        path: the file, as the contents manager names it.
        known: the version of the file that the document has taken up; None if there was no file.
        replaced: called with the new version's hash in the same step of the event loop in which it replaces the file.
    """

    path: str
    known: FileState | None
    replaced: Callable[[str], None]
    overtaken: bool = field(default=False, init=False)
    """Somebody else wrote, moved or deleted the file meanwhile, so it was not replaced."""
    written: FileState | None = field(default=None, init=False)
    """The version that replaced the file; None while there is none, or if it was written in another way."""

    @contextmanager
    def under_way(self) -> Iterator[None]:
        """While it lasts, ``own_save`` knows of it here and in everything that is started here."""
        token = _under_way.set(self)
        try:
            yield
        finally:
            _under_way.reset(token)


def own_save() -> OwnSave | None:
    """The mirror's save that led to the present call, if one did."""
    return _under_way.get()
