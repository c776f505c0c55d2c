"""What may come in: bad folders are refused whole, and nothing of them is written."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from isogloss.errors import AdapterError, CheckpointError, CorpusError, InputError, UnsafeInput
from isogloss.registry import Draft, Registry, survey
from isogloss.registry.intake import safe_path

Maker = Callable[..., Path]
Spoil = Callable[[Path], Any]


def _state(registry: Registry) -> tuple[str, list[str]]:
    """What an add that was refused must leave as it was."""
    files = [p for p in registry.root.rglob("*") if p.is_file() and "sqlite" not in p.name]
    return registry.index_digest(), sorted(str(p) for p in files)


def _config(**change: Any) -> Spoil:
    def spoil(folder: Path) -> None:
        name = "adapter_config.json" if (folder / "adapter_config.json").exists() else "config.json"
        said = json.loads((folder / name).read_text()) | change
        (folder / name).write_text(json.dumps(said))

    return spoil


def _write(name: str, text: str | bytes = b"\x80\x02.") -> Spoil:
    def spoil(folder: Path) -> None:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(text.encode() if isinstance(text, str) else text)

    return spoil


def _index(weight_map: Any) -> Spoil:
    return _write("model.safetensors.index.json", json.dumps({"weight_map": weight_map}))


def _truncate(name: str) -> Spoil:
    def spoil(folder: Path) -> None:
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[:-1])

    return spoil


def _link(name: str, target: str) -> Spoil:
    return lambda folder: (folder / name).symlink_to(target)


def _drop(name: str) -> Spoil:
    return lambda folder: (folder / name).unlink()


def _scramble(name: str) -> Spoil:
    return _write(name, b"\x08" + b"\0" * 7 + b"{" * 8)


WEIGHTS = "adapter_model.safetensors"
Q = "model.embed_tokens.weight"

ADAPTERS: list[tuple[str, Spoil, type[Exception], str]] = [
    ("pickled adapter", _write("adapter_model.bin"), UnsafeInput, "pickle"),
    ("pickled model", _write("pytorch_model-00001-of-00002.bin"), UnsafeInput, "pickle"),
    ("pt", _write("weights.pt"), UnsafeInput, "pickle"),
    ("pth", _write("consolidated.00.pth"), UnsafeInput, "pickle"),
    ("pkl", _write("head.pkl"), UnsafeInput, "pickle"),
    ("ckpt in a subfolder", _write("more/last.ckpt"), UnsafeInput, "pickle"),
    ("upper case", _write("WEIGHTS.PT"), UnsafeInput, "pickle"),
    ("code", _write("modeling.py", "print(1)"), UnsafeInput, "is code"),
    ("link to a file", _link("a.json", "/etc/passwd"), UnsafeInput, "is a link"),
    ("link to a folder", _link("more", "/etc"), UnsafeInput, "is a link"),
    ("dangling link", _link("a.txt", "nowhere"), UnsafeInput, "is a link"),
    ("link within", _link("a.json", "adapter_config.json"), UnsafeInput, "is a link"),
    ("fifo", lambda f: os.mkfifo(f / "pipe"), UnsafeInput, "special file"),
    ("backslash", _write("..\\x.json", "{}"), UnsafeInput, "leaves its folder"),
    ("line break in a name", _write("a\n.json", "{}"), UnsafeInput, "can't be named"),
    ("name that isn't UTF-8", _write(os.fsdecode(b"\xff.json"), "{}"), UnsafeInput, "named"),
    ("auto_map", _config(auto_map={"AutoModel": "x.Y"}), UnsafeInput, "auto_map"),
    (
        "auto_map in the tokenizer",
        _write("tokenizer_config.json", '{"auto_map": {"AutoTokenizer": ["x.Y", null]}}'),
        UnsafeInput,
        "auto_map",
    ),
    (
        "auto_map within",
        _write("config.json", '{"text_config": {"auto_map": {"AutoConfig": "x.Y"}}}'),
        UnsafeInput,
        "auto_map",
    ),
    (
        "class from elsewhere",
        _config(auto_mapping={"base_model_class": "M", "parent_library": "transformers_modules.x"}),
        UnsafeInput,
        "transformers_modules.x",
    ),
    ("no weights", _drop(WEIGHTS), AdapterError, f"has no {WEIGHTS}"),
    ("no config", _drop("adapter_config.json"), AdapterError, "has no adapter_config"),
    ("config is no JSON", _write("adapter_config.json", "{"), InputError, "JSON"),
    ("config is a list", _write("adapter_config.json", "[]"), AdapterError, "holds a list"),
    ("config isn't UTF-8", _write("adapter_config.json", b"\xff"), InputError, "UTF-8"),
    ("rank of text", _config(r="2"), AdapterError, "r is '2'"),
    ("rank of truth", _config(r=True), AdapterError, "r is True"),
    ("alpha of text", _config(lora_alpha="x"), AdapterError, "lora_alpha is 'x'"),
    ("targets of numbers", _config(target_modules=4), AdapterError, "target_modules is 4"),
    ("no type", _config(peft_type=None), AdapterError, "peft_type is None"),
    ("pattern of text", _config(rank_pattern={"q_proj": "2"}), AdapterError, "rank_pattern"),
    ("pattern of truth", _config(rank_pattern={"q_proj": True}), AdapterError, "rank_pattern"),
    ("another rank", _config(r=3), AdapterError, "rank 2; expected 3"),
    ("another rank for one", _config(rank_pattern={"q_proj": 4}), AdapterError, "q_proj.*rank 2"),
    ("truncated weights", _truncate(WEIGHTS), CheckpointError, "bytes of data"),
    ("broken weights", _scramble(WEIGHTS), CheckpointError, "can't be read"),
    ("empty weights", _write(WEIGHTS, b""), CheckpointError, "at least 8"),
    ("broken second file", _scramble("other.safetensors"), CheckpointError, "can't be read"),
]


@pytest.mark.parametrize(
    ("spoil", "error", "why"), [a[1:] for a in ADAPTERS], ids=[a[0] for a in ADAPTERS]
)
def test_bad_adapters(
    registry: Registry, make_adapter: Maker, spoil: Spoil, error: type[Exception], why: str
) -> None:
    folder = make_adapter()
    spoil(folder)
    before = _state(registry)
    with pytest.raises(error, match=why) as caught:
        registry.add(folder, Draft(name="a", kind="adapter"))
    assert type(caught.value) is error
    assert "\n" not in str(caught.value)
    assert _state(registry) == before


MODELS: list[tuple[str, Spoil, type[Exception], str]] = [
    ("pickle", _write("pytorch_model.bin"), UnsafeInput, "pickle"),
    ("auto_map", _config(auto_map={"AutoModel": "x.Y"}), UnsafeInput, "auto_map"),
    ("absolute path", _index({Q: "/etc/model.safetensors"}), UnsafeInput, "leaves its folder"),
    ("..", _index({Q: "../model/model.safetensors"}), UnsafeInput, "leaves its folder"),
    ("another folder", _index({Q: "sub/model.safetensors"}), UnsafeInput, "beside it"),
    ("a drive", _index({Q: "C:model.safetensors"}), UnsafeInput, "leaves its folder"),
    ("index to a pickle", _index({Q: "model.bin"}), UnsafeInput, "beside it"),
    ("missing shard", _index({Q: "two.safetensors"}), CheckpointError, "lacks two"),
    ("tensor elsewhere", _index({"x": "model.safetensors"}), CheckpointError, "has no x"),
    ("index of numbers", _index({Q: 1}), CheckpointError, "no weight_map"),
    ("index as a list", _index([Q]), CheckpointError, "no weight_map"),
    ("no weights", _drop("model.safetensors"), CheckpointError, "no safetensors file"),
    ("no config", _drop("config.json"), CheckpointError, "no config.json"),
    ("config is text", _write("config.json", '"llama"'), CheckpointError, "holds a str"),
    ("width of text", _config(hidden_size="3"), CheckpointError, "hidden_size is '3'"),
    ("architectures of text", _config(architectures="L"), CheckpointError, "architectures is"),
    ("truncated weights", _truncate("model.safetensors"), CheckpointError, "bytes of data"),
    ("no tensors", _write("model.safetensors", b"\x02" + b"\0" * 7 + b"{}"), CheckpointError, "no"),
]


@pytest.mark.parametrize(
    ("spoil", "error", "why"), [m[1:] for m in MODELS], ids=[m[0] for m in MODELS]
)
def test_bad_models(
    registry: Registry, make_model: Maker, spoil: Spoil, error: type[Exception], why: str
) -> None:
    folder = make_model()
    spoil(folder)
    before = _state(registry)
    with pytest.raises(error, match=why) as caught:
        registry.add(folder, Draft(name="m", kind="model"))
    assert type(caught.value) is error
    assert _state(registry) == before


CORPORA: list[tuple[str, str, bytes, type[Exception], str]] = [
    ("empty", "a.txt", b"", CorpusError, "is empty"),
    ("blank", "a.txt", b" \n\n\t\n", CorpusError, "is empty"),
    ("latin-1", "a.txt", "Québec\n".encode("latin-1"), CorpusError, "not UTF-8"),
    ("binary", "a.txt", b"a\0b\n", CorpusError, "binary"),
    ("no JSON", "a.jsonl", b'{"text": "a"}\n{', CorpusError, "line 2"),
    ("no object", "a.jsonl", b"[1]\n", CorpusError, "no JSON object"),
    ("no text field", "a.jsonl", b'{"sentence": "a"}\n', CorpusError, "sentence"),
    ("text of numbers", "a.jsonl", b'{"text": 1}\n', CorpusError, "no text"),
    ("empty texts", "a.jsonl", b'{"text": " "}\n', CorpusError, "no text"),
    ("columns", "a.tsv", b"text\tlabel\na\n", CorpusError, "columns"),
    ("no Parquet", "a.parquet", b"PAR1", CorpusError, "Parquet"),
    ("archive", "a.txt.gz", b"x", InputError, r"\.jsonl"),
    ("no suffix", "corpus", b"x", InputError, r"\.txt"),
    ("pickle", "a.pkl", b"x", InputError, r"\.txt"),
]


@pytest.mark.parametrize(
    ("name", "data", "error", "why"), [c[1:] for c in CORPORA], ids=[c[0] for c in CORPORA]
)
def test_bad_corpora(
    registry: Registry, tmp_path: Path, name: str, data: bytes, error: type[Exception], why: str
) -> None:
    (tmp_path / name).write_bytes(data)
    before = _state(registry)
    with pytest.raises(error, match=why) as caught:
        registry.add(tmp_path / name, Draft(name="c", kind="corpus"))
    assert type(caught.value) is error
    assert str(tmp_path / name) in str(caught.value)
    assert _state(registry) == before


def test_one_bad_file_of_several(registry: Registry, make_corpus: Maker) -> None:
    good, bad = make_corpus("a.txt"), make_corpus("b.txt", "")
    before = _state(registry)
    with pytest.raises(CorpusError, match=r"b\.txt is empty"):
        registry.add([good, bad], Draft(name="c", kind="corpus"))
    assert _state(registry) == before


def test_equal_names(registry: Registry, make_corpus: Maker) -> None:
    with pytest.raises(InputError, match="have one name"):
        registry.add(
            [make_corpus("x/a.txt"), make_corpus("y/a.txt")], Draft(name="c", kind="corpus")
        )


def test_missing_and_misplaced(registry: Registry, make_adapter: Maker, tmp_path: Path) -> None:
    adapter, draft = make_adapter(), Draft(name="c", kind="corpus")
    with pytest.raises(InputError, match="is missing"):
        registry.add(tmp_path / "nowhere", draft)
    with pytest.raises(InputError, match="is a folder; expected one folder, or files only"):
        registry.add([adapter], draft)
    with pytest.raises(InputError, match="expected the folder of the adapter"):
        registry.add(adapter / WEIGHTS, Draft(name="a", kind="adapter"))
    with pytest.raises(CheckpointError, match=r"no config\.json"):
        registry.add(adapter, Draft(name="m", kind="model"))
    with pytest.raises(InputError, match="nothing that can come in"):
        registry.add(adapter, draft)
    with pytest.raises(InputError, match="nothing that can come in"):
        registry.add([], draft)


def test_what_is_left_out_is_named(registry: Registry, make_adapter: Maker) -> None:
    folder = make_adapter()
    for name in (
        "training_args.bin",
        "optimizer.pt",
        "rng_state_0.pth",
        "scheduler.pt",
        ".gitattributes",
        "checkpoint-10/optimizer.pt",
        "checkpoint-10/adapter_model.bin",
        "runs/events.out.tfevents.1",
        "__pycache__/x.pyc",
    ):
        _write(name)(folder)
    for name in ("README.md", "LICENSE", "NOTICE.html", "sub/tokenizer.model"):
        _write(name, "x")(folder)
    found = survey(folder, "adapter")
    assert found.names == {
        "LICENSE",
        "NOTICE.html",
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
        "sub/tokenizer.model",
    }
    assert [part.name for part in found.left_out] == [
        ".gitattributes",
        "__pycache__",
        "checkpoint-10",
        "optimizer.pt",
        "rng_state_0.pth",
        "runs/events.out.tfevents.1",
        "scheduler.pt",
        "training_args.bin",
    ]
    told: list[Any] = []
    version = registry.add(
        folder, Draft(name="a", kind="adapter"), report=lambda *args: told.append(args)
    )
    assert {entry.path for entry in version.files} == found.names
    label, done, total, facts = told[-1]
    assert label == "add a"
    assert done == total == sum(entry.size for entry in version.files)
    assert "optimizer.pt (state of the training)" in facts["left out"]


@pytest.mark.parametrize("name", ["a", "a/b.json", "a b", "é", "..a", "a..b", ".a"])
def test_safe_paths(name: str) -> None:
    assert safe_path(name) == name


@pytest.mark.parametrize(
    "name",
    ["", "/", "/a", "..", "../a", "a/../b", "a/..", ".", "./a", "a//b", "a/", "a\\b", "C:a", "a\0"],
)
def test_unsafe_paths(name: str) -> None:
    with pytest.raises(UnsafeInput):
        safe_path(name)


def test_links_are_followed_into_our_own_blobs_only(
    registry: Registry, make_adapter: Maker, tmp_path: Path
) -> None:
    version = registry.add(make_adapter(), Draft(name="a", kind="adapter"))
    again = registry.add(registry.view(version), Draft(name="b", kind="adapter"))
    assert again.content == version.content
    shutil.copytree(registry.view(version), tmp_path / "copy", symlinks=False)
    with Registry.init(tmp_path / "other") as other, pytest.raises(UnsafeInput, match="is a link"):
        other.add(registry.view(version), Draft(name="a", kind="adapter"))


@pytest.mark.parametrize("size", [3, 300], ids=["shorter", "longer"])
def test_a_file_that_changes_meanwhile(registry: Registry, make_corpus: Maker, size: int) -> None:
    path = make_corpus()

    def write_on(*_: Any, **__: Any) -> None:
        path.write_text("x" * size)

    before = _state(registry)
    with pytest.raises(InputError, match="changed while it was added"):
        registry.add(path, Draft(name="c", kind="corpus"), report=write_on)
    assert _state(registry) == before
