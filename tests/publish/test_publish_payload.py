"""What leaves the house: the version's files, fit for strangers, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from isogloss.errors import PublishError, UnsafeInput
from isogloss.files import sha256_bytes
from isogloss.publish.lineage import sources
from isogloss.publish.payload import is_local, payload, refuse_secrets, upload_of
from isogloss.publish.provenance import statement
from isogloss.registry import Draft, HubSource
from tests.publish.family import Family, adapter_folder

BASE = HubSource(repo="lab/en-base", commit="c" * 40)


def test_an_adapter_names_its_base_on_the_hub(family: Family) -> None:
    files = payload(family.registry, family.adapter, BASE)
    by_path = {u.entry.path: u for u in files.files}
    assert sorted(by_path) == [
        "adapter_config.json", "adapter_model.safetensors", "isogloss.json", "recipe.yaml",
    ]  # fmt: skip
    upload = by_path["adapter_config.json"]
    config = json.loads(upload.read())
    assert config["base_model_name_or_path"] == "lab/en-base"
    assert config["revision"] == "c" * 40
    assert config["r"] == 2
    assert upload.entry.sha256 == sha256_bytes(upload.read())
    assert any("lab/en-base" in line for line in files.changed)


def test_weights_are_the_registry_s_own(family: Family) -> None:
    entry = next(f for f in family.merge.files if f.path == "model.safetensors")
    files = payload(family.registry, family.merge, None)
    assert entry in [u.entry for u in files.files]


def test_no_path_of_a_machine_leaves(family: Family) -> None:
    for version in (family.merge, family.adapter):
        for upload in payload(family.registry, version, None).files:
            assert b"/home/ada" not in upload.read(), upload.entry.path


def test_a_base_that_is_a_hub_name_already_stays(family: Family) -> None:
    folder = adapter_folder(family.folder / "hubbed", "org/base")
    version = family.registry.add(folder, Draft(name="hubbed", kind="adapter"))
    files = payload(family.registry, version, None)
    assert files.changed == ()
    assert [u.entry for u in files.files] == list(version.files)


def test_a_readme_of_the_source_gives_way_to_the_card(family: Family) -> None:
    folder = adapter_folder(family.folder / "readme", "org/base")
    (folder / "README.md").write_text("# by somebody else\n")
    version = family.registry.add(folder, Draft(name="readme", kind="adapter"))
    files = payload(family.registry, version, None)
    assert "README.md" not in [u.entry.path for u in files.files]
    assert files.changed == ("README.md: written anew for the publication",)


def test_corpora_and_references_have_nothing_to_publish(family: Family) -> None:
    with pytest.raises(PublishError, match="pcm-text:1 is a corpus"):
        payload(family.registry, family.pcm_text, None)
    draft = Draft(name="far", kind="model", hub=HubSource(repo="org/base", commit="b" * 40))
    with pytest.raises(PublishError, match="stays on the Hub as org/base"):
        payload(family.registry, family.registry.add_reference(draft), None)


def test_a_token_in_a_text_file_stops_everything() -> None:
    safe = upload_of("config.json", b'{"token": null}')
    refuse_secrets([safe])
    token = b"hf_" + b"a" * 34
    with pytest.raises(UnsafeInput, match=r"recipe\.yaml holds what looks like") as caught:
        refuse_secrets([safe, upload_of("recipe.yaml", b"key: " + token)])
    assert token.decode() not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "local"),
    [
        ("/home/ada/base", True),
        ("./base", True),
        ("~/base", True),
        ("C:\\models\\base", True),
        ("out/run/base", True),
        ("org/base", False),
        ("gpt2", False),
        ("", False),
        (None, False),
    ],
)
def test_is_local(name: object, local: bool) -> None:
    assert is_local(name) is local


def test_provenance_names_every_file_and_every_input(family: Family, tmp_path: Path) -> None:
    files = [u.entry for u in payload(family.registry, family.merge, None).files]
    lineage = sources(family.registry, family.merge)
    claim = statement(family.registry, family.merge, files, lineage, "https://huggingface.co")
    assert {s["name"]: s["digest"]["sha256"] for s in claim["subject"]} == {
        f.path: f.sha256 for f in files
    }
    build = claim["predicate"]["buildDefinition"]
    assert build["buildType"].endswith("#merge-run")
    assert build["externalParameters"]["recipe"]["merge_method"] == "ties"
    inputs = {d["uri"]: d["digest"] for d in build["resolvedDependencies"]}
    assert inputs["isogloss:pcm-cpt:1"] == {"sha256": family.adapter.content}
    assert set(inputs) == {
        f"isogloss:{name}:1" for name in ("en-base", "pcm-cpt", "en-mood", "en-text", "pcm-text")
    }
