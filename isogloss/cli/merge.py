"""``isogloss merge``: arithmetic on checkpoints and adapters."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from isogloss.cli import out
from isogloss.cli.registry import opened

if TYPE_CHECKING:
    from isogloss.merge import Plan

app = out.group("Merge models and adapters of one base: mergekit's recipes, and more.")

RecipeFile = Annotated[Path, typer.Argument(help="A YAML recipe; mergekit's run unchanged.")]


@app.command()
def run(
    recipe: RecipeFile,
    name: Annotated[str | None, typer.Option(help="Register the result under this name.")] = None,
    to: Annotated[
        Path | None, typer.Option("--out", help="Write to this folder, without a registry.")
    ] = None,
    license: Annotated[  # noqa: A002 — the option's name
        str | None, typer.Option("--license", help="Licence of the result.")
    ] = None,
    json: out.Json = False,
) -> None:
    """Merge, into the registry (--name) or into a folder (--out).

    \b
    isogloss merge run recipe.yaml --name pcm-sentiment
    isogloss merge run recipe.yaml --out ./merged        # as mergekit-yaml does
    """
    from isogloss.errors import UsageError
    from isogloss.merge import load_recipe

    if (name is None) == (to is None):
        raise UsageError(
            "merge run with " + ("both" if name else "neither"),
            expected="either --name NAME or --out FOLDER",
        )
    checked = load_recipe(recipe)
    if to is not None:
        from isogloss.merge import run as merge
        from isogloss.merge import sources_from_paths

        with out.bars() as report:
            result = merge(checked, to, sources=sources_from_paths(checked), report=report)
        _notes(result.made_by)
        data = {"folder": str(result.folder), "statistics": result.statistics}
        out.show(data, lambda: f"{result.folder}  {_summary(result.made_by)}", json=json)
        return
    from isogloss.steps import MergeSpec, merge_step

    spec = MergeSpec(name=name or "", recipe=checked.normalised(), licence=license)
    with opened() as registry, out.bars() as report:
        version = merge_step(registry, spec, report=report)
        _notes(version.made_by)
        out.show(
            version.model_dump(mode="json"),
            lambda: f"{version.ref}  {_summary(version.made_by)}",
            json=json,
        )


def _notes(made_by: dict[str, Any]) -> None:
    for text in made_by.get("extra", {}).get("notes", []):
        out.note(f"note: {text}")


def _summary(made_by: dict[str, Any]) -> str:
    recipe = made_by.get("recipe", {})
    inputs = made_by.get("extra", {}).get("inputs", [])
    return f"{recipe.get('merge_method')} of {', '.join(i['label'] for i in inputs)}"


@app.command()
def plan(
    recipe: RecipeFile,
    tensors: Annotated[bool, typer.Option("--tensors", help="Also one line a tensor.")] = False,
    json: out.Json = False,
) -> None:
    """What each input became, what would be read and written; no weight is read.

    Names are looked up as paths, in the registry if there is one, and on the Hub.

    \b
    isogloss merge plan recipe.yaml
    """
    from isogloss.errors import RegistryError
    from isogloss.merge import load_recipe, sources_from_paths
    from isogloss.merge import plan as make

    checked = load_recipe(recipe)
    refs: dict[str, str] = {}
    try:
        registry = opened()
    except RegistryError:
        made = make(checked, sources_from_paths(checked))
    else:
        from isogloss.steps.merge import sources

        with registry:
            resolved, found = sources(registry, checked)
            refs = {name: what.ref for name, what in resolved.items()}
            made = make(checked, found)
    data = {**made.describe(), "resolved": refs}
    out.show(data, lambda: _page(made, refs, tensors), json=json)


def _page(made: Plan, refs: dict[str, str], tensors: bool) -> str:
    facts = made.describe()
    lines = [f"{facts['method']}: {facts['title']}  {facts['paper']}"]
    for one in [facts["base"], *facts["inputs"]]:
        adapter = f" + adapter {one['adapter']}" if one.get("adapter") else ""
        what = refs.get(one["label"]) or f"{one.get('model')}{adapter}"
        kind = "adapter on the base" if adapter else "model"
        lines.append(f"  {one['label']}  ->  {what}  ({kind})")
    if not refs:
        lines.append(f"  tokenizer from {facts['tokenizer_from']}")
    lines.append(
        f"  reads {out.size(facts['read_bytes'])}, writes {out.size(facts['write_bytes'])} "
        f"in {len(facts['files'])} file(s), {len(facts['jobs'])} tensors"
    )
    lines += [f"  note: {note}" for note in facts["notes"]]
    if tensors:
        lines += [f"  {job['name']}  {job['shape']}  {job['dtype']}" for job in facts["jobs"]]
    return "\n".join(lines)


@app.command()
def methods(json: out.Json = False) -> None:
    """List the merge methods with their parameters and papers."""
    from isogloss.merge import METHODS

    found = [method.describe() for method in METHODS.values()]
    rows = [
        (
            m["name"],
            m["title"],
            ", ".join(
                name + ("" if p.get("required") else f" ({p.get('default')})")
                for name, p in m["parameters"].items()
            ),
            m["paper"],
        )
        for m in found
    ]
    header = ("method", "what", "parameters (default)", "paper")
    out.show(found, lambda: out.table(header, rows), json=json)
