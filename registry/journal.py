"""Record files and their index, kept in step.

A record's file is created under the index's write lock, before its rows; so a file may lack its
rows after a process died, and rows never lack their file. Files without rows are taken up when
the registry is opened, or by whoever finds the number of a version taken.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from sqlalchemy import Connection

from isogloss.errors import IntegrityError
from isogloss.registry import store
from isogloss.registry.codec import Coded, decode
from isogloss.registry.index import (
    BrokenIndexError,
    Index,
    clear,
    insert_records,
    known_paths,
)
from isogloss.registry.store import Damage

_BATCH = 1000  # records folded at once


class Journal:
    """The records of one registry.

    Raises:
        RegistryError: the index can't be opened.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self.damaged: tuple[Damage, ...] = ()
        """Record files that couldn't be read, by path; the rest goes on without them."""
        self._index = Index(root)
        try:
            self._adopt()
        except BrokenIndexError:
            self._index.remake()
            self._adopt()

    def close(self) -> None:
        """Close the index."""
        self._index.close()

    def read(self) -> contextlib.AbstractContextManager[Connection]:
        """A consistent view of the index for the length of the block."""
        return self._index.read()

    @contextlib.contextmanager
    def write(self) -> Iterator[Writer]:
        """The write lock for the length of the block.

        After an error the files that were created are taken back. After an interrupt they stay:
        the commit may have happened, and if it hasn't, the record is whole and the next opening
        takes it up.
        """
        created: list[Path] = []
        try:
            with self._index.write() as connection:
                yield Writer(connection, self, created)
        except Exception:
            for path in created:
                path.unlink(missing_ok=True)
            raise

    def create(self, coded: Coded) -> Path:
        """Create a record's file; only under the write lock.

        Raises:
            FileExistsError: it is there already.
        """
        return store.write_record(self._root, coded)

    def decoded(self, paths: Sequence[str]) -> list[Coded]:
        """The records at ``paths`` below ``records/``; one that can't be read is noted."""
        found = []
        for path in paths:
            try:
                found.append(decode((self._root / "records" / path).read_bytes(), path))
            except FileNotFoundError:
                continue  # its writer failed and took it back
            except (IntegrityError, OSError) as error:
                self._note(path, str(error))
        return found

    def fold(self) -> int:
        """Make the index again from the record files; the number of records."""
        try:
            return self._fold()
        except BrokenIndexError:
            self._index.remake()
            return self._fold()

    def _fold(self) -> int:
        with self._index.write() as connection:
            clear(connection)
            self.damaged = ()
            return self._insert(connection, store.record_paths(self._root))

    def _adopt(self) -> None:
        """Take up the files that have no rows: those of a process that died, or of a new index."""
        paths = store.record_paths(self._root)
        with self._index.read() as connection:
            known = known_paths(connection)
        self._name_lost(known.difference(paths))
        missing = [path for path in paths if path not in known]
        if missing:
            with self._index.write() as connection:
                self._insert(connection, missing)

    def _insert(self, connection: Connection, paths: Sequence[str]) -> int:
        count = 0
        for start in range(0, len(paths), _BATCH):
            found = self.decoded(paths[start : start + _BATCH])
            insert_records(connection, found)
            count += len(found)
        return count

    def _name_lost(self, paths: Iterable[str]) -> None:
        for path in sorted(paths):
            # Whoever is writing now may have added a row since the folder was read.
            if not (self._root / "records" / path).exists():
                self._note(path, "the file is gone")

    def _note(self, path: str, why: str) -> None:
        damage = Damage(f"records/{path}", why)
        if damage not in self.damaged:
            self.damaged = tuple(sorted({*self.damaged, damage}))


class Writer:
    """What may be done under the write lock; ``connection`` sees what it did."""

    def __init__(self, connection: Connection, journal: Journal, created: list[Path]) -> None:
        self.connection = connection
        self._journal = journal
        self._created = created

    def put(self, coded: Coded) -> None:
        """Create a record's file and insert its rows.

        Raises:
            FileExistsError: the file is there already.
        """
        self._created.append(self._journal.create(coded))
        insert_records(self.connection, [coded])

    def take_up(self, path: str) -> None:
        """Insert the rows of a record file that a process left without them."""
        insert_records(self.connection, self._journal.decoded([path]))
