"""A Hub on the loopback address, for the real client: protocol on top, ``hub_store`` below.

It speaks what a publication needs: whoami, create, settings, validate-yaml, preupload, LFS batch
(basic), PUT, verify, commit, tag, branch, model info, tree, paths-info, refs, commits,
auth-check, and HEAD/GET resolve with Range. Uploads are checked against their sha256, a stale
parent gets 412, writing and private repositories need a token. Requests are kept in ``log``, and
:meth:`LoopbackHub.fail` makes the k-th request that matches go wrong.

>>> import tempfile
>>> with tempfile.TemporaryDirectory() as d, LoopbackHub(Path(d)) as hub:
...     hub.endpoint.startswith("http://127.0.0.1:")
True
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from tests.publish.hub_cards import card_errors
from tests.publish.hub_store import Blob, HubRefusal, HubStore, upload_mode, valid_repo

TOKENS: dict[str, tuple[str, str]] = {
    "hf_loopbackwritertoken0000000000000000": ("tester", "write"),
    "hf_loopbackreadertoken0000000000000000": ("reader", "read"),
}
WRITER, READER = TOKENS
ORGS: dict[str, tuple[str, ...]] = {"tester": ("lab",), "reader": ()}
"""The organisations that each user is a member of, beside their own namespace."""


@dataclass
class Fault:
    """One thing to go wrong.

    ``action`` is an HTTP status, ``close`` (the connection, before the request is handled),
    ``close-after`` (handled, but no answer), or ``corrupt`` (the last byte of what is stored or
    sent is another one).
    """

    pattern: re.Pattern[str]
    action: int | str
    at: range
    headers: dict[str, str]
    seen: int = 0


class Request(NamedTuple):
    """What the log keeps of a request; never the token itself."""

    method: str
    path: str
    authorised: bool


@dataclass
class LoopbackHub:
    """The server; a context manager. ``endpoint`` is where it listens."""

    folder: Path
    log: list[Request] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.store = HubStore(self.folder)
        self.lock = threading.Lock()
        handler = type("Handler", (_Handler,), {"hub": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self.server.server_address[1]}"

    def reset(self, folder: Path) -> None:
        """Forget everything and go on in another folder, at the same address."""
        self.folder, self.store = folder, HubStore(folder)
        self.log.clear()
        self.faults.clear()

    def __enter__(self) -> LoopbackHub:
        self.thread = threading.Thread(
            target=self.server.serve_forever, kwargs={"poll_interval": 0.02}
        )
        self.thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def fail(
        self,
        pattern: str,
        action: int | str,
        *,
        k: int = 1,
        times: int = 1,
        headers: dict[str, str] | None = None,
    ) -> Fault:
        """From the ``k``-th request whose ``METHOD /path`` matches, ``times`` requests go wrong."""
        fault = Fault(re.compile(pattern), action, range(k, k + times), headers or {})
        self.faults.append(fault)
        return fault

    def fault_for(self, method: str, path: str) -> Fault | None:
        with self.lock:
            for fault in self.faults:
                if fault.pattern.search(f"{method} {path}"):
                    fault.seen += 1
                    if fault.seen in fault.at:
                        return fault
        return None

    def count(self, pattern: str) -> int:
        """How many requests so far match."""
        return sum(bool(re.search(pattern, f"{r.method} {r.path}")) for r in self.log)

    def files(self, repo: str, rev: str = "main") -> dict[str, bytes]:
        """Everything in a repository, by path."""
        return {p: self.store.bytes_of(b) for p, b in self.store.tree(repo, rev).items()}


Answer = tuple[int, Any, dict[str, str]]
_MODEL = r"/api/models/(?P<repo>[^/]+/[^/]+)"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: ClassVar[LoopbackHub]
    routes: ClassVar[list[tuple[str, re.Pattern[str], Callable[..., Answer]]]] = []

    def log_message(self, *_: object) -> None:
        """Stay quiet: the log of the hub is enough."""

    def _any(self) -> None:
        split = urlsplit(self.path)
        self.query = {k: v[0] for k, v in parse_qs(split.query).items()}
        length = int(self.headers.get("Content-Length") or 0)
        self.body = self.rfile.read(length) if length else b""
        nobody: tuple[str | None, str | None] = (None, None)
        self.user, self.access = TOKENS.get(self._token() or "", nobody)
        self.hub.log.append(Request(self.command, self.path, self.user is not None))
        fault = self.hub.fault_for(self.command, self.path)
        self.corrupt = fault is not None and fault.action == "corrupt"
        if fault and fault.action == "close":
            self._drop()
            return
        if fault and isinstance(fault.action, int):
            self._answer(fault.action, {"error": "injected"}, fault.headers)
            return
        try:
            status, body, headers = self._dispatch(split.path)
        except HubRefusal as error:
            extra = {"X-Error-Message": error.message}
            extra |= {"X-Error-Code": error.code} if error.code else {}
            status, body, headers = error.status, {"error": error.message}, extra
        if fault and fault.action == "close-after":
            self._drop()
            return
        self._answer(status, body, headers)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _any  # noqa: N815 (http.server's names)

    def _drop(self) -> None:
        self.close_connection = True
        self.connection.shutdown(2)

    def _token(self) -> str | None:
        return (self.headers.get("Authorization") or "").removeprefix("Bearer ") or None

    def _dispatch(self, path: str) -> Answer:
        if self._token() and self.user is None:
            raise HubRefusal(401, "Invalid credentials in Authorization header")
        for method, pattern, handler in self.routes:
            found = pattern.fullmatch(path)
            if found and method == self.command:
                values = {k: unquote(v) for k, v in found.groupdict().items() if v is not None}
                if "repo" in values:
                    self._may_read(values["repo"])
                return handler(self, **values)
        raise HubRefusal(404, f"no route for {self.command} {path}")

    def _may_read(self, repo: str) -> None:
        store = self.hub.store
        if not store.exists(repo) or (store.private(repo) and not self._owns(repo)):
            # As the Hub does, a private repository looks like none to strangers.
            raise HubRefusal(404 if self.user else 401, "Repository not found", "RepoNotFound")

    def _owns(self, repo: str) -> bool:
        return self.user is not None and repo.split("/")[0] in (self.user, *ORGS[self.user])

    def _may_write(self, repo: str) -> None:
        if self.user is None:
            raise HubRefusal(401, "Invalid username or password.")
        if self.access != "write" or not self._owns(repo):
            raise HubRefusal(403, f"You don't have the rights to write to {repo.split('/')[0]}")

    def _json(self) -> dict[str, Any]:
        body: dict[str, Any] = json.loads(self.body or b"{}")
        return body

    def _answer(self, status: int, body: Any, headers: dict[str, str]) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        kind = "application/octet-stream" if isinstance(body, bytes) else "application/json"
        for name, value in {
            "Content-Type": kind, "Content-Length": str(len(data)), **headers
        }.items():  # fmt: skip
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    # Account and repositories

    def whoami(self) -> Answer:
        if self.user is None:
            raise HubRefusal(401, "Invalid username or password.")
        token = {"displayName": "loopback", "role": self.access}
        orgs = [{"name": name} for name in ORGS[self.user]]
        who = {"type": "user", "name": self.user, "fullname": self.user, "orgs": orgs}
        return 200, who | {"auth": {"accessToken": token}}, {}

    def agents(self) -> Answer:
        return 200, {"standardEnvVars": [], "harnesses": {}}, {}

    def create(self) -> Answer:
        asked = self._json()
        repo = f"{asked.get('organization') or self.user}/{asked['name']}"
        self._may_write(repo)
        if not valid_repo(repo):
            raise HubRefusal(400, f"Invalid repo name: {repo}")
        url = {"url": f"{self.hub.endpoint}/{repo}"}
        if self.hub.store.exists(repo):
            return 409, url | {"error": "You already created this model repo"}, {}
        self.hub.store.create(repo, private=asked.get("visibility") == "private")
        return 200, url, {}

    def settings(self, repo: str) -> Answer:
        self._may_write(repo)
        asked = self._json()
        if "visibility" in asked or "private" in asked:
            private = asked.get("visibility") == "private" or bool(asked.get("private"))
            self.hub.store.set_private(repo, private)
        return 200, {"private": self.hub.store.private(repo)}, {}

    def auth_check(self, repo: str) -> Answer:
        return 200, {}, {}

    def auth_check_write(self, repo: str) -> Answer:
        self._may_write(repo)
        return 200, {}, {}

    def validate_yaml(self) -> Answer:
        errors = card_errors(self._json()["content"])
        return 400 if errors else 200, {"errors": errors, "warnings": []}, {}

    # Writing

    def preupload(self, repo: str, rev: str) -> Answer:
        self._may_write(repo)
        tree = self.hub.store.tree(repo, rev)
        files = []
        for asked in self._json()["files"]:
            old = tree.get(asked["path"])
            mode = upload_mode(asked["path"], asked["size"])
            oid = (old.lfs or old.oid) if old else None
            files.append(
                {"path": asked["path"], "uploadMode": mode, "shouldIgnore": False, "oid": oid}
            )
        return 200, {"files": files}, {}

    def lfs_batch(self, repo: str) -> Answer:
        self._may_write(repo)
        objects = []
        for asked in self._json()["objects"]:
            item = {"oid": asked["oid"], "size": asked["size"]}
            if not self.hub.store.lfs_path(asked["oid"]).is_file():
                url = f"{self.hub.endpoint}/lfs/{repo}/{asked['oid']}"
                item["actions"] = {
                    "upload": {"href": url},
                    "verify": {"href": f"{url}/verify"},
                }
            objects.append(item)
        return 200, {"transfer": "basic", "objects": objects}, {}

    def lfs_put(self, place: str, oid: str) -> Answer:
        self.hub.store.put_lfs(oid, self.body)
        if self.corrupt:
            path = self.hub.store.lfs_path(oid)
            path.write_bytes(_spoilt(path.read_bytes()))
        return 200, {}, {}

    def lfs_verify(self, repo: str, oid: str) -> Answer:
        self._may_write(repo)
        path = self.hub.store.lfs_path(oid)
        if not path.is_file() or path.stat().st_size != self._json()["size"]:
            raise HubRefusal(404, "object not found")
        return 200, {}, {}

    def commit(self, repo: str, rev: str) -> Answer:
        self._may_write(repo)
        lines = [json.loads(line) for line in self.body.splitlines() if line.strip()]
        header = lines[0]["value"]
        oid, number = self.hub.store.commit(
            repo,
            rev,
            header["summary"],
            [(line["key"], line["value"]) for line in lines[1:]],
            parent=header.get("parentCommit"),
            pull_request=self.query.get("create_pr") == "1",
        )
        url = f"{self.hub.endpoint}/{repo}"
        body = {"success": True, "commitOid": oid, "commitUrl": f"{url}/commit/{oid}"}
        if number:
            body["pullRequestUrl"] = f"{url}/discussions/{number}"
        return 200, body, {}

    def tag(self, repo: str, name: str) -> Answer:
        self._may_write(repo)
        self.hub.store.add_ref(repo, "tags", self._json()["tag"], name)
        return 200, {}, {}

    def untag(self, repo: str, name: str) -> Answer:
        self._may_write(repo)
        self.hub.store.remove_ref(repo, "tags", name)
        return 200, {}, {}

    def branch(self, repo: str, name: str) -> Answer:
        self._may_write(repo)
        self.hub.store.add_ref(repo, "branches", name, self._json().get("startingPoint") or "main")
        return 200, {}, {}

    def unbranch(self, repo: str, name: str) -> Answer:
        self._may_write(repo)
        self.hub.store.remove_ref(repo, "branches", name)
        return 200, {}, {}

    # Reading

    def info(self, repo: str, rev: str = "main") -> Answer:
        store = self.hub.store
        blobs = self.query.get("blobs", "").lower() == "true"
        siblings = []
        for path, blob in store.tree(repo, rev).items():
            item: dict[str, Any] = {"rfilename": path}
            if blobs:
                item |= {"size": blob.size, "blobId": blob.oid}
                item |= {"lfs": _lfs(blob, "sha256")} if blob.lfs else {}
            siblings.append(item)
        when = "2026-01-01T00:00:00.000Z"
        return (
            200,
            {
                "id": repo,
                "sha": store.resolve(repo, rev),
                "lastModified": when,
                "createdAt": when,
                "private": store.private(repo),
                "gated": False,
                "tags": [],
                "siblings": siblings,
            },
            {},
        )

    def tree(self, repo: str, rev: str, path: str = "") -> Answer:
        found = self.hub.store.tree(repo, rev)
        below = [p for p in found if not path or p == path or p.startswith(path + "/")]
        return 200, [_entry(p, found[p]) for p in below], {}

    def paths_info(self, repo: str, rev: str) -> Answer:
        asked = parse_qs(self.body.decode()).get("paths", [])
        found = self.hub.store.tree(repo, rev)
        return 200, [_entry(p, found[p]) for p in asked if p in found], {}

    def refs(self, repo: str) -> Answer:
        kinds = self.hub.store.refs(repo)
        return (
            200,
            {
                "branches": _refs(kinds["branches"], "refs/heads/"),
                "tags": _refs(kinds["tags"], "refs/tags/"),
                "converts": [],
                "pullRequests": _refs(kinds["pulls"], ""),
            },
            {},
        )

    def commits(self, repo: str, rev: str) -> Answer:
        when = "2026-01-01T00:00:00.000Z"
        listed = self.hub.store.commits(repo, rev)
        items = [
            {"id": oid, "title": title, "message": "", "authors": [], "date": when}
            for oid, title in listed
        ]
        return 200, items, {}

    def resolve(self, repo: str, rev: str, path: str) -> Answer:
        store = self.hub.store
        commit = store.resolve(repo, rev)
        blob = store.tree(repo, rev).get(path)
        if blob is None:
            raise HubRefusal(404, "Entry not found", "EntryNotFound")
        headers = {"X-Repo-Commit": commit, "ETag": f'"{blob.oid}"', "Accept-Ranges": "bytes"}
        if blob.lfs:
            headers |= {"X-Linked-Etag": f'"{blob.lfs}"', "X-Linked-Size": str(blob.size)}
        data = store.bytes_of(blob)
        data = _spoilt(data) if self.corrupt else data
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        if wanted is None:
            return 200, data, headers
        start, end = int(wanted[1]), int(wanted[2] or len(data) - 1)
        if start >= len(data):
            return 416, {}, headers | {"Content-Range": f"bytes */{len(data)}"}
        headers["Content-Range"] = f"bytes {start}-{min(end, len(data) - 1)}/{len(data)}"
        return 206, data[start : end + 1], headers


_ROUTES: list[tuple[str, str, Callable[..., Answer]]] = [
    ("GET", "/api/whoami-v2", _Handler.whoami),
    ("GET", "/api/agent-harnesses", _Handler.agents),
    ("POST", "/api/repos/create", _Handler.create),
    ("POST", "/api/validate-yaml", _Handler.validate_yaml),
    ("PUT", _MODEL + "/settings", _Handler.settings),
    ("GET", _MODEL + "/auth-check", _Handler.auth_check),
    ("GET", _MODEL + "/auth-check/write", _Handler.auth_check_write),
    ("POST", _MODEL + "/preupload/(?P<rev>[^/]+)", _Handler.preupload),
    ("POST", r"/(?P<repo>[^/]+/[^/]+)\.git/info/lfs/objects/batch", _Handler.lfs_batch),
    ("PUT", "/lfs/(?P<place>[^/]+/[^/]+)/(?P<oid>[0-9a-f]{64})", _Handler.lfs_put),
    ("POST", "/lfs/(?P<repo>[^/]+/[^/]+)/(?P<oid>[0-9a-f]{64})/verify", _Handler.lfs_verify),
    ("POST", _MODEL + "/commit/(?P<rev>[^/]+)", _Handler.commit),
    ("POST", _MODEL + "/tag/(?P<name>[^/]+)", _Handler.tag),
    ("DELETE", _MODEL + "/tag/(?P<name>[^/]+)", _Handler.untag),
    ("POST", _MODEL + "/branch/(?P<name>[^/]+)", _Handler.branch),
    ("DELETE", _MODEL + "/branch/(?P<name>[^/]+)", _Handler.unbranch),
    ("GET", _MODEL, _Handler.info),
    ("GET", _MODEL + "/revision/(?P<rev>[^/]+)", _Handler.info),
    ("GET", _MODEL + "/tree/(?P<rev>[^/]+)(?:/(?P<path>.+))?", _Handler.tree),
    ("POST", _MODEL + "/paths-info/(?P<rev>[^/]+)", _Handler.paths_info),
    ("GET", _MODEL + "/refs", _Handler.refs),
    ("GET", _MODEL + "/commits/(?P<rev>[^/]+)", _Handler.commits),
    ("HEAD", "/(?P<repo>[^/]+/[^/]+)/resolve/(?P<rev>[^/]+)/(?P<path>.+)", _Handler.resolve),
    ("GET", "/(?P<repo>[^/]+/[^/]+)/resolve/(?P<rev>[^/]+)/(?P<path>.+)", _Handler.resolve),
]
_Handler.routes = [(method, re.compile(pattern), handler) for method, pattern, handler in _ROUTES]


def _entry(path: str, blob: Blob) -> dict[str, Any]:
    item: dict[str, Any] = {"type": "file", "path": path, "size": blob.size, "oid": blob.oid}
    return item | ({"lfs": _lfs(blob, "oid")} if blob.lfs else {})


def _lfs(blob: Blob, key: str) -> dict[str, Any]:
    return {key: blob.lfs, "size": blob.size, "pointerSize": 130}


def _refs(found: dict[str, str], prefix: str) -> list[dict[str, str]]:
    return [{"name": n, "ref": prefix + n, "targetCommit": c} for n, c in sorted(found.items())]


def _spoilt(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1]) if data else data
