"""The story of a publication: gates, licence, card, provenance, one commit, read back, record.

Killed at any line, the same command run again ends in the same state: a commit that holds
everything already is found, read back and recorded, and no second one is made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from isogloss.errors import GateRefused, LicenceConflict
from isogloss.files import FileEntry
from isogloss.madeby import now
from isogloss.progress import Report, silent
from isogloss.publish.cards import base_on_hub, render
from isogloss.publish.gate import Gate, check_overrides, gates
from isogloss.publish.hub import check_repo, client
from isogloss.publish.lineage import default_endpoint, sources
from isogloss.publish.payload import CARD, PROVENANCE, payload, refuse_secrets, upload_of
from isogloss.publish.provenance import statement, statement_json
from isogloss.publish.scores import boards
from isogloss.publish.upload import ensure_repo, make_public, push, read_back, refuse_foreign
from isogloss.registry import Registry
from isogloss.registry.records import Publication, Version


class Published(NamedTuple):
    """What was published, or would be."""

    repo: str
    commit: str | None
    """None for a dry run."""
    url: str
    files: tuple[FileEntry, ...]
    """Everything that stands in the repository now, sorted by path."""
    card: str
    gates: list[Gate]
    changed: bool
    """Whether a commit was made."""
    dry_run: bool
    pull_request: str | None


def publish(
    registry: Registry,
    version: Version,
    repo: str,
    *,
    dry_run: bool = False,
    public: bool = False,
    revision: str | None = None,
    pull_request: bool = False,
    overrides: Mapping[str, str] | None = None,
    token: str | None = None,
    endpoint: str | None = None,
    report: Report = silent,
) -> Published:
    """Put ``version`` into the Hub repository ``repo`` in one commit, and read it back.

    Args:
        dry_run: show everything, failed gates too, and contact nobody.
        public: make the repository public once its content is checked; a new one is private.
        revision: the branch; ``main`` unless given, made if it is missing.
        pull_request: propose the commit instead of making it.
        overrides: gate -> reason, for gates that fail; they go on the record and the card.
        token: for the Hub; the stored one unless given. It is never kept.
        endpoint: of the Hub; ``HF_ENDPOINT`` or the public Hub unless given.

    Raises:
        UsageError: ``repo`` or an override is wrong in itself.
        GateRefused: a gate fails and is not overridden; every one is named with its number.
        LicenceConflict: the same, where the licence alone fails.
        PublishError: a corpus, or a version without files.
        UnsafeInput: a file holds what looks like an access token.
        HubError: the Hub refuses, can't be reached, or gives back other bytes.

    >>> merge = registry.get("pcm-merge")                                      # doctest: +SKIP
    >>> publish(registry, merge, "lab/pcm-merge", dry_run=True).changed         # doctest: +SKIP
    False
    """
    overrides = overrides or {}
    check_repo(repo)
    check_overrides(overrides)
    where = (endpoint or default_endpoint()).rstrip("/")
    measured = boards(registry, version)
    found = gates(registry, version, measured=measured, endpoint=where)
    body = payload(registry, version, base_on_hub(registry, version, where))
    card = render(
        registry,
        version,
        body,
        found,
        measured,
        repo=repo,
        overrides=overrides,
        endpoint=where,
    )
    files = [*body.files, upload_of(CARD, card.encode())]
    claim = statement(
        registry, version, [u.entry for u in files], sources(registry, version), where
    )
    files.append(upload_of(PROVENANCE, statement_json(claim)))
    files.sort(key=lambda upload: upload.entry.path)
    refuse_secrets(files)
    entries = tuple(upload.entry for upload in files)
    url = f"{where}/{repo}"
    if dry_run:
        return Published(repo, None, url, entries, card, found, False, True, None)
    refuse_failed(version, found, overrides)
    earlier = _earlier(registry, where, repo)
    proposed = [p for p in earlier if p.pull_request and p.files == entries]
    if pull_request and proposed:
        # The branch doesn't have it yet, so only the record can tell that it was proposed.
        last = proposed[-1]
        return Published(
            repo, last.commit, url, entries, card, found, False, False, last.pull_request
        )
    api = client(where, token)
    head = ensure_repo(api, repo, revision)
    refuse_foreign(repo, head, bool(earlier))
    pushed = push(
        api,
        repo,
        files,
        head,
        stale=_stale(earlier, entries),
        revision=revision,
        pull_request=pull_request,
        message=f"Publish {version.ref} with isogloss",
    )
    done = Published(
        repo, pushed.commit, url, entries, card, found, pushed.changed, False, pushed.pull_request
    )
    recorded = any(p.commit == pushed.commit and p.version == version.record for p in earlier)
    if pushed.changed or not recorded:
        scratch = registry.root / "tmp"
        read_back(api, repo, pushed.commit, files, scratch=scratch, report=report)
        _record(registry, version, done, where, _used(found, overrides))
    if public and head.private:
        make_public(api, repo)
    return done


def refuse_failed(version: Version, found: Sequence[Gate], overrides: Mapping[str, str]) -> None:
    """Raise where a gate failed that isn't overridden, with every such gate and its number."""
    failed = [gate for gate in found if not gate.passed and gate.name not in overrides]
    if not failed:
        return
    kind = LicenceConflict if [gate.name for gate in failed] == ["licence"] else GateRefused
    told = "; ".join(f"{gate.name}: {gate.text}" for gate in failed)
    first = failed[0].name
    raise kind(
        f"{version.ref} is not published: {told}",
        hint=f'to publish it all the same: --override {first} --because "…"',
    )


def _used(found: Sequence[Gate], overrides: Mapping[str, str]) -> dict[str, str]:
    """The overrides that were needed; for a gate that holds there is nothing to pass over."""
    return {g.name: overrides[g.name] for g in found if not g.passed and g.name in overrides}


def _earlier(registry: Registry, endpoint: str, repo: str) -> list[Publication]:
    return [p for p in registry.publications() if p.endpoint == endpoint and p.repo == repo]


def _stale(earlier: Sequence[Publication], entries: Sequence[FileEntry]) -> set[str]:
    """Paths that this registry once put there and that are no longer part of it."""
    return {f.path for p in earlier for f in p.files} - {entry.path for entry in entries}


def _record(
    registry: Registry,
    version: Version,
    done: Published,
    endpoint: str,
    overrides: Mapping[str, str],
) -> None:
    registry.record_publication(
        Publication(
            version=version.record,
            ref=version.ref,
            endpoint=endpoint,
            repo=done.repo,
            commit=str(done.commit),
            pull_request=done.pull_request,
            overrides=dict(overrides),
            files=done.files,
            verified_at=now(),
            created_at=now(),
        )
    )
