"""What the one behind a websocket may do, asked again while it is open.

A request is authenticated and authorized once, and is over soon. A room's websocket stays open for days, in which
logins expire and rights are taken away.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.utils import ensure_async
from tornado.httputil import HTTPServerRequest


@dataclass(frozen=True, slots=True)
class Access:
    """What somebody may do with documents."""

    read: bool
    write: bool


async def access(handler: JupyterHandler) -> Access:
    """What the user of a request may do, as the server's authorizer says now."""
    user = handler.current_user
    if user is None:
        return Access(read=False, write=False)
    may = handler.authorizer.is_authorized
    return Access(
        read=bool(await ensure_async(may(handler, user, "read", "contents"))),
        write=bool(await ensure_async(may(handler, user, "write", "contents"))),
    )


async def access_again(handler: JupyterHandler) -> Access:
    """What a new request with the same address and headers would be allowed."""
    return await access(await _again(handler))


async def may_still(handler: JupyterHandler, action: str, resource: str) -> bool:
    """Whether a new request with the same address and headers would be allowed this."""
    again = await _again(handler)
    user = again.current_user
    return user is not None and bool(
        await ensure_async(again.authorizer.is_authorized(again, user, action, resource))
    )


async def _again(handler: JupyterHandler) -> JupyterHandler:
    """A handler of such a request.

    It is another one: those who identify users remember on the handler whom they found, and set cookies, which is too
    late for a request that has been answered.
    """
    first = handler.request
    request = HTTPServerRequest(
        method=first.method,
        uri=first.uri,
        version=first.version,
        headers=first.headers,
        connection=cast(Any, _Nowhere()),
    )
    request.remote_ip, request.protocol, request.host = first.remote_ip, first.protocol, first.host
    again = JupyterHandler(handler.application, request)
    again.current_user = await ensure_async(handler.identity_provider.get_user(again))
    return again


class _Nowhere:
    """The connection of a request that nobody is going to answer."""

    context: Any = None

    def set_close_callback(self, callback: Callable[[], None] | None) -> None:
        """Nothing is ever closed."""
