"""What all our handlers share: where the living parts are, and how errors become HTTP."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from jupyter_server.base.handlers import APIHandler
from tornado import web

from ydoc_exec.documents.collaboration import Collaboration, FileIds
from ydoc_exec.errors import YdocExecError


@contextmanager
def http_errors() -> Iterator[None]:
    """Turn our errors into HTTP ones: the status they hint at and their sentence as ``message``."""
    try:
        yield
    except YdocExecError as error:
        raise web.HTTPError(error.status, str(error)) from error


class YdocExecHandler(APIHandler):
    """A JSON endpoint."""

    def initialize(self, collaboration: Callable[[], Awaitable[Collaboration]]) -> None:
        """``collaboration`` answers when everything has started."""
        super().initialize()
        self.collaboration = collaboration

    @property
    def file_ids(self) -> FileIds:
        """The file id manager. Its extension may be loaded after ours, so it is looked up each time."""
        manager: FileIds = self.settings["file_id_manager"]
        return manager
