"""The registry as its users meet it: naming, asking, measuring, making the index again."""

from __future__ import annotations

import getpass
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from isogloss.errors import (
    IntegrityError,
    RefError,
    RegistryError,
    UsageError,
)
from isogloss.files import FileEntry, list_files
from isogloss.registry import (
    Draft,
    Evaluation,
    Language,
    Publication,
    Registry,
    Version,
)
from isogloss.registry import registry as module

Maker = Callable[..., Path]


def _drop_index(root: Path) -> None:
    for path in root.glob("registry.sqlite*"):
        path.unlink()


def _evaluation(registry: Registry, version: Version, /, **change: Any) -> Evaluation:
    said: dict[str, Any] = {
        "version": version.record,
        "ref": version.ref,
        "suite": "s",
        "task": "t",
        "task_digest": "d",
        "side": "dialect",
        "split": "dev",
        "protocol": "p",
        "kind": "perplexity",
        "metric": "bits_per_byte",
        "error": 2.5,
        "n": 1,
        "metrics": {"bits_per_byte": 2.5},
        "items": registry.put_blob(b"{}\n"),
        "step": "step-1",
        "created_at": "2026-01-01",
    }
    return Evaluation(**{**said, **change})


@pytest.fixture
def story(registry: Registry, make_corpus: Maker, make_adapter: Maker, make_model: Maker) -> Any:
    """corpus → base; corpus + base → adapter and task model → merge, twice."""
    corpus = registry.add(make_corpus(), Draft(name="pidgin", kind="corpus", role="replay"))
    base = registry.add(
        make_model("base"),
        Draft(name="base", kind="model", parents=(registry.parent_edge(corpus, "corpus", 1.0),)),
    )
    adapter = registry.add(
        make_adapter(),
        Draft(
            name="lab/pcm",
            kind="adapter",
            role="dialect",
            languages=(Language(tag="PCM", glottocode="nige1257", prestige="en"),),
            parents=(
                registry.parent_edge(base, "base"),
                registry.parent_edge(corpus, "corpus"),
            ),
        ),
    )
    merge = registry.add(
        make_model("merge", fill=2),
        Draft(
            name="merge",
            kind="model",
            role="merged",
            step="step-m",
            parents=(
                registry.parent_edge(base, "base"),
                registry.parent_edge(adapter, "merge_input", 0.7),
            ),
        ),
    )
    return corpus, base, adapter, merge


def test_references_by_every_form(registry: Registry, make_corpus: Maker, story: Any) -> None:
    corpus, *_ = story
    second = registry.add(make_corpus("b.txt"), Draft(name="pidgin", kind="corpus"))
    registry.alias("pidgin", "best", 1)
    for ref in ("pidgin:1", "pidgin@best", f"pidgin@sha256:{corpus.content[:8]}"):
        assert registry.get(ref) == registry.find(ref) == corpus
    assert registry.get(f"pidgin@sha256:{corpus.record.upper()}") == corpus
    assert registry.get("pidgin") == registry.get("pidgin@latest") == second


def test_references_that_name_nothing(registry: Registry, story: Any) -> None:
    registry.alias("pidgin", "best", 1)
    for ref, said in {
        "pidgn": "'pidgn' is not in the registry; did you mean 'pidgin'? list them with",
        "xyz": "'xyz' is not in the registry; list them with: isogloss registry ls",
        "pidgin:2": "pidgin has no version 2; expected one of 1",
        "pidgin@bets": "pidgin has no alias 'bets'; did you mean 'best'?",
        "base@best": "base has no alias 'best'; list them with",
        "nil@best": "'nil' is not in the registry",
        "pidgin@sha256:00000000": "no version with the digest 00000000",
    }.items():
        with pytest.raises(RefError) as caught:
            registry.get(ref)
        assert said in str(caught.value)
        assert registry.find(ref) is None
    with pytest.raises(RefError, match="can't be a name"):
        registry.get("Org/Model")
    assert registry.find("Org/Model") is None
    assert registry.find("./some folder/x") is None


def test_a_digest_of_two_versions(registry: Registry, make_corpus: Maker, story: Any) -> None:
    corpus, base, *_ = story
    edge = registry.parent_edge(base, "base")
    registry.add(make_corpus(), Draft(name="pidgin", kind="corpus", parents=(edge,)))
    with pytest.raises(RefError, match=r"names 2 versions; expected one of pidgin:1 \(record"):
        registry.get(f"pidgin@sha256:{corpus.content}")
    with pytest.raises(RefError, match="names 2 versions"):
        registry.find(f"pidgin@sha256:{corpus.content[:8]}")
    assert registry.get(f"pidgin@sha256:{corpus.record}") == corpus


def test_listing(registry: Registry, make_corpus: Maker, story: Any) -> None:
    corpus, base, adapter, merge = story
    quebec = registry.add(
        make_corpus("q.txt", "icitte\n"),
        Draft(name="quebec", kind="corpus", languages=(Language(tag="fr-CA"),)),
    )
    assert registry.versions() == [base, adapter, merge, corpus, quebec]
    assert registry.names() == ["base", "lab/pcm", "merge", "pidgin", "quebec"]
    assert registry.versions(kind="model") == [base, merge]
    assert registry.versions(kind="model", role="merged") == [merge]
    assert registry.versions(name="base") == [base]
    assert registry.versions(language="fr") == registry.versions(language="FR_ca") == [quebec]
    assert registry.versions(language="fr-FR") == []
    assert registry.versions(language="pcm") == registry.versions(language="nige1257") == [adapter]
    assert registry.versions(language="queb1247") == []
    with pytest.raises(UsageError):
        registry.versions(language="zzz")
    assert registry.by_content(base.content) == [base]
    assert registry.by_record(merge.record) == merge
    assert registry.by_record("0" * 64) is None


def test_numbers_are_ordered_as_numbers(registry: Registry, make_corpus: Maker) -> None:
    for n in range(11):
        registry.add(make_corpus(text=f"{n}\n"), Draft(name="c", kind="corpus"))
    assert [v.number for v in registry.versions()] == list(range(1, 12))
    assert registry.get("c").number == 11


def test_the_newest_of_a_step(registry: Registry, make_corpus: Maker, story: Any) -> None:
    *_, merge = story
    assert registry.by_step("step-m") == merge
    assert registry.by_step("other") is None
    draft = Draft(name="again", kind="corpus", step="step-m")
    again = registry.add(make_corpus("x.txt"), draft)
    assert registry.by_step("step-m") == again
    registry.remove(again, why="a test")
    assert registry.by_step("step-m") == merge


def test_removal(registry: Registry, make_corpus: Maker, story: Any) -> None:
    corpus, base, *_ = story
    removal = registry.remove(corpus, why="consent withdrawn")
    assert (removal.version, removal.why) == (corpus.record, "consent withdrawn")
    assert "pidgin" not in registry.names()
    with pytest.raises(RefError, match="every version of pidgin was removed"):
        registry.get("pidgin")
    assert registry.by_record(corpus.record) == corpus
    assert registry.parents(base)[0][1] == corpus
    second = registry.add(make_corpus(), Draft(name="pidgin", kind="corpus"))
    assert second.ref == "pidgin:2"
    with pytest.raises(RefError, match="pidgin:1 was removed; expected one of 2"):
        registry.get("pidgin:1")


def test_aliases(registry: Registry, make_corpus: Maker, story: Any) -> None:
    registry.add(make_corpus("b.txt"), Draft(name="pidgin", kind="corpus"))
    assert registry.aliases("pidgin") == {}
    first = registry.alias("pidgin", "best", 1, why="lowest")
    second = registry.alias("pidgin", "best", 2)
    registry.alias("pidgin", "old", 1)
    assert registry.aliases("pidgin") == {"best": 2, "old": 1}
    registry.alias("pidgin", "old", None)
    assert registry.aliases("pidgin") == {"best": 2}
    log = registry.alias_log("pidgin")
    assert log[:2] == [first, second]
    assert [(m.alias, m.number, m.why) for m in log] == [
        ("best", 1, "lowest"),
        ("best", 2, None),
        ("old", 1, None),
        ("old", None, None),
    ]
    assert first.who == getpass.getuser()
    assert registry.aliases("base") == {}


def test_alias_moves_keep_their_order_when_the_clock_does_not(
    registry: Registry, story: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.alias("pidgin", "best", 1)
    monkeypatch.setattr(module, "now", lambda: "2001-01-01T00:00:00.000000+00:00")
    registry.alias("pidgin", "best", None)
    assert registry.aliases("pidgin") == {}
    registry.reindex()
    assert [move.number for move in registry.alias_log("pidgin")] == [1, None]


@pytest.mark.parametrize(
    ("name", "alias", "number"),
    [
        ("pidgin", "best", 2),
        ("pidgin", "best", 0),
        ("nil", "best", 1),
        ("pidgin", "latest", 1),
        ("pidgin", "v1", 1),
        ("pidgin", "Best", 1),
        ("pidgin", "gone", None),
        ("A", "best", 1),
    ],
)
def test_bad_aliases(
    registry: Registry, story: Any, name: str, alias: str, number: int | None
) -> None:
    before = registry.index_digest()
    with pytest.raises(RefError):
        registry.alias(name, alias, number)
    assert registry.index_digest() == before


def test_tags(registry: Registry, story: Any) -> None:
    corpus, base, *_ = story
    registry.tag(corpus, "speech", "yes")
    registry.tag(corpus, "old", "x")
    registry.tag(corpus, "old", None)
    assert registry.tags(corpus) == {"speech": "yes"}
    assert registry.tags(base) == {}


def test_measurements(registry: Registry, story: Any) -> None:
    _, base, _, merge = story
    first = registry.record_evaluation(_evaluation(registry, base))
    assert registry.record_evaluation(first) == first
    test = _evaluation(registry, base, split="test", created_at="2026-01-02")
    registry.record_evaluation(test)
    other = _evaluation(registry, merge, task="u", step="step-2", created_at="2025-01-01")
    registry.record_evaluation(other)
    assert registry.evaluations() == [other, first, test]
    assert registry.evaluations(base) == [first, test]
    assert registry.evaluations(base, split="test") == [test]
    assert registry.evaluations(task="u", suite="s") == [other]
    assert registry.evaluations(suite="x") == []
    assert registry.evaluation_by_step("step-1") == test
    assert registry.evaluation_by_step("none") is None


def test_measurements_that_stand_on_nothing(registry: Registry, story: Any) -> None:
    _, base, *_ = story
    for change, error in {
        ("items", "0" * 64): IntegrityError,
        ("items", "x"): RegistryError,
        ("version", "0" * 64): RegistryError,
        ("error", float("nan")): RegistryError,
    }.items():
        with pytest.raises(error):
            registry.record_evaluation(_evaluation(registry, base, **dict([change])))
    assert registry.evaluations() == []


def test_publications(registry: Registry, story: Any) -> None:
    *_, merge = story
    publication = Publication(
        version=merge.record,
        ref=merge.ref,
        endpoint="http://localhost",
        repo="lab/merge",
        commit="a" * 40,
        files=(FileEntry("a", 1, "b"),),
        verified_at="t",
        created_at="t",
    )
    assert registry.record_publication(publication) == publication
    assert registry.publications(merge) == registry.publications() == [publication]
    assert registry.publications(story[0]) == []


def test_the_index_is_a_fold(registry: Registry, story: Any) -> None:
    corpus, base, *_ = story
    registry.alias("pidgin", "best", 1)
    registry.tag(base, "a", "b")
    registry.record_evaluation(_evaluation(registry, base))
    registry.remove(corpus)
    before, versions, root = registry.index_digest(), registry.versions(), registry.root
    assert registry.reindex() == 8
    assert registry.index_digest() == before
    registry.close()
    for spoil in (
        _drop_index,
        lambda root: (root / "registry.sqlite").write_bytes(b"no database" * 999),
        lambda root: (root / "registry.sqlite").write_bytes(b""),
        _flip_pages,
    ):
        spoil(root)
        with Registry.open(root) as again:
            assert again.index_digest() == before
            assert again.versions() == versions
            assert again.damaged == ()


def _flip_pages(root: Path) -> None:
    data = bytearray((root / "registry.sqlite").read_bytes())
    data[4096:] = b"\xaa" * (len(data) - 4096)
    (root / "registry.sqlite").write_bytes(data)


def test_an_index_of_another_schema_is_made_again(registry: Registry, story: Any) -> None:
    import sqlite3

    before = registry.index_digest()
    registry.close()
    connection = sqlite3.connect(registry.root / "registry.sqlite")
    connection.executescript("DROP TABLE tag; CREATE TABLE later (x); PRAGMA user_version = 99")
    connection.close()
    with Registry.open(registry.root) as again:
        assert again.index_digest() == before


def test_records_without_rows_are_adopted(registry: Registry, story: Any, tmp_path: Path) -> None:
    import shutil

    corpus, *_ = story
    shutil.copytree(registry.root, tmp_path / "older")
    registry.alias("pidgin", "best", 1)
    registry.tag(corpus, "a", "b")
    before = registry.index_digest()
    shutil.copytree(registry.root / "records", tmp_path / "older" / "records", dirs_exist_ok=True)
    with Registry.open(tmp_path / "older") as older:
        assert older.index_digest() == before
        assert older.aliases("pidgin") == {"best": 1}


def test_a_number_taken_by_a_process_that_died(
    registry: Registry, make_corpus: Maker, tmp_path: Path
) -> None:
    # The other registry plays the process that wrote the file of c:1 and died before its commit.
    with Registry.init(tmp_path / "other") as other:
        other.add(make_corpus("a.txt", "a\n"), Draft(name="c", kind="corpus"))
        (path,) = (other.root / "records").rglob("*.json")
        target = registry.root / path.relative_to(other.root)
        target.parent.mkdir(parents=True)
        target.write_bytes(path.read_bytes())
    second = registry.add(make_corpus("b.txt", "b\n"), Draft(name="c", kind="corpus"))
    assert [v.ref for v in registry.versions()] == ["c:1", "c:2"]
    assert second.ref == "c:2"
    before = registry.index_digest()
    registry.reindex()
    assert registry.index_digest() == before


def test_one_bad_record_blocks_nothing(registry: Registry, make_corpus: Maker, story: Any) -> None:
    corpus, *_ = story
    count = len(registry.versions())
    (path,) = (registry.root / "records" / "version").rglob("pidgin@1.json")
    data = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(data.replace(b"pidgin", b"pidgon"))
    assert registry.reindex() == count - 1
    assert [damage.path for damage in registry.damaged] == [
        path.relative_to(registry.root).as_posix()
    ]
    assert registry.find("pidgin") is None
    # Its number stays taken.
    assert registry.add(make_corpus("z.txt"), Draft(name="pidgin", kind="corpus")).ref == "pidgin:2"
    path.write_bytes(data)
    with Registry.open(registry.root) as again:
        assert again.get("pidgin:1") == corpus
        assert again.damaged == ()
    path.unlink()
    with Registry.open(registry.root) as again:
        assert [damage.why for damage in again.damaged] == ["the file is gone"]


def test_opening(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RegistryError, match=r"no registry at .*; type: isogloss registry init"):
        Registry.open(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()
    home = tmp_path / "home"
    monkeypatch.setenv("ISOGLOSS_HOME", str(home))
    Registry.init(home).close()
    with Registry.open() as registry:
        assert registry.root == home
    Registry.init(home).close()
    (home / "LAYOUT").write_text("isogloss registry 2\n")
    for opener in (Registry.open, Registry.init):
        with pytest.raises(RegistryError, match="layout 'isogloss registry 2'; expected"):
            opener(home)


def test_init_where_other_things_lie(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(RegistryError, match=r"holds 'thesis\.tex' and no registry"):
        Registry.init(tmp_path)
    with pytest.raises(RegistryError, match="is a file"):
        Registry.init(tmp_path / "thesis.tex")
    assert os.listdir(tmp_path) == ["thesis.tex"]  # noqa: PTH208
    # An init that was cut off is completed.
    (tmp_path / "half" / "blobs").mkdir(parents=True)
    Registry.init(tmp_path / "half").close()


def test_a_registry_can_be_moved(registry: Registry, story: Any, tmp_path: Path) -> None:
    _, base, *_ = story
    view = registry.view(base)
    registry.close()
    registry.root.rename(tmp_path / "moved")
    with Registry.open(tmp_path / "moved") as moved:
        path = moved.view(base)
        assert path == tmp_path / "moved" / view.relative_to(registry.root)
        assert list_files(moved.view(base, writable=tmp_path / "copy")) == list(base.files)
        assert (path / "config.json").read_bytes() == (tmp_path / "copy/config.json").read_bytes()
