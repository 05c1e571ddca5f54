"""One more connection to the signatures of notebooks (``nbformat.sign``), for another thread."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any

from nbformat.sign import SQLiteSignatureStore


def sign_in_thread(notary: Any, notebook: Any) -> None:
    """Sign a notebook for a notary with a database in a file, from any thread. Raises ``sqlite3.Error``."""
    connection: type[Any] = _Connection
    with closing(connection(notary.store.db_file)) as store:
        store.cache_size = notary.store.cache_size
        store.store_signature(notary.compute_signature(notebook), notary.algorithm)


class _Connection(SQLiteSignatureStore):
    """What is wrong with the database is for who has opened it: this one neither makes nor replaces it."""

    def _connect_db(self, db_file: str) -> sqlite3.Connection:
        return sqlite3.connect(db_file, detect_types=sqlite3.PARSE_DECLTYPES | sqlite3.PARSE_COLNAMES)
