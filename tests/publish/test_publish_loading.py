"""A stranger follows the card: real weights go up, and the card's own code loads them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from isogloss.registry import Draft
from tests.publish.family import PCM, Family, made_by
from tests.publish.hub_server import WRITER, LoopbackHub
from tests.publish.process import Publish, client_environment

MAKE = """
import sys, torch
from peft import LoraConfig, get_peft_model
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
torch.manual_seed(0)
folder = sys.argv[1]
words = {w: i for i, w in enumerate(["[UNK]", "how", "you", "dey"])}
inner = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
inner.pre_tokenizer = pre_tokenizers.Whitespace()
tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="[UNK]")
shape = dict(hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2)
model = LlamaForCausalLM(LlamaConfig(vocab_size=4, **shape))
model.save_pretrained(folder + "/base")
tokenizer.save_pretrained(folder + "/base")
model = get_peft_model(LlamaForCausalLM.from_pretrained(folder + "/base"), LoraConfig(r=2))
torch.nn.init.normal_(model.base_model.model.model.layers[0].self_attn.q_proj.lora_B.default.weight)
model.save_pretrained(folder + "/adapter")
print(float(model(**tokenizer("how you dey", return_tensors="pt")).logits.sum()))
"""
CHECK = '\nprint(float(model(**tokenizer("how you dey", return_tensors="pt")).logits.sum()))'


@pytest.mark.slow
def test_the_code_on_the_card_loads_what_was_published(
    family: Family, hub: LoopbackHub, publish_calls: Publish, tmp_path: Path
) -> None:
    environment = client_environment(hub, tmp_path) | {"HF_TOKEN": WRITER, "PYTHONWARNINGS": ""}
    environment.pop("HF_HUB_DISABLE_IMPLICIT_TOKEN")

    def python(code: str, *arguments: str) -> float:
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return float(done.stdout.split()[-1])

    said = python(MAKE, str(tmp_path))
    registry = family.registry
    base = registry.add(
        tmp_path / "base",
        Draft(
            name="tiny", kind="model", role="base", licence="mit",
            made_by=made_by("train base", {"steps": 0}),
        ),
    )  # fmt: skip
    edges = (registry.parent_edge(base, "base"),)
    registry.add(
        tmp_path / "adapter",
        Draft(name="tiny-pcm", kind="adapter", role="dialect", languages=(PCM,), parents=edges),
    )
    why = {"winner": "a test of loading", "prestige": "a test of loading"}
    answers: list[dict[str, Any]] = publish_calls(
        {"ref": "tiny", "repo": "lab/tiny"},
        {"ref": "tiny-pcm", "repo": "lab/tiny-pcm", "overrides": why},
    )
    assert [answer["error"] for answer in answers] == [None, None]
    code = re.search(r"```python\n(.*?)\n```", answers[1]["card"], re.DOTALL)
    assert code is not None
    assert python(code[1] + CHECK) == pytest.approx(said, abs=1e-5)
    # And as PEFT's own one-line loader does, which reads the base from the config.
    auto = (
        "from peft import AutoPeftModelForCausalLM\n"
        "from transformers import AutoTokenizer\n"
        'tokenizer = AutoTokenizer.from_pretrained("lab/tiny")\n'
        'model = AutoPeftModelForCausalLM.from_pretrained("lab/tiny-pcm")'
    )
    assert python(auto + CHECK) == pytest.approx(said, abs=1e-5)
