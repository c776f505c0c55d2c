"""Repositories as a Hub keeps them, on disk: commits, trees, refs, and LFS objects.

``objects/`` holds what git would (named by git sha1), ``lfs/`` what LFS would (named by sha256),
``repos/`` one JSON file a repository. A new repository has one commit with ``.gitattributes``.
The HTTP side is ``hub_server.py``.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

GITATTRIBUTES = b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n"
LFS_SUFFIXES = (".safetensors", ".bin", ".model")
LFS_FROM = 10 << 20
"""Bytes from which a file of any name is kept in LFS."""


class HubRefusal(Exception):
    """An answer that is an error: HTTP status, ``X-Error-Code`` and text."""

    def __init__(self, status: int, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.code = status, message, code


class Blob(NamedTuple):
    """One file of a tree: git object id, size in bytes of the content, sha256 if it is in LFS."""

    oid: str
    size: int
    lfs: str | None = None


def git_sha1(data: bytes) -> str:
    """The id that git gives a blob."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def pointer(sha256: str, size: int) -> bytes:
    """The text that stands in git for an LFS object."""
    head = "version https://git-lfs.github.com/spec/v1"
    return f"{head}\noid sha256:{sha256}\nsize {size}\n".encode()


def upload_mode(path: str, size: int) -> str:
    """``lfs`` or ``regular``: the server's choice, by extension and size."""
    big = size >= LFS_FROM or path.endswith(LFS_SUFFIXES)
    return "lfs" if big and size else "regular"


class HubStore:
    """All repositories below one folder; every method is atomic to the threads of a server."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lock = threading.RLock()
        for name in ("objects", "lfs", "repos"):
            (folder / name).mkdir(parents=True, exist_ok=True)

    def _file(self, repo: str) -> Path:
        return self.folder / "repos" / (repo.replace("/", "__") + ".json")

    def _load(self, repo: str) -> dict[str, Any]:
        if not self._file(repo).is_file():
            raise HubRefusal(404, "Repository not found", "RepoNotFound")
        state: dict[str, Any] = json.loads(self._file(repo).read_text())
        return state

    def _save(self, repo: str, state: dict[str, Any]) -> None:
        self._file(repo).write_text(json.dumps(state))

    def exists(self, repo: str) -> bool:
        return self._file(repo).is_file()

    def private(self, repo: str) -> bool:
        return bool(self._load(repo)["private"])

    def set_private(self, repo: str, private: bool) -> None:
        with self.lock:
            self._save(repo, self._load(repo) | {"private": private})

    def create(self, repo: str, private: bool) -> None:
        """A new repository; 409 if there is one."""
        with self.lock:
            if self.exists(repo):
                raise HubRefusal(409, "You already created this model repo")
            state: dict[str, Any] = {
                "private": private,
                "commits": {},
                "branches": {},
                "tags": {},
                "pulls": 0,
            }
            tree = {".gitattributes": self._put(GITATTRIBUTES)}
            oid = self._append(state, None, tree, "initial commit")
            state["branches"]["main"] = oid
            self._save(repo, state)

    def _put(self, data: bytes) -> Blob:
        oid = git_sha1(data)
        (self.folder / "objects" / oid).write_bytes(data)
        return Blob(oid, len(data))

    def _append(
        self, state: dict[str, Any], parent: str | None, tree: dict[str, Blob], title: str
    ) -> str:
        order = len(state["commits"])
        oid = hashlib.sha1(json.dumps([order, parent, title, sorted(tree.items())]).encode())
        state["commits"][oid.hexdigest()] = {
            "order": order,
            "parent": parent,
            "title": title,
            "tree": tree,
        }
        return oid.hexdigest()

    def put_lfs(self, sha256: str, data: bytes) -> None:
        """Keep an LFS object; 400 if its bytes aren't what its name says."""
        if hashlib.sha256(data).hexdigest() != sha256:
            raise HubRefusal(400, "sha256 of the body differs from the oid")
        self.lfs_path(sha256).write_bytes(data)

    def lfs_path(self, sha256: str) -> Path:
        return self.folder / "lfs" / sha256

    def bytes_of(self, blob: Blob) -> bytes:
        """The content of a file, out of LFS where it is there."""
        if blob.lfs:
            return self.lfs_path(blob.lfs).read_bytes()
        return (self.folder / "objects" / blob.oid).read_bytes()

    def resolve(self, repo: str, rev: str) -> str:
        """The commit that a branch, tag, pull request ref or commit id names."""
        state = self._load(repo)
        found = state["branches"].get(rev) or state["tags"].get(rev)
        if found or rev in state["commits"]:
            return str(found or rev)
        raise HubRefusal(404, f"Invalid rev id: {rev}", "RevisionNotFound")

    def tree(self, repo: str, rev: str) -> dict[str, Blob]:
        commit = self._load(repo)["commits"][self.resolve(repo, rev)]
        return {path: Blob(*blob) for path, blob in sorted(commit["tree"].items())}

    def commits(self, repo: str, rev: str = "main") -> list[tuple[str, str]]:
        """(id, title), newest first."""
        state, at = self._load(repo), self.resolve(repo, rev)
        found: list[tuple[str, str]] = []
        while at:
            found.append((at, state["commits"][at]["title"]))
            at = state["commits"][at]["parent"]
        return found

    def refs(self, repo: str) -> dict[str, dict[str, str]]:
        state = self._load(repo)
        pulls = {r: c for r, c in state["branches"].items() if r.startswith("refs/pr/")}
        branches = {r: c for r, c in state["branches"].items() if r not in pulls}
        return {"branches": branches, "tags": state["tags"], "pulls": pulls}

    def add_ref(self, repo: str, kind: str, name: str, rev: str) -> None:
        """A branch or tag (``kind`` is ``branches`` or ``tags``); 409 if it exists."""
        with self.lock:
            state, target = self._load(repo), self.resolve(repo, rev)
            if name in state[kind]:
                raise HubRefusal(409, f"Reference already exists: {name}")
            state[kind][name] = target
            self._save(repo, state)

    def remove_ref(self, repo: str, kind: str, name: str) -> None:
        with self.lock:
            state = self._load(repo)
            if state[kind].pop(name, None) is None:
                raise HubRefusal(404, f"Invalid rev id: {name}", "RevisionNotFound")
            self._save(repo, state)

    def commit(
        self,
        repo: str,
        rev: str,
        title: str,
        operations: Iterable[tuple[str, dict[str, Any]]],
        *,
        parent: str | None,
        pull_request: bool = False,
    ) -> tuple[str, int | None]:
        """(id, number of the pull request); all operations or none.

        412 where ``parent`` is not the head, 404 where a file to delete is missing, 400 where an
        LFS object was never sent.
        """
        with self.lock:
            state, head = self._load(repo), self.resolve(repo, rev)
            if parent is not None and parent != head:
                raise HubRefusal(412, "The branch was updated since you opened this page. Reload.")
            tree = self.tree(repo, rev)
            for key, value in operations:
                self._apply(tree, key, value)
            oid = self._append(state, head, tree, title)
            number = None
            if pull_request:
                number = state["pulls"] = state["pulls"] + 1
                state["branches"][f"refs/pr/{number}"] = oid
            else:
                state["branches"][rev] = oid
            self._save(repo, state)
            return oid, number

    def _apply(self, tree: dict[str, Blob], key: str, value: dict[str, Any]) -> None:
        path = value["path"]
        if key == "file":
            import base64

            tree[path] = self._put(base64.b64decode(value["content"]))
        elif key == "lfsFile":
            if not self.lfs_path(value["oid"]).is_file():
                raise HubRefusal(400, f"LFS object {value['oid']} was not uploaded")
            blob = self._put(pointer(value["oid"], value["size"]))
            tree[path] = Blob(blob.oid, value["size"], value["oid"])
        elif key == "deletedFile":
            if path not in tree:
                raise HubRefusal(404, "A file with this name doesn't exist", "EntryNotFound")
            del tree[path]
        elif key == "deletedFolder":
            inside = [p for p in tree if p.startswith(path.rstrip("/") + "/")]
            if not inside:
                raise HubRefusal(404, "A file with this name doesn't exist", "EntryNotFound")
            for name in inside:
                del tree[name]
        else:
            raise HubRefusal(400, f"unknown operation {key!r}")


def valid_repo(repo: str) -> bool:
    """Whether a repository may be called so."""
    return bool(re.fullmatch(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", repo))
