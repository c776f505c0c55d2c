"""References: every form, and what is none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isogloss.errors import RefError
from isogloss.refs import (
    HubRef,
    RegistryRef,
    check_alias,
    check_name,
    parse_hub_ref,
    parse_registry_ref,
    split_lora,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("pcm-cpt", RegistryRef("pcm-cpt")),
        ("pcm-cpt@latest", RegistryRef("pcm-cpt")),
        ("lab/pcm-cpt:12", RegistryRef("lab/pcm-cpt", number=12)),
        ("a@best", RegistryRef("a", alias="best")),
        ("a@sha256:ABCDEF12", RegistryRef("a", digest="abcdef12")),
    ],
)
def test_registry_references(text: str, expected: RegistryRef) -> None:
    assert parse_registry_ref(text) == expected
    assert parse_registry_ref(str(expected)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "A",
        "a:0",
        "a:x",
        "a@",
        "a@v3",
        "a@sha256:12",
        "a b",
        "../a",
        "a/b/c",
        "-a",
        "a--b",
        "a.git",
        "a:1@best",
        "a.",
        "é",
    ],
)
def test_no_references(text: str) -> None:
    with pytest.raises(RefError):
        parse_registry_ref(text)


def test_hub_references() -> None:
    assert parse_hub_ref("org/Name@main") == HubRef("org/Name", "main")
    assert parse_hub_ref("hf://org/Name") == HubRef("org/Name")
    assert parse_hub_ref("name") is None
    assert str(HubRef("o/n", "abc")) == "hf://o/n@abc"


def test_model_with_lora() -> None:
    assert split_lora("base:1+pcm") == ("base:1", "pcm")
    assert split_lora("base") == ("base", None)
    with pytest.raises(RefError, match="half"):
        split_lora("base+")


@given(st.text(max_size=20))
def test_the_parser_reads_or_refuses(text: str) -> None:
    try:
        found = parse_registry_ref(text)
    except RefError:
        return
    assert check_name(found.name) == found.name
    if found.alias:
        assert check_alias(found.alias) == found.alias
