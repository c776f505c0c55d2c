"""The index: an SQLite file that is a fold over the records, and can always be made again.

Writers take the write lock when they begin (``BEGIN IMMEDIATE``) and readers never wait (WAL).
There are no migrations: another schema number, or a damaged file, means that it is made again.
"""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, Table, create_engine, event, exc, select
from sqlalchemy.dialects.sqlite import insert

from isogloss.errors import RegistryError
from isogloss.files import canonical_json
from isogloss.registry import tables
from isogloss.registry.codec import Coded

FILE = "registry.sqlite"
BUSY = 10.0
"""Seconds that a writer waits for another."""
_BROKEN = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


class Index:
    """A connection pool on the index of one registry.

    Raises:
        RegistryError: it can't be opened, or another process holds it for too long.
    """

    def __init__(self, root: Path) -> None:
        self.path = root / FILE
        self.fresh = False
        """Whether the tables were made on opening, and hold nothing yet."""
        self._engine = self._opened()

    def close(self) -> None:
        """Give the connections back."""
        self._engine.dispose()

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """A consistent view for the length of the block."""
        with _explained(), self._engine.connect() as connection, connection.begin():
            yield connection

    @contextlib.contextmanager
    def write(self) -> Iterator[Connection]:
        """The write lock for the length of the block; committed at its end, undone by an error."""
        with (
            _explained(),
            self._engine.connect().execution_options(isogloss_write=True) as connection,
            connection.begin(),
        ):
            yield connection

    def remake(self) -> None:
        """Throw the file away and open an empty index, for a file that SQLite can't read."""
        self.close()
        self._discard()
        self._engine = self._opened()

    def _opened(self) -> Engine:
        for last in (False, True):
            engine = _engine(self.path)
            try:
                with _explained(), engine.connect() as connection:
                    self.fresh = _prepare(connection)
                return engine
            except BrokenIndexError:
                engine.dispose()
                if last:
                    raise
                self._discard()
        raise AssertionError("unreachable")

    def _discard(self) -> None:
        for suffix in ("", "-wal", "-shm"):
            self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)


class BrokenIndexError(RegistryError):
    """SQLite can't read the file."""


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except exc.DBAPIError as error:
        code = getattr(error.orig, "sqlite_errorcode", None)
        if code is not None and code & 0xFF in _BROKEN:
            raise BrokenIndexError(
                f"the index is damaged ({error.orig})", hint="type: isogloss registry reindex"
            ) from error
        if code is not None and code & 0xFF == sqlite3.SQLITE_BUSY:
            raise RegistryError(
                f"another process held the registry for {BUSY:.0f} seconds", hint="try again"
            ) from error
        raise RegistryError(
            f"the index refused ({error.orig})", hint="is the disk full?"
        ) from error


def _engine(path: Path) -> Engine:
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": BUSY})

    @event.listens_for(engine, "connect")
    def _connect(raw: Any, _: Any) -> None:
        # The driver would begin transactions itself, deferred, and deferred writers fail at once
        # where they should wait; so it is told to keep out, and _begin says what we mean.
        raw.isolation_level = None
        _journal(raw)
        raw.execute("PRAGMA synchronous=NORMAL")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        options = connection.get_execution_options()
        connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get("isogloss_write") else "BEGIN")

    return engine


def _journal(raw: Any) -> None:
    """Ask for WAL; SQLite doesn't wait for a lock here, so we do."""
    until = time.monotonic() + BUSY
    while True:
        try:
            raw.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            busy = getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY
            if not busy or time.monotonic() > until:
                raise
            time.sleep(0.01)


def _prepare(connection: Connection) -> bool:
    """Make the tables if they aren't those of this schema; whether that was needed."""
    connection = connection.execution_options(isogloss_write=True)
    if _schema(connection) == tables.SCHEMA:
        connection.rollback()
        return False
    connection.rollback()
    with connection.begin():
        # Another process may have been faster while we waited for the lock.
        if _schema(connection) == tables.SCHEMA:
            return False
        clear(connection)
        connection.exec_driver_sql(f"PRAGMA user_version={tables.SCHEMA}")
    return True


def _schema(connection: Connection) -> int:
    return int(connection.exec_driver_sql("PRAGMA user_version").scalar_one())


def clear(connection: Connection) -> None:
    """Drop whatever tables there are and make ours, empty."""
    found = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    for name in connection.exec_driver_sql(found).scalars().all():
        quoted = name.replace('"', '""')
        connection.exec_driver_sql(f'DROP TABLE "{quoted}"')
    tables.metadata.create_all(connection)


def insert_records(connection: Connection, records: Iterable[Coded]) -> None:
    """Insert the rows of records, a table at a time; rows that are there already stay."""
    collected: defaultdict[Table, list[dict[str, Any]]] = defaultdict(list)
    for coded in records:
        for row in tables.rows(coded):
            collected[row.table].append(row.values)
    for table, values in collected.items():
        connection.execute(insert(table).on_conflict_do_nothing(), values)


def known_paths(connection: Connection) -> set[str]:
    """The paths of all record files that have rows."""
    return set(connection.execute(select(tables.source.c.path)).scalars())


def content_of(connection: Connection) -> str:
    """sha256 over all rows of all tables, in an order of their own."""
    digest = hashlib.sha256()
    for table in tables.metadata.sorted_tables:
        digest.update(canonical_json([table.name, [column.name for column in table.columns]]))
        for row in connection.execute(select(table).order_by(*table.primary_key.columns)):
            digest.update(canonical_json(list(row)))
    return digest.hexdigest()
