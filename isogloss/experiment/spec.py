"""The experiment file: base, corpora, training runs, merges, what is measured, how to choose.

::

    name: naija
    base: {shape: llama:192x4, vocab: 4096, corpus: [english]}      # or any reference
    corpora:
      english: {files: ["${ISOGLOSS_DATA}/english/ewt_train.txt"], language: en}
      naija: {files: [naija.jsonl], language: pcm, prestige: en, licence: cc-by-sa-4.0}
    train:
      - {name: dialect, kind: cpt, data: [naija], replay: [english]}
      - {name: task, kind: sft, data: [reviews], full: true}
      - {name: ct-then-sft, kind: sft, base: dialect, data: [reviews], full: true}
    merges:
      - name: "ta-{d}-{t}"
        grid: {d: [0.5, 1.0], t: [0.5, 1.0]}
        recipe:
          merge_method: task_arithmetic
          base_model: base
          models:
            - {model: dialect, parameters: {weight: "{d}"}}
            - {model: task, parameters: {weight: "{t}"}}
    measure: {suite: naija, reference: base}
    choose: {margin: 0.02}
    seeds: [0, 1, 2]

Names of ``train`` and ``merges`` (and ``base``) may be used wherever a later entry takes a
reference. Every artifact is registered as ``<experiment>/<name>``.
"""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from isogloss.config import Strict, load_yaml, parse
from isogloss.errors import ConfigError, IsoglossError, RefError, did_you_mean
from isogloss.eval import Suite, load_suite
from isogloss.refs import check_name
from isogloss.registry import Language, language
from isogloss.registry.records import Role
from isogloss.train import TrainRecipe, load_recipe


class CorpusItem(Strict):
    """Text that is trained on. Its dev and test texts belong to the suite, not here."""

    files: list[str] = Field(min_length=1)
    """Paths relative to the experiment file; ``${ISOGLOSS_DATA}`` and ``~`` are expanded."""
    field: str = "text"
    language: str
    """BCP-47."""
    glottocode: str | None = None
    prestige: str | None = None
    """BCP-47 of the prestige variety, where this is a dialect."""
    licence: str | None = None
    source: str | None = None
    consent: str | None = None
    contact: str | None = None
    restrictions: str | None = None

    @property
    def languages(self) -> tuple[Language, ...]:
        """As a record holds it; validated."""
        return (language(self.language, self.glottocode, self.prestige),)


class BaseItem(Strict):
    """A base made from scratch, shared by all seeds."""

    shape: str
    vocab: int = Field(2048, ge=300)
    corpus: list[str] = Field(min_length=1)
    recipe: dict[str, Any] = {}
    licence: str | None = None


class TrainItem(Strict):
    """One training run."""

    name: str
    kind: Literal["cpt", "sft"]
    base: str = "base"
    """``base``, the name of an earlier run, or a reference with ``/``, ``:`` or ``@`` in it."""
    data: list[str] = Field(min_length=1)
    replay: list[str] = []
    preset: str | None = None
    recipe: dict[str, Any] = {}
    full: bool = False
    role: Role | None = None
    licence: str | None = None


class MergeItem(Strict):
    """One merge, or with ``grid`` one for each combination of values.

    ``{key}`` in ``name`` and in any string of ``recipe`` stands for the value; a string that is
    nothing but ``"{key}"`` becomes the value itself, number and all.
    """

    name: str
    recipe: dict[str, Any]
    grid: dict[str, Annotated[list[Any], Field(min_length=1)]] = {}


class Measure(Strict):
    """What every variant is measured on."""

    suite: str | dict[str, Any]
    """A built-in suite, a YAML file relative to the experiment's, or the suite itself."""
    reference: str = "base"
    choose_on: str = "dev"
    report_on: str = "test"
    table: Literal["all", "chosen"] = "chosen"
    """Which merges are measured on the reporting split: all of them, or the chosen one only."""
    dtype: str = "float32"

    @model_validator(mode="after")
    def _two_splits(self) -> Measure:
        if self.choose_on == self.report_on:
            raise ValueError("report_on another split than choose_on: what is chosen on is used up")
        return self


class Choose(Strict):
    """What a winner is."""

    margin: float = Field(0.02, gt=0, lt=1)
    """Largest prestige loss, as a share of the reference's error."""
    draws: int = Field(2000, ge=100)
    """Bootstrap draws."""


class Experiment(Strict):
    """A whole experiment; see the module for an example."""

    name: str
    title: str = ""
    base: str | BaseItem
    corpora: dict[str, CorpusItem] = {}
    train: list[TrainItem] = []
    merges: list[MergeItem] = []
    measure: Measure
    choose: Choose = Choose()
    seeds: list[Annotated[int, Field(ge=0, lt=2**32)]] = Field([0], min_length=1)
    """The base is made with the first one and shared by all."""

    @model_validator(mode="after")
    def _names(self) -> Experiment:
        if "/" in self.name:
            raise ValueError("a name without '/'")
        seen = ["base"]
        for item in self.train:
            if item.base not in seen and not _OUTSIDE.search(item.base):
                raise ValueError(f"{item.name}'s base {item.base!r} out of {', '.join(seen)}")
            for corpus in [*item.data, *item.replay]:
                self._known(corpus, item.name)
            seen.append(item.name)
        if isinstance(self.base, BaseItem):
            for corpus in self.base.corpus:
                self._known(corpus, "base")
        if self.measure.reference not in seen:
            raise ValueError(f"reference {self.measure.reference!r} out of {', '.join(seen)}")
        seen += [merge.name for merge in expand_merges(self.merges)]
        # Corpora, runs and merges share the names <experiment>/<name> of the registry.
        seen += self.corpora
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError("each seed once")
        double = sorted({name for name in seen if seen.count(name) > 1})
        if double:
            raise ValueError(f"each name once; twice: {', '.join(double)}")
        for name in seen:
            try:
                check_name(f"{self.name}/{name}")
            except RefError as error:
                raise ValueError(str(error)) from error
        return self

    def _known(self, corpus: str, user: str) -> None:
        if corpus not in self.corpora:
            raise ValueError(
                f"a corpus that `corpora` names; {user} names {corpus!r}: "
                + did_you_mean(corpus, self.corpora)
            )

    def recipe_of(self, item: TrainItem | BaseItem, seed: int) -> TrainRecipe:
        """The recipe of a run with its defaults, for one seed."""
        if "seed" in item.recipe:
            raise ConfigError(
                f"experiment {self.name} has a seed in a recipe", expected="seeds: at its top"
            )
        overrides = {**item.recipe, "seed": seed}
        preset = None
        where = f"recipe of base in experiment {self.name}"
        if isinstance(item, TrainItem):
            overrides |= {"full": True} if item.full else {}
            preset = item.preset
            where = f"recipe of {item.name} in experiment {self.name}"
        return load_recipe(preset, overrides, where)

    def suite(self, root: Path) -> Suite:
        """The suite to measure on, relative paths below ``root``."""
        named = self.measure.suite
        if isinstance(named, str) and (root / named).is_file():
            return load_suite(root / named)
        return load_suite(named, root=root)


def load_experiment(path: Path) -> Experiment:
    """An experiment from its YAML file; every recipe, language and name is checked here.

    Raises:
        ConfigError: an unknown key (with the nearest known one) or a wrong value, anywhere.
    """
    experiment = parse(Experiment, load_yaml(path), path.name)
    for item in experiment.train:
        experiment.recipe_of(item, 0)
    if isinstance(experiment.base, BaseItem):
        experiment.recipe_of(experiment.base, 0)
    for name, corpus in experiment.corpora.items():
        try:
            _ = corpus.languages
        except IsoglossError as error:
            raise ConfigError(f"{path.name}, corpus {name}: {error}") from error
    from isogloss.merge import load_recipe as load_merge

    known = ["base", *(item.name for item in experiment.train)]
    for merge in expand_merges(experiment.merges):
        try:
            names = load_merge(merge.recipe).names()
        except ConfigError as error:
            raise ConfigError(f"{path.name}, merge {merge.name}: {error}") from error
        for name in (part for whole in names for part in whole.split("+")):
            if name not in known and not _OUTSIDE.search(name):
                raise ConfigError(
                    f"{path.name}, merge {merge.name} names {name!r}",
                    hint=did_you_mean(name, known),
                )
        known.append(merge.name)
    _check_sides(experiment, experiment.suite(path.absolute().parent))
    return experiment


def _check_sides(experiment: Experiment, suite: Suite) -> None:
    """A merge is judged on both splits, each with a dialect and a prestige task."""
    for split in (experiment.measure.choose_on, experiment.measure.report_on):
        sides = {task.side for task in suite.tasks if split in task.data}
        lacking = sorted({"dialect", "prestige"} - sides)
        if experiment.merges and lacking:
            raise ConfigError(
                f"suite {suite.name} has no {lacking[0]} task with the split {split!r}",
                expected="one dialect and one prestige task or more on each split",
            )


_OUTSIDE = re.compile(r"[/:@]")
_PLACE = re.compile(r"\{(\w+)\}")


def expand_merges(items: list[MergeItem]) -> list[MergeItem]:
    """Each merge with its grid filled in, in the order of the file, the last key fastest.

    >>> item = MergeItem(name="a-{w}", grid={"w": [0.5, 1.0]}, recipe={"weight": "{w}"})
    >>> [(m.name, m.recipe) for m in expand_merges([item])]
    [('a-0.5', {'weight': 0.5}), ('a-1.0', {'weight': 1.0})]
    """
    found = []
    for item in items:
        for values in itertools.product(*item.grid.values()):
            chosen = dict(zip(item.grid, values, strict=True))
            found.append(
                MergeItem(name=_filled(item.name, chosen), recipe=_filled(item.recipe, chosen))
            )
    return found


def _filled(value: Any, chosen: dict[str, Any]) -> Any:
    if isinstance(value, str):
        whole = _PLACE.fullmatch(value)
        if whole and whole[1] in chosen:
            return chosen[whole[1]]
        return _PLACE.sub(lambda m: str(chosen.get(m[1], m[0])), value)
    if isinstance(value, dict):
        return {key: _filled(inner, chosen) for key, inner in value.items()}
    if isinstance(value, list):
        return [_filled(inner, chosen) for inner in value]
    return value
