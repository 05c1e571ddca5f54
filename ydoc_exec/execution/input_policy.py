"""Who may answer what a kernel asks for. Pure."""

from __future__ import annotations

from ydoc_exec.settings import InputPolicy


def may_answer(policy: InputPolicy, user: str, *, runner: str, may_write: bool) -> bool:
    """Whether this user may answer a run that ``runner`` has asked for.

    Whoever answers needs the right to execute, whatever the policy, as the kernel goes on with it. That is asked elsewhere.
    """
    if policy == "runner":
        return user == runner
    return policy == "anyone" or may_write
