"""The ancestry of a version as a tree, as data; drawing it is the command line's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from isogloss.registry.records import EdgeRole, Parent, Version

ParentsOf = Callable[[Version], list[tuple[Parent, Version | None]]]


class Lineage(NamedTuple):
    """One node: a version with what it was made from, or a parent that isn't in the registry."""

    version: Version | None
    """None for a parent that is only on the Hub, or gone."""
    edge: Parent | None
    """How the node above was made from this one; None at the top."""
    children: tuple[Lineage, ...] = ()
    """What this version was made from, in the recipe's order."""
    seen: bool = False
    """Whether its ancestry stands elsewhere in the tree already, and is left out here."""

    @property
    def ref(self) -> str:
        """``name:number``, or what the edge calls it."""
        if self.version is not None:
            return self.version.ref
        return self.edge.ref if self.edge else ""

    @property
    def role(self) -> EdgeRole | None:
        """The role on the edge; None at the top."""
        return self.edge.role if self.edge else None

    @property
    def weight(self) -> float | None:
        """The weight on the edge."""
        return self.edge.weight if self.edge else None

    def walk(self, depth: int = 0) -> Iterator[tuple[int, Lineage]]:
        """Every node with its depth, each before its children."""
        yield depth, self
        for child in self.children:
            yield from child.walk(depth + 1)


def trace(version: Version, parents_of: ParentsOf) -> Lineage:
    """The tree above ``version``; an ancestor met a second time is a leaf marked as seen."""
    return _trace(version, None, parents_of, set())


def _trace(version: Version, edge: Parent | None, parents_of: ParentsOf, met: set[str]) -> Lineage:
    record = version.record
    known = parents_of(version)
    if record in met:
        return Lineage(version, edge, seen=bool(known))
    met.add(record)
    children = []
    for parent, found in known:
        if found is None:
            children.append(Lineage(None, parent))
        else:
            children.append(_trace(found, parent, parents_of, met))
    return Lineage(version, edge, tuple(children))
