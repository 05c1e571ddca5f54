"""Kernels whose death is noticed within a second.

Jupyter's restarter looks whether a kernel's process is there every three seconds (jupyter_client 8, ``KernelRestarter``), and
one that ends whenever it is started is known to do so after the second look. Whoever waits for a cell waits as long. To look
takes next to nothing.
"""

from __future__ import annotations

from typing import Any

PATIENCE = 1.0
"""Seconds between two looks, if nobody has said something else."""

RESTARTERS = ("KernelRestarter", "IOLoopKernelRestarter", "AsyncIOLoopKernelRestarter")


def notice_deaths_soon(config: Any) -> None:
    """Have the restarters of kernels that are started from now on look more often, if the server's ``config`` does not say
    how often they are to."""
    if not any("time_to_dead" in config[name] for name in RESTARTERS if name in config):
        config.KernelRestarter.time_to_dead = PATIENCE
