"""Messages are read as jupyter_client reads them, and what is none is refused."""

from __future__ import annotations

from typing import Any

import pytest
from jupyter_client.session import Session

from ydoc_exec.kernel.message_reader import MessageReader

KERNEL = Session(key=b"secret")
PARENT = KERNEL.msg("execute_request", {"code": "1"})


def parts_of(message: dict[str, Any], session: Session = KERNEL) -> list[bytes]:
    _, parts = session.feed_identities(session.serialize(message))
    return [bytes(part) for part in parts]  # type: ignore[arg-type]


def reader(key: bytes = b"secret") -> MessageReader:
    return MessageReader(Session(key=key))


def test_it_reads_what_jupyter_client_reads() -> None:
    mine, theirs = reader(), Session(key=b"secret")
    other = KERNEL.msg("execute_request", {"code": "2"})
    for number, parent in enumerate([PARENT, PARENT, other, PARENT]):
        content = {"name": "stdout", "text": f"é😀 {number}"}
        parts = parts_of(KERNEL.msg("stream", content, parent=parent, metadata={"n": number}))
        message = mine.read(parts)
        expected = theirs.deserialize(parts)
        assert message["msg_type"] == expected["msg_type"] == "stream"
        assert message["content"] == content
        assert message["metadata"] == {"n": number}
        assert message["parent_header"]["msg_id"] == parent["header"]["msg_id"]
        assert message["header"]["msg_id"] == expected["header"]["msg_id"]
        assert isinstance(message["header"]["date"], str)


def test_without_a_key_nothing_is_signed() -> None:
    unsigned = Session(key=b"")
    parts = parts_of(unsigned.msg("status", {"execution_state": "idle"}), unsigned)
    assert reader(b"").read(parts)["content"] == {"execution_state": "idle"}
    with pytest.raises(ValueError, match="signature"):
        reader().read(parts)


@pytest.mark.parametrize("part", range(5))
def test_a_changed_message_is_refused(part: int) -> None:
    parts = parts_of(KERNEL.msg("stream", {"name": "stdout", "text": "x"}, parent=PARENT))
    parts[part] = parts[part][:-1] + b" "
    with pytest.raises(ValueError, match="signature"):
        reader().read(parts)


@pytest.mark.parametrize("count", range(5))
def test_less_than_a_message_is_refused(count: int) -> None:
    with pytest.raises(TypeError, match="parts"):
        reader().read(parts_of(KERNEL.msg("status"))[:count])


def test_signed_nonsense_is_refused() -> None:
    nonsense = [b"no", b"JSON", b"{}", b"{}"]
    with pytest.raises(ValueError, match="Expecting value"):
        reader().read([KERNEL.sign(nonsense), *nonsense])
    empty = [b"{}"] * 4
    with pytest.raises(KeyError):
        reader().read([KERNEL.sign(empty), *empty])


def test_an_old_protocol_is_translated() -> None:
    """Version 4 called it ``pyout``."""
    message = KERNEL.msg("pyout", {"data": {"text/plain": "1"}, "metadata": {}, "execution_count": 1})
    message["header"]["version"] = "4.1"
    read = reader().read(parts_of(message))
    assert read["msg_type"] == "execute_result"
