"""The gates: what each refuses, and that it says by how much."""

from __future__ import annotations

from pathlib import Path

import pytest

from isogloss.errors import UsageError
from isogloss.publish import Gate, gates
from isogloss.publish.gate import check_overrides
from isogloss.registry import Draft, HubSource, Version
from tests.publish.family import BASE, PCM, TASK, WINS, Family


def by_name(family: Family, version: Version) -> dict[str, Gate]:
    return {gate.name: gate for gate in gates(family.registry, version)}


def test_each_role_is_asked_its_own_gates(family: Family) -> None:
    asked = {v.name: list(by_name(family, v)) for v in (family.base, family.task, family.merge)}
    assert asked == {
        "en-base": ["integrity", "licence"],
        "en-mood": ["integrity", "licence", "base", "task", "collapse"],
        "pcm-mood": ["integrity", "licence", "base", "winner", "prestige", "collapse"],
    }


def test_a_winner_passes_with_its_numbers(family: Family) -> None:
    family.measure_all()
    found = by_name(family, family.merge)
    assert found["winner"].passed
    # 1 − 2.5 / 3.2 = 0.219, and 2.705 / 2.7 − 1 = 0.002
    assert "dialect gain 0.219 [0.219, 0.219] over en-base:1" in found["winner"].text
    assert "Holm p 0.0015 of 3" in found["winner"].text
    assert found["prestige"].passed
    assert "prestige loss 0.002" in found["prestige"].text
    assert found["collapse"].passed


def test_what_was_not_measured_is_no_winner(family: Family) -> None:
    found = by_name(family, family.merge)
    assert not found["winner"].passed
    assert "isogloss eval run pcm-mood:1" in found["winner"].text


def test_dev_measurements_do_not_count(family: Family) -> None:
    for version, scores in ((family.base, BASE), (family.merge, WINS)):
        family.measure(version, scores, split="dev")
    assert not by_name(family, family.merge)["winner"].passed


def test_a_prestige_loss_above_the_margin_is_refused(family: Family) -> None:
    family.measure_all(WINS | {"en-bpb": 2.7 * 1.03})
    found = by_name(family, family.merge)
    assert found["winner"].passed
    assert not found["prestige"].passed
    assert "prestige loss 0.030" in found["prestige"].text


def test_no_gain_is_refused(family: Family) -> None:
    family.measure_all(WINS | {"pcm-bpb": 3.3})
    assert not by_name(family, family.merge)["winner"].passed


def test_dominated_by_a_parent_is_refused_and_the_parent_named(family: Family) -> None:
    family.measure_all(WINS | {"pcm-bpb": 2.7, "en-bpb": 2.95})
    found = by_name(family, family.merge)["winner"]
    assert not found.passed
    assert "dominated by pcm-cpt:1" in found.text


def test_dominated_by_a_baseline_is_refused(family: Family) -> None:
    family.measure_all()
    baseline = family.model("ct-then-sft", 4.0, "task", [(family.base, "base", None)], "train sft")
    family.measure(baseline, WINS | {"pcm-bpb": 2.4, "en-bpb": 2.7})
    found = by_name(family, family.merge)["winner"]
    assert not found.passed
    assert "dominated by ct-then-sft:1" in found.text
    assert "of 4" in found.text


def test_a_better_merge_takes_nothing_from_its_parents(family: Family) -> None:
    family.measure_all()
    found = by_name(family, family.adapter)
    assert found["winner"].passed
    assert not found["prestige"].passed  # 2.9 / 2.7 − 1 = 0.074


def test_an_unmeasured_base_is_named(family: Family) -> None:
    family.measure(family.merge, WINS)
    assert "base of pcm-mood:1 was not measured" in by_name(family, family.merge)["winner"].text


def test_a_base_measured_on_other_items_does_not_count(family: Family) -> None:
    family.measure(family.base, BASE, texts="b")
    family.measure(family.merge, WINS)
    found = by_name(family, family.merge)["winner"]
    assert not found.passed
    assert "en-base:1 was measured on other items" in found.text


def test_a_second_suite_can_not_be_left_out(family: Family) -> None:
    family.measure_all()
    family.suite = "other"
    family.measure_all(WINS | {"pcm-bpb": 3.3})
    found = by_name(family, family.merge)["winner"]
    assert not found.passed
    assert "on naija (test)" in found.text
    assert "on other (test)" in found.text


def test_a_collapse_flag_is_refused_on_any_split(family: Family) -> None:
    family.measure_all()
    family.measure(family.merge, WINS, split="dev", flags={"en-mood": ("collapse",)})
    found = by_name(family, family.merge)["collapse"]
    assert (found.passed, found.text) == (False, "collapse on en-mood (dev)")


def test_the_newest_measurement_counts(family: Family) -> None:
    family.measure_all(WINS | {"pcm-bpb": 3.3})
    family.clock = 10
    family.measure(family.merge, WINS)
    assert by_name(family, family.merge)["winner"].passed


def test_a_task_model_needs_a_task_gain(family: Family) -> None:
    family.measure(family.base, BASE)
    family.measure(family.task, TASK)
    assert by_name(family, family.task)["task"].passed
    family.clock = 10
    family.measure(family.task, BASE)
    found = by_name(family, family.task)["task"]
    assert not found.passed
    assert "undecided" in found.text


def test_a_base_on_the_hub_passes(family: Family) -> None:
    draft = Draft(
        name="hub-base", kind="model", role="base", licence="mit",
        hub=HubSource(repo="org/base", commit="b" * 40),
    )  # fmt: skip
    base = family.registry.add_reference(draft)
    tuned = family.model("tuned", 5.0, "task", [(base, "base", None)], "train sft")
    assert by_name(family, tuned)["base"] == Gate("base", True, "org/base at bbbbbbbbbbbb")
    assert not by_name(family, family.merge)["base"].passed


def test_a_damaged_blob_is_found(family: Family) -> None:
    entry = next(f for f in family.merge.files if f.path == "model.safetensors")
    blob = family.registry.blob(entry.sha256)
    damaged = bytearray(blob.read_bytes())
    damaged[-1] ^= 1
    blob.chmod(0o644)
    blob.write_bytes(damaged)
    found = by_name(family, family.merge)["integrity"]
    assert not found.passed
    assert "1 of 3 files" in found.text
    assert "model.safetensors" in found.text


def test_a_licence_that_is_missing_far_back_is_named(family: Family) -> None:
    text = family.corpus("loose", PCM, None, "Wetin dey?\n")
    tuned = family.model("tuned", 5.0, "task", [(text, "corpus", None)], "train sft")
    merge = family.model("m", 6.0, "merged", [(tuned, "merge_input", 1.0)], "merge run")
    found = by_name(family, merge)["licence"]
    assert (found.passed, found.text) == (False, "loose:1 has no licence recorded")


def test_overrides_name_gates_and_give_reasons() -> None:
    with pytest.raises(UsageError, match="did you mean 'winner'"):
        check_overrides({"winer": "because"})
    with pytest.raises(UsageError, match="without a reason"):
        check_overrides({"winner": "  "})
    check_overrides({"winner": "a demonstration"})


def test_no_file_is_written_by_asking(family: Family) -> None:
    def listing(home: Path) -> list[str]:
        return sorted(str(p) for p in (home / "records").rglob("*"))

    family.measure_all()
    before = listing(family.home)
    gates(family.registry, family.merge)
    assert listing(family.home) == before
