"""What can go wrong, as a tree.

    YdocExecError
    ├── BadRequest                400   the request itself makes no sense
    │   ├── BadRoomId             400
    │   ├── NotANotebook          400
    │   └── ProtocolError         400   a websocket frame that is none
    ├── InputForbidden            403   the policy lets others answer
    ├── NotFound                  404
    │   ├── DocumentNotFound      404
    │   ├── KernelNotFound        404
    │   ├── CellNotFound          404
    │   ├── CopyNotFound          404
    │   ├── RunNotFound           404
    │   ├── PromptNotFound        404
    │   └── BatchNotFound         404
    ├── PredecessorNotSeen        408
    ├── Conflict                  409   fine in itself, but not now
    │   ├── NotACodeCell          409
    │   ├── BarrierNotReached     409
    │   ├── CopyUnusable          409
    │   ├── LineageChanged        409
    │   ├── OpenAsOtherType       409
    │   ├── OpenElsewhere         409
    │   ├── PromptAnswered        409
    │   ├── PromptWithdrawn       409
    │   ├── RunEnded              409
    │   ├── RunStarted            409
    │   ├── SourceMismatch        409
    │   ├── NothingToRun          409
    │   └── NoSuchKernelSpec      409
    ├── LoadFailed                500   the file is there and cannot become a document
    ├── SaveFailed                500   the document could not be written to its file
    ├── CopyFailed                500   a recovery copy could not be written or read
    ├── ServerStopping            503
    ├── TooManyWait               503   no request more can wait for runs
    ├── KernelUnavailable         503   the kernel is there and does not answer
    │   ├── KernelConnecting      503   it will soon
    │   └── KernelReplaced        503
    ├── RunHistoryError           503   what became of runs could not be read or written
    └── UpdateLogError            500   the update log could not be read or written

An error carries its data as attributes and makes its sentence from them; the sentence ends with what the
reader can do. ``status`` is a hint for the HTTP edge, ``close_code`` one for the websocket edge: the codes
4400, 4404 and 4500 are those the stock ``jupyter-docprovider`` understands (``yprovider.ts``,
``_onConnectionClosed``). Nothing below the edges looks at them.
"""

from __future__ import annotations

import json


class YdocExecError(Exception):
    """Anything this package raises on purpose."""

    status: int = 500
    close_code: int = 4500

    @property
    def close_reason(self) -> str:
        """What a close frame says. It has room for 123 bytes (RFC 6455, 5.5)."""
        return str(self).encode()[:123].decode(errors="ignore")


class BadRequest(YdocExecError):
    """What was asked makes no sense, whatever the state of the server."""

    status = 400
    close_code = 4400


class BadRoomId(BadRequest):
    """A room name that is not ``format:type:file id``."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(name, why)
        self.name = name
        self.why = why

    def __str__(self) -> str:
        return (
            f"{self.name!r} does not name a document: {self.why}. Ask for a name with "
            "PUT /api/collaboration/session/{path}."
        )


class NotANotebook(BadRequest):
    """A file that has no cells."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path

    def __str__(self) -> str:
        return f"{self.path!r} is no notebook, so there is nothing to run. Name a notebook."


class ProtocolError(BadRequest):
    """A frame on a room's websocket that is not a message of the Yjs protocols or ours."""

    close_code = 1002
    """Protocol error (RFC 6455, 7.4.1). y-websocket then connects again, with a fresh handshake."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why

    def __str__(self) -> str:
        return f"A frame could not be understood: {self.why}. Reload the page to connect again."


class InputForbidden(YdocExecError):
    """Somebody may execute, and may not answer this question."""

    status = 403

    def __init__(self, policy: str) -> None:
        super().__init__(policy)
        self.policy = policy

    def __str__(self) -> str:
        who = {"runner": "who has run the cell", "writers": "who may change the document"}.get(
            self.policy, self.policy
        )
        return f"Only {who} may answer this (input_policy={self.policy}). Ask them to."


class NotFound(YdocExecError):
    """Something named in the request does not exist."""

    status = 404
    close_code = 4404


class DocumentNotFound(NotFound):
    """No file belongs to the path or file id."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return f"There is no document {self.name!r}. Check the path, or open the file again."


class KernelNotFound(NotFound):
    """No kernel has that id."""

    def __init__(self, kernel_id: str) -> None:
        super().__init__(kernel_id)
        self.kernel_id = kernel_id

    def __str__(self) -> str:
        return f"There is no kernel {self.kernel_id!r}. Start one for this notebook and run again."


class CellNotFound(NotFound):
    """No cell of the document has that id."""

    def __init__(self, cell_id: str, document: str) -> None:
        super().__init__(cell_id, document)
        self.cell_id = cell_id
        self.document = document

    def __str__(self) -> str:
        return (
            f"There is no cell {self.cell_id!r} in {self.document!r}. It may have been deleted; "
            "look at the notebook and run again."
        )


class CopyNotFound(NotFound):
    """No recovery copy of the document has that id, or it was dropped for newer ones."""

    def __init__(self, copy_id: str, path: str) -> None:
        super().__init__(copy_id, path)
        self.copy_id = copy_id
        self.path = path

    def __str__(self) -> str:
        return (
            f"There is no recovery copy {self.copy_id!r} of {self.path!r}; it may have been dropped for newer "
            "ones. Ask for those that are there."
        )


class RunNotFound(NotFound):
    """No run has that id, or it ended too long ago to be remembered."""

    def __init__(self, run_id: str) -> None:
        super().__init__(run_id)
        self.run_id = run_id

    def __str__(self) -> str:
        return f"There is no run {self.run_id!r}, or it ended too long ago. Look at the cell itself."


class PromptNotFound(NotFound):
    """No question has that id, its run asks nothing, or it was answered too long ago to be remembered."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return (
            f"{self.name!r} does not wait for input. Ask which do with GET /api/kernels/{{kernel_id}}/input."
        )


class BatchNotFound(NotFound):
    """No runs were asked for together under that id, or they ended too long ago to be remembered."""

    def __init__(self, batch_id: str) -> None:
        super().__init__(batch_id)
        self.batch_id = batch_id

    def __str__(self) -> str:
        return f"There is no batch {self.batch_id!r}, or it ended too long ago. Look at the cells themselves."


class PredecessorNotSeen(YdocExecError):
    """The request that was to come before has not come."""

    status = 408

    def __init__(self, request: str, seconds: float) -> None:
        super().__init__(request, seconds)
        self.request = request
        self.seconds = seconds

    def __str__(self) -> str:
        return (
            f"The request {self.request!r}, after which this one was to be taken, did not come within "
            f"{self.seconds:g} seconds, so nothing was run. Run again."
        )


class Conflict(YdocExecError):
    """The request is fine in itself, but not in the present state."""

    status = 409
    close_code = 1003


class NotACodeCell(Conflict):
    """A cell that cannot be executed because of its type."""

    def __init__(self, cell_id: str, cell_type: str) -> None:
        super().__init__(cell_id, cell_type)
        self.cell_id = cell_id
        self.cell_type = cell_type

    def __str__(self) -> str:
        return (
            f"Cell {self.cell_id!r} is a {self.cell_type} cell and cannot run. "
            "Change it to a code cell first."
        )


class BarrierNotReached(Conflict):
    """What the client typed before its request has not arrived on the room's websocket."""

    def __init__(self, barrier: str, seconds: float) -> None:
        super().__init__(barrier, seconds)
        self.barrier = barrier
        self.seconds = seconds

    def __str__(self) -> str:
        return (
            f"The edits made before this request did not arrive within {self.seconds:g} seconds, so "
            "nothing was run. Check the connection and run again."
        )


class CopyUnusable(Conflict):
    """A recovery copy whose content cannot be a document of its type: it can only be read."""

    def __init__(self, copy_id: str, path: str, why: str) -> None:
        super().__init__(copy_id, path, why)
        self.copy_id = copy_id
        self.path = path
        self.why = why

    def __str__(self) -> str:
        return (
            f"The recovery copy {self.copy_id!r} of {self.path!r} cannot be restored: {self.why}. Nothing was "
            "changed; download it instead."
        )


class LineageChanged(Conflict):
    """A client returns with a document of another history that cannot be brought together with ours."""

    @property
    def close_reason(self) -> str:
        """As ``yprovider.ts``, ``_onConnectionClosed``, reads it: it offers to reload and drops its document."""
        reason = {"reason": "session_changed", "sessionId": self.theirs[:32], "reloadable": True}
        return json.dumps(reason, separators=(",", ":"))

    def __init__(self, theirs: str, ours: str) -> None:
        super().__init__(theirs, ours)
        self.theirs = theirs
        self.ours = ours

    def __str__(self) -> str:
        return (
            "The server had to load this document again from its file. Copy what you have not saved, "
            "then reload the page."
        )


class OpenAsOtherType(Conflict):
    """The file is open as a document of another type. Both would save it, each over the other's changes."""

    close_code = 4400
    """One of the codes that end the opening of a document in the stock front end, instead of trying again."""

    def __init__(self, path: str, wanted: str, open_as: str) -> None:
        super().__init__(path, wanted, open_as)
        self.path = path
        self.wanted = wanted
        self.open_as = open_as

    def __str__(self) -> str:
        return (
            f"{self.path!r} cannot be opened as {self.wanted} while it is open as {self.open_as}. "
            "Close it there first."
        )


class OpenElsewhere(Conflict):
    """Another server has the document open. Both would save it, each over the other's changes."""

    close_code = 4400
    """Ends the opening in a front end that does not have the document yet; one that has it goes on trying, and is let in
    when the other server has closed it or is gone."""

    def __init__(self, owner: str) -> None:
        """``owner`` is the other server, as a person can find it."""
        super().__init__(owner)
        self.owner = owner

    def __str__(self) -> str:
        return f"This document is open on {self.owner}. Close it there, or stop that server, and open it again here."


class PromptAnswered(Conflict):
    """Somebody else was faster. ``value`` is what was accepted, or None if that is secret."""

    def __init__(self, run_id: str, prompt_id: str, user: str, name: str, value: str | None) -> None:
        # Not the value: arguments are in what is logged of an error.
        super().__init__(run_id, prompt_id, user)
        self.run_id = run_id
        self.prompt_id = prompt_id
        self.user = user
        self.name = name
        self.value = value

    def __str__(self) -> str:
        return f"{self.name or self.user or 'Somebody'} has answered this already. Nothing was sent; look at the cell."


class PromptWithdrawn(Conflict):
    """A question that was never answered, and for whose answer nobody waits any more."""

    def __init__(self, prompt_id: str) -> None:
        super().__init__(prompt_id)
        self.prompt_id = prompt_id

    def __str__(self) -> str:
        return "The cell does not wait for this input any more. Nothing was sent; look at the cell."


class RunEnded(Conflict):
    """There is nothing left to cancel."""

    def __init__(self, run_id: str, state: str) -> None:
        super().__init__(run_id, state)
        self.run_id = run_id
        self.state = state

    def __str__(self) -> str:
        return f"Run {self.run_id!r} has ended already ({self.state}). There is nothing left to cancel."


class RunStarted(Conflict):
    """A run that the kernel has cannot be taken out of the queue."""

    def __init__(self, run_id: str) -> None:
        super().__init__(run_id)
        self.run_id = run_id

    def __str__(self) -> str:
        return (
            f"Run {self.run_id!r} has been started and cannot be cancelled. Interrupt the kernel to end it."
        )


class SourceMismatch(Conflict):
    """The cell's text in the document is not the one that somebody wanted to run."""

    def __init__(self, cell_id: str) -> None:
        super().__init__(cell_id)
        self.cell_id = cell_id

    def __str__(self) -> str:
        return (
            f"The text of cell {self.cell_id!r} on the server is not the one that was to run, so nothing was run. "
            "Look at the cell and run again."
        )


class OtherKernel(Conflict):
    """A notebook has one kernel at a time, and a run named another one."""

    def __init__(self, path: str, kernel_id: str, other: str) -> None:
        super().__init__(path, kernel_id, other)
        self.path = path
        self.kernel_id = kernel_id
        self.other = other

    def __str__(self) -> str:
        return (
            f"{self.path!r} has kernel {self.kernel_id!r}, so nothing was run on {self.other!r}. Run on that one, or choose "
            "the other kernel for the notebook (PATCH /api/sessions), when its cells have ended."
        )


class NothingToRun(Conflict):
    """A notebook without code cells."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path

    def __str__(self) -> str:
        return f"{self.path!r} has no code cells, so there is nothing to run. Name a notebook with code."


class NoSuchKernelSpec(Conflict):
    """The kernel that a notebook wants is not installed."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return f"There is no kernel named {self.name!r} on this server, so nothing was run. Install it or name another one."


class ServerStopping(YdocExecError):
    """Nothing is opened any more."""

    status = 503
    close_code = 1001

    def __str__(self) -> str:
        return "The server is being stopped. Try again when it has been started."


class TooManyWait(YdocExecError):
    """More requests wait for runs than the server keeps open."""

    status = 503

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number

    def __str__(self) -> str:
        return f"{self.number} requests wait for runs already. Ask without waiting, or later."


class LoadFailed(YdocExecError):
    """The file exists and cannot be read as a document of the wanted type."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(path, why)
        self.path = path
        self.why = why

    def __str__(self) -> str:
        return f"{self.path!r} could not be loaded: {self.why}. The file was not touched; repair it and open it again."


class SaveFailed(YdocExecError):
    """The document could not be written to its file; it stays dirty and is tried again."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(path, why)
        self.path = path
        self.why = why

    def __str__(self) -> str:
        return (
            f"{self.path!r} could not be saved: {self.why}. The document is kept on the server and saving "
            "is tried again; free space or fix the permissions."
        )


class CopyFailed(YdocExecError):
    """A recovery copy could not be kept, listed, read or deleted."""

    def __init__(self, done: str, path: str, why: str) -> None:
        super().__init__(done, path, why)
        self.done = done
        self.path = path
        self.why = why

    def __str__(self) -> str:
        return (
            f"A recovery copy of {self.path!r} could not be {self.done}: {self.why}. Check the folder for recovery "
            "copies and the space on its disk."
        )


class KernelUnavailable(YdocExecError):
    """A kernel that exists and cannot be talked to."""

    status = 503

    def __init__(self, kernel_id: str, why: str) -> None:
        super().__init__(kernel_id, why)
        self.kernel_id = kernel_id
        self.why = why

    def __str__(self) -> str:
        return f"Kernel {self.kernel_id!r} cannot be reached: {self.why}. Restart it and run again."


class KernelConnecting(KernelUnavailable):
    """A kernel that has a run from an earlier life of the server, and to which there is no connection yet."""

    def __init__(self, kernel_id: str) -> None:
        super().__init__(kernel_id, "it is being connected to")

    def __str__(self) -> str:
        return f"Kernel {self.kernel_id!r} is being connected to again. Try again in a moment."


class KernelReplaced(KernelUnavailable):
    """Somebody has shut down or restarted the kernel, and knows it."""

    def __init__(self, kernel_id: str) -> None:
        super().__init__(kernel_id, "it was shut down or restarted")

    def __str__(self) -> str:
        return f"Kernel {self.kernel_id!r} was shut down or restarted. Run again."


class RunHistoryError(YdocExecError):
    """What became of earlier runs could not be read or written. Runs go on without it."""

    status = 503

    def __init__(self, what: str, why: str) -> None:
        super().__init__(what, why)
        self.what = what
        self.why = why

    def __str__(self) -> str:
        return f"The run history failed to {self.what}: {self.why}. Runs go on; check the disk that it is on."


class UpdateLogError(YdocExecError):
    """The update log could not be read or written. Documents go on without it."""

    def __init__(self, what: str, why: str) -> None:
        super().__init__(what, why)
        self.what = what
        self.why = why

    def __str__(self) -> str:
        return (
            f"The update log failed to {self.what}: {self.why}. Documents stay open and are saved to their "
            "files; check the disk the log is on."
        )
