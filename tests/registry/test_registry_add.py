"""Adding: what a version records, when it is another one, and what is refused."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from isogloss.errors import (
    AdapterError,
    RefError,
    RegistryError,
    UsageError,
)
from isogloss.files import content_digest, list_files
from isogloss.registry import (
    AdapterFacts,
    CorpusFacts,
    Draft,
    HubSource,
    Language,
    ModelFacts,
    Registry,
    hub_content,
    language,
)

Maker = Callable[..., Path]


def test_what_add_records(registry: Registry, make_adapter: Maker) -> None:
    folder = make_adapter()
    version = registry.add(
        folder,
        Draft(name="pcm", kind="adapter", languages=(Language(tag="fr_ca"),), licence="mit"),
    )
    assert version.ref == "pcm:1"
    assert list(version.files) == list_files(folder)
    assert version.content == content_digest(list_files(folder))
    assert version.languages == (Language(tag="fr-CA"),)
    assert version.adapter
    assert version.adapter.rank == 2
    assert registry.get("pcm") == version
    for entry in version.files:
        path = registry.blob(entry.sha256)
        assert path.read_bytes() == (folder / entry.path).read_bytes()
        assert path.stat().st_mode & 0o777 == 0o444
    assert not list((registry.root / "tmp").iterdir())


def test_adding_twice_is_adding_once(registry: Registry, make_corpus: Maker) -> None:
    path, draft = make_corpus(), Draft(name="c", kind="corpus", made_by={"verb": "x"})
    first = registry.add(path, draft)
    before = registry.index_digest()
    assert registry.add(path, draft.model_copy(update={"made_by": {"verb": "y"}})) == first
    assert registry.index_digest() == before
    assert registry.add(path, Draft(name="d", kind="corpus")).ref == "d:1"
    path.write_text("other\n")
    second = registry.add(path, draft)
    assert second.ref == "c:2"
    edge = registry.parent_edge(first, "corpus")
    third = registry.add(path, draft.model_copy(update={"parents": (edge,)}))
    assert third.ref == "c:3"
    weighted = registry.parent_edge(first, "corpus", 0.5)
    assert registry.add(path, draft.model_copy(update={"parents": (weighted,)})).ref == "c:4"
    assert registry.add(path, draft) == second


def test_what_is_stated_of_the_same_files_makes_another_version(
    registry: Registry, make_corpus: Maker
) -> None:
    path, silent = make_corpus(), Draft(name="c", kind="corpus")
    told = silent.model_copy(update={"licence": "cc-by-4.0", "languages": (language("pcm"),)})
    first = registry.add(path, told)
    assert registry.add(path, silent) == first
    assert registry.add(path, silent.model_copy(update={"licence": "cc-by-4.0"})) == first
    corrected = registry.add(path, told.model_copy(update={"licence": "cc-by-nc-4.0"}))
    assert (corrected.ref, corrected.content) == ("c:2", first.content)
    assert registry.add(path, silent) == corrected
    withdrawn = CorpusFacts(documents=0, bytes=0, consent="withdrawn by the speakers")
    third = registry.add(path, told.model_copy(update={"corpus": withdrawn}))
    assert third.ref == "c:3"
    assert third.corpus is not None
    assert third.corpus.consent == "withdrawn by the speakers"


def test_a_name_has_one_kind(registry: Registry, make_corpus: Maker, make_model: Maker) -> None:
    registry.add(make_corpus(), Draft(name="x", kind="corpus"))
    with pytest.raises(RegistryError, match="x is the name of a corpus"):
        registry.add(make_model(), Draft(name="x", kind="model"))
    assert registry.names() == ["x"]


@pytest.mark.parametrize("name", ["", "A", "a b", "a--b", "a..b", ".a", "a/", "a.git", "é", "../a"])
def test_bad_names(registry: Registry, make_corpus: Maker, name: str) -> None:
    with pytest.raises(RefError, match="can't be a name"):
        registry.add(make_corpus(), Draft(name=name, kind="corpus"))


def test_bad_languages(registry: Registry, make_corpus: Maker) -> None:
    for spoken in (Language(tag="zzz"), Language(tag="fr", glottocode="x")):
        with pytest.raises(UsageError):
            registry.add(make_corpus(), Draft(name="c", kind="corpus", languages=(spoken,)))


def test_unknown_parents(registry: Registry, make_corpus: Maker, tmp_path: Path) -> None:
    with Registry.init(tmp_path / "other") as other:
        far = other.add(make_corpus(), Draft(name="far", kind="corpus"))
    edge = registry.parent_edge(far, "corpus")
    with pytest.raises(RegistryError, match=r"far:1 \(record .*\) is not in the registry"):
        registry.add(make_corpus("b.txt"), Draft(name="c", kind="corpus", parents=(edge,)))


def test_several_files_and_a_folder_of_them(registry: Registry, make_corpus: Maker) -> None:
    files = [make_corpus("texts/b.txt", "b\n"), make_corpus("texts/a.jsonl", '{"text": "é"}\n')]
    given = CorpusFacts(documents=0, bytes=0, source="x")
    version = registry.add(files, Draft(name="c", kind="corpus", corpus=given))
    assert [entry.path for entry in version.files] == ["a.jsonl", "b.txt"]
    assert version.corpus == CorpusFacts(documents=2, bytes=3, source="x")
    assert registry.add(files[0].parent, Draft(name="c", kind="corpus")) == version
    single = registry.view(registry.add(files[0], Draft(name="d", kind="corpus")))
    assert [path.name for path in single.iterdir()] == ["b.txt"]


def test_how_it_was_made(registry: Registry, make_model: Maker) -> None:
    folder = make_model()
    facts = {"verb": "merge run", "recipe": {"a": 1}, "seed": None}
    (folder / "isogloss.json").write_text(json.dumps(facts))
    (folder / "recipe.yaml").write_text("a: 1\n")
    version = registry.add(folder, Draft(name="m", kind="model"))
    assert version.made_by == facts
    assert {entry.path for entry in version.files} == {"config.json", "model.safetensors"}
    said = registry.add(folder, Draft(name="n", kind="model", made_by={"verb": "told"}))
    assert said.made_by == {"verb": "told"}


@pytest.mark.parametrize("text", ["{", "[]", '{"verb": 1, "recipe": {}}', '{"verb": "x"}'])
def test_an_account_that_cannot_be_used_is_named(
    registry: Registry, make_model: Maker, text: str
) -> None:
    folder, told = make_model(), []
    (folder / "isogloss.json").write_text(text)
    version = registry.add(
        folder, Draft(name="m", kind="model"), report=lambda *args: told.append(args)
    )
    assert version.made_by == {}
    assert "isogloss.json (not used: " in told[-1][3]["left out"]


def test_made_by_must_have_a_json_form(registry: Registry, make_corpus: Maker) -> None:
    draft = Draft(name="c", kind="corpus", made_by={"extra": {"loss": float("nan")}})
    with pytest.raises(RegistryError, match="holds what no record can"):
        registry.add(make_corpus(), draft)
    assert not list(registry.root.rglob("blobs/sha256/*/*"))


def test_moving_in(registry: Registry, make_model: Maker) -> None:
    folder = make_model()
    inodes = {p.stat().st_ino for p in folder.iterdir()}
    version = registry.add(folder, Draft(name="m", kind="model"), move=True)
    assert not folder.exists()
    assert {registry.blob(f.sha256).stat().st_ino for f in version.files} == inodes
    for entry in version.files:
        assert hashlib.sha256(registry.read_blob(entry.sha256)).hexdigest() == entry.sha256


def test_a_refused_source_is_not_moved(registry: Registry, make_adapter: Maker) -> None:
    folder = make_adapter(r=3)
    with pytest.raises(AdapterError):
        registry.add(folder, Draft(name="a", kind="adapter"), move=True)
    assert len(list(folder.iterdir())) == 2


def test_references_to_the_hub(registry: Registry) -> None:
    hub = HubSource(repo="org/base", commit="a" * 40)
    facts = ModelFacts(architecture="LlamaForCausalLM", hidden=64)
    version = registry.add_reference(Draft(name="base", kind="model", hub=hub), model=facts)
    assert (version.files, version.content, version.model) == ((), hub_content(hub), facts)
    assert registry.add_reference(Draft(name="base", kind="model", hub=hub)) == version
    newer = Draft(name="base", kind="model", hub=HubSource(repo="org/base", commit="b" * 40))
    assert registry.add_reference(newer).ref == "base:2"
    assert registry.parent_edge(version, "base").hub == hub
    adapter = Draft(name="a", kind="adapter", hub=hub)
    assert registry.add_reference(adapter, adapter=AdapterFacts(peft_type="LORA")).adapter
    with pytest.raises(RegistryError, match=r"no files here.*hf://org/base@aaaa"):
        registry.view(version)
    for source in (None, HubSource(repo="o/m", commit="main")):
        with pytest.raises(RegistryError, match="40 hex digits"):
            registry.add_reference(Draft(name="x", kind="model", hub=source))
    with pytest.raises(RegistryError, match="is a corpus"):
        registry.add_reference(Draft(name="x", kind="corpus", hub=hub))
