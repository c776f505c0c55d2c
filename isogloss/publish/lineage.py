"""What a version stands on, as publishing sees it: every ancestor once, and where it can be had.

The registry knows versions; a parent may also be only on the Hub, or gone. :class:`Source` holds
all three, and :func:`on_hub` tells whether a stranger can fetch it.
"""

from __future__ import annotations

import os
from typing import NamedTuple

from isogloss.publish.licences import Licensed
from isogloss.registry import Registry
from isogloss.registry.records import EdgeRole, HubSource, Parent, Version


class Source(NamedTuple):
    """One ancestor, by the edge it was first met on."""

    parent: Parent
    version: Version | None
    """None where it is only on the Hub, or no longer in the registry."""
    direct: bool
    """Whether it is a parent of the version itself."""

    @property
    def name(self) -> str:
        """What a person calls it."""
        return self.version.ref if self.version else self.parent.ref

    @property
    def edge(self) -> EdgeRole:
        """As what it came in."""
        return self.parent.role


def sources(registry: Registry, version: Version) -> list[Source]:
    """Every ancestor once, parents before their parents, in the order of the records.

    A corpus that came in by several edges is listed by the first.
    """
    found: list[Source] = []
    seen = {version.record}
    level = [version]
    while level:
        following: list[Version] = []
        for child in level:
            for parent, known in registry.parents(child):
                key = known.record if known else parent.record or parent.ref
                if key in seen:
                    continue
                seen.add(key)
                found.append(Source(parent, known, child is version))
                if known:
                    following.append(known)
        level = following
    return found


def default_endpoint() -> str:
    """Where the Hub's client goes unless told otherwise: ``HF_ENDPOINT``, else the public Hub."""
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")


def on_hub(
    registry: Registry, parent: Parent, version: Version | None, endpoint: str
) -> HubSource | None:
    """Where on the Hub at ``endpoint`` an ancestor is, pinned; None where it is not.

    What was published from this registry comes first (the newest publication, one that isn't a
    pull request where there is one), then where it was pulled from.
    """
    if version is not None:
        there = [p for p in registry.publications(version) if p.endpoint == endpoint]
        merged = [p for p in there if p.pull_request is None]
        if there:
            newest = (merged or there)[-1]
            return HubSource(repo=newest.repo, commit=newest.commit)
        if version.hub:
            return version.hub
    return parent.hub


def base_edges(registry: Registry, version: Version) -> list[Source]:
    """The parents that ``version`` needs, or was made from, as its base."""
    pairs = [(p, v) for p, v in registry.parents(version) if p.role == "base"]
    return [Source(parent, known, True) for parent, known in pairs]


def base_chain(registry: Registry, version: Version) -> list[Version]:
    """The chain of bases below ``version``, nearest first; empty where it has none."""
    chain: list[Version] = []
    at: Version | None = version
    while at is not None:
        bases = [s.version for s in base_edges(registry, at) if s.version is not None]
        at = bases[0] if bases and bases[0] not in chain else None
        if at is not None:
            chain.append(at)
    return chain


def licensed(version: Version | None, parent: Parent) -> Licensed:
    """What is recorded of an ancestor's licence."""
    if version is None:
        return Licensed(parent.ref, None)
    return Licensed(version.ref, version.licence, bool(version.parents))
