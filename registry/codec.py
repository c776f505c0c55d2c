"""Records as bytes and paths: what lies in ``records/``, to the byte.

A record's file is its canonical JSON with its own digest under ``record``, and a line end.
A version lies at ``version/<hh>/<name>@<number>.json`` (``/`` in a name is written ``+``; hh: two
hex digits of the name's sha256), so that creating the file takes the number; any other record at
``<type>/<hh>/<digest>.json``.
"""

from __future__ import annotations

import json
from typing import NamedTuple

from pydantic import ValidationError

from isogloss.errors import IntegrityError, RegistryError
from isogloss.files import canonical_json, sha256_bytes
from isogloss.registry.records import (
    FORMAT,
    AliasMove,
    Evaluation,
    Publication,
    Record,
    Removal,
    Tag,
    Version,
    plain,
)

TYPES: dict[str, type[Record]] = {
    "alias-move": AliasMove,
    "evaluation": Evaluation,
    "publication": Publication,
    "removal": Removal,
    "tag": Tag,
    "version": Version,
}


class Coded(NamedTuple):
    """A record with everything that is derived from it."""

    record: Record
    digest: str
    """``record.record``."""
    body: str
    """Its canonical JSON."""
    path: str
    """POSIX path below ``records/``."""

    @property
    def file(self) -> bytes:
        """The bytes of its file."""
        return canonical_json({**json.loads(self.body), "record": self.digest}) + b"\n"


def encode(record: Record) -> Coded:
    """A record's digest, JSON and path.

    Raises:
        RegistryError: a value has no JSON form (NaN, an object) or isn't UTF-8.
    """
    try:
        value = plain(record)
        body = canonical_json(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise RegistryError(
            f"the {record.type} holds what no record can ({error})",
            expected="finite numbers, text, lists and maps",
        ) from error
    digest = sha256_bytes(
        canonical_json({k: v for k, v in value.items() if k not in record.pointers})
    )
    return Coded(record, digest, body.decode(), path_of(record, digest))


def decode(data: bytes, path: str) -> Coded:
    """The record in a file's bytes.

    Args:
        path: where it lies below ``records/``.

    Raises:
        IntegrityError: it is not canonical JSON of a known type and format, or its digest or
            its path is another one.
    """
    try:
        value = json.loads(data)
        if not isinstance(value, dict) or canonical_json(value) + b"\n" != data:
            raise ValueError("not canonical JSON of an object")
        claimed = value.pop("record", None)
        if value.get("format") != FORMAT:
            raise ValueError(f"format {value.get('format')!r}, known is {FORMAT}")
        kind = TYPES.get(str(value.get("type")))
        if kind is None:
            raise ValueError(f"type {value.get('type')!r}")
        record = kind.model_validate(value)
    except (ValidationError, ValueError, RecursionError) as error:
        reason = str(error).splitlines()[0]
        raise IntegrityError(f"records/{path} can't be read ({reason})") from error
    pointers = record.pointers
    digest = sha256_bytes(canonical_json({k: v for k, v in value.items() if k not in pointers}))
    if digest != claimed:
        raise IntegrityError(f"records/{path} has the digest {digest}", expected=str(claimed))
    if path_of(record, digest) != path:
        raise IntegrityError(f"records/{path} lies in the wrong place", expected="its own path")
    return Coded(record, digest, canonical_json(value).decode(), path)


def path_of(record: Record, digest: str) -> str:
    """Where a record lies below ``records/``.

    >>> path_of(AliasMove(name="a", alias="b", number=1, who="c", created_at="d"), "ab12")
    'alias-move/ab/ab12.json'
    """
    if isinstance(record, Version):
        return version_path(record.name, record.number)
    return f"{record.type}/{digest[:2]}/{digest}.json"


def version_path(name: str, number: int) -> str:
    """Where the record of ``name:number`` lies below ``records/``."""
    return f"version/{sha256_bytes(name.encode())[:2]}/{name.replace('/', '+')}@{number}.json"
