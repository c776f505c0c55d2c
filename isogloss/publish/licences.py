"""The licence of a model that stands on others: the most restrictive terms of its whole lineage.

Each known licence has its terms in :data:`TERMS`; :func:`join` looks for the least restrictive
licence that carries all of them, and says by name where there is none. It reads identifiers of
the Hub's list (``cc-by-sa-4.0``); what it doesn't know it doesn't guess.

This is bookkeeping that catches oversights. It is not legal advice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple


class Terms(NamedTuple):
    """What a licence asks of whoever passes a derivative on."""

    rank: int
    """Order from free to restrictive, in which the least restrictive carrier is looked for."""
    commercial: bool = True
    derivatives: bool = True
    onwards: frozenset[str] | None = None
    """The licences that a derivative may have; None leaves that free (share-alike is not)."""


def _free(rank: int) -> Terms:
    return Terms(rank)


def _alike(rank: int, *onwards: str, commercial: bool = True) -> Terms:
    return Terms(rank, commercial=commercial, onwards=frozenset(onwards))


_GPL3 = ("gpl-3.0", "agpl-3.0")
_SA4 = ("cc-by-sa-4.0", "gpl-3.0")
"""Creative Commons lists GPLv3 as a licence that BY-SA 4.0 material may move to, one way."""

TERMS: Mapping[str, Terms] = {
    "cc0-1.0": _free(0),
    "pddl": _free(0),
    "unlicense": _free(0),
    "wtfpl": _free(0),
    "public-domain": _free(0),
    "mit": _free(10),
    "isc": _free(10),
    "zlib": _free(10),
    "bsd": _free(11),
    "bsd-2-clause": _free(11),
    "bsd-3-clause": _free(12),
    "apache-2.0": _free(13),
    "cdla-permissive-1.0": _free(14),
    "cdla-permissive-2.0": _free(14),
    "odc-by": _free(15),
    "cc-by-2.0": _free(16),
    "cc-by-2.5": _free(17),
    "cc-by-3.0": _free(18),
    "cc-by-4.0": _free(19),
    "mpl-2.0": _alike(30, "mpl-2.0", "lgpl-3.0", *_GPL3),
    "lgpl-3.0": _alike(31, "lgpl-3.0", *_GPL3),
    "odbl": _alike(32, "odbl"),
    "cdla-sharing-1.0": _alike(32, "cdla-sharing-1.0"),
    "cc-by-sa-3.0": _alike(33, "cc-by-sa-3.0", *_SA4),
    "cc-by-sa-4.0": _alike(34, *_SA4),
    "gpl-2.0": _alike(35, "gpl-2.0"),
    "gpl-3.0": _alike(36, *_GPL3),
    "agpl-3.0": _alike(37, "agpl-3.0"),
    # Use restrictions that have to be passed on; their naming and notice rules come with them.
    "openrail": _alike(40, "openrail"),
    "openrail++": _alike(40, "openrail++"),
    "bigscience-openrail-m": _alike(40, "bigscience-openrail-m"),
    "bigscience-bloom-rail-1.0": _alike(40, "bigscience-bloom-rail-1.0"),
    "gemma": _alike(41, "gemma"),
    "llama2": _alike(42, "llama2"),
    "llama3": _alike(42, "llama3"),
    "llama3.1": _alike(42, "llama3.1"),
    "llama3.2": _alike(42, "llama3.2"),
    "llama3.3": _alike(42, "llama3.3"),
    "llama4": _alike(42, "llama4"),
    "cc-by-nc-2.0": Terms(50, commercial=False),
    "cc-by-nc-3.0": Terms(51, commercial=False),
    "cc-by-nc-4.0": Terms(52, commercial=False),
    "cc-by-nc-sa-2.0": _alike(
        53, "cc-by-nc-sa-2.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0", commercial=False
    ),
    "cc-by-nc-sa-3.0": _alike(54, "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0", commercial=False),
    "cc-by-nc-sa-4.0": _alike(55, "cc-by-nc-sa-4.0", commercial=False),
    "cc-by-nd-4.0": Terms(60, derivatives=False),
    "cc-by-nc-nd-3.0": Terms(61, commercial=False, derivatives=False),
    "cc-by-nc-nd-4.0": Terms(62, commercial=False, derivatives=False),
}
"""Hub identifier -> terms. ``public-domain`` is ours: the Hub has no identifier for works whose
protection has run out."""

_REFUSED = frozenset({("gpl-2.0", "apache-2.0")})
"""(whole, part) that ranks alone would allow: GPLv2 has no room for Apache's patent terms."""


class Licensed(NamedTuple):
    """One artifact of a lineage and what is recorded of its licence."""

    name: str
    licence: str | None
    """None: nothing is recorded."""
    derived: bool = False
    """It was made here from parents that are in the list too; no licence of its own is needed."""


class Joined(NamedTuple):
    """The licence of the whole, or what stands against it."""

    licence: str | None
    """None where no licence carries every part."""
    problems: tuple[str, ...] = ()
    """One sentence each; empty where the licences join."""


def carries(whole: str, part: str) -> bool:
    """Whether a derivative of something under ``part`` may be published under ``whole``.

    >>> carries("cc-by-sa-4.0", "mit"), carries("mit", "cc-by-sa-4.0")
    (True, False)
    """
    if whole == part:
        return TERMS[part].derivatives
    outer, inner = TERMS[whole], TERMS[part]
    if (
        (whole, part) in _REFUSED
        or not inner.derivatives
        or (outer.commercial and not inner.commercial)
    ):
        return False
    return outer.rank >= inner.rank if inner.onwards is None else whole in inner.onwards


def join(own: Licensed, lineage: Sequence[Licensed]) -> Joined:
    """The licence that ``own`` may be published under, given everything that it stands on.

    A licence that ``own`` states itself counts if it carries every other; otherwise the least
    restrictive licence that does is looked for among those of the lineage and those that they
    allow. Unknown, missing and no-derivatives licences are problems, named.

    >>> join(Licensed("m", None, True), [Licensed("base", "mit"), Licensed("c", "cc-by-sa-4.0")])
    Joined(licence='cc-by-sa-4.0', problems=())
    """
    parts = [part for part in lineage if part.licence is not None or not part.derived]
    problems = [_unclear(part) for part in parts if not _known(part.licence)]
    if own.licence is None and not own.derived:
        problems.insert(0, f"{own.name} has no licence recorded")
    elif own.licence is not None and not _known(own.licence):
        problems.insert(0, _unclear(own))
    known = [part for part in parts if _known(part.licence)]
    problems += [
        f"{part.name} is under {part.licence}, which forbids passing derivatives on"
        for part in known
        if not TERMS[part.licence or ""].derivatives
    ]
    if problems:
        return Joined(None, tuple(problems))
    licences = [part.licence or "" for part in known]
    if own.licence is not None:
        refused = [part for part in known if not carries(own.licence, part.licence or "")]
        if not refused:
            return Joined(own.licence)
        named = ", ".join(f"{part.name} ({part.licence})" for part in refused)
        return Joined(None, (f"{own.name} states {own.licence}, which doesn't carry {named}",))
    if not licences:
        return Joined(None, (f"{own.name} has no licence recorded, and no parents that have one",))
    allowed = {onward for licence in licences for onward in TERMS[licence].onwards or ()}
    candidates = sorted({*licences, *allowed}, key=lambda name: (TERMS[name].rank, name))
    for candidate in candidates:
        if all(carries(candidate, licence) for licence in licences):
            return Joined(candidate)
    return Joined(None, (_conflict(known),))


def _known(licence: str | None) -> bool:
    return licence in TERMS


def _unclear(part: Licensed) -> str:
    if part.licence is None or part.licence == "unknown":
        return f"{part.name} has no licence recorded"
    return f"{part.name} is under {part.licence!r}, whose terms are not known here"


def _conflict(parts: Sequence[Licensed]) -> str:
    """Which terms don't meet, each licence with the first artifact that brings it."""
    first: dict[str, str] = {}
    for part in parts:
        first.setdefault(part.licence or "", part.name)
    pairs = [(a, b) for i, a in enumerate(first) for b in list(first)[i + 1 :] if not (_meet(a, b))]
    # Three licences may clash although each two would meet; then all of them are named.
    clashing = list(dict.fromkeys(name for pair in pairs for name in pair)) or list(first)
    named = " and ".join(f"{name} ({first[name]})" for name in clashing)
    return f"no one licence carries {named}"


def _meet(a: str, b: str) -> bool:
    return any(carries(c, a) and carries(c, b) for c in TERMS)
