"""The loopback Hub itself, asked by the real client: what publishing doesn't use yet, too.

Only regular files are committed in this process, which never touch Xet.
"""

from __future__ import annotations

import hashlib
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import (
    EntryNotFoundError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import RepoFile

from tests.publish.hub_cards import card_errors
from tests.publish.hub_server import READER, WRITER, LoopbackHub
from tests.publish.hub_store import HubRefusal, HubStore, git_sha1, pointer, upload_mode

REPO = "tester/texts"


@pytest.fixture
def api(hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch) -> HfApi:
    # The tests run offline, and this process read so when it imported the client.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    return HfApi(endpoint=hub.endpoint, token=WRITER)


def add(path: str, data: bytes) -> CommitOperationAdd:
    return CommitOperationAdd(path, data)


def test_a_repository_from_birth_to_tag(hub: LoopbackHub, api: HfApi, tmp_path: Path) -> None:
    assert api.whoami()["name"] == "tester"
    assert api.create_repo(REPO, private=True).repo_id == REPO
    first = api.model_info(REPO).sha
    done = api.create_commit(
        REPO, [add("a.txt", b"one\n"), add("sub/b.txt", b"two\n")],
        commit_message="two files", parent_commit=first,
    )  # fmt: skip
    assert api.model_info(REPO).sha == done.oid
    assert {f.path for f in api.list_repo_tree(REPO, recursive=True)} == {
        ".gitattributes", "a.txt", "sub/b.txt",
    }  # fmt: skip
    (info,) = api.get_paths_info(REPO, ["sub/b.txt", "missing"])
    assert isinstance(info, RepoFile)
    assert info.blob_id == git_sha1(b"two\n")
    api.create_tag(REPO, tag="v1", revision=done.oid)
    api.create_branch(REPO, branch="try")
    refs = api.list_repo_refs(REPO)
    assert [(t.name, t.target_commit) for t in refs.tags] == [("v1", done.oid)]
    assert [b.name for b in refs.branches] == ["main", "try"]
    assert [c.title for c in api.list_repo_commits(REPO)] == ["two files", "initial commit"]
    api.auth_check(REPO)
    folder = api.snapshot_download(REPO, revision="v1", cache_dir=tmp_path)
    assert (Path(folder) / "sub" / "b.txt").read_bytes() == b"two\n"
    api.delete_tag(REPO, tag="v1")
    assert api.list_repo_refs(REPO).tags == []
    assert all(request.authorised for request in hub.log)


def test_everything_is_on_disk(hub: LoopbackHub, api: HfApi) -> None:
    api.create_repo(REPO)
    api.create_commit(REPO, [add("a.txt", b"one\n")], commit_message="a")
    again = HubStore(hub.folder)
    assert again.bytes_of(again.tree(REPO, "main")["a.txt"]) == b"one\n"


def test_stale_parent_and_missing_file(api: HfApi) -> None:
    api.create_repo(REPO)
    first = api.model_info(REPO).sha
    api.create_commit(REPO, [add("a.txt", b"1")], commit_message="a")
    with pytest.raises(HfHubHTTPError, match="412"):
        api.create_commit(REPO, [add("b.txt", b"2")], commit_message="b", parent_commit=first)
    with pytest.raises(EntryNotFoundError):
        api.create_commit(REPO, [CommitOperationDelete("c.txt")], commit_message="c")
    with pytest.raises(RevisionNotFoundError):
        api.model_info(REPO, revision="nowhere")


def test_who_may_do_what(hub: LoopbackHub, api: HfApi) -> None:
    api.create_repo("lab/hidden", private=True)
    for token in (READER, False):
        stranger = HfApi(endpoint=hub.endpoint, token=token)
        with pytest.raises(RepositoryNotFoundError):
            stranger.model_info("lab/hidden")
    api.update_repo_settings("lab/hidden", private=False)
    reader = HfApi(endpoint=hub.endpoint, token=READER)
    assert reader.model_info("lab/hidden").private is False
    with pytest.raises(HfHubHTTPError, match="403"):
        reader.create_commit("lab/hidden", [add("a", b"1")], commit_message="a")
    with pytest.raises(HfHubHTTPError, match="403"):
        api.create_repo("strangers/repo")
    with pytest.raises(HfHubHTTPError):  # its words differ between versions of the client
        HfApi(endpoint=hub.endpoint, token="hf_no").whoami()


def test_ranges(hub: LoopbackHub, api: HfApi) -> None:
    api.create_repo(REPO)
    api.create_commit(REPO, [add("a.txt", b"0123456789")], commit_message="a")
    url = f"{hub.endpoint}/{REPO}/resolve/main/a.txt"

    def get(wanted: str) -> tuple[int, bytes]:
        request = urllib.request.Request(url, headers={"Range": wanted})
        with urllib.request.urlopen(request) as answer:
            return answer.status, answer.read()

    assert get("bytes=4-") == (206, b"456789")
    assert get("bytes=2-3") == (206, b"23")
    with pytest.raises(urllib.error.HTTPError, match="416"):
        get("bytes=10-")


def test_lfs_objects_are_checked(tmp_path: Path) -> None:
    store = HubStore(tmp_path)
    data = b"weights"
    name = hashlib.sha256(data).hexdigest()
    with pytest.raises(HubRefusal, match="sha256"):
        store.put_lfs(name, b"weightz")
    store.create("a/b", private=False)
    operation = ("lfsFile", {"path": "w.safetensors", "oid": name, "size": len(data)})
    with pytest.raises(HubRefusal, match="not uploaded"):
        store.commit("a/b", "main", "x", [operation], parent=None)
    assert len(store.commits("a/b")) == 1
    store.put_lfs(name, data)
    store.commit("a/b", "main", "x", [operation], parent=None)
    blob = store.tree("a/b", "main")["w.safetensors"]
    assert blob.oid == git_sha1(pointer(name, len(data)))
    assert store.bytes_of(blob) == data


def test_faults_hit_the_request_that_is_meant(hub: LoopbackHub, api: HfApi) -> None:
    hub.fail("GET /api/whoami", 500, k=2)
    assert api.whoami()["name"] == "tester"
    with pytest.raises(HfHubHTTPError, match="500"):
        api.whoami()
    assert api.whoami()["name"] == "tester"
    assert hub.count("GET /api/whoami") == 3


@pytest.mark.parametrize(
    ("front", "wrong"),
    [
        ("language: fr-CA", "language"),
        ("base_model: /home/ada/base", "base_model"),
        ("license: other", "license_name"),
        ("base_model_relation: child", "relation"),
        ("a: [", "not YAML"),
    ],
)
def test_cards_are_refused_for_their_reason(front: str, wrong: str) -> None:
    (error,) = card_errors(f"---\n{front}\n---\n# x\n")
    assert wrong in error["message"]


@pytest.mark.parametrize(
    ("path", "size", "mode"),
    [("a.safetensors", 5, "lfs"), ("a.safetensors", 0, "regular"), ("a.json", 99, "regular")],
)
def test_upload_mode(path: str, size: int, mode: str) -> None:
    assert upload_mode(path, size) == mode
