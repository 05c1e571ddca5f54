"""The diagrams of the run queue, and of what runs ask for, in ``docs/ARCHITECTURE.md``, made from their tables.

``python -m tests.execution.diagram`` writes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import TypeVar

from ydoc_exec.execution.prompts import PROMPT_TRANSITIONS, PromptState
from ydoc_exec.execution.run_queue import LINK_TRANSITIONS, TRANSITIONS, LinkState, Phase

State = TypeVar("State", bound=Enum)
Cause = TypeVar("Cause", bound=Enum)

DOCUMENT = Path(__file__).parents[2] / "docs" / "ARCHITECTURE.md"
BEGIN, END = "<!-- run queue: begin -->\n", "<!-- run queue: end -->\n"


def diagram(table: Mapping[State, Mapping[Cause, State]], first: State) -> str:
    """A table of transitions in Mermaid's language. Causes that lead from one state to the same other share an arrow."""
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {first.value}"]
    for state, ways in table.items():
        arrows: dict[State, list[str]] = {}
        for cause, to in ways.items():
            arrows.setdefault(to, []).append(cause.value)
        lines += [f"    {state.value} --> {to.value}: {', '.join(causes)}" for to, causes in arrows.items()]
        if not ways:
            lines.append(f"    {state.value} --> [*]")
    return "\n".join([*lines, "```", ""])


def diagrams() -> str:
    """What is between the marks of the document."""
    tables = (
        diagram(TRANSITIONS, Phase.WAITING),
        diagram(LINK_TRANSITIONS, LinkState.DOWN),
        diagram(PROMPT_TRANSITIONS, PromptState.ASKED),
    )
    return "\n".join(tables)


def written() -> str:
    """What is there."""
    return DOCUMENT.read_text().partition(BEGIN)[2].partition(END)[0]


if __name__ == "__main__":
    before, _, rest = DOCUMENT.read_text().partition(BEGIN)
    DOCUMENT.write_text(before + BEGIN + diagrams() + END + rest.partition(END)[2])
