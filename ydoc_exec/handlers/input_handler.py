"""``/api/kernels/{kernel_id}/input``: what cells ask for (``input()``, ``getpass()``), and answering it."""

from __future__ import annotations

from jupyter_server.auth.decorator import authorized
from tornado import web

from ydoc_exec.documents.pending_input import Answerer
from ydoc_exec.errors import PromptAnswered
from ydoc_exec.handlers.base import http_errors
from ydoc_exec.handlers.bodies import InputBody
from ydoc_exec.handlers.requests_handler import RunsHandler
from ydoc_exec.ids import KernelId


class InputHandler(RunsHandler):
    """Lists what the runs of a kernel wait for, and takes answers."""

    @web.authenticated
    @authorized("read")  # type: ignore[untyped-decorator]
    async def get(self, kernel_id: str) -> None:
        """``{"kernel_id", "prompts": [...]}``. 404 if there is no such kernel."""
        with http_errors():
            collaboration = await self.collaboration()
            prompts = collaboration.input.of(KernelId(kernel_id))
        if not await self.may("read", "contents"):
            prompts = [{**prompt, "prompt": None, "path": None} for prompt in prompts]
        self.finish({"kernel_id": kernel_id, "prompts": prompts})

    @web.authenticated
    @authorized("execute")  # type: ignore[untyped-decorator]
    async def post(self, kernel_id: str) -> None:
        """``{"run_id", "prompt_id"}`` when the kernel was sent the value.

        409 for what was answered already, with what was accepted unless that is secret, and for what is not waited for any
        more; 403 by ``input_policy``; 404 for a run or a question that is not known.
        """
        self._track_activity = True
        user = self.current_user
        with http_errors():
            body = InputBody.read(self.read_json())
            collaboration = await self.collaboration()
            who = Answerer(
                getattr(user, "username", ""),
                getattr(user, "display_name", "") or "",
                await self.may("write", "contents"),
            )
            try:
                prompt = await collaboration.input.answer(
                    KernelId(kernel_id), body.run, body.prompt, body.value, who
                )
            except PromptAnswered as error:
                self.set_status(error.status)
                accepted = {} if error.value is None else {"value": error.value}
                self.finish(
                    {
                        "error": "already_answered",
                        "message": str(error),
                        "reason": None,
                        "run_id": error.run_id,
                        "prompt_id": error.prompt_id,
                        "user": error.user,
                        "name": error.name or error.user,
                        **accepted,
                    }
                )
                return
        self.set_status(200 if body.run is not None else 201)  # as jupyter-server-nbmodel has it
        self.finish({"run_id": prompt.run, "prompt_id": prompt.id})
