"""``provenance.json``: an in-toto statement with a SLSA provenance predicate.

Subjects are all other files of the publication with their sha256; the predicate says by which
recipe, from which pinned inputs and with which code they were made. Unsigned for now: it tells
what is claimed, and lets anyone compare. It depends on records only, so that publishing the
same thing again gives the same bytes.

Source: https://in-toto.io/Statement/v1, https://slsa.dev/spec/v1.0/provenance
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from isogloss.files import FileEntry
from isogloss.publish.lineage import Source, on_hub
from isogloss.registry import Registry
from isogloss.registry.records import Version

BUILD_TYPE = "https://isogloss.invalid/build/v1"
"""A name, not an address: no domain stands behind the project."""
BUILDER = "https://isogloss.invalid/builder/local"


def statement(
    registry: Registry,
    version: Version,
    files: Sequence[FileEntry],
    lineage: Sequence[Source],
    endpoint: str,
) -> dict[str, Any]:
    """The statement for one publication.

    Args:
        files: every file of the publication but ``provenance.json``.
        lineage: :func:`isogloss.publish.lineage.sources` of the version.
    """
    made = version.made_by
    code = made.get("code", {})
    subjects = [{"name": f.path, "digest": {"sha256": f.sha256}} for f in sorted(files)]
    external = {"recipe": made.get("recipe", {}), "seed": made.get("seed")}
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": subjects,
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": f"{BUILD_TYPE}#{str(made.get('verb', 'added')).replace(' ', '-')}",
                "externalParameters": external,
                "internalParameters": {
                    "method_version": made.get("method_version"),
                    "determinism": made.get("determinism"),
                },
                "resolvedDependencies": [
                    _dependency(registry, source, endpoint) for source in lineage
                ],
            },
            "runDetails": {
                "builder": {
                    "id": BUILDER,
                    "version": {"isogloss": str(code.get("version")), **made.get("packages", {})},
                },
                "metadata": {
                    "invocationId": version.record,
                    "startedOn": made.get("started"),
                    "finishedOn": made.get("ended"),
                },
            },
        },
    }


def statement_json(content: dict[str, Any]) -> bytes:
    """The statement as the file's bytes."""
    return (json.dumps(content, indent=2, ensure_ascii=False, sort_keys=True) + "\n").encode()


def _dependency(registry: Registry, source: Source, endpoint: str) -> dict[str, Any]:
    """An input: on the Hub by repository and commit, else by its content digest alone."""
    place = on_hub(registry, source.parent, source.version, endpoint)
    digest: dict[str, str] = {}
    content = source.version.content if source.version else source.parent.content
    if content:
        digest["sha256"] = content
    if place:
        digest["gitCommit"] = place.commit
    uri = f"hf://{place.repo}@{place.commit}" if place else f"isogloss:{source.name}"
    facts = {"role": source.edge, "weight": source.parent.weight, "direct": source.direct}
    return {"uri": uri, "digest": digest, "annotations": facts}
