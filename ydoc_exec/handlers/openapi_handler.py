"""``GET /api/ydoc_exec/openapi.yaml``: all routes, described."""

from __future__ import annotations

from pathlib import Path

from tornado import web

from ydoc_exec.handlers.base import YdocExecHandler

DESCRIPTION = Path(__file__).parent.parent / "openapi.yaml"


class OpenApiHandler(YdocExecHandler):
    """Gives the description of all our routes, as OpenAPI 3.1, to whoever is logged in."""

    @web.authenticated
    def get(self) -> None:
        """The file, in YAML (RFC 9512)."""
        self.finish(DESCRIPTION.read_bytes(), set_content_type="application/yaml")
