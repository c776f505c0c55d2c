"""Steps: what is skipped, what is not, and what the edges of the lineage say."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import isogloss.steps.evaluate as evaluate_module
from isogloss.errors import CorpusError, EvalError, UsageError
from isogloss.eval import Suite
from isogloss.registry import Draft, Registry, Version
from isogloss.steps import (
    EvaluateSpec,
    MergeSpec,
    evaluate_step,
    merge_step,
    resolve,
    stored_result,
    train_step,
)
from tests.steps.conftest import recipe, spec


def edges(registry: Registry, version: Version) -> list[tuple[str, str]]:
    return [(edge.role, edge.ref) for edge, _ in registry.parents(version)]


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The verbs of the training wing that were called."""
    import isogloss.train as wing

    called: list[str] = []

    def counted(name: str) -> Callable[..., Any]:
        real = getattr(wing, name)

        def run(*args: Any, **named: Any) -> Any:
            called.append(name)
            return real(*args, **named)

        return run

    for name in ("train_base", "train_cpt", "train_sft"):
        monkeypatch.setattr(wing, name, counted(name), raising=False)
    return called


def test_a_step_is_done_once_and_again_where_anything_that_counts_changes(
    registry: Registry, runs: list[str]
) -> None:
    first = registry.get("cpt:1")
    assert train_step(registry, spec(), device="cpu") == first
    assert train_step(registry, spec(base="base:1", corpora=("text:1",)), device="cpu") == first
    assert runs == []
    changed: list[dict[str, Any]] = [
        {"recipe": recipe(seed=1)},
        {"recipe": recipe(learning_rate=2e-3)},
        {"base": "other"},
        {"corpora": ("text", "english.txt")},
        {"corpora": ("english.txt", "text")},
        {"replay": ("english.txt",), "recipe": recipe(replay_share=0.2)},
    ]
    steps = {train_step(registry, spec(**more), device="cpu").step for more in changed}
    assert len(steps | {first.step}) == len(changed) + 1
    assert len(runs) == len(changed)


def test_the_same_step_under_another_name_is_the_same_files_and_no_training(
    registry: Registry, runs: list[str]
) -> None:
    again = train_step(registry, spec(name="twin"), device="cpu")
    assert (again.ref, again.content) == ("twin:1", registry.get("cpt").content)
    assert edges(registry, again) == edges(registry, registry.get("cpt"))
    # Neither name hides the other from now on.
    assert train_step(registry, spec(), device="cpu").ref == "cpt:1"
    assert train_step(registry, spec(name="twin"), device="cpu").ref == "twin:1"
    assert runs == []


def test_edges_of_training(registry: Registry) -> None:
    replayed = spec(
        name="replayed", replay=("english.txt",), recipe=recipe(replay_share=0.2, full=True)
    )
    assert edges(registry, train_step(registry, replayed, device="cpu")) == [
        ("base", "base:1"),
        ("corpus", "text:1"),
        ("replay", "english:1"),
    ]
    for base in ("cpt", "base+cpt"):
        onward = train_step(registry, spec(name="onward", base=base), device="cpu")
        assert onward.kind == "adapter"
        assert edges(registry, onward) == [
            ("base", "base:1"),
            ("start", "cpt:1"),
            ("corpus", "text:1"),
        ]


def test_a_base_from_scratch_records_that_all_of_it_was_trained(registry: Registry) -> None:
    assert registry.get("base").made_by["recipe"]["full"] is True


def test_a_replay_corpus_that_would_not_be_read_is_refused(registry: Registry) -> None:
    with pytest.raises(UsageError, match="replay_share of 0"):
        train_step(registry, spec(replay=("english.txt",)), device="cpu")
    assert "english" not in registry.names()


def test_task_data_and_replayed_text_may_have_different_fields(registry: Registry) -> None:
    from isogloss.steps import CorpusSpec, register_corpus

    register_corpus(registry, CorpusSpec(name="qa", files=("qa.jsonl",), field="question"))
    told = recipe(prompt="{question}", answer=" {answer}", replay_share=0.3)
    sft = spec("sft", "qa-task", corpora=("qa",), replay=("text",), recipe=told)
    done = train_step(registry, sft, device="cpu")
    assert edges(registry, done)[1:] == [("data", "qa:1"), ("replay", "text:1")]
    with pytest.raises(CorpusError, match=r"question, text.*--field FIELD"):
        train_step(registry, spec(corpora=("qa", "text")), device="cpu")


def test_what_is_being_trained_is_not_swept_away_by_another_process(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    import isogloss.train as wing

    real = wing.train_cpt

    def slow(start: Any, files: Any, out: Path, *args: Any, **named: Any) -> Any:
        done = real(start, files, out, *args, **named)
        old = time.time() - 3600
        for path in (registry.root / "tmp").iterdir():
            os.utime(path, (old, old))
        Registry.open(registry.root).close()
        return done

    monkeypatch.setattr(wing, "train_cpt", slow, raising=False)
    version = train_step(registry, spec(recipe=recipe(seed=7)), device="cpu")
    assert version.ref == "cpt:2"
    assert list((registry.root / "tmp").iterdir()) == []


def test_an_interrupt_leaves_no_version_and_no_scratch(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    import isogloss.train as wing

    def stopped(start: Any, files: Any, out: Path, *args: Any, **named: Any) -> Any:
        out.mkdir()
        (out / "adapter_config.json").write_text("{")
        raise KeyboardInterrupt

    monkeypatch.setattr(wing, "train_cpt", stopped, raising=False)
    before = registry.index_digest()
    with pytest.raises(KeyboardInterrupt):
        train_step(registry, spec(recipe=recipe(seed=7)), device="cpu")
    assert registry.index_digest() == before
    assert list((registry.root / "tmp").iterdir()) == []


def merge(base: str = "base", **more: Any) -> dict[str, Any]:
    model = {"model": "cpt", "parameters": {"weight": 0.5}}
    given = {"merge_method": "task_arithmetic", "base_model": base, "models": [model]}
    return {**given, **more}


def test_a_merge_is_done_once_whatever_its_inputs_are_called(registry: Registry) -> None:
    first = merge_step(registry, MergeSpec(name="m", recipe=merge()))
    assert edges(registry, first) == [("base", "base:1"), ("merge_input", "cpt:1")]
    pinned = merge("base:1")
    assert merge_step(registry, MergeSpec(name="m", recipe=pinned)) == first
    twin = merge_step(registry, MergeSpec(name="twin", recipe=pinned))
    assert (twin.ref, twin.content) == ("twin:1", first.content)
    heavier = merge(models=[{"model": "cpt", "parameters": {"weight": 0.6}}])
    assert merge_step(registry, MergeSpec(name="m", recipe=heavier)).ref == "m:2"


def test_a_corrected_licence_reaches_what_was_made_before_without_training(
    registry: Registry, place: Path, runs: list[str]
) -> None:
    merge_step(registry, MergeSpec(name="m", recipe=merge()))
    text = registry.view(registry.get("text:1")) / "text.txt"
    registry.add(text, Draft(name="text", kind="corpus", licence="cc-by-nc-4.0"))
    again = train_step(registry, spec(), device="cpu")
    assert runs == []
    assert (again.ref, again.content) == ("cpt:2", registry.get("cpt:1").content)
    assert edges(registry, again) == [("base", "base:1"), ("corpus", "text:2")]
    assert train_step(registry, spec(), device="cpu") == again
    merged = merge_step(registry, MergeSpec(name="m", recipe=merge()))
    assert edges(registry, merged) == [("base", "base:1"), ("merge_input", "cpt:2")]


@pytest.mark.parametrize("base", ["base+cpt", "cpt"])
def test_an_adapter_in_the_base_of_a_merge_is_in_its_lineage(registry: Registry, base: str) -> None:
    told = merge(base, models=[{"model": "other", "parameters": {"weight": 0.5}}])
    done = merge_step(registry, MergeSpec(name="m", recipe=told))
    assert edges(registry, done) == [
        ("base", "base:1"),
        ("start", "cpt:1"),
        ("merge_input", "other:1"),
    ]


def test_a_source_of_the_tokenizer_is_a_parent(registry: Registry) -> None:
    told = merge(tokenizer_source="other")
    done = merge_step(registry, MergeSpec(name="m", recipe=told))
    assert edges(registry, done)[-1] == ("tokenizer", "other:1")


def suite(name: str = "s", **data: str) -> Suite:
    files = data or {"dev": "text.txt"}
    return Suite.model_validate(
        {
            "name": name,
            "tasks": [
                {"name": "a", "kind": "perplexity", "side": "dialect", "data": files},
                {"name": "b", "kind": "perplexity", "side": "prestige", "data": files},
            ],
        }
    )


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the evaluation wing was asked to measure."""
    real = getattr(evaluate_module, "evaluate")  # noqa: B009 — not exported
    asked: list[str] = []

    def evaluate(variants: Any, tasks: Any, *args: Any, **named: Any) -> Any:
        asked.extend(f"{v.name} {t.name}" for v in variants for t in tasks)
        return real(variants, tasks, *args, **named)

    monkeypatch.setattr(evaluate_module, "evaluate", evaluate)
    return asked


def test_only_what_is_new_is_measured(registry: Registry, place: Path, measured: list[str]) -> None:
    targets = [resolve(registry, ref) for ref in ("base", "cpt", "base")]
    told = EvaluateSpec(suite=suite(), split="dev")
    first = evaluate_step(registry, targets, told, device="cpu")
    assert [(e.ref, e.task) for e in first] == [
        *(("base:1", "a"), ("base:1", "b"), ("cpt:1", "a"), ("cpt:1", "b")),
        *(("base:1", "a"), ("base:1", "b")),
    ]
    assert measured == ["base:1 a", "base:1 b", "cpt:1 a", "cpt:1 b"]
    assert evaluate_step(registry, targets, told, device="cpu") == first
    assert len(measured) == 4
    (place / "text.txt").write_text("another text\n")
    os.utime(place / "text.txt", ns=(1, 1))
    evaluate_step(registry, targets[:1], told, device="cpu")
    assert measured[4:] == ["base:1 a", "base:1 b"]


def test_the_same_content_under_another_name_has_the_scores_on_its_own_record(
    registry: Registry, measured: list[str]
) -> None:
    told = EvaluateSpec(suite=suite(), split="dev")
    twin = train_step(registry, spec(name="twin"), device="cpu")
    targets = [resolve(registry, ref) for ref in ("cpt", "twin")]
    found = evaluate_step(registry, targets, told, device="cpu")
    assert [e.ref for e in found] == ["cpt:1", "cpt:1", "twin:1", "twin:1"]
    assert measured == ["cpt:1 a", "cpt:1 b"]
    assert [e.task for e in registry.evaluations(twin)] == ["a", "b"]
    assert stored_result(registry, found[0]) == stored_result(registry, found[2])
    before = registry.index_digest()
    evaluate_step(registry, targets, told, device="cpu")
    assert registry.index_digest() == before
    # Another suite with the same task: its own record, the same scores, nothing measured.
    other = EvaluateSpec(suite=suite("other"), split="dev")
    assert {e.suite for e in evaluate_step(registry, targets, other, device="cpu")} == {"other"}
    assert len(measured) == 2


def test_a_split_that_no_task_has_is_named(registry: Registry) -> None:
    with pytest.raises(EvalError, match=r"no task of suite s has the split 'tset'; expected.* dev"):
        evaluate_step(registry, [], EvaluateSpec(suite=suite(), split="tset"), device="cpu")


def test_an_edge_to_a_parent_that_is_not_here_is_refused(registry: Registry, place: Path) -> None:
    from isogloss.errors import RegistryError

    edge = registry.parent_edge(registry.get("base"), "base").model_copy(
        update={"record": "0" * 64}
    )
    with pytest.raises(RegistryError, match="is not in the registry"):
        registry.add(place / "text.txt", Draft(name="x", kind="corpus", parents=(edge,)))
