"""Open JupyterLab tabs without a browser (``tests/node/live_tab.mjs``)."""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import Any

from tests.node_process import NodeProcess


class LiveTabs:
    """One Node process with any number of tabs, each known by a name."""

    def __init__(self) -> None:
        self._node = NodeProcess("live_tab.mjs")

    def open(self, tab: str, update: bytes, document_wide_undo: bool = True) -> None:
        """A tab opens and receives the whole document."""
        self._ask(open=tab, update=b64encode(update).decode(), documentWideUndo=document_wide_undo)

    def apply(self, tab: str, update: bytes) -> None:
        """The tab receives an update. Nothing may be thrown in it, and it may not write anything itself."""
        self._ask(apply=tab, update=b64encode(update).decode())

    def act(self, tab: str, *action: str | int) -> bytes | None:
        """The user of the tab does something (``ACTIONS`` in the script): what the tab writes, if it does."""
        update = self._ask(act=tab, action=action)["update"]
        return None if update is None else b64decode(update)

    def report(self, tab: str) -> dict[str, Any]:
        """What the tab shows (``cells``, and their ``order``) and what its copy of the document says (``shared``)."""
        return self._ask(report=tab)

    def close(self, tab: str) -> None:
        self._ask(close=tab)

    def stop(self) -> None:
        self._node.stop()

    # Private

    def _ask(self, **command: Any) -> dict[str, Any]:
        answer = self._node.ask(command)
        assert answer["errors"] == []
        assert answer["writes"] == 0
        return answer
