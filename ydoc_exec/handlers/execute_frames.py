"""Requests to run cells that come on a room's websocket.

They say and are answered what ``POST /api/kernels/{kernel_id}/execute`` takes and answers. What was typed before is there
without a barrier, as it came the same way; there is nothing to connect, to find a route for or to log in; and whoever is
cut off before the answer sends the same again, and has it run once.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.utils import ensure_async
from tornado import web

from ydoc_exec import sync
from ydoc_exec.documents.collaboration import Collaboration
from ydoc_exec.errors import YdocExecError
from ydoc_exec.handlers.answers import accepted
from ydoc_exec.handlers.bodies import BadBody, ExecuteBody, read_json
from ydoc_exec.ids import RoomId

logger = logging.getLogger(__name__)

MAX_CHARACTERS = 2**21
"""Of one request. 10,000 cells with long ids are named in half of it."""


class ExecuteFrames:
    """Carries out what one client of a room asks for.

    Args:
        handler: the client's websocket. Its login is asked for again now and then, as for everything else that comes
            there; whether who that is may execute is asked each time.
    """

    def __init__(
        self, handler: JupyterHandler, collaboration: Callable[[], Awaitable[Collaboration]], room: RoomId
    ) -> None:
        self._handler = handler
        self._collaboration = collaboration
        self._room = room

    async def answer(self, request: sync.Execute) -> bytes:
        """The answer's frame. Raises nothing."""
        try:
            status, body = 202, await self._carry_out(request)
        except YdocExecError as error:
            status, body = error.status, {"message": str(error)}
        except web.HTTPError as error:
            status, body = error.status_code, {"message": error.log_message or error.reason}
        except Exception:
            logger.exception("A request to execute cells of %s failed", self._room)
            status, body = 500, {"message": "The server failed to run this; its log says why."}
        return sync.execute_reply(request.request_id, status, body)

    async def _carry_out(self, request: sync.Execute) -> dict[str, Any]:
        handler = self._handler
        user = handler.current_user
        if not await ensure_async(handler.authorizer.is_authorized(handler, user, "execute", "kernels")):
            raise web.HTTPError(403, "You may not run cells here.")
        kernel, body = ExecuteBody.read_frame(_values(request.body), self._room)
        collaboration = await self._collaboration()
        runs = await collaboration.execution.submit(
            body.asked_by(user, self._room, kernel, id=request.request_id)
        )
        return accepted(handler.base_url, runs)


def _values(body: str) -> Any:
    if len(body) > MAX_CHARACTERS:
        raise BadBody(f"it has more than {MAX_CHARACTERS} characters")
    return read_json(body)
