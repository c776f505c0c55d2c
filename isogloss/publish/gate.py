"""What has to hold before anything is published, each with its number.

=============  ================  ==============================================================
gate           asked of          holds when
=============  ================  ==============================================================
``integrity``  all               every file's bytes are what the record says
``licence``    all               the licences of the whole lineage join (``licences.py``)
``base``       what has a base   a stranger can fetch the base from the Hub
``winner``     dialect, merged   on test, the dialect gain is above 0 (interval, and Holm over
                                 all that was measured there) and nothing dominates it
``prestige``   dialect, merged   on test, the prestige loss has an upper bound below the margin
``task``       task              on test, a task got better than with the base and none worse
``collapse``   all but bases     no measurement is flagged collapse, failures or contamination
=============  ================  ==============================================================

Where several suites were measured on test, each has to pass: one can't be picked out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from isogloss.errors import RegistryError, UsageError, did_you_mean
from isogloss.files import sha256_file
from isogloss.publish.licences import Joined, join
from isogloss.publish.lineage import (
    Source,
    base_edges,
    default_endpoint,
    licensed,
    on_hub,
    sources,
)
from isogloss.publish.scores import (
    MARGIN,
    TEST,
    Board,
    boards,
    dominators,
)
from isogloss.registry import Registry
from isogloss.registry.records import Parent, Version

GATES = ("base", "collapse", "integrity", "licence", "prestige", "task", "winner")
BAD_FLAGS = frozenset({"collapse", "failures", "contamination"})
ALPHA = 0.05
"""Level of the tests behind ``winner`` and ``task``."""

GateRole = Literal["dialect", "merged", "task", "base"]


class Gate(NamedTuple):
    """One condition: whether it holds, and the number that tells."""

    name: str
    passed: bool
    text: str


def gates(
    registry: Registry,
    version: Version,
    *,
    measured: Sequence[Board] | None = None,
    endpoint: str | None = None,
) -> list[Gate]:
    """Every gate of ``version``'s role, passed or not, in a fixed order.

    Args:
        measured: ``scores.boards`` of the version, where they were read already.
        endpoint: the Hub that a base has to be on; the client's own unless given.

    >>> [gate.name for gate in gates(registry, registry.get("my-base"))]      # doctest: +SKIP
    ['integrity', 'licence']
    """
    lineage = sources(registry, version)
    found = [_integrity(registry, version), _licence(version, lineage)]
    if version.kind == "adapter" or base_edges(registry, version):
        found.append(_base(registry, version, endpoint or default_endpoint()))
    role = role_of(version)
    if role == "base":
        return found
    measured = boards(registry, version) if measured is None else measured
    on_test = [board for board in measured if board.split == TEST]
    if role == "task":
        found.append(_task(version, on_test))
    else:
        found += _winner_and_prestige(version, on_test)
    found.append(_collapse(measured))
    return found


def role_of(version: Version) -> GateRole:
    """The role that gates go by; where the record has none, what its parents tell."""
    if version.role in ("dialect", "merged", "task", "base"):
        return version.role
    edges = {parent.role for parent in version.parents}
    if "merge_input" in edges:
        return "merged"
    return "dialect" if version.kind == "adapter" or "base" in edges else "base"


def check_overrides(overrides: Mapping[str, str]) -> None:
    """Raise UsageError where an override names no gate or gives no reason."""
    for name, reason in overrides.items():
        if name not in GATES:
            raise UsageError(f"{name!r} is no gate", hint=did_you_mean(name, GATES))
        if not reason.strip():
            raise UsageError(
                f"the gate {name!r} is passed over without a reason",
                hint=f'type: --override {name} --because "…"',
            )


def effective_licence(version: Version, lineage: Sequence[Source]) -> Joined:
    """The join over ``version`` and everything it stands on."""
    itself = Parent(role="base", ref=version.ref)
    return join(
        licensed(version, itself), [licensed(source.version, source.parent) for source in lineage]
    )


def _integrity(registry: Registry, version: Version) -> Gate:
    wrong = []
    for entry in version.files:
        try:
            path = registry.blob(entry.sha256)
            sound = path.stat().st_size == entry.size and sha256_file(path) == entry.sha256
        except (RegistryError, OSError):
            sound = False
        if not sound:
            wrong.append(entry.path)
    if wrong:
        return Gate("integrity", False, f"{len(wrong)} of {len(version.files)} files are not "
                    f"what the record says: {', '.join(wrong[:5])}")  # fmt: skip
    size = sum(entry.size for entry in version.files)
    return Gate("integrity", True, f"{len(version.files)} files, {size} bytes, sha256 checked")


def _licence(version: Version, lineage: Sequence[Source]) -> Gate:
    joined = effective_licence(version, lineage)
    if joined.licence is None:
        return Gate("licence", False, "; ".join(joined.problems))
    return Gate("licence", True, f"{joined.licence}, joined over {len(lineage) + 1} artifacts")


def _base(registry: Registry, version: Version, endpoint: str) -> Gate:
    bases = base_edges(registry, version)
    if not bases:
        return Gate("base", False, f"{version.ref} names no base; add it again with --base REF")
    for source in bases:
        place = on_hub(registry, source.parent, source.version, endpoint)
        if place is None:
            return Gate(
                "base",
                False,
                f"{source.name} is not on the Hub; type: "
                f"isogloss publish run {source.name} --repo ORG/NAME",
            )
    return Gate("base", True, f"{place.repo} at {place.commit[:12]}" if place else "")


def _winner_and_prestige(version: Version, on_test: Sequence[Board]) -> list[Gate]:
    judged = [board for board in on_test if board.has_both_sides()]
    if not judged:
        why = f"{version.ref} was not measured on dialect and prestige tasks of a test split; " \
              f"type: isogloss eval run {version.ref} --suite NAME --split test"  # fmt: skip
        return [Gate("winner", False, why), Gate("prestige", False, why)]
    winner, prestige = [], []
    for board in judged:
        where = f"on {board.suite} ({board.split})"
        found = board.verdict
        if found is None:
            why = f"{_no_reference(board)} {where}"
            winner.append((False, why))
            prestige.append((False, why))
            continue
        row = next(row for row in found.rows if row.variant == board.version)
        gain, loss = row.dialect_gain, row.prestige_loss
        text = f"dialect gain {gain} over {board.reference} {where}, " \
               f"Holm p {row.holm_p:.3g} of {len(found.rows) - 1}"  # fmt: skip
        above = dominators(board, row)
        text += f", dominated by {', '.join(above)}" if above else ""
        sure = gain.low > 0 and row.holm_p < ALPHA
        winner.append((sure and not above, text))
        bound = f"prestige loss {loss} {where}, upper bound to be below {MARGIN:g}"
        prestige.append((loss.high < MARGIN, bound))
    return [_all("winner", winner), _all("prestige", prestige)]


def _task(version: Version, on_test: Sequence[Board]) -> Gate:
    measured = [b for b in on_test if any(r.side == "task" for r in b.own.values())]
    if not measured:
        why = f"{version.ref} was not measured on a task of a test split; " \
              f"type: isogloss eval run {version.ref} --suite NAME --split test"  # fmt: skip
        return Gate("task", False, why)
    found = []
    for board in measured:
        where = f"on {board.suite} ({board.split})"
        beside = board.beside
        if beside is None:
            found.append((False, f"{_no_reference(board)} {where}"))
            continue
        rows = [row for row in beside.rows if row.side == "task"]
        words = {row.word for row in rows}
        told = [
            f"{row.task} {row.metric} {row.b} against {row.a.value:.3f} of {board.reference} "
            f"(p {row.holm_p:.3g}): {row.word}"
            for row in rows
        ]
        found.append(("better" in words and "worse" not in words, f"{'; '.join(told)} {where}"))
    return _all("task", found)


def _collapse(measured: Sequence[Board]) -> Gate:
    bad = [
        f"{flag} on {result.task} ({board.split})"
        for board in measured
        for result in board.own.values()
        for flag in result.flags
        if flag in BAD_FLAGS
    ]
    if bad:
        return Gate("collapse", False, ", ".join(bad))
    count = sum(len(board.own) for board in measured)
    return Gate("collapse", True, f"no such flag on {count} measurements")


def _no_reference(board: Board) -> str:
    if board.aside:
        return f"{', '.join(board.aside)} was measured on other items than {board.version}"
    return f"the base of {board.version} was not measured"


def _all(name: str, found: Sequence[tuple[bool, str]]) -> Gate:
    return Gate(name, all(passed for passed, _ in found), "; ".join(text for _, text in found))
