"""The verbs on a tiny base: what they write, what they learn, what they refuse."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from isogloss.errors import CheckpointError, CorpusError, TrainError, UsageError
from isogloss.files import list_files
from isogloss.train import Start, load_recipe, train_base, train_cpt, train_sft
from isogloss.train.data import answer_rows, language_rows
from isogloss.train.packing import IGNORE, document, pack_stream
from isogloss.train.verbs import load_model, load_tokenizer

TINY = {"sequence_length": 32, "batch_tokens": 128, "max_steps": 4, "learning_rate": 1e-3}


def recipe(**overrides: object) -> Any:
    return load_recipe(overrides={**TINY, "dtype": "float32", **overrides})


def test_a_base_loads_and_its_tokenizer_round_trips(base: Path) -> None:
    tokenizer = load_tokenizer(base)
    text = "Où t'es rendu, mon chum ? 🙂"
    ids = tokenizer(text)["input_ids"]
    assert ids[0] == tokenizer.bos_token_id == tokenizer.eos_token_id
    assert tokenizer.decode(ids, skip_special_tokens=True) == text
    assert load_model(base).config.vocab_size == len(tokenizer)
    facts = json.loads((base / "isogloss.json").read_text())
    assert facts["verb"] == "train base"
    assert facts["extra"]["last_loss"] < facts["extra"]["first_loss"]


def test_an_adapter_names_its_base_by_label_never_by_path(
    base: Path, text: Path, tmp_path: Path
) -> None:
    done = train_cpt(Start(base, label="naija/base:1"), [text], tmp_path / "out", recipe(rank=2))
    config = json.loads((done.folder / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "naija/base:1"
    assert config["r"] == 2
    assert config["lora_alpha"] == 4
    tensors = load_file(done.folder / "adapter_model.safetensors")
    # 7 linear modules in the one layer, A and B each; the head is none of them.
    assert len(tensors) == 14
    assert any(np.abs(t).max() > 0 for name, t in tensors.items() if "lora_B" in name)
    assert str(tmp_path) not in (done.folder / "isogloss.json").read_text()
    assert not (done.folder / "README.md").exists()


def test_the_same_seed_gives_the_same_bytes(base: Path, text: Path, tmp_path: Path) -> None:
    runs = [
        train_cpt(Start(base), [text], tmp_path / name, recipe(rank=2, dropout=0.1, seed=seed))
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    ]
    first, again, other = (list_files(run.folder) for run in runs)
    assert first == again
    assert first != other


def test_full_weights_change_all_and_keep_the_tokenizer(
    base: Path, reviews: Path, tmp_path: Path
) -> None:
    done = train_sft(Start(base), [reviews], tmp_path / "out", recipe(full=True, max_steps=12))
    before, after = (
        load_file(base / "model.safetensors"),
        load_file(done.folder / "model.safetensors"),
    )
    assert before.keys() == after.keys()
    assert all(not np.array_equal(before[name], after[name]) for name in before)
    assert (done.folder / "tokenizer.json").read_bytes() == (base / "tokenizer.json").read_bytes()
    assert done.made_by["extra"]["last_loss"] < done.made_by["extra"]["first_loss"]


def test_full_training_from_an_adapter_folds_it_first(
    base: Path, text: Path, reviews: Path, tmp_path: Path
) -> None:
    adapter = train_cpt(
        Start(base), [text], tmp_path / "cpt", recipe(rank=2, learning_rate=0.1)
    ).folder
    # A learning rate of almost nothing shows the start: base plus scale·B·A.
    still = recipe(full=True, max_steps=1, learning_rate=1e-12)
    folded = train_sft(Start(base, adapter), [reviews], tmp_path / "sft", still).folder
    name = "model.layers.0.self_attn.q_proj"
    factors = load_file(adapter / "adapter_model.safetensors")
    low = {k.split(".")[-2]: v for k, v in factors.items() if "q_proj" in k}
    delta = 2 * low["lora_B"] @ low["lora_A"]
    before = load_file(base / "model.safetensors")[f"{name}.weight"]
    after = load_file(folded / "model.safetensors")[f"{name}.weight"]
    assert np.abs(delta).max() > 1e-3
    np.testing.assert_allclose(after, before + delta, atol=1e-6)


def test_lora_training_from_an_adapter_goes_on_with_it(
    base: Path, text: Path, reviews: Path, tmp_path: Path
) -> None:
    adapter = train_cpt(Start(base), [text], tmp_path / "cpt", recipe(rank=3)).folder
    done = train_sft(Start(base, adapter), [reviews], tmp_path / "sft", recipe(rank=8))
    assert (done.made_by["recipe"]["rank"], done.made_by["recipe"]["alpha"]) == (3, 6)
    before = load_file(adapter / "adapter_model.safetensors")
    after = load_file(done.folder / "adapter_model.safetensors")
    assert {k: v.shape for k, v in before.items()} == {k: v.shape for k, v in after.items()}


def test_packed_documents_do_not_see_each_other(base: Path) -> None:
    """What a packed row predicts for a document is what the document alone gives."""
    model, tokenizer = load_model(base).eval(), load_tokenizer(base)
    end = tokenizer.eos_token_id
    texts = ["how you dey today", "the house is near this river", "wetin happen"]
    ids = [tokenizer(t, add_special_tokens=False)["input_ids"] for t in texts]
    rows = pack_stream([document(i, end, end) for i in ids], 64, end=end, apart=True)
    for attention in ("sdpa", "eager"):
        model.set_attn_implementation(attention)
        with torch.inference_mode():
            packed = model(
                input_ids=torch.from_numpy(rows.ids[:1]),
                position_ids=torch.from_numpy(rows.positions[:1]).clamp(min=0),
                use_cache=False,
            ).logits[0]
            at = 0
            for one in ids:
                alone = model(input_ids=torch.tensor([[end, *one]]), use_cache=False).logits[0]
                size = len(one) + 1
                torch.testing.assert_close(packed[at : at + size], alone, atol=1e-5, rtol=1e-5)
                at += size


def test_the_answer_is_asked_where_evaluation_scores_it(base: Path, reviews: Path) -> None:
    tokenizer = load_tokenizer(base)
    mixture = answer_rows(tokenizer, [reviews], recipe(sequence_length=64))
    asked = mixture.rows.labels[mixture.rows.labels != IGNORE]
    words = {
        tuple(tokenizer(f" {label}", add_special_tokens=False)["input_ids"])
        for label in ("positive", "negative")
    }
    expected = sum(24 * (len(w) + 1) for w in words)
    assert len(asked) == expected


def test_space_at_the_end_of_a_prompt_does_not_hide_the_answer(
    base: Path, reviews: Path, tmp_path: Path
) -> None:
    # The answer is one token with its space, as it is for any tokenizer that saw it often.
    text = tmp_path / "moods.txt"
    text.write_text("a mood: positive\nb mood: negative\n" * 30)
    moody = train_base(
        [text], tmp_path / "moody", recipe(max_steps=1), shape="llama:32x1", vocab=300, device="cpu"
    ).folder
    tokenizer = load_tokenizer(moody)
    assert len(tokenizer(" positive", add_special_tokens=False)["input_ids"]) == 1

    def asked(prompt: str, answer: str) -> list[str]:
        told = recipe(sequence_length=64, prompt=prompt, answer=answer)
        rows = answer_rows(tokenizer, [reviews], told).rows
        return sorted(tokenizer.convert_ids_to_tokens(rows.labels[rows.labels != IGNORE].tolist()))

    usual = asked("mood:", " {label}")
    assert asked("mood: ", "{label}") == usual
    assert len(usual) == 2 * 48


def test_an_answer_that_leaves_no_room_for_its_prompt_is_refused(base: Path, reviews: Path) -> None:
    tokenizer = load_tokenizer(base)
    size = max(
        len(tokenizer(f" {w}", add_special_tokens=False)["input_ids"])
        for w in ("positive", "negative")
    )
    kept = answer_rows(tokenizer, [reviews], recipe(sequence_length=max(8, size + 2)))
    assert (kept.rows.labels != IGNORE).any()
    long = recipe(sequence_length=8, answer=" {label} {label} {label}")
    with pytest.raises(CorpusError, match="an answer of"):
        answer_rows(tokenizer, [reviews], long)


def test_a_replay_corpus_without_a_share_is_refused(base: Path, text: Path) -> None:
    with pytest.raises(CorpusError, match="replay_share of 0"):
        language_rows(load_tokenizer(base), [text], recipe(), replay=[text])


def test_the_loss_of_a_step_is_the_mean_over_its_labels_however_it_is_cut(
    base: Path, text: Path, tmp_path: Path
) -> None:
    found = [
        train_cpt(Start(base), [text], tmp_path / str(micro), recipe(full=True, micro_tokens=micro))
        for micro in (32, 64, 128, 4096)
    ]
    losses = [run.made_by["extra"]["last_loss"] for run in found]
    np.testing.assert_allclose(losses, losses[0], rtol=1e-4)
    weights = [load_file(run.folder / "model.safetensors") for run in found]
    for name, value in weights[0].items():
        for other in weights[1:]:
            np.testing.assert_allclose(other[name], value, atol=2e-4)


def test_replay_reaches_its_share_of_the_tokens(base: Path, text: Path, reviews: Path) -> None:
    tokenizer = load_tokenizer(base)
    mixture = answer_rows(tokenizer, [reviews], recipe(replay_share=0.25), replay=[text])
    facts = mixture.facts
    share = facts["replay_tokens"] / (facts["replay_tokens"] + facts["tokens"])
    assert share == pytest.approx(0.25, abs=0.02)


def test_bad_input_is_named_and_nothing_is_written(
    base: Path, text: Path, reviews: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    empty, latin, binary = (tmp_path / n for n in ("empty.txt", "latin.txt", "binary.txt"))
    empty.write_text("\n\n")
    latin.write_bytes("déjà vu\n".encode("latin-1"))
    binary.write_bytes(b"\x00\x01\x02\n")
    start = Start(base)
    cases: list[tuple[type[Exception], str, Any]] = [
        (CorpusError, "is empty", lambda: train_cpt(start, [empty], out, recipe())),
        (CorpusError, "not UTF-8", lambda: train_cpt(start, [latin], out, recipe())),
        (CorpusError, "binary", lambda: train_cpt(start, [binary], out, recipe())),
        (
            CorpusError,
            "is not a file",
            lambda: train_cpt(start, [tmp_path / "no.txt"], out, recipe()),
        ),
        (
            CorpusError,
            r"no text in 'body'.*text, label",
            lambda: train_cpt(start, [reviews], out, recipe(), field="body"),
        ),
        (
            CorpusError,
            r"\{label\}.*a row lacks.*text",
            lambda: train_sft(start, [text], out, recipe()),
        ),
        (
            CorpusError,
            "no replay corpus",
            lambda: train_cpt(start, [text], out, recipe(replay_share=0.1)),
        ),
        (
            TrainError,
            "match no module.*down_proj",
            lambda: train_cpt(start, [text], out, recipe(targets=["nothing"])),
        ),
        (
            CheckpointError,
            "tokenizer",
            lambda: train_cpt(Start(tmp_path), [text], out, recipe()),
        ),
        (
            TrainError,
            "finite",
            lambda: train_sft(start, [reviews], out, recipe(full=True, learning_rate=1e30)),
        ),
    ]
    for kind, message, call in cases:
        with pytest.raises(kind, match=message):
            call()
        assert not out.exists()
        assert not list(tmp_path.glob(".*tmp"))
    out.mkdir()
    (out / "mine.txt").write_text("keep me")
    with pytest.raises(UsageError, match="is not empty"):
        train_base([text], out, recipe(), shape="llama:32x1", vocab=300)
    assert (out / "mine.txt").read_text() == "keep me"
