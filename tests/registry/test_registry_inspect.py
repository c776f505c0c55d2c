"""Facts read from artifacts, against values known by hand and from PEFT."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from isogloss.errors import InputError
from isogloss.files import digest_of
from isogloss.registry import AdapterFacts, CorpusFacts, ModelFacts, detect
from isogloss.registry.inspect import adapter_facts, corpus_facts, model_facts

Maker = Callable[..., Path]


def test_adapter_facts(make_adapter: Maker) -> None:
    assert adapter_facts(make_adapter()) == AdapterFacts(
        peft_type="LORA",
        rank=2,
        alpha=16.0,
        rslora=True,
        dora=False,
        targets=("q_proj", "v_proj"),
        init="true",
        base_named="org/base",
    )


def test_ranks_by_pattern(make_adapter: Maker) -> None:
    adapter_facts(make_adapter("a", r=8, rank_pattern={"q_proj": 2, r".*\.v_proj": 2}))
    # A pattern matches whole parts of a module's name, as in PEFT: "proj" is no part of it.
    with pytest.raises(InputError, match="rank 2; expected 8"):
        adapter_facts(make_adapter("b", r=8, rank_pattern={"proj": 2}))
    # The first pattern that fits is the one that counts.
    with pytest.raises(InputError, match="expected 3"):
        adapter_facts(make_adapter("c", r=2, rank_pattern={"v_proj": 3, ".*v_proj": 2}))


def test_other_kinds_of_tensors(tmp_path: Path) -> None:
    tensors = {
        "base_model.model.emb.lora_embedding_A": np.zeros((2, 9), np.float32),
        "base_model.model.emb.lora_embedding_B": np.zeros((4, 2), np.float32),
        "base_model.model.conv.lora_A.weight": np.zeros((2, 3, 5, 5), np.float32),
        "base_model.model.conv.lora_B.weight": np.zeros((7, 2, 1, 1), np.float32),
        "base_model.model.q.lora_A.default.weight": np.zeros((2, 3), np.float32),
        "base_model.model.q.lora_B.default.weight": np.zeros((3, 2), np.float32),
        "base_model.model.q.lora_magnitude_vector": np.zeros((3,), np.float32),
        "base_model.model.lm_head.weight": np.zeros((9, 4), np.float32),
    }
    save_file(tensors, tmp_path / "adapter_model.safetensors")
    said = {"peft_type": "lora", "r": 2, "target_modules": "all-linear", "use_dora": True}
    (tmp_path / "adapter_config.json").write_text(json.dumps(said))
    found = adapter_facts(tmp_path)
    assert (found.targets, found.dora, found.alpha) == (("all-linear",), True, None)
    del tensors["base_model.model.conv.lora_B.weight"]
    save_file(tensors, tmp_path / "adapter_model.safetensors")
    with pytest.raises(InputError, match=r"conv lacks its lora_B"):
        adapter_facts(tmp_path)


def test_model_facts(make_model: Maker) -> None:
    shapes = [["model.embed_tokens.weight", [4, 3]], ["model.norm.weight", [3]]]
    assert model_facts(make_model()) == ModelFacts(
        architecture="LlamaForCausalLM",
        model_type="llama",
        parameters=15,
        dtype="F32",
        vocab=4,
        hidden=3,
        layers=1,
        shape_digest=digest_of(shapes),
    )


def test_shapes_of_a_model_in_shards(make_model: Maker) -> None:
    whole, folder = make_model("whole", fill=1), make_model("shards", fill=2)
    (folder / "model.safetensors").unlink()
    save_file({"model.norm.weight": np.zeros(3, np.float32)}, folder / "b.safetensors")
    save_file({"model.embed_tokens.weight": np.zeros((4, 3), np.float16)}, folder / "a.safetensors")
    unlisted = model_facts(folder)
    assert unlisted.shape_digest == model_facts(whole).shape_digest
    assert unlisted.dtype == "F16"
    weights = {"model.norm.weight": "b.safetensors", "model.embed_tokens.weight": "a.safetensors"}
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": weights}))
    assert model_facts(folder) == unlisted
    save_file({"model.norm.weight": np.zeros(3, np.float32)}, folder / "a.safetensors")
    index.unlink()
    with pytest.raises(InputError, match=r"a\.safetensors and b\.safetensors both hold"):
        model_facts(folder)


def test_widths_by_other_names(make_model: Maker) -> None:
    folder = make_model(hidden_size=None, num_hidden_layers=None, n_embd=5, n_layer=2)
    assert (model_facts(folder).hidden, model_facts(folder).layers) == (5, 2)
    folder = make_model("inner", hidden_size=None, text_config={"hidden_size": 7})
    assert model_facts(folder).hidden == 7


def test_corpus_facts(make_corpus: Maker) -> None:
    text = make_corpus("a.txt", "Où ça ?\n\n  ici  \n")  # 9 bytes and 3
    rows = make_corpus("b.tsv", "text\tlabel\nmot\t1\n")
    known = CorpusFacts(documents=99, bytes=99, source="a book", consent="asked")
    found = corpus_facts([text, rows], known)
    assert found == CorpusFacts(documents=3, bytes=15, source="a book", consent="asked")
    labels = CorpusFacts(documents=0, bytes=0, field="label")
    assert corpus_facts([rows], labels).bytes == 1


def test_detect(make_adapter: Maker, make_model: Maker, make_corpus: Maker, tmp_path: Path) -> None:
    assert detect(make_adapter()) == "adapter"
    assert detect(make_model()) == "model"
    assert detect(make_corpus()) == "corpus"
    with pytest.raises(InputError, match="is missing"):
        detect(tmp_path / "nowhere")
    with pytest.raises(InputError, match="neither adapter_config"):
        detect(tmp_path)


@pytest.mark.slow
def test_parity_with_peft(tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        vocab_size=32,
    )
    model = LlamaForCausalLM(config)
    model.save_pretrained(tmp_path / "base")
    found = model_facts(tmp_path / "base")
    assert found.parameters == sum(p.numel() for p in model.parameters())
    assert (found.vocab, found.hidden, found.layers) == (32, 16, 2)
    lora = LoraConfig(
        r=4,
        lora_alpha=8,
        use_rslora=True,
        target_modules=["q_proj", "up_proj", "embed_tokens"],
        rank_pattern={"layers.1.self_attn.q_proj": 2, "up_proj": 6},
        init_lora_weights="gaussian",
    )
    get_peft_model(model, lora).save_pretrained(tmp_path / "adapter", save_embedding_layers=True)
    said = adapter_facts(tmp_path / "adapter")
    assert (said.rank, said.alpha, said.rslora, said.init) == (4, 8.0, True, "gaussian")
    path = tmp_path / "adapter" / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"rank_pattern": {"up_proj": 6}}))
    with pytest.raises(InputError, match=r"layers\.1\.self_attn\.q_proj\.lora_A has rank 2"):
        adapter_facts(tmp_path / "adapter")


def test_a_real_corpus(isogloss_data: Path) -> None:
    path = isogloss_data / "naija" / "train.jsonl"
    found = corpus_facts([path], CorpusFacts(documents=0, bytes=0))
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines() if line]
    assert found.documents == len(rows) == 6_879
    assert found.bytes == sum(len(row["text"].strip().encode()) for row in rows)
