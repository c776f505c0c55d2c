"""Questions to the index: pure functions of an open connection."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Select, and_, exists, func, or_, select

from isogloss.errors import RefError, RegistryError, did_you_mean
from isogloss.refs import RegistryRef
from isogloss.registry.languages import is_glottocode, matches, normalised
from isogloss.registry.records import AliasMove, Parent, Tag, Version, agrees
from isogloss.registry.tables import alias_move, edge, language, removal, tag, version

LIST = "list them with: isogloss registry ls"


class UnknownRefError(RefError):
    """A well-formed reference that names nothing here."""


def version_of(body: str) -> Version:
    """A version from the JSON in its row."""
    return Version.model_validate_json(body)


def versions(connection: Connection, *where: Any, removed: bool = False) -> list[Version]:
    """Versions by name and number; those that were removed only if ``removed``."""
    found = select(version.c.body).where(*where).order_by(version.c.name, version.c.number)
    if not removed:
        found = found.where(_live())
    return [version_of(body) for body in connection.execute(found).scalars()]


def _live() -> Any:
    return ~exists(select(removal.c.record).where(removal.c.version == version.c.record))


def names(connection: Connection) -> list[str]:
    """Names that have a version, sorted."""
    found = select(version.c.name).where(_live()).distinct().order_by(version.c.name)
    return list(connection.execute(found).scalars())


def highest(connection: Connection, name: str) -> int:
    """The highest number that was ever given under ``name``; 0 for none."""
    found = select(func.max(version.c.number)).where(version.c.name == name)
    return int(connection.execute(found).scalar() or 0)


def resolve(connection: Connection, ref: RegistryRef) -> Version:
    """The version that a reference names.

    Raises:
        UnknownRefError: none. RefError: several.
    """
    given = versions(connection, version.c.name == ref.name)
    if ref.digest:
        return _by_digest(ref, given)
    number = ref.number
    if ref.alias:
        known = aliases(connection, ref.name)
        if given and ref.alias not in known:
            raise UnknownRefError(
                f"{ref.name} has no alias {ref.alias!r}",
                hint=did_you_mean(ref.alias, known) if known else LIST,
            )
        number = known.get(ref.alias)
    if not given:
        _raise_unknown(connection, ref)
    if number is None:
        return given[-1]
    for found in given:
        if found.number == number:
            return found
    if number <= highest(connection, ref.name):
        raise UnknownRefError(f"{ref.name}:{number} was removed", expected=_numbers(given))
    raise UnknownRefError(f"{ref.name} has no version {number}", expected=_numbers(given))


def _by_digest(ref: RegistryRef, given: list[Version]) -> Version:
    digest = ref.digest or ""
    found = [v for v in given if v.content.startswith(digest) or v.record.startswith(digest)]
    if not found:
        raise UnknownRefError(f"{ref.name} has no version with the digest {digest}", hint=LIST)
    if len(found) > 1:
        listed = ", ".join(f"{v.ref} (record {v.record[:12]})" for v in found)
        raise RefError(f"{ref} names {len(found)} versions", expected=f"one of {listed}")
    return found[0]


def _numbers(given: list[Version]) -> str:
    """As many numbers as a line takes, the newest last."""
    shown = [str(v.number) for v in given[-8:]]
    return "one of " + ("…, " if len(given) > 8 else "") + ", ".join(shown)


def _raise_unknown(connection: Connection, ref: RegistryRef) -> None:
    if highest(connection, ref.name):
        raise UnknownRefError(f"every version of {ref.name} was removed", hint=LIST)
    known = names(connection)
    suggestion = did_you_mean(ref.name, known)
    hint = f"{suggestion} {LIST}" if suggestion.startswith("did") else LIST
    raise UnknownRefError(f"{ref.name!r} is not in the registry", hint=hint)


def same(connection: Connection, draft: Version) -> Version | None:
    """The newest version of this name with the draft's content, parents and stated facts.

    Raises:
        RegistryError: the name is of another kind.
    """
    kinds = select(version.c.kind).where(version.c.name == draft.name).limit(1)
    kind = connection.execute(kinds).scalar()
    if kind not in (None, draft.kind):
        raise RegistryError(
            f"{draft.name} is the name of a {kind}", expected=f"another name for this {draft.kind}"
        )
    here = version.c.name == draft.name, version.c.content == draft.content
    wanted = [_identity(parent) for parent in draft.parents]
    for found in reversed(versions(connection, *here)):
        parents = [_identity(parent) for parent in found.parents]
        if parents == wanted and agrees(draft, found):
            return found
    return None


def _identity(parent: Parent) -> tuple[object, ...]:
    return parent.role, parent.record or parent.content or parent.hub or parent.ref, parent.weight


def check_parents(connection: Connection, draft: Version) -> None:
    """Raise RegistryError where an edge names a record that is not here."""
    for parent in draft.parents:
        if parent.record is not None:
            check_known(connection, parent.record, parent.ref)


def check_known(connection: Connection, record: str, ref: str) -> None:
    """Raise RegistryError where no version has this ``record`` digest."""
    if connection.execute(select(version.c.record).where(version.c.record == record)).first():
        return
    raise RegistryError(
        f"{ref} (record {record[:12]}) is not in the registry",
        expected="a version that was added before",
        hint=LIST,
    )


def speaking(connection: Connection, wanted: str) -> Any:
    """The condition that one of a version's languages is ``wanted`` or a narrower variety.

    Args:
        wanted: a BCP-47 tag or a Glottocode.

    Raises:
        UsageError: it is neither.
    """
    if is_glottocode(wanted):
        fits = language.c.glottocode == wanted
    else:
        # Few tags are in use, and the filter of RFC 4647 is no prefix.
        tag_wanted = normalised(wanted)
        used = connection.execute(select(language.c.tag).distinct()).scalars()
        fits = language.c.tag.in_([known for known in used if matches(tag_wanted, known)])
    return version.c.record.in_(select(language.c.record).where(fits))


def parents(connection: Connection, child: Version) -> list[tuple[Parent, Version | None]]:
    """Each edge of a version with the version at its other end, if that is here."""
    return [(parent, _at(connection, parent)) for parent in child.parents]


def _at(connection: Connection, parent: Parent) -> Version | None:
    if parent.record is not None:
        found = versions(connection, version.c.record == parent.record, removed=True)
        return found[0] if found else None
    if parent.content is not None:
        found = versions(connection, version.c.content == parent.content)
        return found[-1] if found else None
    return None


def children(connection: Connection, parent: Version) -> list[Version]:
    """Versions with an edge to ``parent``."""
    by_content = and_(edge.c.parent.is_(None), edge.c.content == parent.content)
    edges = select(edge.c.child).where(or_(edge.c.parent == parent.record, by_content))
    return versions(connection, version.c.record.in_(edges))


def oldest_first(table: Any, *where: Any) -> Select[Any]:
    """The bodies of a table's rows in the order they were made."""
    return select(table.c.body).where(*where).order_by(table.c.created_at, table.c.record)


def alias_log(connection: Connection, name: str) -> list[AliasMove]:
    """Every alias move of a name, oldest first."""
    found = connection.execute(oldest_first(alias_move, alias_move.c.name == name)).scalars()
    return [AliasMove.model_validate_json(body) for body in found]


def aliases(connection: Connection, name: str) -> dict[str, int]:
    """Where the aliases of a name point after every move, sorted."""
    pointed = {move.alias: move.number for move in alias_log(connection, name)}
    return {alias: number for alias, number in sorted(pointed.items()) if number is not None}


def tag_log(connection: Connection, record: str) -> list[Tag]:
    """Every tag move of a version, oldest first."""
    found = connection.execute(oldest_first(tag, tag.c.version == record)).scalars()
    return [Tag.model_validate_json(body) for body in found]
