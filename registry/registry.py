"""The registry, as one object: add, get, ask, measure, point.

Writing is sound at any moment of interruption: blobs first, then (inside the index's write
transaction) the record's file, then its rows. What was cut off before the record leaves nothing
that counts; what was cut off after it is taken up at the next opening.
"""

from __future__ import annotations

import contextlib
import getpass
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from sqlalchemy import Select

from isogloss import settings
from isogloss.errors import IntegrityError, RefError, did_you_mean
from isogloss.madeby import now
from isogloss.progress import Report, silent
from isogloss.refs import RegistryRef, check_alias, check_name, parse_registry_ref
from isogloss.registry import ask, ingest, lineage, store, tables, views
from isogloss.registry.codec import encode
from isogloss.registry.index import (
    content_of,
)
from isogloss.registry.journal import Journal
from isogloss.registry.records import (
    AdapterFacts,
    AliasMove,
    Draft,
    EdgeRole,
    Evaluation,
    Kind,
    ModelFacts,
    Parent,
    Publication,
    Removal,
    Role,
    Tag,
    Version,
)
from isogloss.registry.store import Damage

Measured = TypeVar("Measured", Evaluation, Publication)


class Registry:
    """A registry that is open; close it, or use it as a context.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, Registry.init(Path(folder)) as registry:
    ...     registry.names()
    []
    """

    def __init__(self, root: Path) -> None:
        store.check(root)
        self.root = root
        self._journal = Journal(root)
        store.sweep(root)

    @classmethod
    def init(cls, root: Path) -> Registry:
        """Make a registry, or open the one that is there.

        Raises:
            RegistryError: something else lies there.
        """
        root = root.absolute()
        with store.full_disk():
            store.make(root)
        return cls(root)

    @classmethod
    def open(cls, root: Path | None = None) -> Registry:
        """Open a registry: at ``root``, else where ``isogloss.settings.home`` finds it.

        Raises:
            RegistryError: there is none.
        """
        return cls((root or settings.home()).absolute())

    @property
    def damaged(self) -> tuple[Damage, ...]:
        """Record files that couldn't be read when the registry was opened or reindexed."""
        return self._journal.damaged

    def close(self) -> None:
        """Close the index."""
        self._journal.close()

    def __enter__(self) -> Registry:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # -- adding -----------------------------------------------------------------------------

    def add(
        self,
        source: Path | Sequence[Path],
        draft: Draft,
        *,
        move: bool = False,
        report: Report = silent,
    ) -> Version:
        """Take a model folder, an adapter folder or a corpus in, as a new version.

        The same content with the same parents under the same name is the version that is there
        already, which is returned. Facts are read from the files; ``made_by`` comes from the draft,
        else from the folder's ``isogloss.json``. Files that don't belong to the artifact stay
        out; the last report names them (``isogloss.registry.survey`` tells beforehand).

        Args:
            source: a folder; for a corpus also a text file or several, whose names are kept.
            move: take the source's files instead of copying them, and delete the source.

        Raises:
            InputError: the source is missing, broken, unsafe, or not what the draft says.
            RegistryError: a parent is not here, the name is of another kind, or the disk is full.
        """
        draft = ingest.checked(draft)
        with store.full_disk():
            taken = ingest.take(self.root, source, draft, move=move, report=report)
            version = self._record(taken.version)
            if move:
                ingest.forget(source)
        return version

    def add_reference(
        self,
        draft: Draft,
        *,
        model: ModelFacts | None = None,
        adapter: AdapterFacts | None = None,
    ) -> Version:
        """Record a model or adapter that stays on the Hub, pinned by ``draft.hub``.

        Raises:
            RegistryError: the draft names no repository or no commit of 40 hex digits.
        """
        return self._record(ingest.reference(ingest.checked(draft), model, adapter))

    def _record(self, draft: Version) -> Version:
        """Commit a version whose number is still open, or find the one that is the same."""
        with self._journal.write() as writer:
            connection = writer.connection
            ask.check_parents(connection, draft)
            number = 0
            while True:
                same = ask.same(connection, draft)
                if same:
                    return same
                number = max(number, ask.highest(connection, draft.name)) + 1
                version = draft.model_copy(update={"number": number, "created_at": now()})
                coded = encode(version)
                try:
                    writer.put(coded)
                except FileExistsError:
                    # Left by a process that died between the file and the commit: take it up.
                    writer.take_up(coded.path)
                    continue
                return ask.version_of(coded.body)

    # -- asking -----------------------------------------------------------------------------

    def get(self, ref: str | RegistryRef) -> Version:
        """The version that a reference names.

        Raises:
            RefError: none or several; the message has the nearest names or the candidates.
        """
        parsed = parse_registry_ref(ref) if isinstance(ref, str) else ref
        with self._journal.read() as connection:
            return ask.resolve(connection, parsed)

    def find(self, ref: str) -> Version | None:
        """As :meth:`get`, but None where the text is no reference or names nothing.

        Raises:
            RefError: a digest names several versions.
        """
        try:
            parsed = parse_registry_ref(ref)
        except RefError:
            return None
        with self._journal.read() as connection:
            try:
                return ask.resolve(connection, parsed)
            except ask.UnknownRefError:
                return None

    def by_record(self, digest: str) -> Version | None:
        """The version with a ``record`` digest, removed or not."""
        return next(iter(self._versions(tables.version.c.record == digest, removed=True)), None)

    def by_step(self, step: str) -> Version | None:
        """The newest version that a step made and that isn't removed."""
        found = self._versions(tables.version.c.step == step)
        return max(found, key=lambda version: (version.created_at, version.ref), default=None)

    def by_content(self, content: str) -> list[Version]:
        """Every version of one content, by name and number."""
        return self._versions(tables.version.c.content == content)

    def versions(
        self,
        *,
        name: str | None = None,
        kind: Kind | None = None,
        role: Role | None = None,
        language: str | None = None,
    ) -> list[Version]:
        """Every version that isn't removed and fits all that is given, by name and number.

        Args:
            language: a BCP-47 tag, which finds its narrower varieties too (``fr`` finds
                ``fr-CA``), or a Glottocode.
        """
        columns = tables.version.c
        given = [(columns.name, name), (columns.kind, kind), (columns.role, role)]
        where = [column == value for column, value in given if value is not None]
        with self._journal.read() as connection:
            if language is not None:
                where.append(ask.speaking(connection, language))
            return ask.versions(connection, *where)

    def names(self) -> list[str]:
        """The name of every artifact that has a version, sorted."""
        with self._journal.read() as connection:
            return ask.names(connection)

    def _versions(self, *where: Any, removed: bool = False) -> list[Version]:
        with self._journal.read() as connection:
            return ask.versions(connection, *where, removed=removed)

    # -- lineage ----------------------------------------------------------------------------

    def parent_edge(self, version: Version, role: EdgeRole, weight: float | None = None) -> Parent:
        """The edge that a draft carries to name ``version`` as a parent."""
        return Parent(
            role=role,
            ref=version.ref,
            record=version.record,
            content=version.content,
            hub=version.hub,
            weight=weight,
        )

    def parents(self, version: Version) -> list[tuple[Parent, Version | None]]:
        """Each edge with the version at its other end; None where that is only on the Hub."""
        with self._journal.read() as connection:
            return ask.parents(connection, version)

    def children(self, version: Version) -> list[Version]:
        """What was made from ``version`` directly, by name and number."""
        with self._journal.read() as connection:
            return ask.children(connection, version)

    def lineage(self, version: Version) -> lineage.Lineage:
        """The whole ancestry as a tree."""
        with self._journal.read() as connection:
            return lineage.trace(version, lambda child: ask.parents(connection, child))

    def ancestors(self, version: Version) -> list[Version]:
        """Every version in the ancestry once, in the order of first meeting; not itself."""
        met: dict[str, Version] = {}
        for depth, node in self.lineage(version).walk():
            if depth and node.version:
                met.setdefault(node.version.record, node.version)
        return list(met.values())

    # -- files ------------------------------------------------------------------------------

    def view(self, version: Version, *, writable: Path | None = None) -> Path:
        """A folder with the version's files: links to blobs, or copies in ``writable``.

        Raises:
            RegistryError: the version has no files here (a model by reference).
            IntegrityError: a blob is missing or damaged.
            UsageError: ``writable`` is not a new or empty folder.
        """
        if writable is not None:
            return views.copy(self.root, version, writable)
        return views.view(self.root, version)

    def put_blob(self, data: bytes) -> str:
        """Keep bytes; their sha256."""
        return store.put_bytes(self.root, data)

    def blob(self, sha256: str) -> Path:
        """Where the blob of a digest lies; it must not be written to.

        Raises:
            IntegrityError: it is missing.
        """
        path = store.blob_path(self.root, sha256)
        if not path.is_file():
            raise IntegrityError(f"blob {sha256} is missing", expected=f"a file at {path}")
        return path

    def read_blob(self, sha256: str) -> bytes:
        """The bytes of a blob, checked.

        Raises:
            IntegrityError: it is missing, or has another digest.
        """
        return store.read_bytes(self.root, sha256)

    # -- aliases, tags, removals ------------------------------------------------------------

    def alias(
        self, name: str, alias: str, number: int | None, *, why: str | None = None
    ) -> AliasMove:
        """Point ``name@alias`` to a version, or take the alias away with None.

        Raises:
            RefError: there is no such version, or the alias may not be called so.
        """
        check_alias(alias)
        with self._journal.write() as writer:
            connection = writer.connection
            if number is None:
                if alias not in (known := ask.aliases(connection, name)):
                    raise RefError(
                        f"{name} has no alias {alias!r}", hint=did_you_mean(alias, known)
                    )
            else:
                ask.resolve(connection, RegistryRef(check_name(name), number=number))
            last = max((m.created_at for m in ask.alias_log(connection, name)), default="")
            move = AliasMove(
                name=name, alias=alias, number=number, who=_who(), why=why, created_at=_after(last)
            )
            writer.put(encode(move))
            return move

    def aliases(self, name: str) -> dict[str, int]:
        """Where each alias of ``name`` points now."""
        with self._journal.read() as connection:
            return ask.aliases(connection, name)

    def alias_log(self, name: str) -> list[AliasMove]:
        """Every move of every alias of ``name``, oldest first."""
        with self._journal.read() as connection:
            return ask.alias_log(connection, name)

    def tag(self, version: Version, key: str, value: str | None) -> Tag:
        """Label a version; None takes the label away."""
        with self._journal.write() as writer:
            connection = writer.connection
            ask.check_known(connection, version.record, version.ref)
            last = max((t.created_at for t in ask.tag_log(connection, version.record)), default="")
            tag = Tag(version=version.record, key=key, value=value, created_at=_after(last))
            writer.put(encode(tag))
            return tag

    def tags(self, version: Version) -> dict[str, str]:
        """The labels of a version."""
        with self._journal.read() as connection:
            moves = ask.tag_log(connection, version.record)
        values = {move.key: move.value for move in moves}
        return {key: value for key, value in sorted(values.items()) if value is not None}

    def remove(self, version: Version, *, why: str | None = None) -> Removal:
        """List a version no longer; its record stays, and its number isn't given again."""
        with self._journal.write() as writer:
            connection = writer.connection
            ask.check_known(connection, version.record, version.ref)
            removal = Removal(version=version.record, who=_who(), why=why, created_at=now())
            writer.put(encode(removal))
            return removal

    # -- measurements and publications ------------------------------------------------------

    def record_evaluation(self, evaluation: Evaluation) -> Evaluation:
        """Keep a measurement; recording the same one twice is recording it once.

        Raises:
            RegistryError: the version or the blob with the items' scores is not here.
        """
        self.blob(evaluation.items)
        return self._keep(evaluation, evaluation.version, evaluation.ref)

    def evaluations(
        self,
        version: Version | None = None,
        *,
        suite: str | None = None,
        task: str | None = None,
        split: str | None = None,
    ) -> list[Evaluation]:
        """Every measurement that fits what is given, oldest first."""
        columns = tables.evaluation.c
        given = [
            (columns.version, version.record if version else None),
            (columns.suite, suite),
            (columns.task, task),
            (columns.split, split),
        ]
        where = [column == value for column, value in given if value is not None]
        return self._bodies(Evaluation, ask.oldest_first(tables.evaluation, *where))

    def evaluation_by_step(self, step: str) -> Evaluation | None:
        """The newest measurement that a step made."""
        found = ask.oldest_first(tables.evaluation, tables.evaluation.c.step == step)
        return next(reversed(self._bodies(Evaluation, found)), None)

    def record_publication(self, publication: Publication) -> Publication:
        """Keep what was published where.

        Raises:
            RegistryError: the version is not here.
        """
        return self._keep(publication, publication.version, publication.ref)

    def publications(self, version: Version | None = None) -> list[Publication]:
        """Every publication, or those of a version, oldest first."""
        where = [tables.publication.c.version == version.record] if version else []
        return self._bodies(Publication, ask.oldest_first(tables.publication, *where))

    def _keep(self, record: Measured, version: str, ref: str) -> Measured:
        coded = encode(record)
        with self._journal.write() as writer:
            connection = writer.connection
            ask.check_known(connection, version, ref)
            # It is there already, or a process died before it could commit it.
            with contextlib.suppress(FileExistsError):
                writer.put(coded)
                return record
            writer.take_up(coded.path)
        return record

    def _bodies(self, kind: type[Measured], found: Select[Any]) -> list[Measured]:
        with self._journal.read() as connection:
            bodies = connection.execute(found).scalars().all()
        return [kind.model_validate_json(body) for body in bodies]

    # -- the index --------------------------------------------------------------------------

    def reindex(self) -> int:
        """Make the index again from the records; the number of records.

        ``damaged`` names the files that couldn't be read.
        """
        return self._journal.fold()

    def index_digest(self) -> str:
        """A digest of all that the index holds; equal before and after :meth:`reindex`."""
        with self._journal.read() as connection:
            return content_of(connection)


def _who() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def _after(last: str) -> str:
    """The present, or just after ``last`` where the clock went back: the order of moves is kept."""
    present = now()
    if present > last:
        return present
    return (datetime.fromisoformat(last) + timedelta(microseconds=1)).isoformat(
        timespec="microseconds"
    )
