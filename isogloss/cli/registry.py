"""``isogloss registry``: what exists, and how it came to be."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from isogloss.cli import out

if TYPE_CHECKING:
    from isogloss.registry import Lineage, Registry, Version

app = out.group("What exists, and how it came to be: corpora, adapters, models, measurements.")

Ref = Annotated[str, typer.Argument(help="name, name:3, name@alias or name@sha256:…")]


def opened() -> Registry:
    """The registry that commands work on."""
    from isogloss.registry import Registry

    return Registry.open()


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="Where .isogloss/ is made.")] = Path(),
    json: out.Json = False,
) -> None:
    """Make a registry in ./.isogloss; commands in this folder and below it find it.

    \b
    isogloss registry init
    isogloss registry init ~/dialects
    """
    from isogloss.registry import Registry

    with Registry.init(folder.absolute() / ".isogloss") as registry:
        out.show({"root": str(registry.root)}, lambda: f"registry in {registry.root}", json=json)


@app.command()
def add(
    source: Annotated[
        list[str], typer.Argument(help="A folder, a text file or several, or hf://org/name[@rev].")
    ],
    name: Annotated[str, typer.Option(help="What to call it.")],
    kind: Annotated[str | None, typer.Option(help="corpus, adapter or model.")] = None,
    language: Annotated[
        list[str] | None, typer.Option(help="BCP-47, such as fr-CA; may be repeated.")
    ] = None,
    glottocode: Annotated[str | None, typer.Option(help="Such as queb1247.")] = None,
    prestige: Annotated[
        str | None, typer.Option(help="BCP-47 of the variety this dialect is measured against.")
    ] = None,
    role: Annotated[
        str | None, typer.Option(help="dialect, task, merged, base, replay or eval.")
    ] = None,
    base: Annotated[str | None, typer.Option(help="The model that an adapter stands on.")] = None,
    license: Annotated[  # noqa: A002 — the option's name
        str | None, typer.Option(help="An identifier of the Hub's list, such as cc-by-sa-4.0.")
    ] = None,
    field: Annotated[str, typer.Option(help="Field of the text in a corpus.")] = "text",
    origin: Annotated[str | None, typer.Option(help="Where a corpus comes from.")] = None,
    consent: Annotated[str | None, typer.Option(help="Who agreed to what.")] = None,
    contact: Annotated[str | None, typer.Option(help="Whom to ask about a corpus.")] = None,
    restrictions: Annotated[str | None, typer.Option(help="What may not be done with it.")] = None,
    note: Annotated[str | None, typer.Option(help="Anything else worth keeping.")] = None,
    json: out.Json = False,
) -> None:
    """Take in a PEFT adapter folder, a transformers model folder or a text corpus.

    \b
    isogloss registry add naija.txt --name naija --language pcm --prestige en --license cc-by-sa-4.0
    isogloss registry add ./my-lora --name pcm-cpt --base base --language pcm --role dialect
    isogloss registry add hf://meta-llama/Llama-3.2-1B --name llama-1b
    """
    from isogloss.steps.intake import AddSpec, add_step

    spec = AddSpec(
        sources=tuple(source),
        name=name,
        kind=kind,
        language=tuple(language or ()),
        glottocode=glottocode,
        prestige=prestige,
        role=role,
        base=base,
        licence=license,
        field=field,
        source=origin,
        consent=consent,
        contact=contact,
        restrictions=restrictions,
        note=note,
    )
    with opened() as registry, out.bars() as report:
        left_out: list[str] = []
        version = add_step(registry, spec, report=report, left_out=left_out.append)
        for text in left_out:
            out.note(text)
        out.show(version.model_dump(mode="json"), lambda: _line(version), json=json)


def _line(version: Version) -> str:
    facts = [version.kind, version.role or "", _languages(version)]
    if version.corpus:
        facts.append(f"{out.number(version.corpus.documents)} documents")
    if version.adapter:
        facts.append(f"{version.adapter.peft_type} rank {version.adapter.rank}")
    if version.model and version.model.parameters:
        facts.append(f"{out.number(version.model.parameters)} parameters")
    return f"{version.ref}  " + ", ".join(fact for fact in facts if fact)


def _languages(version: Version) -> str:
    return " ".join(lang.tag for lang in version.languages)


@app.command("ls")
def list_(
    name: Annotated[str | None, typer.Argument(help="Only versions of this name.")] = None,
    kind: Annotated[str | None, typer.Option(help="corpus, adapter or model.")] = None,
    role: Annotated[str | None, typer.Option(help="dialect, task, merged, base …")] = None,
    language: Annotated[str | None, typer.Option(help="fr finds fr-CA.")] = None,
    quiet: Annotated[bool, typer.Option("-q", help="References only.")] = False,
    json: out.Json = False,
) -> None:
    """List versions, filtered.

    \b
    isogloss registry ls --kind adapter --language fr
    """
    _one_of("--kind", kind, "Kind")
    _one_of("--role", role, "Role")
    with opened() as registry:
        found = registry.versions(name=name, kind=kind, role=role, language=language)  # type: ignore[arg-type]
        if quiet and not json:
            for version in found:
                out.line(version.ref)
            return
        rows = [
            (
                v.ref,
                v.kind,
                v.role or "–",
                _languages(v) or "–",
                v.licence or "–",
                out.size(sum(f.size for f in v.files)) if v.files else "on the Hub",
                v.created_at[:16].replace("T", " "),
                " ".join(a for a, n in registry.aliases(v.name).items() if n == v.number),
            )
            for v in found
        ]
        header = ("ref", "kind", "role", "language", "licence", "size", "made", "alias")
        nothing = "nothing fits" if name or kind or role or language else "nothing here yet"
        out.show(
            [v.model_dump(mode="json") for v in found],
            lambda: out.table(header, rows) if rows else nothing,
            json=json,
        )


def _one_of(option: str, given: str | None, names: str) -> None:
    from typing import get_args

    from isogloss.errors import UsageError, did_you_mean
    from isogloss.registry import records

    known = get_args(getattr(records, names))
    if given is not None and given not in known:
        raise UsageError(f"{option} {given!r}", hint=did_you_mean(given, known))


@app.command()
def show(ref: Ref, json: out.Json = False) -> None:
    """Everything about one version: files, facts, parents, children, measurements, publications."""
    with opened() as registry:
        version = registry.get(ref)
        evaluations = registry.evaluations(version)
        publications = registry.publications(version)
        children = registry.children(version)
        data = {
            **version.model_dump(mode="json"),
            "record": version.record,
            "children": [child.ref for child in children],
            "evaluations": [e.model_dump(mode="json") for e in evaluations],
            "publications": [p.model_dump(mode="json") for p in publications],
        }

        def page() -> str:
            lines = [_line(version), f"  content   sha256:{version.content}"]
            lines.append(f"  record    sha256:{version.record}")
            lines.append(
                f"  made      {version.created_at} by {version.made_by.get('verb', 'hand')}"
            )
            lines.append(f"  licence   {version.licence or 'not stated'}")
            if version.note:
                lines.append(f"  note      {version.note}")
            for label, value in _corpus_facts(version):
                lines.append(f"  {label:<9} {value}")
            for parent, _ in registry.parents(version):
                weight = "" if parent.weight is None else f", weight {parent.weight:g}"
                lines.append(f"  from      {parent.ref} ({parent.role}{weight})")
            lines += [f"  into      {child.ref}" for child in children]
            for e in evaluations:
                score = e.metrics.get(e.metric, e.error)
                flags = f"  [{', '.join(e.flags)}]" if e.flags else ""
                lines.append(
                    f"  measured  {e.task}/{e.split}: {e.metric} {score:.4g}, n {e.n}{flags}"
                )
            lines += [f"  published {p.repo}@{p.commit[:12]}" for p in publications]
            lines += [
                f"  file      {f.path}  {out.size(f.size)}  {f.sha256[:12]}" for f in version.files
            ]
            return "\n".join(lines)

        out.show(data, page, json=json)


def _corpus_facts(version: Version) -> list[tuple[str, str]]:
    if version.corpus is None:
        return []
    facts = version.corpus
    pairs = [
        ("documents", f"{out.number(facts.documents)}, {out.size(facts.bytes)} of text"),
        ("source", facts.source),
        ("consent", facts.consent),
        ("contact", facts.contact),
        ("limits", facts.restrictions),
    ]
    return [(label, value) for label, value in pairs if value]


@app.command()
def log(ref: Ref, json: out.Json = False) -> None:
    """The whole ancestry of a version, down to the corpora.

    \b
    isogloss registry log naija/ta-0.5-0.5
    """
    with opened() as registry:
        lineage = registry.lineage(registry.get(ref))
        out.show(_tree_data(lineage), lambda: _tree(lineage), json=json)


def _tree_data(node: Lineage) -> dict[str, Any]:
    return {
        "ref": node.ref,
        "role": node.role,
        "weight": node.weight,
        "record": node.version.record if node.version else None,
        "content": node.version.content if node.version else None,
        "seen": node.seen,
        "parents": [_tree_data(child) for child in node.children],
    }


def _tree(node: Lineage) -> Any:
    from rich.text import Text
    from rich.tree import Tree

    def label(inner: Lineage) -> Text:
        role = f"{inner.role}: " if inner.role else ""
        weight = "" if inner.weight is None else f" × {inner.weight:g}"
        facts = _line(inner.version) if inner.version else f"{inner.ref}  (not in this registry)"
        made = ""
        if inner.version and inner.version.made_by:
            verb, seed = inner.version.made_by.get("verb"), inner.version.made_by.get("seed")
            made = f"  [{verb}" + (f", seed {seed}]" if seed is not None else "]")
        return Text(role + facts + weight + made + ("  (as above)" if inner.seen else ""))

    def grow(tree: Tree, inner: Lineage) -> Tree:
        for child in inner.children:
            grow(tree.add(label(child)), child)
        return tree

    return grow(Tree(label(node)), node)


@app.command()
def alias(
    ref: Annotated[str, typer.Argument(help="name:3, or with --delete just name.")],
    alias: Annotated[str, typer.Argument(help="Such as best.")],
    why: Annotated[str | None, typer.Option(help="Kept in the alias's log.")] = None,
    delete: Annotated[bool, typer.Option("--delete", help="Take the alias away.")] = False,
    json: out.Json = False,
) -> None:
    """Point name@alias to a version; every move is kept with who, when and why.

    \b
    isogloss registry alias pcm-cpt:3 best --why "lowest bits per byte on dev"
    """
    with opened() as registry:
        version = registry.get(ref)
        move = registry.alias(version.name, alias, None if delete else version.number, why=why)
        where = "taken away" if delete else f"-> {version.ref}"
        out.show(move.model_dump(mode="json"), lambda: f"{version.name}@{alias} {where}", json=json)


@app.command()
def reindex(json: out.Json = False) -> None:
    """Make the index again from the records."""
    with opened() as registry:
        count = registry.reindex()
        data = {
            "records": count,
            "digest": registry.index_digest(),
            "damaged": [d._asdict() for d in registry.damaged],
        }
        out.show(data, lambda: f"{out.number(count)} records indexed", json=json)


@app.command()
def path(
    ref: Ref,
    writable: Annotated[
        Path | None, typer.Option(help="Copy the files to this new folder instead.")
    ] = None,
    json: out.Json = False,
) -> None:
    """A folder with the files of a version, for transformers, PEFT, vLLM and other tools.

    \b
    isogloss registry path pcm-sentiment@best
    isogloss registry path pcm-sentiment@best --writable ./my-copy
    """
    with opened() as registry:
        folder = registry.view(registry.get(ref), writable=writable)
        out.show({"path": str(folder)}, lambda: str(folder), json=json)
