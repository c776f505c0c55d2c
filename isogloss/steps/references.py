"""A string to a version: an existing path, then the registry, then the Hub.

Whatever is named becomes a version of the registry, so that every edge of a lineage points to a
record: a folder or file is added under the name of its last part, a Hub model is recorded by
reference and pinned to its commit.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from isogloss.errors import AdapterError, BaseMismatch, HubError, RefError
from isogloss.progress import Report, silent
from isogloss.refs import HubRef, parse_hub_ref, split_lora
from isogloss.registry import Draft, HubSource, Registry, Version, detect
from isogloss.registry.records import Kind, agrees
from isogloss.settings import expand


class Resolved(NamedTuple):
    """What a reference named: a version, and the adapter on it where ``model+lora`` was written."""

    text: str
    version: Version
    lora: Version | None = None

    @property
    def versions(self) -> tuple[Version, ...]:
        """The version, and the adapter on it."""
        return (self.version,) if self.lora is None else (self.version, self.lora)

    @property
    def ref(self) -> str:
        """``name:number``, or two of them with a ``+`` between."""
        return "+".join(v.ref for v in self.versions)


class Located(NamedTuple):
    """The folders that a resolved reference stands for, ready to be loaded."""

    model: Path
    adapter: Path | None
    base: Version
    """The version whose weights ``model`` holds."""


def resolve(
    registry: Registry, text: str, *, kind: Kind | None = None, report: Report = silent
) -> Resolved:
    """The version that ``text`` names; a path or Hub model is recorded first.

    Args:
        kind: what it has to be; None takes anything.

    Raises:
        RefError: nothing, or more than one thing, is named so; or it is of another kind.
    """
    if not text.startswith("hf://") and _path(text) is not None:
        return Resolved(text, _one(registry, text, kind, report))
    model, lora = split_lora(text)
    if lora is None:
        return Resolved(text, _one(registry, text, kind, report))
    base = _one(registry, model, "model", report)
    return Resolved(text, base, _one(registry, lora, "adapter", report, base))


def _path(text: str) -> Path | None:
    if text.startswith("hf://"):
        return None
    path = Path(expand(text))
    return path if path.exists() else None


def _one(
    registry: Registry, text: str, kind: Kind | None, report: Report, base: Version | None = None
) -> Version:
    path = _path(text)
    parents = () if base is None else (registry.parent_edge(base, "base"),)
    known = None
    failure: RefError | None = None
    if not text.startswith("hf://"):
        try:
            known = registry.get(text)
        except RefError as error:
            failure = error
    plain = not text.startswith((".", "/", "~", "$"))
    if path is not None and known is not None and plain:
        raise RefError(
            f"{text!r} is a path and {known.ref} of the registry",
            hint=f"write ./{text} for the path, or {known.ref}",
        )
    hub = parse_hub_ref(text)
    if path is not None:
        draft = Draft(name=slug(str(path.absolute())), kind=kind or detect(path), parents=parents)
        found = registry.add(path, draft, report=report)
    elif known is not None:
        found = known
    elif hub is not None and (text.startswith("hf://") or kind in (None, "model", "adapter")):
        draft = Draft(name=slug(hub.repo), kind=kind or "model", parents=parents)
        found = add_hub(registry, hub, draft)
    elif plain:
        raise failure or RefError(f"{text!r} is no reference", expected="a path, name or hf://…")
    else:
        raise RefError(f"there is nothing at {text}", expected="a file or folder")
    if kind is not None and found.kind != kind:
        raise RefError(f"{text!r} is {_article(found.kind)}", expected=_article(kind))
    return found


def _article(kind: str) -> str:
    return f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"


def slug(text: str) -> str:
    """A valid name from the last part of a path: ``Data/My Text.txt`` becomes ``my-text``."""
    stem = Path(text).name.lower()
    stem = re.sub(r"\.(txt|jsonl|tsv|csv|parquet)$", "", stem)
    stem = re.sub(r"[^a-z0-9._]+", "-", stem)
    return re.sub(r"\.\.+", ".", re.sub(r"--+", "-", stem)).strip("-._")[:63] or "unnamed"


def add_hub(registry: Registry, ref: HubRef, draft: Draft) -> Version:
    """Record a Hub repository by reference, pinned to the commit that its revision has now.

    The licence of its card is taken where ``draft`` has none.

    Raises:
        HubError: it can't be reached.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    try:
        info = HfApi().model_info(ref.repo, revision=ref.revision)
    except (HfHubHTTPError, OSError, ValueError, RuntimeError) as error:
        raise HubError(
            f"{ref} can't be reached: {str(error).splitlines()[0]}",
            hint="is it a path or a name of the registry? List names with: isogloss registry ls",
        ) from error
    stated = getattr(info.card_data, "license", None) if info.card_data else None
    licence = draft.licence or (stated if isinstance(stated, str) else None)
    hub = HubSource(repo=ref.repo, commit=str(info.sha))
    return registry.add_reference(draft.model_copy(update={"hub": hub, "licence": licence}))


def folder(registry: Registry, version: Version, report: Report = silent) -> Path:
    """The files of a version as a folder: a view of blobs, or the Hub's cache for a reference."""
    if version.files or version.hub is None:
        return registry.view(version)
    from huggingface_hub import snapshot_download

    report(f"fetch {version.hub.repo}", 0, 1)
    try:
        path = snapshot_download(
            version.hub.repo,
            revision=version.hub.commit,
            allow_patterns=["*.safetensors", "*.json", "*.txt", "*.model", "*.jinja"],
        )
    except (OSError, ValueError) as error:
        raise HubError(
            f"{version.hub.repo} can't be fetched: {str(error).splitlines()[0]}",
            hint="check the network, or name a local folder",
        ) from error
    report(f"fetch {version.hub.repo}", 1, 1)
    return Path(path)


def base_of(registry: Registry, adapter: Version) -> Version:
    """The model that an adapter stands on.

    Raises:
        AdapterError: its record has no base edge.
    """
    for edge, parent in registry.parents(adapter):
        if edge.role == "base" and parent is not None:
            return parent
    raise AdapterError(
        f"{adapter.ref} has no recorded base",
        hint=f"add it again with: isogloss registry add FOLDER --name {adapter.name} --base REF",
    )


def locate(registry: Registry, resolved: Resolved, report: Report = silent) -> Located:
    """The folders to load for a model, an adapter on its base, or ``model+lora``.

    Raises:
        BaseMismatch: the adapter of ``model+lora`` stands on another model.
        RefError: it is a corpus.
    """
    version, lora = resolved.version, resolved.lora
    if version.kind == "corpus":
        raise RefError(f"{version.ref} is a corpus", expected="a model or an adapter")
    if lora is not None:
        base = base_of(registry, lora)
        if base.content != version.content:
            raise BaseMismatch(
                f"{lora.ref} stands on {base.ref}, not on {version.ref}",
                expected=f"{base.ref}+{lora.ref}",
            )
        return Located(folder(registry, version, report), folder(registry, lora, report), version)
    if version.kind == "adapter":
        base = base_of(registry, version)
        return Located(folder(registry, base, report), folder(registry, version, report), base)
    return Located(folder(registry, version, report), None, version)


def contents(registry: Registry, versions: Sequence[Version]) -> list[str]:
    """What a step digest takes of its parents: content, an adapter's followed by its base's."""
    found = []
    for version in versions:
        found.append(version.content)
        if version.kind == "adapter":
            found.append(base_of(registry, version).content)
    return found


def again(registry: Registry, done: Version, draft: Draft) -> Version:
    """What a step gives that was done before: the same version, or another of the same files where
    its name, the records of its parents, or what is stated of it have changed since."""
    if done.name == draft.name and done.parents == draft.parents and agrees(draft, done):
        return done
    return registry.add(registry.view(done), draft)
