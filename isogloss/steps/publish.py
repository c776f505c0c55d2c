"""A publishing step: resolve what is named, then ``isogloss.publish``."""

from __future__ import annotations

from isogloss.config import Strict
from isogloss.errors import RefError
from isogloss.progress import Report, silent
from isogloss.publish import Published, publish
from isogloss.registry import Registry


class PublishSpec(Strict):
    """What is published where."""

    ref: str
    repo: str
    dry_run: bool = False
    public: bool = False
    pull_request: bool = False
    revision: str | None = None
    overrides: dict[str, str] = {}
    """Gate -> the reason for passing it."""


def publish_step(registry: Registry, spec: PublishSpec, *, report: Report = silent) -> Published:
    """Publish a version of the registry; paths are not taken, since nothing is known of them.

    Raises:
        RefError: no such version. GateRefused, LicenceConflict, HubError: as ``isogloss.publish``.
    """
    version = registry.get(spec.ref)
    if version.kind == "corpus":
        raise RefError(f"{version.ref} is a corpus", expected="a model or an adapter")
    return publish(
        registry,
        version,
        spec.repo,
        dry_run=spec.dry_run,
        public=spec.public,
        pull_request=spec.pull_request,
        revision=spec.revision,
        overrides=spec.overrides,
        report=report,
    )
