"""Every route, and what answers there. ``openapi.yaml`` describes them."""

from __future__ import annotations

from typing import Any

from ydoc_exec.handlers.execute_handler import ExecuteHandler, PathExecuteHandler
from ydoc_exec.handlers.input_handler import InputHandler
from ydoc_exec.handlers.openapi_handler import OpenApiHandler
from ydoc_exec.handlers.recovery_handler import RecoveryHandler
from ydoc_exec.handlers.requests_handler import RequestHandler, RequestsHandler
from ydoc_exec.handlers.room_handler import RoomHandler
from ydoc_exec.handlers.save_handler import SaveHandler
from ydoc_exec.handlers.session_handler import SessionHandler
from ydoc_exec.handlers.state_handler import StateHandler
from ydoc_exec.handlers.status_handler import StatusHandler

_KERNEL_ID = r"(?P<kernel_id>[\w-]+)"
_RUN_ID = r"(?P<run_id>\w+)"

ROUTES: tuple[tuple[str, type[Any]], ...] = (
    (r"/api/ydoc_exec/openapi.yaml", OpenApiHandler),
    (r"/api/collaboration/session/(.*)", SessionHandler),
    (r"/api/collaboration/room/(.*)", RoomHandler),
    (r"/api/collaboration/save/(.*)", SaveHandler),
    (r"/api/collaboration/recovery/(.*)", RecoveryHandler),
    (r"/api/collaboration/status", StatusHandler),
    (r"/api/collaboration/execute/(.*)", PathExecuteHandler),
    (rf"/api/kernels/{_KERNEL_ID}/execute", ExecuteHandler),
    (rf"/api/kernels/{_KERNEL_ID}/input", InputHandler),
    (rf"/api/kernels/{_KERNEL_ID}/state", StateHandler),
    (rf"/api/kernels/{_KERNEL_ID}/requests", RequestsHandler),
    (rf"/api/kernels/{_KERNEL_ID}/requests/{_RUN_ID}", RequestHandler),
)
"""Patterns below the server's base, and handlers. Each handler is given ``collaboration``, and some are given more."""
