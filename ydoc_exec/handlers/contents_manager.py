"""What of the server's contents manager works otherwise while this extension runs.

- Files are replaced by complete new versions (``files/replacement.py``), whoever saves them. Jupyter Server's own
  manager truncates a file before it writes it. What a subclass has made its own is left as it is, and
  ``use_atomic_writing`` still decides.
- What is saved to a file that is open as a document is merged into the document, and the document is saved:
  by ``PUT /api/contents/{path}`` and by every extension that calls ``save``. An asynchronous manager waits its turn
  among the document's own saves. A plain one cannot wait; there a pre-save hook merges, and what is left to do is
  done when the document's file is looked at next. Without hooks the change is found there too, as any other
  program's.

- An asynchronous manager signs a trusted notebook in the thread that writes it (``signatures.py``).
- An asynchronous manager says the hash of an open file when its tabs have had time to hear of it.

Uploads in chunks go past the document; what they leave is found in the file.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from io import TextIOWrapper
from typing import Any, Protocol

from anyio import from_thread, to_thread
from jupyter_server.services.contents.fileio import AsyncFileManagerMixin, FileManagerMixin
from tornado import web

from ydoc_exec.errors import LoadFailed, YdocExecError
from ydoc_exec.files.contents import file_state
from ydoc_exec.files.own_save import own_save
from ydoc_exec.files.replacement import FileState, Replacement, remove_left_over
from ydoc_exec.handlers.signatures import can_sign_in_thread, present_signing, signing
from ydoc_exec.store.sqlite_signatures import sign_in_thread

_is_thread: ContextVar[bool] = ContextVar("is_thread", default=False)

READINGS = 5
"""So often a file is read again for its hash because it was replaced meanwhile."""


class OpenFiles(Protocol):
    """The files that are open as documents."""

    async def save(self, model: dict[str, Any], path: str) -> dict[str, Any] | None:
        """Merge the model's content into the document of this file and save that: the model that the contents manager
        then has. None if it is not open, or the model is none that the document could take."""
        ...

    def merge(self, model: dict[str, Any], path: str) -> Any:
        """Merge the model's content into the document of this file: what the document has now, or None as above."""
        ...

    async def heard(self, path: str) -> None:
        """Return when the tabs of this file's document have had time to hear of its last version."""
        ...


@contextmanager
def taken_over(
    manager: Any, files: OpenFiles, keep_inodes: Callable[[], bool] = lambda: False
) -> Iterator[None]:
    """Let a contents manager work as the head of this module says, until the block ends.

    While ``keep_inodes`` says so, files are written in place as before: for a file id manager that knows them by
    their inode.
    """
    before = type(manager)
    cls: type[Any] = before
    if isinstance(manager, FileManagerMixin):
        cls = _saving_whole(cls, keep_inodes)
    if inspect.iscoroutinefunction(manager.save):
        cls = _saving_through(cls, files)
    elif hasattr(manager, "register_pre_save_hook"):
        manager.register_pre_save_hook(_merging_hook(files))
    # An object can change its class, and everybody who has it has the new one.
    cls.__name__, cls.__qualname__ = before.__name__, before.__qualname__
    manager.__class__ = cls
    try:
        yield
    finally:
        manager.__class__ = before


# Private: whole files


def _saving_whole(manager: type[Any], keep_inodes: Callable[[], bool]) -> type[Any]:
    swept: set[str] = set()

    class WholeFiles(manager):  # type: ignore[misc]
        """See the head of the module."""

        def file_state(self, path: str) -> FileState | None:
            """The version of a file, as ``OwnSave.known`` wants it."""
            return FileState.of(self._get_os_path(path))

        @contextmanager
        def atomic_writing(
            self, os_path: str, text: bool = True, encoding: str = "utf-8", **options: Any
        ) -> Iterator[Any]:
            """Gives a file to write to, which becomes the one at ``os_path`` if the block ends without an error."""
            replacement = None
            if self.use_atomic_writing and not keep_inodes():
                if os_path not in swept:
                    swept.add(os_path)
                    remove_left_over(os_path)
                with self.perm_to_403(os_path):
                    replacement = Replacement.begin(os_path)
            if replacement is None:
                with super().atomic_writing(os_path, text=text, encoding=encoding, **options) as file:
                    yield file
                return
            try:
                with self.perm_to_403(os_path):
                    if text:
                        options.setdefault("newline", "\n")
                        wrapper = TextIOWrapper(replacement.file, encoding=encoding, **options)
                        yield wrapper
                        wrapper.detach()
                    else:
                        yield replacement.file
                    state = replacement.settle(getattr(self, "hash_algorithm", "sha256"))
                    _on_event_loop(partial(self._take_place, os_path, replacement, state))
                    replacement.make_lasting()
            finally:
                replacement.give_up()

        def _take_place(self, os_path: str, replacement: Replacement, state: FileState) -> None:
            """One step of the event loop: whoever can read the new version has been told its hash."""
            save = own_save()
            if save is None or self._get_os_path(save.path) != os_path:
                replacement.take_place()
                return
            try:
                if FileState.of(replacement.path) != save.known:
                    raise FileExistsError
                replacement.take_place()
            except (FileExistsError, FileNotFoundError):
                save.overtaken = True
                raise web.HTTPError(409, f"{save.path} was changed while it was saved") from None
            save.written = state
            save.replaced(replacement.digest)

    for name in ("_save_notebook", "_save_file"):
        # Theirs waits for the disk on the event loop.
        if getattr(manager, name) is getattr(AsyncFileManagerMixin, name):
            setattr(WholeFiles, name, _in_thread(getattr(FileManagerMixin, name)))
    if getattr(manager, "_save_notebook", None) is AsyncFileManagerMixin._save_notebook:
        return _signing_in_thread(WholeFiles)
    return WholeFiles


def _signing_in_thread(manager: type[Any]) -> type[Any]:
    write: Any = FileManagerMixin._save_notebook

    class SigningInThread(manager):  # type: ignore[misc]
        """See the head of the module."""

        async def save(self, model: dict[str, Any], path: str = "") -> dict[str, Any]:
            """Save a model; what is to be signed is, when this returns."""
            with signing() as save:
                answer: dict[str, Any] = await super().save(model, path)
            for notebook, at in save.waiting:  # it was written in another way
                super().check_and_sign(notebook, at)
            return answer

        def check_and_sign(self, nb: Any, path: str = "", **options: Any) -> None:
            """Sign a trusted notebook, or have that done by the thread that is about to write it."""
            save = present_signing()
            if save is not None and can_sign_in_thread(self.notary):
                save.waiting.append((nb, path))
            else:
                super().check_and_sign(nb, path, **options)

    def sign_and_write(self: Any, os_path: str, nb: Any, **options: Any) -> None:
        save = present_signing()
        path = save.take(nb) if save is not None else None
        by_manager: Any = super(SigningInThread, self)
        if path is not None and not self.notary.check_cells(nb):
            self.log.warning("Notebook %s is not trusted", path)
        elif path is not None:
            try:
                sign_in_thread(self.notary, nb)
            except Exception:
                # It says what is wrong, and makes another database if it must. Checking has taken the marks away.
                self.notary.mark_cells(nb, True)
                _on_event_loop(partial(by_manager.check_and_sign, nb, path))
        write(self, os_path, nb, **options)

    SigningInThread._save_notebook = _in_thread(sign_and_write)
    return SigningInThread


def _in_thread(method: Callable[..., Any]) -> Callable[..., Any]:
    async def run(self: Any, *args: Any, **options: Any) -> Any:
        token = _is_thread.set(True)
        try:
            return await to_thread.run_sync(partial(method, self, *args, **options))
        finally:
            _is_thread.reset(token)

    return run


def _on_event_loop(step: Callable[[], None]) -> None:
    if _is_thread.get():
        from_thread.run_sync(step)
    else:
        step()


# Private: through the document


def _saving_through(manager: type[Any], files: OpenFiles) -> type[Any]:
    class ThroughDocuments(manager):  # type: ignore[misc]
        """See the head of the module."""

        async def save(self, model: dict[str, Any], path: str = "") -> dict[str, Any]:
            """Save a model; to a file that is open as a document by way of the document."""
            if _is_of_others(model, path):
                with _http_errors():
                    saved = await files.save(model, path.strip("/"))
                if saved is not None:
                    return saved
            answer: dict[str, Any] = await super().save(model, path)
            return answer

    if "require_hash" in inspect.signature(manager.get).parameters:  # it came with jupyter_server 2.11
        cls: type[Any] = ThroughDocuments
        return _saying_known_hashes(cls, files)
    return ThroughDocuments


def _saying_known_hashes(manager: type[Any], files: OpenFiles) -> type[Any]:
    class KnownHashes(manager):  # type: ignore[misc]
        """See the head of the module."""

        async def get(
            self,
            path: str,
            content: bool = True,
            type: str | None = None,
            format: str | None = None,
            require_hash: bool = False,
        ) -> dict[str, Any]:
            """Read a file. Its hash is that of the version that is there when this returns.

            A tab that is about to save asks for the hash, and its user about a file that "has changed on disk" if it
            is not the one that it knows (JupyterLab, ``context.ts``, ``_maybeSave``).
            """
            model: dict[str, Any]
            for _ in range(READINGS):
                if require_hash:
                    await files.heard(path.strip("/"))
                before = file_state(self, path)
                model = await super().get(
                    path, content=content, type=type, format=format, require_hash=require_hash
                )
                if not require_hash or file_state(self, path) == before:
                    break
            return model

    return KnownHashes


def _merging_hook(files: OpenFiles) -> Callable[..., None]:
    def merge_into_document(model: dict[str, Any], path: str, **_: Any) -> None:
        if _is_of_others(model, path):
            with _http_errors():
                content = files.merge(model, path.strip("/"))
            if content is not None:
                model["content"] = content

    return merge_into_document


def _is_of_others(model: dict[str, Any], path: str) -> bool:
    save = own_save()
    return "chunk" not in model and (save is None or save.path != path.strip("/"))


@contextmanager
def _http_errors() -> Iterator[None]:
    """What the contents API answers: what the manager itself said, if it did."""
    try:
        yield
    except YdocExecError as error:
        if isinstance(error.__cause__, web.HTTPError):
            raise error.__cause__ from None
        raise web.HTTPError(400 if isinstance(error, LoadFailed) else error.status, str(error)) from error
