"""A string to a version and to folders: paths, names, the Hub, and what none of them is."""

from __future__ import annotations

from pathlib import Path

import pytest

from isogloss.errors import AdapterError, BaseMismatch, HubError, RefError
from isogloss.registry import Registry
from isogloss.steps import locate, resolve
from isogloss.steps.intake import AddSpec, add_step
from isogloss.steps.references import base_of, slug


def test_a_name_is_looked_up_and_a_path_becomes_a_version(registry: Registry) -> None:
    assert resolve(registry, "base").version.ref == "base:1"
    added = resolve(registry, "./english.txt", kind="corpus").version
    assert (added.ref, added.kind) == ("english:1", "corpus")
    assert resolve(registry, "english.txt", kind="corpus").version == added


def test_a_path_and_a_name_at_once_is_an_error_that_says_how_to_tell(
    registry: Registry, place: Path
) -> None:
    registry.view(registry.get("other"), writable=place / "base")
    with pytest.raises(RefError, match=r"write \./base for the path, or base:1"):
        resolve(registry, "base")
    assert resolve(registry, "base:1").version.ref == "base:1"
    assert resolve(registry, "./base").version.content == registry.get("other").content


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("./none", None, r"nothing at \./none"),
        ("~/none-of-this", None, "nothing at ~/none-of-this"),
        ("bsae", None, "did you mean 'base'"),
        ("base:7", None, "no version 7"),
        ("base", "corpus", "is a model; expected a corpus"),
        ("text", "model", "is a corpus; expected a model"),
        ("base+text", None, "is a corpus; expected an adapter"),
        ("cpt+cpt", None, "is an adapter; expected a model"),
        ("base+", None, "half a reference"),
        ("Not A Name", None, "can't be a name"),
        ("hf://half", None, "no reference"),
    ],
)
def test_what_is_named_wrong_is_said(
    registry: Registry, text: str, kind: str | None, message: str
) -> None:
    before = registry.index_digest()
    with pytest.raises(RefError, match=message):
        resolve(registry, text, kind=kind)  # type: ignore[arg-type]
    assert registry.index_digest() == before


def test_an_unreachable_hub_is_one_clear_error_and_leaves_nothing(registry: Registry) -> None:
    before = registry.index_digest()
    for text in ("org/model", "hf://org/model@main"):
        with pytest.raises(HubError, match=r"hf://org/model.* can't be reached") as caught:
            resolve(registry, text)
        assert "\n" not in str(caught.value)
    assert registry.index_digest() == before


def test_an_adapter_is_located_on_its_base(registry: Registry) -> None:
    located = locate(registry, resolve(registry, "cpt"))
    assert located.base.ref == "base:1"
    assert located.adapter is not None
    assert (located.adapter / "adapter_config.json").is_file()
    assert located == locate(registry, resolve(registry, "base+cpt"))


def test_an_adapter_of_another_base_names_both(registry: Registry) -> None:
    with pytest.raises(BaseMismatch, match=r"on base:1, not on other:1; expected base:1\+cpt:1"):
        locate(registry, resolve(registry, "other+cpt"))
    with pytest.raises(RefError, match="is a corpus"):
        locate(registry, resolve(registry, "text"))


def test_an_adapter_without_a_base_says_how_to_give_it_one(registry: Registry, place: Path) -> None:
    registry.view(registry.get("cpt"), writable=place / "lora")
    bare = resolve(registry, "./lora")
    with pytest.raises(AdapterError, match="registry add FOLDER --name lora --base REF"):
        locate(registry, bare)


def test_a_folder_of_an_adapter_after_a_plus_stands_on_what_is_before_it(
    registry: Registry, place: Path
) -> None:
    registry.view(registry.get("cpt"), writable=place / "lora")
    found = resolve(registry, "base+./lora")
    assert found.lora is not None
    assert base_of(registry, found.lora).ref == "base:1"
    assert locate(registry, found).base.ref == "base:1"


@pytest.mark.parametrize(
    ("text", "name"),
    [("Data/My Text.txt", "my-text"), ("a/..", "unnamed"), ("x__y--z.jsonl", "x__y-z")],
)
def test_names_of_paths(text: str, name: str) -> None:
    assert slug(text) == name


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"glottocode": "nige1257"}, "--glottocode without a language"),
        ({"prestige": "en"}, "--prestige without a language"),
        ({"sources": ("english.txt", "hf://a/b")}, "among several sources"),
        ({"base": "base"}, "--base for a corpus"),
    ],
)
def test_what_would_be_dropped_silently_is_refused(
    registry: Registry, more: dict[str, object], message: str
) -> None:
    from isogloss.errors import UsageError

    given = {"sources": ("english.txt",), "name": "english", **more}
    with pytest.raises(UsageError, match=message):
        add_step(registry, AddSpec.model_validate(given))
    assert "english" not in registry.names()
