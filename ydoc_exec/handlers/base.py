"""What all our handlers share: where the living parts are, and how errors become HTTP."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from jupyter_server.base.handlers import APIHandler
from jupyter_server.utils import ensure_async
from tornado import web

from ydoc_exec.documents.collaboration import Collaboration, FileIds
from ydoc_exec.errors import DocumentNotFound, NotANotebook, YdocExecError
from ydoc_exec.handlers.bodies import read_json
from ydoc_exec.ids import RoomId


class NotServing(YdocExecError):
    """The extension failed to start, or failed."""

    status = 503

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why

    def __str__(self) -> str:
        return (
            f"ydoc_exec does not serve documents, because it failed: {self.why}. The server's log says more; "
            "start the server again."
        )


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

    def read_json(self) -> Any:
        """The body as JSON values. Raises ``BadBody``."""
        return read_json(self.request.body)

    async def may(self, action: str, resource: str) -> bool:
        """Whether the server's authorizer lets the user do this too."""
        user = self.current_user
        return bool(await ensure_async(self.authorizer.is_authorized(self, user, action, resource)))

    async def notebook_at(self, path: str) -> RoomId:
        """The room of the notebook at this path. Raises ``DocumentNotFound`` or ``NotANotebook``."""
        path = path.strip("/")
        contents: Any = self.contents_manager
        if not await ensure_async(contents.file_exists(path)):
            raise DocumentNotFound(path)
        model = await ensure_async(contents.get(path, content=False))
        if model["type"] != "notebook":
            raise NotANotebook(path)
        file_id = self.file_ids.get_id(path) or self.file_ids.index(path)
        if file_id is None:
            raise DocumentNotFound(path)
        return RoomId("json", "notebook", file_id)

    @property
    def file_ids(self) -> FileIds:
        """The file id manager. Its extension may be loaded after ours, so it is looked up each time."""
        manager: FileIds = self.settings["file_id_manager"]
        return manager
