"""Every setting, once. ``extension.py`` turns traits into this; everything below receives plain values."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

InputPolicy = Literal["anyone", "writers", "runner"]
"""Who may answer what a cell asks for: who may execute, who may change the document too, or only who has run the cell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How this server behaves. Times are in seconds, sizes in bytes."""

    log_path: Path | None = None
    """The update log's database. ``None`` keeps the log in memory: it then ends with the server."""

    owners_dir: Path | None = None
    """Which server has which document open is said in this folder, which servers of the same user share. ``None``: a
    document can be opened on several servers at once, and each saves it over the other's changes."""

    recovery_dir: Path = Path("recovery")
    """Versions of documents that would be lost otherwise are kept in this folder."""

    recovery_copies: int = 20
    """Of each document so many such versions are kept, the newest ones."""

    recovery_bytes: int = 2**30
    """When all such versions together are larger than this, the oldest are dropped."""

    log_delay: float = 0.5
    """Updates are written to the log together, at the latest so long after they were made, and at once when a client
    leaves and when the file was saved. A server that is killed loses at most so much of the log (clients that are
    connected still hold it). Each commit takes some milliseconds of CPU, of which short runs and every key have the
    most."""

    log_compact_updates: int = 200
    """A document's log is replaced by one snapshot when it has more updates than this, and more than one for each KiB
    of the snapshot."""

    log_compact_bytes: int = 2**20
    """It is replaced too when its updates, without the largest of them, are larger than this and larger than the
    snapshot."""

    load_patience: float = 1.0
    """A file that cannot be read is read again for so long before its document is refused: another program may be
    about to write it."""

    save_delay: float = 1.0
    """A document is saved so long after the last change of its content."""

    save_interval: float = 10.0
    """While a document keeps changing it is saved at least so often."""

    save_retry: float = 5.0
    """A save that failed is tried again after this time."""

    poll_interval: float = 1.0
    """The files of open documents are looked at so often for changes made by other programs."""

    linger: float = 60.0
    """A document that nobody needs any more is kept in memory for so long, for those who come back."""

    flush_interval: float = 0.04
    """Output of a running cell is written to the document at most so often; less often when that costs much."""

    output_limit: int = 20 * 2**20
    """Of a cell that puts out more than this the beginning and the end are kept. 0: everything is kept."""

    cursor_movement: bool = True
    """Cursor movements in printed text (nested progress bars) are carried out, as a terminal does. JupyterLab alone
    shows such bars one below the other."""

    barrier_timeout: float = 10.0
    """How long a request to execute waits for the edits, the text or the earlier request that it names to arrive."""

    kernel_timeout: float = 60.0
    """How long a run waits for its kernel to be ready."""

    leave_kernels: bool = False
    """Whether kernels behind a gateway that run a cell are left there when the server is stopped, for its next start to go
    on with. (Of a server that was killed they are left in any case.)"""

    idle_timeout: float = 5.0
    """How long a run whose reply has come waits for the kernel's idle message, which can be lost, or for the reply when
    the kernel is idle."""

    input_policy: InputPolicy = "writers"
    """Who may answer what a cell asks for (``input()``)."""

    prompts_keep_alive: bool = True
    """Whether a kernel that waits for input counts as at work, for those who end what is idle."""

    access_interval: float = 30.0
    """The login and the rights of everybody who is connected are asked for again so often. Who may do less (or more)
    than before is disconnected, and connects as what it is then."""

    client_backlog: int = 16 * 2**20
    """When more than this waits to be sent to a client it is forgotten and replaced by one diff."""

    runs_remembered: int = 1000
    """So many ended runs are kept in memory, to be asked about."""

    runs_path: Path | None = None
    """The database of what became of runs, which can be asked about after the server was started again. ``None``: only
    those in memory can."""

    runs_days: float = 7.0
    """So long an ended run is kept there."""

    runs_kept: int = 10_000
    """So many ended runs are kept there, the newest ones."""
