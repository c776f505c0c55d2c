"""The tables of the index, and the rows that a record becomes.

Every row is a function of one record, and rows don't refer to each other, so the index is the
same whatever order the records come in. What depends on order (where an alias points, what is
removed) is asked of the rows, not stored.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlalchemy import Column, Float, Index, Integer, MetaData, Table, Text

from isogloss.registry.codec import Coded
from isogloss.registry.records import Version

SCHEMA = 1
"""``PRAGMA user_version``; an index with another number is made again."""

metadata = MetaData()


def _key(name: str) -> Column[Any]:
    return Column(name, Text, primary_key=True)


source = Table(
    "source",
    metadata,
    _key("path"),
    Column("record", Text, nullable=False),
)
version = Table(
    "version",
    metadata,
    _key("name"),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("record", Text, nullable=False, index=True),
    Column("kind", Text, nullable=False),
    Column("role", Text),
    Column("content", Text, nullable=False, index=True),
    Column("step", Text, index=True),
    Column("created_at", Text, nullable=False),
    Column("body", Text, nullable=False),
)
language = Table(
    "language",
    metadata,
    _key("record"),
    Column("ordinal", Integer, primary_key=True, autoincrement=False),
    Column("tag", Text, nullable=False),
    Column("glottocode", Text),
    Column("prestige", Text),
)
file = Table(
    "file",
    metadata,
    _key("record"),
    _key("path"),
    Column("size", Integer, nullable=False),
    Column("sha256", Text, nullable=False, index=True),
)
edge = Table(
    "edge",
    metadata,
    _key("child"),
    Column("ordinal", Integer, primary_key=True, autoincrement=False),
    Column("role", Text, nullable=False),
    Column("parent", Text, index=True),
    Column("content", Text, index=True),
    Column("hub_repo", Text),
    Column("hub_commit", Text),
    Column("weight", Float),
)
evaluation = Table(
    "evaluation",
    metadata,
    _key("record"),
    Column("version", Text, nullable=False, index=True),
    Column("suite", Text, nullable=False),
    Column("task", Text, nullable=False),
    Column("split", Text, nullable=False),
    Column("step", Text, nullable=False, index=True),
    Column("created_at", Text, nullable=False),
    Column("body", Text, nullable=False),
)
publication = Table(
    "publication",
    metadata,
    _key("record"),
    Column("version", Text, nullable=False, index=True),
    Column("endpoint", Text, nullable=False),
    Column("repo", Text, nullable=False),
    Column("created_at", Text, nullable=False),
    Column("body", Text, nullable=False),
)
alias_move = Table(
    "alias_move",
    metadata,
    _key("record"),
    Column("name", Text, nullable=False),
    Column("alias", Text, nullable=False),
    Column("number", Integer),
    Column("created_at", Text, nullable=False),
    Column("body", Text, nullable=False),
    Index("ix_alias_move_name", "name", "alias"),
)
tag = Table(
    "tag",
    metadata,
    _key("record"),
    Column("version", Text, nullable=False, index=True),
    Column("key", Text, nullable=False),
    Column("value", Text),
    Column("created_at", Text, nullable=False),
    Column("body", Text, nullable=False),
)
removal = Table(
    "removal",
    metadata,
    _key("record"),
    Column("version", Text, nullable=False, index=True),
    Column("created_at", Text, nullable=False),
    Column("body", Text, nullable=False),
)


class Row(NamedTuple):
    """One row to be, and its table."""

    table: Table
    values: dict[str, Any]


_FIELDS: dict[str, tuple[Table, str]] = {
    "version": (version, "name number kind role content step"),
    "evaluation": (evaluation, "version suite task split step"),
    "publication": (publication, "version endpoint repo"),
    "alias-move": (alias_move, "name alias number"),
    "tag": (tag, "version key value"),
    "removal": (removal, "version"),
}


def rows(coded: Coded) -> list[Row]:
    """The rows that one record becomes."""
    record, digest = coded.record, coded.digest
    table, fields = _FIELDS[record.type]
    values = {field: getattr(record, field) for field in fields.split()}
    values |= {"record": digest, "created_at": record.created_at, "body": coded.body}
    found = [Row(source, {"path": coded.path, "record": digest}), Row(table, values)]
    return found + _parts(record, digest) if isinstance(record, Version) else found


def _parts(record: Version, digest: str) -> list[Row]:
    found = [
        Row(
            language,
            {
                "record": digest,
                "ordinal": ordinal,
                "tag": spoken.tag,
                "glottocode": spoken.glottocode,
                "prestige": spoken.prestige,
            },
        )
        for ordinal, spoken in enumerate(record.languages)
    ]
    found += [
        Row(file, {"record": digest, "path": f.path, "size": f.size, "sha256": f.sha256})
        for f in record.files
    ]
    found += [
        Row(
            edge,
            {
                "child": digest,
                "ordinal": ordinal,
                "role": parent.role,
                "parent": parent.record,
                "content": parent.content,
                "hub_repo": parent.hub.repo if parent.hub else None,
                "hub_commit": parent.hub.commit if parent.hub else None,
                "weight": parent.weight,
            },
        )
        for ordinal, parent in enumerate(record.parents)
    ]
    return found
