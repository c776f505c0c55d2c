"""The whole walk: text, base, adapter, task model, merges, measurements, verdict."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from isogloss.experiment import as_json, as_markdown, load_experiment, run_experiment
from isogloss.registry import Registry
from tests.experiment.conftest import Story


def test_every_artifact_is_registered_with_its_role(story: Story) -> None:
    roles = {v.name: (v.kind, v.role) for v in story.registry.versions()}
    assert roles == {
        "tiny/english": ("corpus", None),
        "tiny/naija": ("corpus", None),
        "tiny/reviews": ("corpus", None),
        "tiny/base": ("model", "base"),
        "tiny/dialect": ("adapter", "dialect"),
        "tiny/task": ("model", "task"),
        "tiny/ct-then-sft": ("model", "task"),
        "tiny/ta-0.5": ("model", "merged"),
        "tiny/ta-1.0": ("model", "merged"),
        "tiny/ties-slack": ("model", "merged"),
    }


def test_seeds_share_the_base_and_nothing_else(story: Story) -> None:
    one, two = story.outcome.seeds
    assert one.versions["base"].ref == two.versions["base"].ref == "tiny/base:1"
    for name in ("dialect", "task", "ct-then-sft", "ta-0.5"):
        assert (one.versions[name].number, two.versions[name].number) == (1, 2)
        assert one.versions[name].content != two.versions[name].content


def test_the_ancestry_reaches_the_text(story: Story) -> None:
    merge = story.registry.get("tiny/ta-0.5:1")
    refs = {v.ref for v in story.registry.ancestors(merge)}
    assert refs == {
        "tiny/base:1",
        "tiny/dialect:1",
        "tiny/task:1",
        "tiny/english:1",
        "tiny/naija:1",
        "tiny/reviews:1",
    }
    edges = [(p.role, p.ref, p.weight) for p, _ in story.registry.parents(merge)]
    assert edges == [
        ("base", "tiny/base:1", None),
        ("merge_input", "tiny/dialect:1", 0.5),
        ("merge_input", "tiny/task:1", 1.0),
    ]
    baseline = story.registry.get("tiny/ct-then-sft:1")
    assert [(p.role, p.ref) for p, _ in story.registry.parents(baseline)] == [
        ("base", "tiny/base:1"),
        ("start", "tiny/dialect:1"),
        ("data", "tiny/reviews:1"),
    ]
    dialect = story.registry.get("tiny/dialect:1")
    assert [lang.tag for lang in dialect.languages] == ["pcm"]
    assert dialect.languages[0].prestige == "en"


def test_a_merge_is_the_arithmetic_its_recipe_says(story: Story) -> None:
    def weights(name: str) -> dict[str, Any]:
        folder = story.registry.view(story.registry.get(name))
        return dict(load_file(next(folder.glob("*.safetensors"))))

    base, task, merged = (weights(f"tiny/{n}:1") for n in ("base", "task", "ta-0.5"))
    factors = weights("tiny/dialect:1")
    name = "model.layers.0.mlp.up_proj"
    low = {k.split(".")[-2]: v for k, v in factors.items() if "up_proj" in k}
    key = f"{name}.weight"
    expected = task[key] + 0.5 * 2 * (low["lora_B"] @ low["lora_A"])
    np.testing.assert_allclose(merged[key], expected, atol=1e-6)
    assert base.keys() == merged.keys()


def test_slack_is_labelled_a_reconstruction(story: Story) -> None:
    notes = story.registry.get("tiny/ties-slack:1").made_by["extra"]["notes"]
    label = "reconstruction of TIES-SV; the paper's formula could not be consulted"
    assert any(label in note for note in notes)


def test_a_second_run_does_nothing_and_says_the_same(story: Story) -> None:
    before = story.registry.index_digest()
    again = run_experiment(
        load_experiment(story.folder / "tiny.yaml"), story.registry, root=story.folder, device="cpu"
    )
    assert story.registry.index_digest() == before
    assert as_json(again) == as_json(story.outcome)


def test_a_new_merge_costs_only_itself(story: Story, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(story.folder, folder, symlinks=True)
    file = folder / "tiny.yaml"
    file.write_text(file.read_text().replace("d: [0.5, 1.0]", "d: [0.5, 1.0, 0.25]"))
    with Registry.open(folder / ".isogloss") as registry:
        before = {v.ref for v in registry.versions()}
        run_experiment(load_experiment(file), registry, root=folder, device="cpu")
        new = {v.ref for v in registry.versions()} - before
    assert new == {"tiny/ta-0.25:1", "tiny/ta-0.25:2"}


def test_one_seed_alone_stands_on_the_base_of_all_and_gives_the_same(story: Story) -> None:
    before = story.registry.index_digest()
    alone = run_experiment(
        load_experiment(story.folder / "tiny.yaml"),
        story.registry,
        root=story.folder,
        seeds=[1],
        device="cpu",
    )
    assert story.registry.index_digest() == before
    assert as_json(alone)["seeds"] == as_json(story.outcome)["seeds"][1:]


def test_a_merge_may_be_an_input_of_a_later_one(story: Story, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(story.folder, folder, symlinks=True)
    file = folder / "tiny.yaml"
    later = """  - name: soup
    recipe:
      merge_method: linear
      models:
        - {model: ta-0.5, parameters: {weight: 1.0}}
        - {model: ties-slack, parameters: {weight: 1.0}}
measure:
"""
    file.write_text(file.read_text().replace("measure:\n", later))
    with Registry.open(folder / ".isogloss") as registry:
        run_experiment(load_experiment(file), registry, root=folder, seeds=[1], device="cpu")
        soup = registry.get("tiny/soup")
        edges = [(p.role, p.ref) for p, _ in registry.parents(soup)]
    assert edges == [("merge_input", "tiny/ta-0.5:2"), ("merge_input", "tiny/ties-slack:2")]


def test_over_seeds_a_table_of_all_keeps_the_merge_that_one_seed_chose(story: Story) -> None:
    from isogloss.experiment.report import over_seeds

    chosen = over_seeds(story.outcome)
    assert chosen is not None
    names = {"base", "dialect", "task", "ct-then-sft", "chosen merge"}
    assert {row[0] for row in chosen.rows} == names
    # As if all had been measured on test: dev's table has every merge.
    measure = story.outcome.experiment.measure.model_copy(update={"table": "all"})
    whole = story.outcome._replace(
        experiment=story.outcome.experiment.model_copy(update={"measure": measure}),
        seeds=[seed._replace(test=seed.dev) for seed in story.outcome.seeds],
    )
    every = over_seeds(whole)
    assert every is not None
    assert {row[0] for row in every.rows} == names | {"ta-0.5", "ta-1.0", "ties-slack"}


def test_text_to_measure_on_is_looked_at_before_anything_is_trained(tmp_path: Path) -> None:
    from isogloss.errors import EvalError
    from tests.experiment.conftest import write_story

    file = write_story(tmp_path)
    file.write_text(file.read_text().replace("negative: negative}", "negatif: negative}"))
    with (
        Registry.init(tmp_path / ".isogloss") as registry,
        pytest.raises(EvalError, match="has the label 'negative'"),
    ):
        run_experiment(load_experiment(file), registry, root=tmp_path, device="cpu")
    with Registry.open(tmp_path / ".isogloss") as registry:
        assert registry.versions() == []


def test_a_deleted_index_comes_back_equal(story: Story, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(story.folder / ".isogloss", folder, symlinks=True)
    with Registry.open(folder) as registry:
        before = registry.index_digest()
    for file in folder.glob("registry.sqlite*"):
        file.unlink()
    with Registry.open(folder) as registry:
        registry.reindex()
        assert registry.index_digest() == before


def test_the_merge_is_chosen_on_dev_and_reported_on_test(story: Story) -> None:
    for seed in story.outcome.seeds:
        assert seed.dev is not None
        assert seed.test is not None
        assert seed.chosen in seed.merges
        assert {row.variant for row in seed.test.rows} == {
            "base",
            "dialect",
            "task",
            "ct-then-sft",
            seed.chosen,
        }
        if seed.winner is None:
            assert "no winner" in seed.why


def test_the_report_has_every_variant_with_intervals(story: Story) -> None:
    text = as_markdown(story.outcome)
    for name in ("base", "dialect", "task", "ct-then-sft", "ties-slack", "chosen merge"):
        assert f"| {name}" in text
    assert "naija-bpb (dialect, bits per byte ↓)" in text
    assert "±" in text


def test_missing_text_stops_before_anything_is_trained(tmp_path: Path) -> None:
    from isogloss.errors import InputError
    from tests.experiment.conftest import write_story

    file = write_story(tmp_path)
    (tmp_path / "naija.txt").unlink()
    with (
        Registry.init(tmp_path / ".isogloss") as registry,
        pytest.raises(InputError, match=r"naija\.txt"),
    ):
        run_experiment(load_experiment(file), registry, root=tmp_path, device="cpu")
    with Registry.open(tmp_path / ".isogloss") as registry:
        assert [v.kind for v in registry.versions()] in ([], ["corpus"])


def test_the_naija_experiment_runs_small_on_the_real_text(
    isogloss_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from isogloss.experiment.smoke import shrink

    monkeypatch.setenv("ISOGLOSS_DATA", str(isogloss_data))
    file = Path(__file__).resolve().parents[2] / "experiments" / "naija.yaml"
    small = shrink(load_experiment(file), file.parent, tmp_path / "cut")
    with Registry.init(tmp_path / ".isogloss") as registry:
        outcome = run_experiment(small, registry, root=file.parent, device="cpu")
        assert outcome.seeds[0].test is not None
        tasks = outcome.seeds[0].test.rows[0].tasks
        assert {"naija-bpb", "english-ewt-bpb", "naija-sentiment"} <= set(tasks)
        # Six steps from random weights are near a byte's worth of ignorance, not below it.
        assert 3 < tasks["naija-bpb"].value < 8
