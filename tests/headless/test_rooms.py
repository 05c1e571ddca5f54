"""The rooms' wire, as the stock ``jupyter-docprovider`` and ``jupyter-collaboration-ui`` use it."""

from __future__ import annotations

import json
import os
import signal
import time
from itertools import pairwise

import anyio
import pytest
from pycrdt import Awareness, Decoder, Doc, Text, YMessageType, create_awareness_message, create_sync_message
from websockets.asyncio.client import ClientConnection, connect

from tests.headless.client import RoomClient
from tests.server import LabServer

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(90)]

NOTEBOOK = {"format": "json", "type": "notebook"}


def test_a_session_is_created_once_and_then_found(shared_server: LabServer) -> None:
    shared_server.write_notebook("session.ipynb", "1")
    first = shared_server.api("PUT", "/api/collaboration/session/session.ipynb", NOTEBOOK)
    again = shared_server.api("PUT", "/api/collaboration/session/session.ipynb", NOTEBOOK)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    assert first.json().keys() == {
        "format",
        "type",
        "fileId",
        "sessionId",
        "documentSessionId",
    }
    assert first.json()["documentSessionId"] == first.json()["sessionId"]
    assert first.json() == first.json() | NOTEBOOK


def test_there_is_no_session_for_a_file_that_is_not_there(shared_server: LabServer) -> None:
    response = shared_server.api("PUT", "/api/collaboration/session/nowhere.ipynb", NOTEBOOK)
    assert response.status_code == 404
    assert "nowhere.ipynb" in response.json()["message"]


def test_a_path_may_have_folders_spaces_and_letters_of_any_kind(shared_server: LabServer) -> None:
    shared_server.write_notebook("a folder/日本 ü #1.ipynb", "1")
    path = "a%20folder%2F%E6%97%A5%E6%9C%AC%20%C3%BC%20%231.ipynb"
    assert shared_server.api("PUT", f"/api/collaboration/session/{path}", NOTEBOOK).status_code == 201


async def test_two_clients_type_together(shared_server: LabServer) -> None:
    shared_server.write_notebook("together.ipynb", "", "")
    async with (
        RoomClient(shared_server, "together.ipynb") as one,
        RoomClient(shared_server, "together.ipynb") as two,
    ):
        for number in range(10):  # in the same cell and in different ones, at the same time
            one.type_into(0, f"{number}")
            two.type_into(0, "ABCDEFGHIJ"[number])
            two.type_into(1, "é📊")
            await anyio.lowlevel.checkpoint()
        await one.barrier()
        await two.barrier()
        await one.wait(lambda: len(one.source(0)) == 20 and one.source(1) == "é📊" * 10)
        await two.wait(lambda: two.sources() == one.sources())
        # Whose key is first at the same moment is anybody's guess; each one's own keys keep their order.
        assert "".join(key for key in one.source(0) if key.isdecimal()) == "0123456789"
        assert "".join(key for key in one.source(0) if key.isalpha()) == "ABCDEFGHIJ"


@pytest.mark.timeout(120)
async def test_a_client_that_does_nothing_keeps_its_connection(shared_server: LabServer) -> None:
    """``y-websocket`` gives up a connection on which no message came for 30 s; it repeats its presence
    every 15 s, as ``RoomClient`` does, and nobody else is there to say anything."""
    shared_server.write_notebook("lonely.ipynb", "1")
    async with RoomClient(shared_server, "lonely.ipynb") as client:
        began = time.monotonic()
        await anyio.sleep(40)  # the claim itself
        assert client.closed is None
        times = [began, *(when for when, _ in client.received if when > began), time.monotonic()]
        assert max(later - earlier for earlier, later in pairwise(times)) < 30


async def test_who_was_there_before_is_known_after_the_handshake(shared_server: LabServer) -> None:
    shared_server.write_notebook("presence.ipynb", "1")
    async with RoomClient(shared_server, "presence.ipynb") as first:
        first.awareness.set_local_state_field("user", {"name": "Ada"})
        first.send_presence()
        await first.barrier()
        async with RoomClient(shared_server, "presence.ipynb") as second:
            await second.barrier()
            assert second.awareness.states[first.awareness.client_id] == {"user": {"name": "Ada"}}
            await first.wait(lambda: second.awareness.client_id in first.awareness.states)


async def test_the_global_room_shows_who_is_on_the_server(shared_server: LabServer) -> None:
    room = f"{shared_server.ws_url}/api/collaboration/room/JupyterLab:globalAwareness"
    url = f"{room}?token={shared_server.token}"
    ada, bob = Awareness(Doc()), Awareness(Doc())
    ada.set_local_state_field("user", {"name": "Ada"})
    bob.set_local_state_field("user", {"name": "Bob"})
    async with connect(url) as first:
        await first.send(create_sync_message(Doc()))
        await first.send(presence(ada))
        async with connect(url) as second:
            await second.send(create_sync_message(Doc()))
            await second.send(presence(bob))
            await receive_presence(second, bob, ada.client_id)
            await receive_presence(first, ada, bob.client_id)
            assert bob.states[ada.client_id]["user"] == {"name": "Ada"}
            assert ada.states[bob.client_id]["user"] == {"name": "Bob"}


async def test_a_save_is_answered_when_the_file_has_the_state_of_that_moment(
    shared_server: LabServer,
) -> None:
    shared_server.write_notebook("save.ipynb", "")
    async with RoomClient(shared_server, "save.ipynb") as client:
        for number in range(5):
            client.type_into(0, f"x = {number}\n")
            assert await client.save() == "success"
            [cell] = shared_server.read_notebook("save.ipynb")["cells"]
            assert "".join(cell["source"]) == client.source(0)


async def test_two_saves_at_once_are_both_answered(shared_server: LabServer) -> None:
    shared_server.write_notebook("saves.ipynb", "")
    async with (
        RoomClient(shared_server, "saves.ipynb") as one,
        RoomClient(shared_server, "saves.ipynb") as two,
    ):
        one.type_into(0, "x = 1")
        statuses: list[str] = []

        async def save(client: RoomClient) -> None:
            statuses.append(await client.save())

        async with anyio.create_task_group() as group:
            for client in (one, two, one, two):
                group.start_soon(save, client)
        assert statuses == ["success"] * 4
        [cell] = shared_server.read_notebook("saves.ipynb")["cells"]
        assert "".join(cell["source"]) == "x = 1"


async def test_a_text_file_has_a_room_too(shared_server: LabServer) -> None:
    (shared_server.root / "notes.txt").write_text("first line\n")
    async with (
        RoomClient(shared_server, "notes.txt", format="text", type="file") as one,
        RoomClient(shared_server, "notes.txt", format="text", type="file") as two,
    ):
        ours, theirs = (client.doc.get("source", type=Text) for client in (one, two))
        assert str(ours) == "first line\n"
        ours += "zweite Zeile ü\n"
        await two.wait(lambda: str(theirs) == "first line\nzweite Zeile ü\n")
        assert await two.save() == "success"
    assert (shared_server.root / "notes.txt").read_text() == "first line\nzweite Zeile ü\n"


async def test_a_renamed_file_keeps_its_room(shared_server: LabServer) -> None:
    shared_server.write_notebook("old.ipynb", "x = 1")
    async with RoomClient(shared_server, "old.ipynb") as client:
        assert client.state["path"] == "old.ipynb"
        shared_server.rename("old.ipynb", "new.ipynb")
        await client.wait(lambda: client.state["path"] == "new.ipynb", timeout=10)
        client.type_into(0, "\ny = 2")
        assert await client.save() == "success"
        [cell] = shared_server.read_notebook("new.ipynb")["cells"]
        assert "".join(cell["source"]) == "x = 1\ny = 2"
        assert not (shared_server.root / "old.ipynb").exists()


async def test_edits_made_while_away_arrive_on_return(shared_server: LabServer) -> None:
    shared_server.write_notebook("away.ipynb", "one", "two")
    async with (
        RoomClient(shared_server, "away.ipynb") as here,
        RoomClient(shared_server, "away.ipynb") as away,
    ):
        await away.disconnect()
        away.type_into(0, " typed while away")
        here.type_into(1, " typed meanwhile")
        await here.barrier()
        await away.connect()
        await here.wait(lambda: here.sources() == ["one typed while away", "two typed meanwhile"])
        assert away.sources() == here.sources()


@pytest.mark.parametrize("characters", [4, 1000], ids=["a word", "more than may wait"])
async def test_what_a_tab_sent_last_is_there_when_it_was_gone_before_the_server_read_it(
    shared_server: LabServer, characters: int
) -> None:
    """Somebody types, closes the tab, and the server was busy in that moment."""
    name = f"last{characters}.ipynb"
    shared_server.write_notebook(name, "")
    text = "".join(chr(ord("a") + number % 26) for number in range(characters))
    async with (
        RoomClient(shared_server, name) as here,
        RoomClient(shared_server, name) as tab,
    ):
        await tab.barrier()
        os.kill(shared_server.pid, signal.SIGSTOP)
        try:
            tab.type_into(0, text)
            await tab.vanish()
        finally:
            os.kill(shared_server.pid, signal.SIGCONT)
        await here.wait(lambda: here.source(0) == text)


async def test_what_a_tab_sent_last_is_read_to_the_end_however_much_it_is(shared_server: LabServer) -> None:
    """The server reads 64 kB at a time, and the network says after the first of them that the tab is gone."""
    shared_server.write_notebook("much.ipynb", "", "")
    async with (
        RoomClient(shared_server, "much.ipynb") as here,
        RoomClient(shared_server, "much.ipynb") as tab,
    ):
        tab.set_source(1, "x" * 5_000_000)  # the system takes much from who has sent much
        await tab.barrier()
        source: Text = tab.ycells[0]["source"]
        os.kill(shared_server.pid, signal.SIGSTOP)
        try:
            for number in range(20):
                source += f"{number:10000}"
            await tab.vanish()
        finally:
            os.kill(shared_server.pid, signal.SIGCONT)
        await here.wait(lambda: here.source(0) == str(source))


async def test_a_change_made_by_another_program_is_taken_up(shared_server: LabServer) -> None:
    shared_server.write_notebook("outside.ipynb", "one", "two")
    async with RoomClient(shared_server, "outside.ipynb") as client:
        path = shared_server.root / "outside.ipynb"
        notebook = json.loads(path.read_text())
        notebook["cells"][1]["source"] = "two, changed outside"
        path.write_text(json.dumps(notebook))
        await client.wait(lambda: client.sources() == ["one", "two, changed outside"], timeout=10)


def presence(awareness: Awareness) -> bytes:
    """What a client says of itself."""
    return create_awareness_message(awareness.encode_awareness_update([awareness.client_id]))


async def receive_presence(socket: ClientConnection, awareness: Awareness, client_id: int) -> None:
    """Read until somebody is known."""
    with anyio.fail_after(10):
        while client_id not in awareness.states:
            frame = await socket.recv()
            assert isinstance(frame, bytes)
            if frame[0] == YMessageType.AWARENESS:
                awareness.apply_awareness_update(Decoder(frame[1:]).read_message() or b"", "server")
