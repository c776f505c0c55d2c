"""``isogloss publish``: from a reference to a Hub repository, or a refusal with the reason."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from isogloss.cli import out
from isogloss.cli.registry import Ref, opened

if TYPE_CHECKING:
    from isogloss.publish import Published

app = out.group("Publish a winner to the Hub with its whole history, in one commit.")

Repo = Annotated[str, typer.Option(help="ORG/NAME on the Hub.")]
Override = Annotated[list[str] | None, typer.Option(help="Pass this gate; each needs a --because.")]
Because = Annotated[list[str] | None, typer.Option(help="The reason; stands on the card.")]


@app.command()
def run(
    ref: Ref,
    repo: Repo,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show files, gates and card; send nothing.")
    ] = False,
    public: Annotated[bool, typer.Option("--public", help="A new repository is private.")] = False,
    pr: Annotated[bool, typer.Option("--pr", help="Open a pull request instead.")] = False,
    revision: Annotated[str | None, typer.Option(help="Branch to commit to.")] = None,
    override: Override = None,
    because: Because = None,
    json: out.Json = False,
) -> None:
    """Gates, licence, card, one commit, read back and compared. Twice is once.

    \b
    isogloss publish run pcm-sentiment@best --repo lab/pcm-sentiment --dry-run
    isogloss publish run base --repo lab/base --override licence --because "all text is our own"
    """
    from isogloss.steps import PublishSpec, publish_step

    spec = PublishSpec(
        ref=ref,
        repo=repo,
        dry_run=dry_run,
        public=public,
        pull_request=pr,
        revision=revision,
        overrides=_overrides(override or [], because or []),
    )
    with opened() as registry, out.bars() as report:
        done = publish_step(registry, spec, report=report)
        data = {
            **done._asdict(),
            "files": [file._asdict() for file in done.files],
            "gates": [gate._asdict() for gate in done.gates],
        }
        out.show(data, lambda: _page(done), json=json)


def _overrides(gates: list[str], reasons: list[str]) -> dict[str, str]:
    from isogloss.errors import UsageError

    if len(gates) != len(reasons):
        raise UsageError(
            f"{len(gates)} --override and {len(reasons)} --because",
            expected="a reason for each gate",
        )
    return dict(zip(gates, reasons, strict=True))


def _page(done: Published) -> Any:
    lines = []
    for gate in done.gates:
        lines.append(f"{'pass' if gate.passed else 'FAIL'}  {gate.name}: {gate.text}")
    if done.dry_run:
        lines += ["", f"would go to {done.repo}:"]
        lines += [f"  {f.path}  {out.size(f.size)}  {f.sha256[:12]}" for f in done.files]
        lines += ["", done.card]
    elif done.changed:
        lines.append(f"{done.url}  commit {done.commit}")
        if done.pull_request:
            lines.append(f"pull request {done.pull_request}")
    else:
        lines.append(f"{done.url}  nothing changed, no commit")
    return "\n".join(lines)


@app.command()
def card(
    ref: Ref,
    repo: Annotated[str | None, typer.Option(help="As if for this repository.")] = None,
    json: out.Json = False,
) -> None:
    """Print the card that a publication would carry.

    \b
    isogloss publish card pcm-sentiment@best > README.md
    """
    from isogloss.publish import card as make

    with opened() as registry:
        text = make(registry, registry.get(ref), repo=repo)
    if json:
        out.show({"card": text}, lambda: "", json=True)
    else:
        out.line(text.rstrip("\n"))
