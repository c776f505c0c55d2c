"""The whole story over real HTTP: the real client, in its own process, and the loopback Hub."""

from __future__ import annotations

import json
from typing import Any

import pytest

from isogloss.files import sha256_bytes
from isogloss.registry import Language
from tests.publish.family import WINS, Family
from tests.publish.hub_server import READER, WRITER, LoopbackHub
from tests.publish.process import Publish

BASE: dict[str, Any] = {"ref": "en-base", "repo": "lab/en-base"}
ADAPTER: dict[str, Any] = {"ref": "pcm-cpt", "repo": "lab/pcm-cpt"}
MERGE: dict[str, Any] = {"ref": "pcm-mood", "repo": "lab/pcm-mood"}


def test_base_adapter_and_merge_are_published_and_read_back(
    family: Family, hub: LoopbackHub, publish_calls: Publish
) -> None:
    family.measure_all()
    why = {"prestige": "an input of the merge"}
    base, adapter, merge, again = publish_calls(BASE, ADAPTER | {"overrides": why}, MERGE, MERGE)
    for done in (base, adapter, merge):
        assert done["error"] is None, done
        assert done["changed"]
        assert len(hub.store.commits(done["repo"])) == 2  # the first is the Hub's own
        assert hub.store.private(done["repo"])
        there = {p: sha256_bytes(data) for p, data in hub.files(done["repo"]).items()}
        there.pop(".gitattributes")
        assert there == {path: sha256 for path, _, sha256 in done["files"]}

    stored = hub.files("lab/pcm-mood")
    entry = next(f for f in family.merge.files if f.path == "model.safetensors")
    assert sha256_bytes(stored["model.safetensors"]) == entry.sha256
    card = stored["README.md"].decode()
    assert card == merge["card"]
    assert f"hf://lab/pcm-cpt@{adapter['commit']}" in card
    config = json.loads(hub.files("lab/pcm-cpt")["adapter_config.json"])
    assert config["base_model_name_or_path"] == "lab/en-base"
    assert config["revision"] == base["commit"]
    claim = json.loads(stored["provenance.json"])
    assert {s["name"] for s in claim["subject"]} == set(stored) - {
        ".gitattributes",
        "provenance.json",
    }

    assert (again["changed"], again["commit"]) == (False, merge["commit"])
    assert hub.count("POST .*/commit/") == 3
    records = family.registry.publications()
    assert [(p.repo, p.commit) for p in records] == [
        (d["repo"], d["commit"]) for d in (base, adapter, merge)
    ]
    assert records[1].overrides == why
    assert [list(f) for f in records[2].files] == merge["files"]


def test_a_change_makes_one_more_commit_and_takes_stale_files_away(
    family: Family, hub: LoopbackHub, publish_calls: Publish
) -> None:
    (first,) = publish_calls(BASE)
    second = family.model("en-base", 9.0, "base", [(family.en_text, "corpus", None)], "train base")
    assert second.number == 2
    untouched = hub.count("PUT /lfs/")
    (changed,) = publish_calls(BASE)
    assert changed["changed"]
    assert changed["commit"] != first["commit"]
    assert len(hub.store.commits("lab/en-base")) == 3
    assert hub.count("PUT /lfs/") == untouched + 1  # the weights; the rest is in git

    # Back to the first version, whose publication has the same files again.
    (back,) = publish_calls(BASE | {"ref": "en-base:1"})
    assert back["changed"]
    assert len(hub.store.commits("lab/en-base")) == 4
    assert hub.count("PUT /lfs/") == untouched + 1  # the Hub has these weights already


def test_stale_files_go_and_files_of_others_stay(
    family: Family, hub: LoopbackHub, publish_calls: Publish
) -> None:
    publish_calls(BASE)
    head = hub.store.resolve("lab/en-base", "main")
    note = {"path": "notes.txt", "content": "bXk=", "encoding": "base64"}
    hub.store.commit("lab/en-base", "main", "a note by hand", [("file", note)], parent=head)
    family.measure_all()
    (done,) = publish_calls(
        {"ref": "pcm-cpt", "repo": "lab/en-base", "overrides": {"prestige": "a test"}}
    )
    assert done["error"] is None
    stored = set(hub.files("lab/en-base"))
    assert "model.safetensors" not in stored
    assert {"adapter_model.safetensors", "notes.txt"} <= stored


def test_a_dry_run_and_a_refusal_open_no_socket(
    family: Family, hub: LoopbackHub, publish_calls: Publish
) -> None:
    dry = MERGE | {"dry_run": True, "token": None}
    shown, refused, overridden = publish_calls(
        dry, MERGE, dry | {"overrides": {"winner": "a demonstration"}}, env={"HF_HUB_OFFLINE": "1"}
    )
    assert [d["connections"] for d in (shown, refused, overridden)] == [0, 0, 0]
    assert hub.log == []
    assert shown["dry_run"]
    assert shown["commit"] is None
    paths = [path for path, _, _ in shown["files"]]
    assert paths == [
        "README.md", "config.json", "isogloss.json", "model.safetensors", "provenance.json",
        "recipe.yaml", "tokenizer_config.json",
    ]  # fmt: skip
    failed = [name for name, passed, _ in shown["gates"] if not passed]
    assert failed == ["base", "winner", "prestige"]
    assert refused["error"] == "GateRefused"
    for name in failed:
        assert f"{name}: " in refused["message"]
    assert "because: a demonstration" in overridden["card"]
    assert family.registry.publications() == []


def test_an_override_goes_on_the_record_and_the_card(
    family: Family, hub: LoopbackHub, publish_calls: Publish
) -> None:
    family.measure_all(WINS | {"en-bpb": 2.9})
    why = {"prestige": "the loss is known", "licence": "not needed"}
    _, refused, done = publish_calls(BASE, MERGE, MERGE | {"overrides": why})
    assert refused["error"] == "GateRefused"
    assert "prestige loss 0.074" in refused["message"]
    assert done["error"] is None
    assert "because: the loss is known" in hub.files("lab/pcm-mood")["README.md"].decode()
    record = family.registry.publications(family.merge)[0]
    assert record.overrides == {"prestige": "the loss is known"}


def test_a_licence_conflict_is_its_own_error(
    family: Family, hub: LoopbackHub, publish_calls: Publish
) -> None:
    closed = family.corpus("closed", Language(tag="en"), "cc-by-nc-4.0", "Not for sale.\n")
    edges = [(family.pcm_text, "corpus", None), (closed, "corpus", None)]
    family.model("mixed", 6.0, "base", edges, "train base")
    (refused,) = publish_calls({"ref": "mixed", "repo": "lab/mixed"})
    assert refused["error"] == "LicenceConflict"
    assert "cc-by-sa-4.0 (pcm-text:1) and cc-by-nc-4.0 (closed:1)" in refused["message"]
    assert hub.log == []


def test_tokens_that_are_missing_wrong_or_too_weak(
    family: Family, hub: LoopbackHub, publish_calls: Publish
) -> None:
    missing, wrong, weak = publish_calls(
        BASE | {"token": None}, BASE | {"token": "hf_" + "b" * 34}, BASE | {"token": READER}
    )
    assert {d["error"] for d in (missing, wrong, weak)} == {"HubError"}
    assert "hf auth login" in missing["message"]
    assert "hf auth login" in wrong["message"]
    assert "write access" in weak["message"]
    assert not hub.store.exists("lab/en-base")
    assert missing["connections"] == 0


def test_somebody_else_s_repository_is_left_alone(
    family: Family, hub: LoopbackHub, publish_calls: Publish
) -> None:
    hub.store.create("lab/en-base", private=False)
    other = {"path": "weights.txt", "content": "bXk=", "encoding": "base64"}
    hub.store.commit("lab/en-base", "main", "theirs", [("file", other)], parent=None)
    (refused,) = publish_calls(BASE)
    assert refused["error"] == "HubError"
    assert "weights.txt" in refused["message"]
    assert len(hub.store.commits("lab/en-base")) == 2


def test_public_comes_after_the_read_back(
    family: Family, hub: LoopbackHub, publish_calls: Publish
) -> None:
    (done,) = publish_calls(BASE | {"public": True})
    assert done["error"] is None
    assert not hub.store.private("lab/en-base")
    lines = [f"{r.method} {r.path}" for r in hub.log]
    shown = next(i for i, line in enumerate(lines) if line.endswith("/settings"))
    assert all(not line.startswith("GET /lab/en-base/resolve") for line in lines[shown:])
    assert hub.count("GET /lab/en-base/resolve") == len(done["files"])


def test_a_branch_and_a_pull_request(
    family: Family, hub: LoopbackHub, publish_calls: Publish
) -> None:
    branch, asked, again = publish_calls(
        BASE | {"revision": "v1-try"},
        {"ref": "en-base", "repo": "lab/pr", "pull_request": True},
        {"ref": "en-base", "repo": "lab/pr", "pull_request": True},
    )
    assert branch["error"] is None
    assert "model.safetensors" in hub.files("lab/en-base", "v1-try")
    assert "model.safetensors" not in hub.files("lab/en-base")
    assert asked["pull_request"] == f"{hub.endpoint}/lab/pr/discussions/1"
    assert "model.safetensors" not in hub.files("lab/pr")
    assert "model.safetensors" in hub.files("lab/pr", "refs/pr/1")
    assert (again["changed"], again["pull_request"]) == (False, asked["pull_request"])
    assert list(hub.store.refs("lab/pr")["pulls"]) == ["refs/pr/1"]


@pytest.mark.parametrize(
    ("pattern", "action", "said"),
    [
        ("POST .*/commit/", 412, "somebody else committed"),
        ("POST .*/commit/", 503, "again later"),
        ("POST .*/commit/", "close", "check the connection"),
        ("POST /api/validate-yaml", 400, "publishing to lab/en-base failed"),
        ("POST /api/repos/create", 403, "write access"),
        (r"GET /api/models/lab/en-base\b", 500, "again later"),
    ],
)
def test_a_refusal_leaves_no_half_and_the_next_run_ends_it(
    family: Family,
    hub: LoopbackHub,
    publish_calls: Publish,
    pattern: str,
    action: int | str,
    said: str,
) -> None:
    fault = hub.fail(pattern, action)
    refused, done = publish_calls(BASE, BASE)
    assert fault.seen >= 1
    assert refused["error"] == "HubError", refused
    assert said in refused["message"]
    assert done["error"] is None
    assert done["changed"]
    assert len(hub.store.commits("lab/en-base")) == 2
    assert len(family.registry.publications()) == 1


def test_two_publishers_race_and_one_is_told(
    family: Family, hub: LoopbackHub, publish_calls: Publish
) -> None:
    publish_calls(BASE)
    family.model("en-base", 9.0, "base", [(family.en_text, "corpus", None)], "train base")
    fired: list[str] = []
    original = hub.store.commit

    def beaten(repo: str, rev: str, title: str, operations: Any, **rest: Any) -> Any:
        if not fired:
            fired.append("yes")
            note = {"path": "notes.txt", "content": "bXk=", "encoding": "base64"}
            original(repo, rev, "theirs", [("file", note)], parent=None)
        return original(repo, rev, title, operations, **rest)

    hub.store.commit = beaten  # type: ignore[method-assign]
    refused, done = publish_calls(BASE, BASE)
    assert refused["error"] == "HubError"
    assert "somebody else committed" in refused["message"]
    assert done["error"] is None
    titles = [title for _, title in hub.store.commits("lab/en-base")]
    assert titles[:2] == ["Publish en-base:2 with isogloss", "theirs"]
    assert "notes.txt" in hub.files("lab/en-base")


def test_a_lost_answer_makes_no_second_commit(
    family: Family, hub: LoopbackHub, publish_calls: Publish
) -> None:
    hub.fail("POST .*/commit/", "close-after")
    done, again = publish_calls(BASE, BASE)
    assert done["error"] is None
    assert done["changed"]
    assert not again["changed"]
    assert len(hub.store.commits("lab/en-base")) == 2
    assert hub.count("POST .*/commit/") == 1
    assert len(family.registry.publications()) == 1


@pytest.mark.parametrize("where", ["PUT /lfs/", "GET .*/resolve/.*/model.safetensors"])
def test_corrupt_weights_fail_the_publication(
    family: Family, hub: LoopbackHub, publish_calls: Publish, where: str
) -> None:
    hub.fail(where, "corrupt")
    (refused,) = publish_calls(BASE | {"public": True})
    assert refused["error"] == "HubError"
    assert "gives back another model.safetensors" in refused["message"]
    assert family.registry.publications() == []
    assert hub.store.private("lab/en-base")


def test_a_crash_before_the_record_is_mended_by_the_next_run(
    family: Family, hub: LoopbackHub, publish_calls: Publish
) -> None:
    hub.fail("GET .*/resolve/.*/model.safetensors", "corrupt")
    refused, done = publish_calls(BASE, BASE)
    assert refused["error"] == "HubError"
    assert (done["error"], done["changed"]) == (None, False)
    assert len(hub.store.commits("lab/en-base")) == 2
    assert [p.commit for p in family.registry.publications()] == [done["commit"]]


def test_xet_against_a_hub_without_it_names_the_variable(
    family: Family, hub: LoopbackHub, publish_calls: Publish
) -> None:
    (refused,) = publish_calls(BASE, env={"HF_HUB_DISABLE_XET": "0"})
    assert refused["error"] == "HubError"
    assert "HF_HUB_DISABLE_XET=1" in refused["message"]


def test_no_token_is_kept_anywhere(
    family: Family, hub: LoopbackHub, publish_calls: Publish
) -> None:
    publish_calls(BASE)
    for folder in (family.home, hub.folder):
        for path in folder.rglob("*"):
            if path.is_file():
                assert WRITER.encode() not in path.read_bytes(), path
