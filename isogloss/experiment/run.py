"""Running an experiment: train, merge, measure, choose on dev, report on test.

Every step is skipped where the registry holds a record of the same ``step`` digest, so a run
that was interrupted, or whose file gained a merge, does only what is new.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from isogloss.eval import Suite, TaskResult, Verdict, judge
from isogloss.eval.items import read_questions
from isogloss.experiment.spec import Experiment, MergeItem, TrainItem, expand_merges
from isogloss.merge import load_recipe
from isogloss.progress import Report, silent
from isogloss.registry import Registry, Version
from isogloss.steps import (
    CorpusSpec,
    EvaluateSpec,
    MergeSpec,
    TrainSpec,
    evaluate_step,
    merge_step,
    register_corpus,
    resolve,
    train_step,
)
from isogloss.steps.corpora import paths
from isogloss.steps.evaluate import results
from isogloss.steps.merge import renamed
from isogloss.steps.references import Resolved

Note = Callable[[str], None]
Scores = dict[str, dict[str, TaskResult]]

_ALPHA = 0.05


class SeedOutcome(NamedTuple):
    """What one seed gave."""

    seed: int
    versions: dict[str, Version]
    """Name in the experiment -> version, base first, in the order of the file."""
    merges: list[str]
    chosen: str | None
    """The merge chosen on dev; None where there are no merges."""
    dev: Verdict | None
    """Over all merges, on the choosing split."""
    test: Verdict | None
    """Over what was measured on the reporting split."""
    test_scores: Scores
    winner: str | None
    why: str


class Outcome(NamedTuple):
    """What an experiment gave."""

    experiment: Experiment
    suite: Suite
    seeds: list[SeedOutcome]


def run_experiment(
    experiment: Experiment,
    registry: Registry,
    *,
    root: Path,
    base: str | None = None,
    seeds: Sequence[int] | None = None,
    device: str | None = None,
    report: Report = silent,
    note: Note = lambda text: None,
) -> Outcome:
    """Run all seeds of an experiment.

    Args:
        root: the folder that relative paths of the file start from.
        base: a reference to use in place of the file's base.
        seeds: run these only; the base stays that of the file's first seed.
        note: told one line for each thing that is done or was done before.

    Raises:
        IsoglossError: whatever a step raises.
    """
    suite = experiment.suite(root)
    # Text that can't be measured on is found before anything is trained, not after.
    for split in (experiment.measure.choose_on, experiment.measure.report_on):
        for task in suite.tasks:
            if split in task.data:
                read_questions(task, split)
    corpora = {
        name: register_corpus(
            registry,
            CorpusSpec(
                name=f"{experiment.name}/{name}",
                files=tuple(str(path) for path in paths(item.files, root)),
                languages=item.languages,
                **item.model_dump(
                    include={"field", "licence", "source", "consent", "contact", "restrictions"}
                ),
            ),
            report=report,
        )
        for name, item in experiment.corpora.items()
    }
    work = _Work(experiment, suite, registry, root, corpora, device, report, note)
    first = _base(work, base)
    note(f"base {first.ref}")
    outcomes = [_seed(work, first, seed) for seed in seeds or experiment.seeds]
    _point_to_best(registry, outcomes, move=seeds is None)
    return Outcome(experiment, suite, outcomes)


class _Work(NamedTuple):
    """What every part of a run needs."""

    experiment: Experiment
    suite: Suite
    registry: Registry
    root: Path
    corpora: dict[str, Version]
    device: str | None
    report: Report
    note: Note

    def placed(self, text: str) -> str:
        """A reference of the file; ``./model`` is read from the file's own folder."""
        return str(self.root / text) if text.startswith(("./", "../")) else text


def _point_to_best(registry: Registry, seeds: Sequence[SeedOutcome], *, move: bool) -> None:
    """``name@best`` of every merge that won: its seed with the greatest dialect gain on dev.

    Args:
        move: also where the alias is set already; a run of a few seeds knows nothing of the others.
    """
    best: dict[str, tuple[float, Version, str]] = {}
    for seed in seeds:
        if seed.winner is None or seed.dev is None:
            continue
        row = next(row for row in seed.dev.rows if row.variant == seed.winner)
        gain, version = row.dialect_gain.value, seed.versions[seed.winner]
        if version.name not in best or gain > best[version.name][0]:
            best[version.name] = (gain, version, seed.why)
    for name, (_, version, why) in best.items():
        now = registry.aliases(name).get("best")
        if now is None or (move and now != version.number):
            registry.alias(name, "best", version.number, why=why)


def _base(work: _Work, named: str | None) -> Version:
    experiment, item = work.experiment, work.experiment.base
    if named is not None or isinstance(item, str):
        text = named if named is not None else work.placed(str(item))
        return resolve(work.registry, text, kind="model", report=work.report).version
    spec = TrainSpec(
        verb="base",
        name=f"{experiment.name}/base",
        corpora=tuple(work.corpora[name].ref for name in item.corpus),
        recipe=experiment.recipe_of(item, experiment.seeds[0]),
        shape=item.shape,
        vocab=item.vocab,
        licence=item.licence,
    )
    return train_step(work.registry, spec, device=work.device, report=work.report)


def _seed(work: _Work, base: Version, seed: int) -> SeedOutcome:
    experiment, measure = work.experiment, work.experiment.measure
    made = {"base": base}
    for item in experiment.train:
        made[item.name] = _train(work, made, item, seed)
        work.note(f"seed {seed}: {item.name} is {made[item.name].ref}")
    merges = expand_merges(experiment.merges)
    for index, merge in enumerate(merges):
        work.report(f"merge, seed {seed}", index, len(merges), {"now": merge.name})
        made[merge.name] = _merge(work, made, merge)
    work.report(f"merge, seed {seed}", len(merges), len(merges))

    names = [merge.name for merge in merges]
    trained = [name for name in made if name not in names]
    dev_scores = _scores(work, measure.choose_on, made, list(made))
    dev = _judged(dev_scores, experiment, names, trained) if names else None
    chosen = _choice(dev) if dev else None
    shown = names if measure.table == "all" else [chosen] if chosen else []
    test_scores = _scores(work, measure.report_on, made, [*trained, *shown])
    winner, why, test = None, "There is no merge to choose from.", None
    if dev and chosen:
        test = _judged(test_scores, experiment, shown, trained)
        winner, why = _final(dev, test, test_scores, chosen, trained, experiment)
    work.note(f"seed {seed}: {why}")
    return SeedOutcome(seed, made, names, chosen, dev, test, test_scores, winner, why)


def _train(work: _Work, made: dict[str, Version], item: TrainItem, seed: int) -> Version:
    spec = TrainSpec(
        verb=item.kind,
        name=f"{work.experiment.name}/{item.name}",
        base=made[item.base].ref if item.base in made else work.placed(item.base),
        corpora=tuple(work.corpora[name].ref for name in item.data),
        replay=tuple(work.corpora[name].ref for name in item.replay),
        recipe=work.experiment.recipe_of(item, seed),
        role=item.role,
        licence=item.licence,
    )

    def labelled(
        label: str,
        done: float,
        total: float | None = None,
        facts: Mapping[str, float | str] | None = None,
    ) -> None:
        work.report(f"{item.name}, seed {seed}: {label}", done, total, facts)

    return train_step(work.registry, spec, device=work.device, report=labelled)


def _merge(work: _Work, made: dict[str, Version], item: MergeItem) -> Version:
    names = {name: work.placed(name) for name in load_recipe(item.recipe).names()}
    names |= {name: version.ref for name, version in made.items()}
    spec = MergeSpec(name=f"{work.experiment.name}/{item.name}", recipe=renamed(item.recipe, names))
    return merge_step(work.registry, spec)


def _scores(work: _Work, split: str, made: dict[str, Version], names: Sequence[str]) -> Scores:
    spec = EvaluateSpec(suite=work.suite, split=split, dtype=work.experiment.measure.dtype)
    targets = [Resolved(name, made[name]) for name in names]
    found = evaluate_step(work.registry, targets, spec, device=work.device, report=work.report)
    return results(work.registry, found, names)


def _judged(
    scores: Scores, experiment: Experiment, candidates: Sequence[str], rivals: Sequence[str]
) -> Verdict:
    return judge(
        scores,
        reference=experiment.measure.reference,
        candidates=candidates,
        rivals=rivals,
        margin=experiment.choose.margin,
        alpha=_ALPHA,
        draws=experiment.choose.draws,
        seed=0,
    )


def _choice(dev: Verdict) -> str:
    """The winner on dev, else the merge that comes nearest: the greatest dialect gain less
    whatever its prestige loss has above the margin."""
    if dev.winner is not None:
        return dev.winner
    candidates = [row for row in dev.rows if row.role == "candidate"]
    best = max(
        candidates,
        key=lambda row: row.dialect_gain.value - max(0.0, row.prestige_loss.high - dev.margin),
    )
    return best.variant


def _final(
    dev: Verdict,
    test: Verdict,
    scores: Scores,
    chosen: str,
    trained: Sequence[str],
    experiment: Experiment,
) -> tuple[str | None, str]:
    """The verdict on test for what dev chose, with Holm over all that test was used for."""
    own = _judged(scores, experiment, [chosen], trained)
    row = next(row for row in test.rows if row.variant == chosen)
    if dev.winner is None:
        return None, f"On dev {_lower(dev.why)}"
    if own.winner is None:
        return None, f"{chosen} won on dev, but on test {_lower(own.why)}"
    family = len(test.rows) - 1
    if row.holm_p >= _ALPHA:
        return None, (
            f"There is no winner: {chosen} won on dev, but its dialect gain on test has p = "
            f"{row.holm_p:.3g} after Holm over {family} variants."
        )
    return chosen, f"{own.why} p = {row.holm_p:.2g} after Holm over {family} variants."


def _lower(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]
