"""How much of a cell's output there is room for, and what becomes of the rest.

An endless ``print`` must not fill the document, the log, the file and the browsers of everybody who has the
notebook open; and what is of use in it is how it began and how it ended. So beyond the limit the beginning
stays as it is, an output says how much was left out, and what came last follows.

Why 20 MiB for each cell (``Settings.output_limit``):

- *Browsers.* Measured, JupyterLab 4.6 in Chromium, a notebook with one printed text of lines: with 5 MiB it
  opens 1.8 s later than an empty one, with 20 MiB 4 s, with 40 MiB 10 s; the page's JavaScript then holds 72,
  178 and 970 MB. So 20 MiB is about the most that a tab bears well.
- *What outputs need.* What people look at is far smaller, but for what is embedded whole: a figure of plotly
  with its library is 5 MB, an animation of matplotlib up to 20 MB (its ``animation.embed_limit``). One output
  alone is never cut, so the limit only has to be enough for several ordinary ones.
- *Files.* Saving 20 MiB takes 0.2 s (reading the document, ``nbformat.validate``, JSON), and a notebook with
  one such cell can still be mailed and committed.
"""

from __future__ import annotations

from collections.abc import Sequence

from typing_extensions import assert_never

from ydoc_exec.notebook.edits import (
    AppendOutput,
    ClearOutputs,
    Edit,
    EditTail,
    ReplaceDisplay,
    ReplaceLast,
)
from ydoc_exec.notebook.output_tail import OUTPUT_SIZE, OutputTail, fitting, output_size, text_size

SMALLEST_LIMIT = 16 * OUTPUT_SIZE
"""Below this there is no room for a head, a tail and what outputs count beside their text."""

_SHOWN = 16 * 1024  # so many bytes of the tail are written while it moves
_FEW = 8  # and so many outputs,
_MANY = 8000  # until so many have been written and removed again
_LEAST = 16 * 1024  # bytes: to cut less than this is not worth saying so
_LINE = 4096  # bytes: so much of the head is given up for the end of a line


class OutputLimit:
    """Cuts what is too much out of the edits of one run.

    Pure, and made to stand behind one ``OutputReducer``: every edit that the reducer gives goes through
    ``pass_on``, in order, and ``last`` is called at the end of the run. The edits that come out are what is
    to be applied. Up to the limit they are the same.

    Beyond it the cell's outputs are, if *all* is what they would be without a limit:

    - a head: the beginning of *all*, half of the limit, which stays where it is;
    - the notice, a ``display_data`` whose ``metadata.ydoc_exec.cut_bytes`` says how much of *all* is neither
      before nor behind it. While the run goes on there can be up to a quarter more;
    - a tail: the end of *all*. In the end it has half of the limit. While the run goes on it has 16 to 32 KiB
      and few outputs, since what moves has to be written again and again: tabs can only be told to delete and
      to append (``output_change.py``), and an output that was deleted leaves a trace which every access
      behind it costs time for. (Measured: replacing notice and tail each time takes 1.2 ms after 12,000
      times, and more and more. Replacing text in an output that stays takes 0.1 ms all the time, so that is
      done if it can be.)

    Sizes are bytes: of text in UTF-8, of other outputs about those of their JSON, and ``OUTPUT_SIZE`` more
    for each. Text is cut at the end of a line if there is one near. A display, a result or an error is never
    cut: the one that crosses the end of the head or the beginning of the tail is there as a whole, and so is
    the very last output. So what is there is at most the limit and two such outputs, and one image alone is
    never too much. Nothing is cut for less than 16 KiB.

    What is left in the end does not depend on when edits were taken, as long as outputs are only added. What
    is erased (by a carriage return, say) is erased in the tail, then in what was cut, then in the head,
    behind which nothing is left by then, so that all is as if it had never been too much. Updates of displays
    reach what is in the document and in the tail; there they count with their new size. A display in the head
    counts what it had when it came, since it stays there whatever becomes of it, and one that was cut stays
    cut.

    What still comes after ``last`` (threads, background tasks) has a quarter of the limit for itself, or what
    was left of the limit if that is more; when that is too much it gets a notice of its own, and a tail as it
    is while a run goes on. Of a line that was cut by then nothing can be erased any more. An ended run keeps
    no more than that tail in memory; one that goes on keeps what is behind its head, be it too much or not.

    Args:
        limit: in bytes; less than ``SMALLEST_LIMIT`` counts as that, 0 as no limit.
    """

    def __init__(self, limit: int) -> None:
        self._limit = max(limit, SMALLEST_LIMIT) if limit > 0 else 0
        self._ended = False
        self._removed = 0  # outputs, from the document, for the sake of the tail
        self._start(self._limit)

    def pass_on(self, edits: Sequence[Edit]) -> list[Edit]:
        """What is to be applied for these edits.

        It costs what is new in them and, beyond the limit, what is shown of the tail.
        """
        if not self._limit:
            return list(edits)
        passed: list[Edit] = []
        for edit in edits:
            match edit:
                case ClearOutputs():
                    self._start(self._limit)
                    passed.append(edit)
                case EditTail():
                    passed += self._edit_tail(edit)
                case AppendOutput():
                    passed += self._append(edit)
                case ReplaceDisplay():
                    passed += self._replace(edit)
                case ReplaceLast():
                    raise AssertionError("this comes out of here, it never goes in")
                case _:
                    assert_never(edit)
        return passed + self._follow()

    @property
    def ends(self) -> tuple[int, int] | None:
        """How much of one printed text may matter: bytes from its beginning and from its end.

        For ``skip``: whatever there is already, what is between them is cut. None if that cannot be said.
        """
        if not self._limit or self._ended:
            return None
        return self._limit // 2 + 1, self._limit - self._limit // 2

    def skip(self, size: int, *, behind: int = 0) -> list[Edit] | None:
        """What is to be applied to leave out printed text of about ``size`` bytes unread, there being more behind it;
        None if it cannot be left out.

        It can when there is too much already, or when the last output is a stream that goes on with this text and
        ``behind`` bytes more, and that makes it too much: what was the tail is then cut too, as what is behind it is
        not the end any more. What came before that text must have gone through ``pass_on``, or it ends up behind the
        gap.
        """
        edits: list[Edit] = []
        if not self._over:
            if not behind or not self._tail or not self._is_too_much(size + behind, text=True):
                return None
            edits = self._go_over()
        self._tail.skip(size)
        self._following.clear()
        self._stale = True
        return edits

    def last(self) -> list[Edit]:
        """What is to be applied at the end of the run, so that all of the tail is there."""
        if not self._limit or self._ended:
            return []
        edits = self._write_tail(ended=True) if self._over else []
        self._ended = True
        left = self._limit - self._head - self._tail.size - self._tail.lost
        self._start(max(left, self._limit // 4))
        return edits

    # Private

    def _start(self, room: int) -> None:
        """Begin a head, behind whatever there is in the document."""
        self._least = min(_LEAST, room // 16)
        if self._ended:  # there will be no ``last``
            shown = tail = min(_SHOWN, room // 3)
            head = room - 2 * tail - self._least
        else:
            head = room // 2
            tail = room - head - self._least
            shown = min(_SHOWN, tail // 2)
        self._most = room
        self._head = 0
        self._head_end = head
        self._head_line = self._head_end - min(_LINE, head // 4)
        self._head_closed = False  # it ends with a line that reaches far enough
        self._tail = OutputTail(tail)
        self._over = False
        self._cut = 0  # as the notice in the document says
        # While there is too much: how the tail in the document is
        self._shown_size = shown
        self._shown: list[str | None] = []  # the names of its outputs, if they are streams
        self._shown_text = ""  # of the last of them, if it is a stream
        self._grown = 0  # by so many bytes since it was written,
        self._following: list[EditTail | AppendOutput] = []  # by these now,
        self._added = 0  # and by so many outputs
        self._stale = False  # it has to be written again

    def _edit_tail(self, edit: EditTail) -> list[Edit]:
        before = self._tail.erase(edit.erase)
        edits: list[Edit] = []
        if self._over:
            if self._tail:
                self._tail.add_text(edit.append)
                self._add_following(edit, text_size(edit.append) - text_size(edit.erase))
                return []
            edits = self._withdraw_tail()
            edit = EditTail(edit.name, before, edit.append)
        if before:
            self._head -= text_size(before)
            self._head_closed = False
        taken = self._take_into_head(edit.append)
        if taken == len(edit.append):
            return [*edits, edit]
        rest = edit.append[taken:]
        if self._is_too_much(text_size(rest), text=True):
            edits += [EditTail(edit.name, edit.erase, edit.append[:taken]), *self._go_over()]
        else:
            edits.append(edit)
        if not self._tail:
            self._tail.add_stream(edit.name, joined=True)
        self._tail.add_text(rest)
        return edits

    def _append(self, edit: AppendOutput) -> list[Edit]:
        output = edit.output
        size = output_size(output)
        stream = output.get("output_type") == "stream"
        if self._over:
            self._add_to_tail(edit, size)
            self._add_following(edit, size)
            return []
        if self._tail or self._head + (OUTPUT_SIZE if stream else 0) >= self._head_line:
            over = self._is_too_much(size, text=stream)
            instead: list[Edit] = self._go_over() if over else [edit]
            self._add_to_tail(edit, size)
            return instead
        if not stream:
            self._head += size
            return [edit]
        self._head += OUTPUT_SIZE
        taken = self._take_into_head(output["text"])
        if taken == len(output["text"]):
            return [edit]
        rest = output["text"][taken:]
        edits: list[Edit] = [edit]
        if self._is_too_much(text_size(rest), text=True):
            edits = [AppendOutput({**output, "text": output["text"][:taken]}), *self._go_over()]
        self._tail.add_stream(output["name"], joined=True)
        self._tail.add_text(rest)
        return edits

    def _replace(self, edit: ReplaceDisplay) -> list[Edit]:
        if not self._tail.replace(edit):
            return [edit]
        if self._over:
            self._stale = True
        elif self._is_too_much(0, text=False):
            return [*self._go_over(), edit]
        return [edit]

    def _take_into_head(self, text: str) -> int:
        """How many characters of a stream go to the end of the head, which ends with a line if one is
        near."""
        if self._tail or self._head_closed:
            return 0
        size = text_size(text)
        if self._head + size <= self._head_line:
            self._head += size
            return len(text)
        taken = fitting(text, self._head_line - self._head)
        self._head += text_size(text[:taken])
        room = max(self._head_end - self._head, 0)
        end = taken + fitting(text[taken : taken + room], room)
        line = text.find("\n", taken, end) + 1
        end = line or end
        self._head_closed = bool(line)
        self._head += text_size(text[taken:end])
        return end

    def _add_to_tail(self, edit: AppendOutput, size: int) -> None:
        if edit.output.get("output_type") == "stream":
            self._tail.add_stream(edit.output["name"])
            self._tail.add_text(edit.output["text"])
        else:
            self._tail.add_whole(edit, size)

    def _is_too_much(self, added: int, *, text: bool) -> bool:
        """Whether something has to be cut when so much is added to the tail."""
        size = self._head + self._tail.size + added
        return size > self._most and self._tail.overflows(added, self._least, text=text)

    def _go_over(self) -> list[Edit]:
        """From now on there is a head, a notice and a tail: take what is not head out of the document."""
        joined, outputs = self._tail.all()
        edits: list[Edit] = []
        if outputs:
            edits.append(ReplaceLast(len(outputs), ()))
        if joined:
            edits.append(EditTail(joined[0], joined[1], ""))
        self._over = self._stale = True
        self._tail.trim()
        return edits

    def _withdraw_tail(self) -> list[Edit]:
        """There is not too much any more: take notice and tail out of the document."""
        edits: list[Edit] = [*self._following]
        if self._cut:
            edits.append(ReplaceLast(1 + len(self._shown), ()))
        self._over = self._stale = self._tail.bounded = False
        self._following = []
        self._cut = 0
        return edits

    def _add_following(self, edit: EditTail | AppendOutput, grown: int) -> None:
        """Have the tail in the document follow, unless it has to be written again anyway."""
        self._grown += grown
        self._added += isinstance(edit, AppendOutput)
        if self._grown > self._shown_size or self._added > _FEW:
            self._stale = True
        if self._stale:
            return
        if isinstance(edit, AppendOutput):
            self._shown.append(_stream_name(edit))
            self._shown_text = _stream_text(edit)
        elif self._shown[-1:] == [edit.name] and len(edit.erase) <= len(self._shown_text):
            self._shown_text = self._shown_text[: len(self._shown_text) - len(edit.erase)] + edit.append
        else:
            self._stale = True
            return
        self._following.append(edit)

    def _follow(self) -> list[Edit]:
        """Bring the tail in the document up to date."""
        following: list[Edit] = [*self._following]
        self._following = []
        return following + self._write_tail(ended=False) if self._stale else following

    def _write_tail(self, *, ended: bool) -> list[Edit]:
        """Write notice and tail; or all there is, if nothing has to be left out any more."""
        size = self._tail.keep if ended else self._shown_size
        most = None if ended else _FEW if self._removed < _MANY else 1
        outputs, kept = self._tail.last(size, most)
        cut = self._tail.lost + self._tail.size - kept
        if not cut:
            joined, outputs = self._tail.all()
            edits = self._withdraw_tail()
            if joined:
                edits.append(EditTail(joined[0], "", joined[1]))
            return [*edits, *outputs]
        edit: Edit
        if ended or not self._cut <= cut <= 1.25 * self._cut:
            before = 1 + len(self._shown) if self._cut else 0
            edit = ReplaceLast(before, (self._notice(cut, ended=ended), *outputs))
            self._cut = cut
        elif len(outputs) == 1 and self._shown == [_stream_name(outputs[0])] != [None]:
            edit = EditTail(outputs[0].output["name"], self._shown_text, _stream_text(outputs[0]))
        else:
            edit = ReplaceLast(len(self._shown), tuple(outputs))
        if isinstance(edit, ReplaceLast):
            self._removed += edit.count
        self._shown = [_stream_name(output) for output in outputs]
        self._shown_text = _stream_text(outputs[-1]) if outputs else ""
        self._grown = self._added = 0
        self._stale = False
        return [edit]

    def _notice(self, cut: int, *, ended: bool) -> AppendOutput:
        amount = _amount(cut)
        if self._ended:
            said = f"More than {amount} of what came after the run is left out here. The last of it follows."
        elif ended:
            said = f"{amount} of output is left out here. The end of it follows."
        else:
            said = f"More than {amount} of output is left out here. While the cell runs the last follows."
        kept = f"{_amount(self._limit)} of a cell's output are kept, half of it the beginning."
        text = (
            f"[{said}\n"
            f" {kept} To keep more, raise\n"
            " YdocExec.output_limit (bytes per cell) in the server's configuration, or write to a file.]"
        )
        return AppendOutput(
            {
                "output_type": "display_data",
                "data": {"text/plain": text},
                "metadata": {"ydoc_exec": {"cut_bytes": cut}},
            }
        )


def _stream_name(edit: AppendOutput) -> str | None:
    return edit.output["name"] if edit.output.get("output_type") == "stream" else None


def _stream_text(edit: AppendOutput) -> str:
    return edit.output["text"] if edit.output.get("output_type") == "stream" else ""


def _amount(size: int) -> str:
    if size < 1024:
        return f"{size} bytes"
    amount, units = size / 1024, ["KiB", "MiB", "GiB"]
    while amount >= 1024 and len(units) > 1:
        amount /= 1024
        del units[0]
    return f"{amount:.1f}".removesuffix(".0") + f" {units[0]}"
