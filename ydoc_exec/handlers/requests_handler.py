"""``/api/kernels/{kernel_id}/requests`` and ``.../requests/{run_id}``: what became of runs, and taking them back."""

from __future__ import annotations

from anyio import move_on_after
from jupyter_server.auth.decorator import authorized
from tornado import web

from ydoc_exec.documents.collaboration import Collaboration
from ydoc_exec.documents.run_records import Filter, Record
from ydoc_exec.errors import BatchNotFound, KernelNotFound
from ydoc_exec.execution.run_state import RunState
from ydoc_exec.handlers.answers import nbmodel_answer
from ydoc_exec.handlers.base import http_errors
from ydoc_exec.handlers.queries import MAX_LIMIT, read_filter, read_known, read_limit, read_wait
from ydoc_exec.handlers.waiting import WaitingHandler
from ydoc_exec.ids import BatchId, KernelId, RunId


class RunsHandler(WaitingHandler):
    """What both have in common."""

    auth_resource = "kernels"

    _track_activity = False
    """Who only looks on keeps no idle server from being culled (``APIHandler``)."""

    def _argument(self, name: str) -> str | None:
        return self.get_query_argument(name, None)

    async def hide(self, records: list[Record]) -> list[Record]:
        """The records without what only those may see who may read documents."""
        if await self.may("read", "contents"):
            return records
        return [{**record, "source": None, "path": None, "prompt": None} for record in records]


class RequestsHandler(RunsHandler):
    """Lists a kernel's runs, and cancels those of a batch."""

    @web.authenticated
    @authorized("read")  # type: ignore[untyped-decorator]
    async def get(self, kernel_id: str) -> None:
        """``{"kernel_id", "pending", "requests": [...]}``: the run that the kernel has, those that wait in their order,
        then those that ended, the last one first. The arguments are those of ``queries.py``.

        With ``?wait=`` it is answered when none of the runs is under way any more (``pending``), or after so many
        seconds. As ``text/event-stream`` each run that is under way is an event, and then each step of a run. Of a batch
        those that have ended are events too, and its end is that of the stream. 404 for a kernel that is not there and
        has no runs, and for events of an unknown batch.
        """
        with http_errors(), self.present:
            wanted, limit = read_filter(self._argument), read_limit(self._argument)
            seconds = read_wait(self._argument)
            collaboration = await self.collaboration()
            if self.wants_events:
                await self._stream(collaboration, KernelId(kernel_id), wanted)
                return
            records = await self._records(collaboration, KernelId(kernel_id), wanted, limit, seconds)
            self.finish(
                {
                    "kernel_id": kernel_id,
                    "pending": any(map(_is_under_way, records)),
                    "requests": await self.hide(records),
                }
            )

    @web.authenticated
    @authorized("execute")  # type: ignore[untyped-decorator]
    async def delete(self, kernel_id: str) -> None:
        """Cancel the runs of ``?batch=`` that wait: 200 with ``{"cancelled": [run ids]}``.

        404 if there is no such batch, 409 if none of its runs waits.
        """
        batch = self.get_query_argument("batch")
        with http_errors():
            collaboration = await self.collaboration()
            cancelled = await collaboration.records.cancel_batch(KernelId(kernel_id), BatchId(batch))
        self.finish({"kernel_id": kernel_id, "batch_id": batch, "cancelled": [run.id for run in cancelled]})

    # Private

    async def _records(
        self, collaboration: Collaboration, kernel_id: KernelId, wanted: Filter, limit: int, seconds: float
    ) -> list[Record]:
        if not seconds:
            return await self._known(collaboration, kernel_id, wanted, limit)
        with collaboration.book.watch(kernel_id) as watch, move_on_after(seconds):
            while collaboration.records.under_way(kernel_id, wanted) and not watch.over:
                await watch.wait()
                watch.take()
        return await self._known(collaboration, kernel_id, wanted, limit)

    async def _known(
        self, collaboration: Collaboration, kernel_id: KernelId, wanted: Filter, limit: int
    ) -> list[Record]:
        records = await collaboration.records.of(kernel_id, wanted, limit)
        if not records and kernel_id not in collaboration.runners:
            raise KernelNotFound(kernel_id)
        return records

    async def _stream(self, collaboration: Collaboration, kernel_id: KernelId, wanted: Filter) -> None:
        book, known = collaboration.book, collaboration.records
        with book.watch(kernel_id) as watch:
            records = list(known.live(kernel_id, wanted))
            if wanted.batch is not None:
                # Some of it may have ended already, or all.
                records = await known.of(kernel_id, wanted, MAX_LIMIT)
                if not records:
                    raise BatchNotFound(wanted.batch)
                records.sort(key=lambda record: int(record["seq"]))
            elif not records and kernel_id not in collaboration.runners:
                raise KernelNotFound(kernel_id)
            self.begin_events()
            while True:
                for record in await self.hide(records):
                    self.write_event("run", record["run_id"], record)
                if wanted.batch is not None and not any(
                    run.batch == wanted.batch for run in book.live(kernel_id)
                ):
                    break
                if watch.over or not await self.wait_for(watch.wait, collaboration.settings):
                    break
                records = [known.record(run) for run in watch.take() if wanted.takes_run(run)]
        self.end_events()


class RequestHandler(RunsHandler):
    """Tells where a run stands, and cancels it."""

    @web.authenticated
    @authorized("read")  # type: ignore[untyped-decorator]
    async def get(self, kernel_id: str, run_id: str) -> None:
        """The run's record; 404 for a run that is unknown, forgotten, or of another kernel.

        With ``?wait=`` it is answered when the run has ended, or after so many seconds; with ``?known=`` as soon as its
        state is another one than that. As ``text/event-stream`` each of its states is an event, whose id is the state;
        the last one is how it ended. Who comes back for more after that (``Last-Event-ID``) gets 204, which ends it for
        a browser's ``EventSource``.
        """
        with http_errors(), self.present:
            seconds, known = read_wait(self._argument), read_known(self._argument)
            collaboration = await self.collaboration()
            if self.wants_events:
                await self._stream(collaboration, KernelId(kernel_id), RunId(run_id))
                return
            record = await self._record(collaboration, KernelId(kernel_id), RunId(run_id), seconds, known)
            [shown] = await self.hide([record])
            if record["form"] != "nbmodel":
                self.finish(shown)
                return
            # Who asked as jupyter-server-nbmodel does asks on as it does.
            outputs = await collaboration.records.outputs(record) if shown["source"] is not None else None
            status, answer = nbmodel_answer(shown, outputs, collaboration.input.header(RunId(run_id)))
            self.set_status(status)
            if status == 300:
                self.set_header("Location", f"/api/kernels/{kernel_id}/input")
                self.set_header("Access-Control-Expose-Headers", "Location")
            self.finish(answer)

    @web.authenticated
    @authorized("execute")  # type: ignore[untyped-decorator]
    async def delete(self, kernel_id: str, run_id: str) -> None:
        """Take the run out of its queue: 204. 404 as for ``get``, 409 if the kernel has it already, or it has ended."""
        with http_errors():
            collaboration = await self.collaboration()
            await collaboration.records.cancel(KernelId(kernel_id), RunId(run_id))
        self.set_status(204)
        self.finish()

    # Private

    async def _record(
        self,
        collaboration: Collaboration,
        kernel_id: KernelId,
        run_id: RunId,
        seconds: float,
        known: str | None,
    ) -> Record:
        if not seconds:
            return await collaboration.records.get(kernel_id, run_id)
        with collaboration.book.watch(run_id) as watch:
            record = await collaboration.records.get(kernel_id, run_id)
            with move_on_after(seconds):
                while _is_under_way(record) and known in (None, record["state"]) and not watch.over:
                    await watch.wait()
                    watch.take()
                    record = await collaboration.records.get(kernel_id, run_id)
        return record

    async def _stream(self, collaboration: Collaboration, kernel_id: KernelId, run_id: RunId) -> None:
        # The kernel is watched too, because the run's place changes with what happens to those before it.
        with collaboration.book.watch(run_id, kernel_id) as watch:
            record = await collaboration.records.get(kernel_id, run_id)
            if not _is_under_way(record) and self.request.headers.get("Last-Event-ID") == record["state"]:
                self.set_status(204)
                return
            self.begin_events()
            sent: Record | None = None
            while True:
                if record != sent:
                    [shown] = await self.hide([record])
                    self.write_event("run", record["state"], shown)
                    sent = record
                if not _is_under_way(record) or watch.over:
                    break
                if not await self.wait_for(watch.wait, collaboration.settings):
                    break
                watch.take()
                record = await collaboration.records.get(kernel_id, run_id)
        self.end_events()


def _is_under_way(record: Record) -> bool:
    return not RunState(record["state"]).ended
