"""Notebooks that live on the server: collaboration and execution for Jupyter Server.

The package imports nothing heavy here, so that its version can be asked for cheaply.
"""

from __future__ import annotations

__version__ = "0.1.0"


def _jupyter_server_extension_points() -> list[dict[str, object]]:
    """Where Jupyter Server finds the extension."""
    from ydoc_exec.extension import YdocExec

    return [{"module": "ydoc_exec", "app": YdocExec}]


def _jupyter_labextension_paths() -> list[dict[str, str]]:
    """Where JupyterLab finds the built front end."""
    return [{"src": "labextension", "dest": "@ydoc-exec/lab"}]
