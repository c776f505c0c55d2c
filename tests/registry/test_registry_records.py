"""Records: digests by hand, round trips as a law, and every way a file can be wrong."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isogloss.errors import IntegrityError, RegistryError
from isogloss.files import FileEntry
from isogloss.registry.codec import decode, encode, path_of, version_path
from isogloss.registry.records import (
    AliasMove,
    CorpusFacts,
    Draft,
    Evaluation,
    HubSource,
    Language,
    Parent,
    Publication,
    Record,
    Removal,
    Tag,
    Version,
    hub_content,
    plain,
    step_digest,
)

texts = st.text(st.characters(codec="utf-8"), max_size=12)
digests = st.integers(0, 2**256 - 1).map(lambda n: f"{n:064x}")
floats = st.floats(allow_nan=False, allow_infinity=False)
numbers = st.integers(1, 10**6)
anything = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | floats | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
names = st.from_regex(r"[a-z0-9][a-z0-9_]{0,10}(/[a-z0-9][a-z0-9_]{0,10})?", fullmatch=True)
maybe = texts | st.none()
files = st.tuples(texts, numbers, digests).map(lambda t: FileEntry(*t))
parents = st.builds(
    Parent,
    role=st.sampled_from(["base", "merge_input", "corpus"]),
    ref=texts,
    record=digests | st.none(),
    content=digests | st.none(),
    hub=st.builds(HubSource, repo=texts, commit=texts) | st.none(),
    weight=floats | st.none(),
)
versions = st.builds(
    Version,
    name=names,
    kind=st.sampled_from(["corpus", "adapter", "model"]),
    role=st.sampled_from(["dialect", "task"]) | st.none(),
    languages=st.lists(st.builds(Language, tag=texts, prestige=maybe), max_size=2).map(tuple),
    licence=maybe,
    parents=st.lists(parents, max_size=2).map(tuple),
    made_by=st.dictionaries(texts, anything, max_size=3),
    corpus=st.builds(CorpusFacts, documents=numbers, bytes=numbers, source=maybe) | st.none(),
    number=numbers,
    content=digests,
    files=st.lists(files, max_size=3).map(tuple),
    created_at=texts,
)
evaluations = st.builds(
    Evaluation,
    error=floats,
    metrics=st.dictionaries(texts, floats, max_size=3),
    side=st.sampled_from(["dialect", "prestige", "task"]),
    made_by=st.dictionaries(texts, anything, max_size=2),
)
others = st.one_of(
    evaluations,
    st.builds(Publication, files=st.lists(files, max_size=2).map(tuple)),
    st.builds(AliasMove, number=numbers | st.none()),
    st.builds(Tag),
    st.builds(Removal),
)


@given(versions | others)
def test_a_record_reads_back_as_it_was_written(record: Record) -> None:
    coded = encode(record)
    again = decode(coded.file, coded.path)
    assert again.record == record
    assert again.digest == coded.digest == record.record
    assert again.body == coded.body
    assert again.file == coded.file


@given(versions, names, numbers)
def test_name_and_number_are_pointers(version: Version, name: str, number: int) -> None:
    moved = version.model_copy(update={"name": name, "number": number})
    assert moved.record == version.record
    assert encode(moved).digest == encode(version).digest
    changed = version.model_copy(update={"content": "0" * 63 + "x"})
    assert changed.record != version.record


@given(versions | others, st.data())
def test_one_changed_byte_is_found(record: Record, data: st.DataObject) -> None:
    coded = encode(record)
    at = data.draw(st.integers(0, len(coded.file) - 1))
    flip = data.draw(st.integers(1, 255))
    broken = bytearray(coded.file)
    broken[at] ^= flip
    with pytest.raises(IntegrityError):
        decode(bytes(broken), coded.path)


def test_the_bytes_of_a_record_by_hand() -> None:
    move = AliasMove(name="a", alias="best", number=None, who="é", created_at="t")
    body = '{"alias":"best","created_at":"t","format":1,"name":"a","type":"alias-move","who":"é"}'
    digest = hashlib.sha256(body.encode()).hexdigest()
    coded = encode(move)
    assert coded.body == body  # number and why are None, and not written
    assert coded.digest == digest
    assert coded.path == f"alias-move/{digest[:2]}/{digest}.json"
    assert json.loads(coded.file) == json.loads(body) | {"record": digest}
    assert coded.file.endswith(b"\n")


def test_where_versions_lie() -> None:
    shard = hashlib.sha256(b"lab/pcm").hexdigest()[:2]
    assert version_path("lab/pcm", 3) == f"version/{shard}/lab+pcm@3.json"
    # All versions of a name share a folder, and no two refs share a file.
    assert version_path("lab/pcm", 4).rpartition("/")[0] == f"version/{shard}"


def test_a_new_optional_field_leaves_old_digests_alone() -> None:
    class Wider(Tag):
        added: str | None = None

    tag = {"version": "v", "key": "k", "value": "x", "created_at": "t"}
    assert Wider(**tag).record == Tag(**tag).record
    assert Wider(**tag, added="y").record != Tag(**tag).record


def test_made_by_keeps_its_nulls() -> None:
    draft = Draft(name="a", kind="model", made_by={"seed": None, "l": (1, {"x": None})})
    assert plain(draft)["made_by"] == {"seed": None, "l": [1, {"x": None}]}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), "\ud800", {1, 2}])
def test_what_json_cannot_hold_is_refused(value: Any) -> None:
    draft = {"name": "a", "kind": "model", "number": 1, "content": "", "files": ()}
    version = Version(**draft, created_at="t", made_by={"x": value})
    with pytest.raises(RegistryError, match="holds what no record can"):
        encode(version)


def _file(**change: Any) -> bytes:
    tag = Tag(version="v", key="k", value="x", created_at="t")
    value = json.loads(encode(tag).file) | change
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode() + b"\n"


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "can't be read"),
        (b"null\n", "not canonical JSON of an object"),
        (b"[" * 100_000, "can't be read"),
        (b"\xff\xfe", "can't be read"),
        (_file().rstrip(b"\n"), "not canonical"),
        (_file() + b"\n", "not canonical"),
        (_file(type="tga"), "type 'tga'"),
        (_file(type=["tag"]), "type"),
        (_file(format=2), "format 2"),
        (_file(format="1"), "format '1'"),
        (_file(key=3), "can't be read"),
        (_file(extra=1), "can't be read"),
        (_file(record="0" * 64), "has the digest"),
        (_file(record=None), "has the digest"),
        (_file(value="y"), "has the digest"),
    ],
)
def test_files_that_are_no_records(data: bytes, why: str) -> None:
    path = path_of(Tag(version="v", key="k", value="x", created_at="t"), "ab" * 32)
    with pytest.raises(IntegrityError, match=why):
        decode(data, path)


def test_a_record_in_another_place_is_refused() -> None:
    draft = {"name": "a", "kind": "model", "content": "", "files": (), "created_at": "t"}
    coded = encode(Version(**draft, number=1))
    with pytest.raises(IntegrityError, match="wrong place"):
        decode(coded.file, version_path("a", 2))


def test_step_digests_tell_steps_apart() -> None:
    one = step_digest("merge run", {"a": 1, "b": (2,)}, ["x", "y"], 0, 1)
    assert one == step_digest("merge run", {"b": [2], "a": 1}, ("x", "y"), 0, 1)
    others = [
        step_digest("merge plan", {"a": 1, "b": (2,)}, ["x", "y"], 0, 1),
        step_digest("merge run", {"a": 2, "b": (2,)}, ["x", "y"], 0, 1),
        step_digest("merge run", {"a": 1, "b": (2,)}, ["y", "x"], 0, 1),
        step_digest("merge run", {"a": 1, "b": (2,)}, ["x", "y"], None, 1),
        step_digest("merge run", {"a": 1, "b": (2,)}, ["x", "y"], 0, 2),
    ]
    assert len({one, *others}) == 6


def test_content_of_a_reference_tells_commits_apart() -> None:
    first = hub_content(HubSource(repo="o/m", commit="a" * 40))
    assert first == hashlib.sha256(f'["hub","o/m","{"a" * 40}"]'.encode()).hexdigest()
    assert first != hub_content(HubSource(repo="o/m", commit="b" * 40))
