"""Tiny real models: a random Llama with a trained tokenizer, LoRA adapters, texts and a task."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

from isogloss.eval import TaskResult

TEXT = """how you dey today my broder we dey go market buy rice and fish di rain don start fall for
road everybody dey run positive negative sentiment good bad wetin happen the house is near this
river and nobody wants to leave it été où ça"""
WORDS = TEXT.split()


class Models(NamedTuple):
    """Folders on disk."""

    base: Path
    adapter: Path
    other: Path
    """Another adapter of the base: other targets, another rank, rsLoRA."""


def sentence(number: int, length: int) -> str:
    """Words picked by arithmetic: the same everywhere."""
    picked = [WORDS[(number * 7 + i * i * 3 + i) % len(WORDS)] for i in range(length)]
    return " ".join(picked)


@pytest.fixture(scope="session")
def texts() -> list[str]:
    """30 texts of 1 to 42 words, long ones longer than the model reads at once."""
    return [sentence(i, 1 + (i * 17) % 42) for i in range(30)]


@pytest.fixture(scope="session")
def tokenizer(texts: list[str]) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=bpe, bos_token="<s>", eos_token="</s>")


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory, tokenizer: Any) -> Models:
    """A base of 64 tokens at once and two adapters, all random and far from zero."""
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaConfig, LlamaForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()  # for the session: tests load with transformers themselves
    root = tmp_path_factory.mktemp("models")
    made = Models(root / "base", root / "adapter", root / "other")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=300,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        initializer_range=0.3,
        bos_token_id=0,
        eos_token_id=1,
    )
    model = LlamaForCausalLM(config)
    model.save_pretrained(made.base)
    tokenizer.save_pretrained(made.base)
    lora = LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", init_lora_weights=False)
    adapted = get_peft_model(model, lora)
    adapted.save_pretrained(made.adapter)
    plain = adapted.unload()
    lora = LoraConfig(
        r=2,
        lora_alpha=4,
        use_rslora=True,
        target_modules=["q_proj", "v_proj"],
        modules_to_save=["lm_head"],
        init_lora_weights=False,
    )
    adapted = get_peft_model(plain, lora)
    with torch.no_grad():
        for name, weight in adapted.named_parameters():
            if "modules_to_save" in name:
                weight += 0.1
    adapted.save_pretrained(made.other)
    return made


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> Path:
    """``plain.txt`` and ``labelled.jsonl`` (positive, negative, neutral) of the texts."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "plain.txt").write_text("\n".join(texts) + "\n", encoding="utf-8")
    labels = ["positive", "negative", "neutral", "negative"]
    rows = [{"text": t, "label": labels[i % 4]} for i, t in enumerate(texts)]
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    (folder / "labelled.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def suite_content(data: Path) -> dict[str, Any]:
    """A suite of two tasks over ``data``, as YAML would give it."""
    return {
        "name": "tiny",
        "tasks": [
            {
                "name": "plain-bpb",
                "kind": "perplexity",
                "side": "dialect",
                "data": {"test": str(data / "plain.txt")},
            },
            {
                "name": "tone",
                "kind": "classification",
                "side": "prestige",
                "data": {"test": str(data / "labelled.jsonl"), "dev": str(data / "labelled.jsonl")},
                "label": "label",
                "labels": {"positive": "positive", "negative": "negative"},
                "keep": ["positive", "negative"],
                "prompt": "{text}\nSentiment:",
                "metric": "macro_f1",
            },
        ],
    }


@pytest.fixture
def perplexity_result() -> Callable[..., TaskResult]:
    """Makes a perplexity result whose item i has ``nats[i]`` over ``sizes[i]`` bytes."""

    def make(
        nats: list[float], sizes: list[int] | None = None, *, task: str = "d", side: str = "dialect"
    ) -> TaskResult:
        from isogloss.eval.metrics import perplexity_metrics

        sizes = sizes or [10] * len(nats)
        items: list[dict[str, Any]] = [
            {"id": str(i), "sha": f"{i:012x}", "nats": x, "bytes": b, "tokens": b}
            for i, (x, b) in enumerate(zip(nats, sizes, strict=True))
        ]
        metrics = perplexity_metrics(items)
        return TaskResult(
            task=task,
            side=side,
            kind="perplexity",
            split="test",
            protocol="bpb-rolling-1",
            task_digest="0" * 64,
            metric="bits_per_byte",
            error=metrics["bits_per_byte"],
            n=len(items),
            metrics=metrics,
            flags=(),
            items=items,
        )

    return make


@pytest.fixture
def class_result() -> Callable[..., TaskResult]:
    """Makes a classification result from gold and predicted labels."""

    def make(
        gold: list[str],
        pred: list[str],
        *,
        task: str = "c",
        side: str = "task",
        metric: str = "accuracy",
    ) -> TaskResult:
        from isogloss.eval.metrics import classification_flags, classification_metrics

        items: list[dict[str, Any]] = [
            {"id": str(i), "sha": f"{i:012x}", "gold": g, "pred": p, "ll": {}, "correct": g == p}
            for i, (g, p) in enumerate(zip(gold, pred, strict=True))
        ]
        metrics = classification_metrics(items)
        return TaskResult(
            task=task,
            side=side,
            kind="classification",
            split="test",
            protocol="label-ll-1",
            task_digest="1" * 64,
            metric=metric,
            error=1 - metrics[metric],
            n=len(items),
            metrics=metrics,
            flags=classification_flags(metrics),
            items=items,
        )

    return make
