"""The experiment file: what it may say, and how a mistake in it is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from isogloss.errors import ConfigError
from isogloss.experiment import load_experiment
from isogloss.experiment.spec import MergeItem, expand_merges
from tests.experiment.conftest import write_story

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    "file", sorted((ROOT / "experiments").glob("*.yaml")), ids=lambda f: f.name
)
def test_every_shipped_experiment_loads(file: Path) -> None:
    assert load_experiment(file).train


def test_the_demo_loads() -> None:
    load_experiment(ROOT / "isogloss" / "experiment" / "demo" / "demo.yaml")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("seeds:", "seds:", "'seds'; did you mean 'seeds'"),
        ("replay_share", "replay_shar", "did you mean 'replay_share'"),
        ("merge_method: ties", "merge_method: tise", "ties"),
        ("density: 0.5", "densty: 0.5", "did you mean 'density'"),
        ("language: pcm", "language: pidgin-x-", "pidgin"),
        ("nige1257", "nige12", "nige12"),
        ("data: [naija]", "data: [naja]", "did you mean 'naija'"),
        ("base: dialect", "base: dialct", "'dialct'"),
        ("name: task, kind", "name: dialect, kind", "each name once"),
        ("margin: 0.02", "margin: 2", "less than 1"),
        ("kind: perplexity", "kind: perplexty", "perplexty"),
        ("ta-{d}", "ta", "each name once"),
        ("name: tiny\nbase", "name: Tiny!\nbase", "can't be a name"),
        ("slack: 0.5", "slack: {mode: relatve, value: 1}", "relatve"),
        ("{model: dialect, para", "{model: dialekt, para", "names 'dialekt'; did you mean"),
        ("name: task, kind", "name: naija, kind", "each name once; twice: naija"),
        ("choose: {", "choose: {seed: 1, ", "unknown key 'choose.seed'"),
        ("seeds: [0, 1]", "seeds: [0, 0]", "each seed once"),
        ("seeds: [0, 1]", "seeds: [0, -1]", "seeds.1 is -1"),
        ("d: [0.5, 1.0]", "d: []", "at least 1 item"),
        ("measure:\n", "measure:\n  reference: bsae\n", "reference 'bsae' out of base"),
        ("measure:\n", "measure:\n  choose_on: test\n", "another split than choose_on"),
        ("measure:\n", "measure:\n  report_on: tset\n", "no dialect task with the split 'tset'"),
        ("{sequence_length", "{seed: 3, sequence_length", "seeds: at its top"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    file = write_story(tmp_path)
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))
    with pytest.raises(ConfigError, match=message):
        load_experiment(file)


def test_full_weights_may_be_asked_for_in_the_recipe(tmp_path: Path) -> None:
    file = write_story(tmp_path)
    file.write_text(file.read_text().replace("rank: 2,", "rank: 2, full: true,"))
    experiment = load_experiment(file)
    assert experiment.recipe_of(experiment.train[0], 0).full
    assert experiment.recipe_of(experiment.train[1], 0).full


def test_smoke_keeps_files_of_one_name_apart(tmp_path: Path) -> None:
    from isogloss.experiment.smoke import shrink

    file = write_story(tmp_path)
    for top, text in (("a", "one\n"), ("b", "two\n")):
        (tmp_path / top / "en").mkdir(parents=True)
        (tmp_path / top / "en" / "train.txt").write_text(text)
    listed = "[a/en/train.txt, b/en/train.txt]"
    file.write_text(file.read_text().replace("[english.txt], language", f"{listed}, language"))
    small = shrink(load_experiment(file), tmp_path, tmp_path / "cut")
    texts = [Path(cut).read_text() for cut in small.corpora["english"].files]
    assert texts == ['{"text": "one"}\n', '{"text": "two"}\n']


def test_a_grid_is_every_combination_with_numbers_kept() -> None:
    item = MergeItem(
        name="{m}-{w}",
        grid={"m": ["ties", "linear"], "w": [0.5, 1]},
        recipe={
            "merge_method": "{m}",
            "models": [{"parameters": {"weight": "{w}"}}],
            "note": "w={w}",
        },
    )
    found = expand_merges([item])
    assert [m.name for m in found] == ["ties-0.5", "ties-1", "linear-0.5", "linear-1"]
    assert found[1].recipe == {
        "merge_method": "ties",
        "models": [{"parameters": {"weight": 1}}],
        "note": "w=1",
    }
