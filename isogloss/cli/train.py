"""``isogloss train``: corpora in, adapters and task models out, registered."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from isogloss.cli import out
from isogloss.cli.registry import opened

app = out.group("Train a base, a dialect adapter or a task model; the result is registered.")

Name = Annotated[str, typer.Option(help="What to call the result.")]
Base = Annotated[str, typer.Option(help="Path, reference, org/name on the Hub, or model+lora.")]
Preset = Annotated[str | None, typer.Option(help="A ready recipe, such as cpu-small.")]
Set = Annotated[
    list[str] | None, typer.Option("--set", help="key=value of the recipe; may be repeated.")
]
Replay = Annotated[
    list[str] | None, typer.Option(help="Text replayed against forgetting; needs replay_share.")
]
Full = Annotated[bool, typer.Option("--full", help="Train all weights, not a LoRA.")]
Language = Annotated[
    list[str] | None, typer.Option(help="BCP-47; those of the corpora by default.")
]
License = Annotated[str | None, typer.Option("--license", help="Licence of the result.")]
Role = Annotated[str | None, typer.Option(help="dialect, task, base …; after the verb by default.")]


@app.command()
def base(
    corpus: Annotated[list[str], typer.Option(help="Files or references; may be repeated.")],
    name: Name,
    shape: Annotated[str, typer.Option(help="llama:HIDDENxLAYERS.")] = "llama:128x4",
    vocab: Annotated[int, typer.Option(min=300, help="Entries of the tokenizer.")] = 2048,
    preset: Preset = None,
    set_: Set = None,
    language: Language = None,
    license: License = None,  # noqa: A002 — the option's name
    json: out.Json = False,
) -> None:
    """A small base and its tokenizer from scratch, for tests, demos and studies.

    \b
    isogloss train base --corpus english.txt --name tiny --shape llama:192x4 --vocab 4096
    """
    _run(
        {"verb": "base", "name": name, "corpora": corpus, "shape": shape, "vocab": vocab},
        preset,
        set_,
        True,
        language,
        license,
        None,
        json,
    )


@app.command()
def cpt(
    base: Base,
    corpus: Annotated[list[str], typer.Option(help="Files or references; may be repeated.")],
    name: Name,
    preset: Preset = None,
    set_: Set = None,
    replay: Replay = None,
    full: Full = False,
    language: Language = None,
    license: License = None,  # noqa: A002 — the option's name
    role: Role = None,
    json: out.Json = False,
) -> None:
    """Continual pre-training on dialect text: a LoRA adapter, or with --full all weights.

    \b
    isogloss train cpt --base base --corpus naija.txt --name pcm-cpt --preset cpu-small
    isogloss train cpt --base org/model --corpus a.txt --corpus b.jsonl --name x \\
        --set rank=64 --set epochs=2 --replay english.txt --set replay_share=0.2
    """
    spec = {"verb": "cpt", "name": name, "base": base, "corpora": corpus, "replay": replay or []}
    _run(spec, preset, set_, full, language, license, role, json)


@app.command()
def sft(
    base: Base,
    data: Annotated[
        list[str],
        typer.Option(help="JSONL, TSV or Parquet files, or references; rows with fields."),
    ],
    name: Name,
    preset: Preset = None,
    set_: Set = None,
    replay: Replay = None,
    full: Full = False,
    language: Language = None,
    license: License = None,  # noqa: A002 — the option's name
    role: Role = None,
    json: out.Json = False,
) -> None:
    """Supervised fine-tuning: the loss on the answer only. --full makes a task model.

    The prompt and the answer are templates over the fields of a row.

    \b
    isogloss train sft --base base --data reviews.jsonl --name sentiment --full \\
        --set 'prompt={text}\\nSentiment:' --set 'answer= {label}'
    """
    spec = {"verb": "sft", "name": name, "base": base, "corpora": data, "replay": replay or []}
    _run(spec, preset, set_, full, language, license, role, json)


@app.command()
def presets(json: out.Json = False) -> None:
    """List the ready recipes with their settings."""
    from isogloss.train import load_recipe
    from isogloss.train import presets as names

    found = {name: load_recipe(name).normalised() for name in names()}
    rows = [
        (
            name,
            f"rank {r['rank']}, lr {r['learning_rate']:g}, {r['epochs']:g} epochs, "
            f"{r['batch_tokens']} tokens a step",
        )
        for name, r in found.items()
    ]
    out.show(found, lambda: out.table(("preset", "settings"), rows), json=json)


def _run(
    spec: dict[str, Any],
    preset: str | None,
    settings: list[str] | None,
    full: bool,
    language: list[str] | None,
    license_: str | None,
    role: str | None,
    json: bool,
) -> None:
    from isogloss.config import parse
    from isogloss.registry import language as checked
    from isogloss.steps import TrainSpec, train_step
    from isogloss.train import load_recipe

    overrides = key_values(settings or [])
    if full:
        overrides["full"] = True
    data = {
        **spec,
        "recipe": load_recipe(preset, overrides, "--set"),
        "role": role,
        "licence": license_,
        "languages": [checked(tag) for tag in language] if language else None,
    }
    with opened() as registry, out.bars() as report:
        version = train_step(registry, parse(TrainSpec, data, "train"), report=report)

        def text() -> str:
            facts = version.made_by.get("extra", {})
            trained = out.number(facts.get("trainable", 0))
            return (
                f"{version.ref}  {version.kind}, {trained} trained parameters, "
                f"{out.number(facts.get('tokens_seen', 0))} tokens seen, "
                f"loss {facts.get('first_loss', 0):.3f} -> {facts.get('last_loss', 0):.3f}"
            )

        out.show(version.model_dump(mode="json"), text, json=json)


def key_values(settings: list[str]) -> dict[str, Any]:
    """``key=value`` options as data; values are YAML, and ``\\n`` in a text is a line break.

    Raises:
        UsageError: one has no ``=``, or a value that isn't YAML.
    """
    import yaml

    from isogloss.errors import UsageError

    found: dict[str, Any] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals:
            raise UsageError(f"--set {setting!r}", expected="key=value")
        plain = key.strip() in ("prompt", "answer")
        try:
            found[key.strip()] = value.replace("\\n", "\n") if plain else yaml.safe_load(value)
        except (yaml.YAMLError, ValueError) as error:
            raise UsageError(f"--set {setting!r}", expected="a value in YAML") from error
    return found
