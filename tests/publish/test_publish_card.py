"""The card: front matter that the Hub takes, and a body that hides nothing."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard

from isogloss.errors import UsageError
from isogloss.publish import card
from isogloss.publish.cards import cell, plain
from isogloss.publish.front import iso_code
from isogloss.registry import Draft, HubSource, Language, Publication
from tests.publish.family import WINS, Family
from tests.publish.hub_cards import card_errors


def front(text: str) -> dict[str, Any]:
    data: dict[str, Any] = yaml.safe_load(text.split("---\n")[1])
    return data


def published(family: Family, version: Any, repo: str, commit: str = "c" * 40) -> None:
    family.registry.record_publication(
        Publication(
            version=version.record,
            ref=version.ref,
            endpoint="https://huggingface.co",
            repo=repo,
            commit=commit,
            files=(),
            verified_at="2026-01-03T00:00:00.000000+00:00",
            created_at="2026-01-03T00:00:00.000000+00:00",
        )
    )


def test_front_matter_of_a_merge(family: Family) -> None:
    family.measure_all()
    published(family, family.base, "lab/en-base")
    published(family, family.adapter, "lab/pcm-cpt")
    data = front(card(family.registry, family.merge, repo="lab/pcm-mood"))
    results = data.pop("model-index")[0]["results"]
    assert data == {
        "language": ["pcm"],
        "license": "cc-by-sa-4.0",
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "base_model": ["lab/pcm-cpt", "lab/en-base"],
        "base_model_relation": "merge",
        "metrics": ["accuracy"],
        "tags": ["isogloss", "merge", "dialect", "glottolog:nige1257"],
    }
    assert results[0]["metrics"] == [
        {"type": "bits_per_byte", "value": 2.5, "name": "bits_per_byte, n = 60"}
    ]


def test_front_matter_of_an_adapter_and_a_base(family: Family) -> None:
    published(family, family.base, "lab/en-base")
    adapter = front(card(family.registry, family.adapter, repo="lab/pcm-cpt"))
    assert adapter["base_model"] == "lab/en-base"
    assert adapter["base_model_relation"] == "adapter"
    assert adapter["library_name"] == "peft"
    assert adapter["tags"] == ["isogloss", "lora", "dialect", "glottolog:nige1257"]
    base = front(card(family.registry, family.base))
    assert "base_model" not in base
    assert base["license"] == "cc-by-4.0"


def test_what_is_not_on_the_hub_is_not_claimed_to_be(family: Family) -> None:
    text = card(family.registry, family.merge)
    assert "base_model" not in front(text)
    assert "not published" in text


def test_the_real_parser_and_the_rules_of_the_hub_take_it(family: Family) -> None:
    family.measure_all()
    published(family, family.base, "lab/en-base")
    for version in (family.base, family.adapter, family.task, family.merge):
        text = card(family.registry, version, repo=f"lab/{version.name}")
        data = ModelCard(text).data
        assert data.get("license") in ("cc-by-4.0", "cc-by-sa-4.0")
        assert len(data.get("eval_results")) == 3
        assert card_errors(text) == []


def test_a_regional_language_is_its_iso_code_and_a_tag(family: Family) -> None:
    quebec = Language(tag="fr-CA", glottocode="queb1247", prestige="fr")
    edges = [(family.base, "base", None)]
    model = family.model("qc", 7.0, "task", edges, "train sft", languages=(quebec,))
    data = front(card(family.registry, model))
    assert data["language"] == ["fr"]
    assert data["tags"][-2:] == ["fr-CA", "glottolog:queb1247"]


@pytest.mark.parametrize(
    ("tag", "code"), [("fr-CA", "fr"), ("pcm", "pcm"), ("x-joual", None), ("zh-Hant-TW", "zh")]
)
def test_iso_code(tag: str, code: str | None) -> None:
    assert iso_code(tag) == code


def test_the_body_tells_the_whole_lineage_and_every_number(family: Family) -> None:
    family.measure_all()
    text = card(family.registry, family.merge, repo="lab/pcm-mood")
    for row in (
        "| base | en-base:1 | base model |",
        "| merge input | pcm-cpt:1 | dialect adapter | 0.7 |",
        "| corpus (further back) | pcm-text:1 | corpus |",
        "| base: en-base:1 | 3.200 [3.183, 3.216] | 2.700 [2.686, 2.714] |",
        "| parent: pcm-cpt:1 | 2.600 [",
        "| this: pcm-mood:1 | 2.500 [",
        "n = 60",
        "speakers agreed to open release",
        "corpus@example.org",
        "merge_method: ties",
        "isogloss merge run recipe.yaml --name pcm-mood",
        family.merge.content,
        family.merge.record,
        'AutoModelForCausalLM.from_pretrained("lab/pcm-mood")',
    ):
        assert row in text, row
    for entry in family.merge.files:
        assert f"| {entry.path} | " in text


def test_a_regression_is_said_in_words(family: Family) -> None:
    family.measure_all(WINS | {"en-bpb": 2.9})
    text = card(family.registry, family.merge)
    assert "- worse than en-base:1: en-bpb, bits per byte 2.900 against 2.700" in text
    assert "- check prestige: prestige loss 0.074" in text


def test_baselines_stand_in_the_table_and_other_merges_do_not(family: Family) -> None:
    family.measure_all()
    baseline = family.model("ct-then-sft", 4.0, "task", [(family.base, "base", None)], "train sft")
    other = family.merged("other-merge", 8.0)
    for version in (baseline, other):
        family.measure(version, WINS | {"pcm-bpb": 3.0})
    text = card(family.registry, family.merge)
    assert "| baseline: ct-then-sft:1 |" in text
    assert "other-merge" not in text


def test_overrides_stand_on_the_card(family: Family) -> None:
    text = card(family.registry, family.merge, overrides={"winner": "a | demonstration\nonly"})
    assert "| winner | **fails**, passed over |" in text
    assert "**Passed over:** winner, because: a | demonstration only" in text
    with pytest.raises(UsageError, match="no gate"):
        card(family.registry, family.merge, overrides={"luck": "x"})


def test_an_override_that_was_not_needed_is_not_claimed(family: Family) -> None:
    text = card(family.registry, family.merge, overrides={"licence": "no need"})
    assert "no need" not in text


def test_an_unresolved_licence_is_not_named_as_one_of_the_hub(family: Family) -> None:
    text = family.corpus("loose", Language(tag="pcm"), None, "Wetin dey?\n")
    model = family.model("m", 6.0, "base", [(text, "corpus", None)], "train base")
    body = card(family.registry, model)
    assert front(body)["license"] == "other"
    assert front(body)["license_name"] == "unresolved"
    assert "- loose:1 has no licence recorded" in body


def test_a_corpus_of_the_hub_is_a_dataset(family: Family) -> None:
    data = family.registry.add(
        (family.folder / "pcm-text.txt"),
        Draft(
            name="hub-text", kind="corpus", licence="cc-by-4.0",
            hub=HubSource(repo="org/texts", commit="d" * 40),
        ),
    )  # fmt: skip
    model = family.model("m", 6.0, "base", [(data, "corpus", None)], "train base")
    assert front(card(family.registry, model))["datasets"] == ["org/texts"]


def test_words_of_records_can_not_bring_markup(family: Family) -> None:
    assert cell("a|b\n# c") == "a\\|b # c"
    assert plain("# <script>x</script> ![i](u) [t](v)") == (
        "\\# &lt;script>x&lt;/script> !\\[i]\\(u) [t]\\(v)"
    )
    text = card(family.registry, family.merge)
    assert "Collected | for &lt;this> test" in text
    assert "````yaml" in text  # the recipe holds a fence of three


def test_the_command_that_makes_it_again(family: Family) -> None:
    text = card(family.registry, family.adapter)
    assert (
        "isogloss train cpt --base en-base:1 --corpus pcm-text:1 --name pcm-cpt \\\n"
        "    --set learning_rate=0.005 \\\n    --set rank=2\n" in text
    )
    settings = {"prompt": "{text}\nMood:", "seed": 3, "shape": "llama:8x1"}
    made = family.model(
        "m", 6.0, "task", [(family.base, "base", None), (family.en_text, "data", None)],
        "train sft", recipe=settings,
    )  # fmt: skip
    body = card(family.registry, made)
    assert "isogloss train sft --base en-base:1 --data en-text:1 --name m" in body
    assert "--set 'prompt={text}\\nMood:'" in body
    assert "--set seed=3" in body
    assert "shape" not in body.split("## Make it again")[1]
    recipe = {"shape": "llama:8x1", "vocab": 16}
    edges = [(family.en_text, "corpus", None)]
    base = family.model("b", 5.0, "base", edges, "train base", recipe=recipe)
    assert "isogloss train base --corpus en-text:1 --name b --shape llama:8x1 --vocab 16\n" in card(
        family.registry, base
    )


def test_the_card_is_the_same_in_another_process(family: Family) -> None:
    family.measure_all()
    code = (
        "import sys; from pathlib import Path; from isogloss.registry import Registry\n"
        "from isogloss.publish import card\n"
        f"r = Registry.open(Path({str(family.home)!r}))\n"
        "sys.stdout.write(card(r, r.get('pcm-mood'), repo='lab/pcm-mood'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": ":".join(sys.path), "PYTHONHASHSEED": "7", "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == card(family.registry, family.merge, repo="lab/pcm-mood")
