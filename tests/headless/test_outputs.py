"""What a real kernel says, as the document and the file have it."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tests.headless.client import RoomClient
from tests.server import LabServer, eventually

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]

STREAMS = """
import sys
print('one'); print('two', file=sys.stderr); print('three')
"""
PROGRESS = "for i in range(3):\n    print(f'\\r{i} %', end='', flush=True)"
RESULT = "6 * 7"
DISPLAY = """
from IPython.display import HTML, clear_output, display
handle = display(HTML('<b>first</b>'), display_id='shown')
print('below')
handle.update(HTML('<b>second</b>'))
"""
ELSEWHERE = "display(HTML('<i>twin</i>'), display_id='shown')\nhandle.update(HTML('<b>third</b>'))"
CLEARED = "print('gone'); clear_output(); print('kept')"
CLEARED_LATER = """
import time
for i in range(3):
    clear_output(wait=True)
    print('frame', i)
    time.sleep(0.1)
clear_output(wait=True)
"""
ERROR = "1 / 0"
CELLS = (STREAMS, RESULT, DISPLAY, ELSEWHERE, CLEARED, CLEARED_LATER, PROGRESS, ERROR)


async def test_outputs_of_a_real_kernel(server: LabServer) -> None:
    server.write_notebook("a.ipynb", *CELLS)
    async with RoomClient(server, "a.ipynb") as client:
        kernel = await client.start_kernel()
        await client.execute(kernel, list(range(len(CELLS))))
        await client.wait(lambda: client.count(len(CELLS) - 1) is not None)
        outputs = [cell["outputs"] for cell in client.cells]
        assert [client.count(index) for index in range(len(CELLS))] == list(range(1, len(CELLS) + 1))

    def html(text: str) -> dict[str, object]:
        return {
            "output_type": "display_data",
            "data": {"text/html": text, "text/plain": "<IPython.core.display.HTML object>"},
            "metadata": {},
        }

    def stream(name: str, text: str) -> dict[str, object]:
        return {"output_type": "stream", "name": name, "text": text}

    # Which of two streams of one moment is first, and in how many pieces, is up to the kernel.
    assert "".join(output["text"] for output in outputs[0] if output["name"] == "stdout") == "one\nthree\n"
    assert [output["text"] for output in outputs[0] if output["name"] == "stderr"] == ["two\n"]
    names = [output["name"] for output in outputs[0]]
    assert all(one != other for one, other in pairwise(names)), "two streams of one name touch"
    assert outputs[1] == [
        {"output_type": "execute_result", "execution_count": 2, "data": {"text/plain": "42"}, "metadata": {}}
    ]
    assert outputs[2] == [html("<b>third</b>"), stream("stdout", "below\n")]
    assert outputs[3] == [html("<b>third</b>")]
    assert outputs[4] == [stream("stdout", "kept\n")]
    assert outputs[5] == [stream("stdout", "frame 2\n")]
    assert outputs[6] == [stream("stdout", "2 %")]
    [error] = outputs[7]
    assert (error["output_type"], error["ename"], error["evalue"]) == (
        "error",
        "ZeroDivisionError",
        "division by zero",
    )
    # The same in the file (``read_notebook`` validates it), where texts are lists of lines.
    file = await eventually(lambda: (n := server.read_notebook("a.ipynb"))["cells"][-1]["outputs"] and n)
    assert [len(cell["outputs"]) for cell in file["cells"]] == [len(cell) for cell in outputs]
    assert [cell["execution_count"] for cell in file["cells"]] == list(range(1, len(CELLS) + 1))
    assert "transient" not in str(file)


async def test_input_that_nobody_is_to_be_asked_for_fails_at_once(server: LabServer) -> None:
    server.write_notebook("a.ipynb", "input('name? ')")
    async with RoomClient(server, "a.ipynb") as client:
        kernel = await client.start_kernel()
        await client.execute(kernel, [0], allow_stdin=False)
        await client.wait(lambda: client.count(0) == 1)
        assert client.cells[0]["outputs"][-1]["ename"] == "StdinNotImplementedError"
