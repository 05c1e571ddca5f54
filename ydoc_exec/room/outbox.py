"""What one client has still to be sent.

An outbox is no queue of a fixed length: a client that does not read must not cost memory without bound, and
must not miss anything either. So only the updates that were made lately are kept as they are. When they
become too many they are all forgotten, and the client is sent one diff between the document and the state it
is known to have. pycrdt makes that diff faster than it could merge the updates, and it is smaller.

A plain data structure: it does not wait, wake or send.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from itertools import count

from ydoc_exec import sync
from ydoc_exec.errors import ProtocolError

EMPTY_STATE = b"\x00"
"""The state vector of a document nobody ever wrote to."""

MAX_AWARENESS = 100
"""So many awareness frames are kept, each about other clients than the rest."""


class Outbox:
    """The frames one client has still to be sent, in order, in bounded memory.

    Guarantee: let every update of the document either be ``put`` here or come from the client itself. Then a
    client that is sent what ``take`` returns, in that order and until it returns ``None``, has the whole
    document, however many updates were forgotten in between. A frame is never taken before the updates that
    were put before it.

    * Updates waiting together have at most ``limit_bytes`` bytes, besides the first of them.
    * Of awareness frames about the same clients only the newest waits, and no more than ``MAX_AWARENESS`` or
      ``limit_bytes`` in all; then the oldest is dropped. Clients say their presence again every 15 seconds
      and forget those who do not, so a loss heals.
    * Of replies to sync step 1 only the newest waits: it answers a newer state of the same client.
    * Everything else is kept until taken. ``pending_bytes`` tells when it is time to give a client up.

    Args:
        limit_bytes: how many bytes of updates, and again of awareness, may wait.
        diff: makes the update that leads from a state vector to the present document.
        state: the state vector of the present document.
    """

    def __init__(self, limit_bytes: int, diff: Callable[[bytes], bytes], state: Callable[[], bytes]) -> None:
        self._limit = limit_bytes
        self._diff = diff
        self._state = state
        self._known = EMPTY_STATE
        # Everything that waits, by a growing number. None stands for the diff, which is made when it is
        # taken. Ordered, because taking the first of a plain dict scans over all that were taken before.
        self._frames: OrderedDict[int, bytes | None] = OrderedDict()
        self._numbers = count()
        self._bytes = 0
        self._updates: deque[int] = deque()
        self._update_bytes = 0
        self._diff_at: int | None = None
        self._step2_at: int | None = None
        self._awareness: OrderedDict[frozenset[int], int] = OrderedDict()
        self._awareness_bytes = 0

    def put(self, frame: bytes) -> None:
        """Let ``frame`` be taken after all that was put before. Never raises, whatever the bytes are."""
        if sync.is_update(frame):
            self._put_update(frame)
        elif sync.is_step2(frame):
            if self._step2_at is not None:
                self._drop(self._step2_at)
            self._step2_at = self._add(frame)
        elif sync.is_awareness(frame):
            self._put_awareness(frame)
        else:
            self._add(frame)

    def caught_up(self) -> None:
        """A reply to the client's sync step 1 was made from the whole document as it is now.

        Call it in the same step as making the reply, before or after ``put``ting it. The updates put until
        now are in that reply and are forgotten.
        """
        self._known = self._state()
        self._forget_updates()
        if self._diff_at is not None:
            self._drop(self._diff_at)
            self._diff_at = None

    def take(self) -> bytes | None:
        """The next frame to send, or ``None``. What was taken counts as received.

        Raises what ``diff`` and ``state`` raise; then nothing was taken.
        """
        if not self._frames:
            return None
        number = next(iter(self._frames))
        if number == self._diff_at:
            frame = sync.update(self._diff(self._known))
            self._known = self._state()
            self._diff_at = None
            del self._frames[number]
            return frame
        if self._updates and number == self._updates[0]:
            self._updates.popleft()
            frame = self._drop(number)
            self._update_bytes -= len(frame)
            return frame
        frame = self._drop(number)
        if number == self._step2_at:
            self._step2_at = None
        elif sync.is_awareness(frame):
            for clients, at in self._awareness.items():
                if at == number:
                    del self._awareness[clients]
                    self._awareness_bytes -= len(frame)
                    break
        return frame

    def __len__(self) -> int:
        """How many frames can be taken now."""
        return len(self._frames)

    @property
    def pending_bytes(self) -> int:
        """How many bytes wait; a diff that is still to be made counts nothing."""
        return self._bytes

    # Private

    def _add(self, frame: bytes | None) -> int:
        number = next(self._numbers)
        self._frames[number] = frame
        self._bytes += len(frame or b"")
        return number

    def _drop(self, number: int) -> bytes:
        frame = self._frames.pop(number) or b""
        self._bytes -= len(frame)
        return frame

    def _put_update(self, frame: bytes) -> None:
        if self._diff_at is not None:
            return  # the diff is made when it is taken, and has this update in it
        # The first does not count: a large one alone must not be made anew for the small one behind it.
        first_bytes = len(self._frames[self._updates[0]] or b"") if self._updates else 0
        if not self._updates or self._update_bytes - first_bytes + len(frame) <= self._limit:
            self._updates.append(self._add(frame))
            self._update_bytes += len(frame)
            return
        # The diff takes the first one's place, so that no frame overtakes an update that was put before it.
        first = self._updates.popleft()
        self._update_bytes -= len(self._frames[first] or b"")
        self._bytes -= len(self._frames[first] or b"")
        self._frames[first] = None
        self._diff_at = first
        self._forget_updates()

    def _forget_updates(self) -> None:
        for number in self._updates:
            self._drop(number)
        self._updates.clear()
        self._update_bytes = 0

    def _put_awareness(self, frame: bytes) -> None:
        try:
            message = sync.parse(frame)
        except ProtocolError:
            self._add(frame)  # not ours to judge, and not ours to lose
            return
        assert isinstance(message, sync.Awareness)
        clients = frozenset(state.client_id for state in message.states)
        before = self._awareness.pop(clients, None)
        if before is None:
            number = self._add(frame)
        else:
            # In its place and not behind the rest, or a frame that is renewed all the time would never be
            # taken. Clocks, not the order of frames, decide between two states of a client.
            self._awareness_bytes -= len(self._frames[before] or b"")
            self._bytes += len(frame) - len(self._frames[before] or b"")
            self._frames[before] = frame
            number = before
        self._awareness[clients] = number
        self._awareness_bytes += len(frame)
        while len(self._awareness) > MAX_AWARENESS or (
            len(self._awareness) > 1 and self._awareness_bytes > self._limit
        ):
            _, oldest = self._awareness.popitem(last=False)
            self._awareness_bytes -= len(self._drop(oldest))
