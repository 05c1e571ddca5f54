"""JupyterLab as a judge: its own code, fed with a recording (``tests/node/kernel_messages.mjs``)."""

from __future__ import annotations

from tests.corpus.case import Output
from tests.corpus.recording import Recording
from tests.node_process import NodeProcess


class JupyterLab:
    """The kernel connection and the output areas of a JupyterLab that runs its cells itself."""

    def __init__(self) -> None:
        self._node = NodeProcess("kernel_messages.mjs")

    def outputs(self, recording: Recording) -> list[list[Output]]:
        """What each cell shows in the end."""
        messages = [{**message, "buffers": []} for message in recording.all_messages()]
        answer = self._node.ask({"cells": len(recording.cells), "messages": messages})
        assert answer["errors"] == []
        outputs: list[list[Output]] = answer["outputs"]
        return outputs

    def stop(self) -> None:
        self._node.stop()
