"""Variants on tasks, end to end on tiny real models."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from isogloss.errors import CorpusError, EvalError, UsageError
from isogloss.eval import (
    TaskResult,
    Variant,
    compare,
    evaluate,
    items_from_jsonl,
    items_to_jsonl,
    judge,
    load_suite,
)

Scores = dict[str, dict[str, TaskResult]]


def run(variants: list[Variant], content: Any, split: str = "test", **options: Any) -> Scores:
    found: Scores = {}
    for name, result in evaluate(variants, load_suite(content).tasks, split, **options):
        found.setdefault(name, {})[result.task] = result
    return found


@pytest.fixture(scope="module")
def variants(folders: Any) -> list[Variant]:
    return [
        Variant("base", folders.base),
        Variant("adapter", folders.base, folders.adapter),
        Variant("other", folders.base, folders.other),
    ]


@pytest.fixture(scope="module")
def scores(variants: list[Variant], suite_content: dict[str, Any]) -> Scores:
    return run(variants, suite_content)


def test_results_say_what_was_measured(scores: Scores, texts: list[str]) -> None:
    plain, tone = scores["base"]["plain-bpb"], scores["base"]["tone"]
    assert (plain.n, plain.metric, plain.protocol) == (30, "bits_per_byte", "bpb-rolling-1")
    assert plain.error == plain.metrics["bits_per_byte"] > 0
    assert [i["bytes"] for i in plain.items] == [len(t.encode()) for t in texts]
    assert (tone.n, tone.metric, tone.protocol) == (23, "macro_f1", "label-ll-1")
    assert tone.error == 1 - tone.metrics["macro_f1"]
    assert tone.metrics["left_out"] == 7
    # 64 tokens hold fewer than 42 words and a label: those are cut, and counted.
    assert 0 < tone.metrics["cut"] < 23
    for item in tone.items:
        best = max(item["ll"], key=item["ll"].__getitem__)
        assert item["pred"] == best
        assert item["correct"] == (best == item["gold"])


def test_variants_differ_and_their_items_are_the_same(scores: Scores) -> None:
    assert len({s["plain-bpb"].error for s in scores.values()}) == 3
    assert len({tuple(i["sha"] for i in s["plain-bpb"].items) for s in scores.values()}) == 1


def test_a_variant_scores_the_same_alone(
    variants: list[Variant], suite_content: dict[str, Any], scores: Scores
) -> None:
    alone = run(variants[2:], suite_content)
    assert alone["other"] == scores["other"]


def test_a_merged_model_scores_as_its_adapter(
    folders: Any, tmp_path: Path, suite_content: dict[str, Any], scores: Scores
) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(folders.base)
    merged = PeftModel.from_pretrained(base, folders.adapter).merge_and_unload()
    merged.save_pretrained(tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(folders.base / name, tmp_path)
    found = run([Variant("merged", tmp_path)], suite_content)["merged"]
    for task, result in scores["adapter"].items():
        assert found[task].error == pytest.approx(result.error, abs=1e-5)
        for ours, theirs in zip(found[task].items, result.items, strict=True):
            assert ours.get("nats", 0) == pytest.approx(theirs.get("nats", 0), abs=1e-3)


def test_batches_change_nothing_that_matters(
    variants: list[Variant], suite_content: dict[str, Any], scores: Scores
) -> None:
    small = run(variants[:1], suite_content, batch_tokens=1)
    for task, result in scores["base"].items():
        assert small["base"][task].error == pytest.approx(result.error, abs=1e-6)


def test_tasks_without_the_split_are_left_out(
    variants: list[Variant], suite_content: dict[str, Any]
) -> None:
    assert list(run(variants[:1], suite_content, "dev")["base"]) == ["tone"]
    with pytest.raises(EvalError, match="no task has the split 'tset'; did you mean 'test'"):
        run(variants[:1], suite_content, "tset")


def test_another_dtype_is_another_protocol(
    variants: list[Variant], suite_content: dict[str, Any], scores: Scores
) -> None:
    half = run(variants[:1], suite_content, dtype="bfloat16")["base"]
    assert half["plain-bpb"].protocol == "bpb-rolling-1+bfloat16"
    assert half["plain-bpb"].error == pytest.approx(scores["base"]["plain-bpb"].error, rel=0.05)
    with pytest.raises(EvalError, match=r"protocol is bpb-rolling-1 and bpb-rolling-1\+bf"):
        compare(scores["base"], half)


def test_stored_items_carry_a_verdict_as_well(scores: Scores) -> None:
    stored = {
        name: {
            t: r._replace(items=items_from_jsonl(items_to_jsonl(r.items))) for t, r in of.items()
        }
        for name, of in scores.items()
    }
    call: dict[str, Any] = {"reference": "base", "candidates": ["adapter", "other"], "draws": 200}
    assert judge(stored, **call) == judge(scores, **call)


def test_progress_names_variant_and_task(
    variants: list[Variant], suite_content: dict[str, Any]
) -> None:
    seen = []
    run(
        variants[:2],
        suite_content,
        report=lambda label, done, total=None, facts=None: seen.append(label),
    )
    assert list(dict.fromkeys(seen)) == [
        f"measure {v} on {t}" for v in ("base", "adapter") for t in ("plain-bpb", "tone")
    ]


def test_errors_name_the_variant_and_the_task(
    folders: Any, tmp_path: Path, suite_content: dict[str, Any]
) -> None:
    from safetensors.torch import load_file, save_file

    shutil.copytree(folders.base, tmp_path / "nan")
    file = tmp_path / "nan/model.safetensors"
    tensors = load_file(file)
    tensors["model.norm.weight"][0] = float("nan")
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(EvalError, match="variant broken, task plain-bpb: the model gives nan"):
        run([Variant("broken", tmp_path / "nan")], suite_content)


def test_data_is_read_before_a_model_is(tmp_path: Path) -> None:
    task = {
        "name": "a",
        "kind": "perplexity",
        "side": "dialect",
        "data": {"test": str(tmp_path / "no.txt")},
    }
    with pytest.raises(CorpusError, match=r"no\.txt is not a file"):
        run([Variant("none", tmp_path)], {"name": "x", "tasks": [task]})


def test_results_left_unread_do_not_hold_up_the_exit(folders: Any, data: Path) -> None:
    """A caller that fails between two results leaves the adapter on until the interpreter ends."""
    content = {"name": "a", "kind": "perplexity", "side": "task"}
    task = content | {"data": {"test": str(data / "plain.txt")}}
    code = (
        "from pathlib import Path; from isogloss.eval import *;"
        f"tasks = load_suite({{'name': 'x', 'tasks': [{task}]}}).tasks;"
        f"v = Variant('a', Path('{folders.base}'), Path('{folders.adapter}'));"
        "found = evaluate([v], tasks, 'test'); print(next(found).result.n)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "30\n"


def test_calls_that_cannot_be_right(variants: list[Variant], suite_content: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="two variants are called 'base'"):
        run([variants[0], variants[0]], suite_content)
    with pytest.raises(UsageError, match="there is no variant"):
        run([], suite_content)
    with pytest.raises(UsageError, match="batch_tokens is 0"):
        run(variants, suite_content, batch_tokens=0)


def test_the_naija_suite_runs_on_the_real_text(
    folders: Any, isogloss_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ISOGLOSS_DATA", str(isogloss_data))
    tasks = [t.model_copy(update={"limit": 12}) for t in load_suite("naija").tasks]
    for split, count in (("dev", 4), ("test", 5)):
        found = list(evaluate([Variant("base", folders.base)], tasks, split))
        assert len(found) == count
        assert {result.n for _, result in found} == {12}
        assert all(result.error >= 0 for _, result in found)
