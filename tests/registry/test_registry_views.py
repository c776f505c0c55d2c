"""Views, lineage and blobs: what others read through."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from isogloss.errors import IntegrityError, RegistryError, UnsafeInput, UsageError
from isogloss.files import FileEntry, list_files
from isogloss.registry import Draft, HubSource, Parent, Registry, Version
from isogloss.registry.lineage import trace

Maker = Callable[..., Path]


def test_a_view_is_links_to_blobs(registry: Registry, make_model: Maker) -> None:
    version = registry.add(make_model(), Draft(name="m", kind="model"))
    view = registry.view(version)
    assert view == registry.root / "views" / version.content
    assert sorted(path.name for path in view.iterdir()) == ["config.json", "model.safetensors"]
    for entry in version.files:
        link = view / entry.path
        assert link.is_symlink()
        assert not os.path.isabs(os.readlink(link))  # noqa: PTH115, PTH117
        assert link.resolve() == registry.blob(entry.sha256)
    inode = view.stat().st_ino
    assert registry.view(version).stat().st_ino == inode


def test_a_broken_view_is_made_again(registry: Registry, make_model: Maker) -> None:
    version = registry.add(make_model(), Draft(name="m", kind="model"))
    link = registry.view(version) / "config.json"
    link.unlink()
    assert (registry.view(version) / "config.json").is_symlink()
    link.unlink()
    link.write_text("{}")
    assert (registry.view(version) / "config.json").is_symlink()


def test_a_writable_view_is_a_copy(registry: Registry, make_model: Maker, tmp_path: Path) -> None:
    version = registry.add(make_model(), Draft(name="m", kind="model"))
    copy = registry.view(version, writable=tmp_path / "copy")
    assert list_files(copy) == list(version.files)
    (copy / "config.json").write_text("changed")
    assert registry.read_blob(version.files[0].sha256) != b"changed"
    with pytest.raises(UsageError, match="is not empty"):
        registry.view(version, writable=copy)


def test_damaged_blobs(registry: Registry, make_model: Maker, tmp_path: Path) -> None:
    folder = make_model()
    version = registry.add(folder, Draft(name="m", kind="model"))
    entry = version.files[0]
    blob = registry.blob(entry.sha256)
    data = blob.read_bytes()
    blob.chmod(0o644)
    blob.write_bytes(b"X" + data[1:])
    with pytest.raises(IntegrityError, match="has the digest"):
        registry.read_blob(entry.sha256)
    with pytest.raises(IntegrityError, match="has the digest"):
        registry.view(version, writable=tmp_path / "copy")
    assert not (tmp_path / "copy").exists()
    blob.write_bytes(data[1:])
    with pytest.raises(IntegrityError, match=f"has {len(data) - 1} bytes"):
        registry.view(version)
    blob.unlink()
    with pytest.raises(IntegrityError, match=r"config\.json of m:1 is missing"):
        registry.view(version)
    with pytest.raises(IntegrityError, match="is missing"):
        registry.blob(entry.sha256)
    with pytest.raises(IntegrityError, match="is missing"):
        registry.read_blob(entry.sha256)
    # Adding the same again repairs it.
    assert registry.add(folder, Draft(name="m", kind="model")) == version
    assert registry.read_blob(entry.sha256) == data


def test_a_rotten_blob_is_repaired_by_the_same_bytes(registry: Registry) -> None:
    digest = registry.put_blob(b"abc")
    blob = registry.blob(digest)
    blob.chmod(0o644)
    blob.write_bytes(b"abd")
    assert registry.put_blob(b"abc") == digest
    assert registry.read_blob(digest) == b"abc"


@pytest.mark.parametrize("digest", ["", "x" * 64, "../../LAYOUT", "A" * 64])
def test_no_digests(registry: Registry, digest: str) -> None:
    with pytest.raises(RegistryError, match="is no digest"):
        registry.blob(digest)
    with pytest.raises(RegistryError, match="is no digest"):
        registry.read_blob(digest)


@pytest.mark.parametrize("path", ["/tmp/x", "../x", "a/../../x"])
def test_a_record_cannot_lead_out_of_its_view(registry: Registry, path: str) -> None:
    digest = registry.put_blob(b"abc")
    version = Version(
        name="m",
        kind="model",
        number=1,
        content="f" * 64,
        files=(FileEntry(path, 3, digest),),
        created_at="t",
    )
    with pytest.raises(UnsafeInput):
        registry.view(version)
    assert not (registry.root / "views" / version.content).exists()


def test_lineage(registry: Registry, make_corpus: Maker, make_model: Maker) -> None:
    corpus = registry.add(make_corpus(), Draft(name="text", kind="corpus"))
    base = registry.add(
        make_model("base"),
        Draft(name="base", kind="model", parents=(registry.parent_edge(corpus, "corpus"),)),
    )
    hub = HubSource(repo="org/task", commit="c" * 40)
    task = Parent(role="merge_input", ref=f"hf://org/task@{hub.commit}", hub=hub, weight=0.3)
    dialect = registry.add(
        make_model("dialect", fill=2),
        Draft(name="dialect", kind="model", parents=(registry.parent_edge(base, "base"),)),
    )
    merge = registry.add(
        make_model("merge", fill=3),
        Draft(
            name="merge",
            kind="model",
            parents=(
                registry.parent_edge(dialect, "merge_input", 0.7),
                task,
                registry.parent_edge(base, "base"),
            ),
        ),
    )
    tree = registry.lineage(merge)
    assert [(depth, n.ref, n.role, n.weight, n.seen) for depth, n in tree.walk()] == [
        (0, "merge:1", None, None, False),
        (1, "dialect:1", "merge_input", 0.7, False),
        (2, "base:1", "base", None, False),
        (3, "text:1", "corpus", None, False),
        (1, f"hf://org/task@{hub.commit}", "merge_input", 0.3, False),
        (1, "base:1", "base", None, True),
    ]
    assert tree.children[1].version is None
    assert registry.ancestors(merge) == [dialect, base, corpus]
    assert registry.parents(merge) == list(zip(merge.parents, (dialect, None, base), strict=True))
    assert registry.children(base) == [dialect, merge]
    assert registry.children(corpus) == [base]
    assert registry.ancestors(corpus) == registry.children(merge) == []
    # A task model pulled later is found at the other end of the edge by its content.
    pulled = registry.add_reference(Draft(name="task", kind="model", hub=hub))
    by_content = Parent(role="base", ref="task", content=pulled.content)
    child = registry.add(
        make_model("child", fill=4), Draft(name="child", kind="model", parents=(by_content,))
    )
    assert registry.parents(child) == [(by_content, pulled)]
    assert registry.children(pulled) == [child]


def test_a_deep_lineage(registry: Registry, make_corpus: Maker) -> None:
    version = registry.add(make_corpus(), Draft(name="c", kind="corpus"))
    for n in range(50):
        edge = registry.parent_edge(version, "corpus")
        draft = Draft(name="c", kind="corpus", parents=(edge,))
        version = registry.add(make_corpus(text=f"{n}\n"), draft)
    assert [v.number for v in registry.ancestors(version)] == list(range(50, 0, -1))


def test_a_lineage_that_bites_its_tail_ends() -> None:
    # Records can't (an edge holds its parent's digest); a hand-made index might.
    version = Version(name="a", kind="model", number=1, content="x", files=(), created_at="t")
    edge = Parent(role="base", ref="a:1")
    tree = trace(version, lambda _: [(edge, version)])
    assert [(depth, node.seen) for depth, node in tree.walk()] == [(0, False), (1, True)]
