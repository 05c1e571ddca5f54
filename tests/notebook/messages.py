"""Kernel messages, as short as they can be written, and any number of them."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

Message = dict[str, Any]


def message(msg_type: str, **content: Any) -> Message:
    return {"header": {"msg_type": msg_type}, "msg_type": msg_type, "content": content}


def stream(text: str, name: str = "stdout") -> Message:
    return message("stream", name=name, text=text)


def display(text: str, display_id: str | None = None) -> Message:
    transient = {} if display_id is None else {"display_id": display_id}
    return message("display_data", data={"text/plain": text}, metadata={}, transient=transient)


def update(text: str, display_id: str) -> Message:
    return message(
        "update_display_data",
        data={"text/plain": text},
        metadata={"updated": True},
        transient={"display_id": display_id},
    )


def result(text: str, count: int = 1) -> Message:
    return message("execute_result", data={"text/plain": text}, metadata={}, execution_count=count)


def error(ename: str) -> Message:
    return message("error", ename=ename, evalue="no", traceback=["Traceback", f"{ename}: no"])


def clear(wait: bool = False) -> Message:
    return message("clear_output", wait=wait)


# What the outputs are to be

Output = dict[str, Any]


def stream_output(text: str, name: str = "stdout") -> Output:
    return {"output_type": "stream", "name": name, "text": text}


def display_output(text: str, updated: bool = False) -> Output:
    metadata = {"updated": True} if updated else {}
    return {"output_type": "display_data", "data": {"text/plain": text}, "metadata": metadata}


def result_output(text: str, count: int = 1) -> Output:
    return {
        "output_type": "execute_result",
        "data": {"text/plain": text},
        "metadata": {},
        "execution_count": count,
    }


def error_output(ename: str) -> Output:
    return {
        "output_type": "error",
        "ename": ename,
        "evalue": "no",
        "traceback": ["Traceback", f"{ename}: no"],
    }


# Any of them: letters of one, two, three and four bytes, and few enough of each to meet often

texts = st.text(alphabet="ab é█😀\n\r\b", max_size=8)
words = st.sampled_from(["one", "zwei é", "█ 3", "😀😀"])
display_ids = st.sampled_from(["x", "y"])
names = st.sampled_from(["stdout", "stdout", "stderr"])

messages: st.SearchStrategy[Message] = st.one_of(
    st.builds(stream, texts, names),
    st.builds(stream, texts, names),
    st.builds(display, words, st.none() | display_ids),
    st.builds(update, words, display_ids),
    st.builds(result, words, st.integers(1, 9)),
    st.builds(error, words),
    st.builds(clear, st.booleans()),
)

much: st.SearchStrategy[Message] = st.builds(
    lambda text, times, name: stream(text * times, name), texts, st.integers(1, 2000), names
)
"""A lot of text at once."""
