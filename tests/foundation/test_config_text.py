"""YAML and text from people: what is read, and how a mistake is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from isogloss.config import Strict, load_yaml, parse
from isogloss.errors import ConfigError, CorpusError, IsoglossError, UsageError
from isogloss.settings import expand, home, home_here
from isogloss.text import fields_of, fill, read_rows, read_texts


class _Inner(Strict):
    density: float = 1.0


class _Outer(Strict):
    name: str
    inner: list[_Inner] = []
    by: dict[str, _Inner] = {}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"name": "a", "inner": [{"densty": 1}]}, "'inner.0.densty'; did you mean 'density'"),
        ({"name": "a", "innr": []}, "'innr'; did you mean 'inner'"),
        ({"name": "a", "by": {"x": {"densty": 1}}}, "densty"),
        ({}, "lacks the key 'name'"),
        ({"name": 3}, "name is 3; expected a valid string"),
        ([], "holds list"),
        (None, "is empty"),
    ],
)
def test_mistakes_are_named(data: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse(_Outer, data, "file.yaml")


def test_yaml_problems_have_a_line(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("a: 1\nb: [1,\n")
    with pytest.raises(ConfigError, match="line 3"):
        load_yaml(file)
    file.write_text("a: 2024-13-45\n")
    with pytest.raises(ConfigError, match="month must be"):
        load_yaml(file)
    with pytest.raises(ConfigError, match="not a file"):
        load_yaml(tmp_path / "none.yaml")


def test_rows_of_every_kind(tmp_path: Path) -> None:
    rows = [{"text": "Où ça?", "label": "1"}, {"text": 'Icitte, "là"', "label": "0"}]
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps(r) for r in rows) + "\n\n", "utf-8")
    (tmp_path / "a.tsv").write_text('text\tlabel\nOù ça?\t1\nIcitte, "là"\t0\n', "utf-8")
    (tmp_path / "a.csv").write_text('text,label\nOù ça?,1\n"Icitte, ""là""",0\n', "utf-8")
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    for name in ("a.jsonl", "a.tsv", "a.csv", "a.parquet"):
        assert list(read_rows(tmp_path / name)) == rows, name
    (tmp_path / "a.txt").write_text("\ufeffOù ça?\r\n\n  Icitte  \n", "utf-8")
    assert list(read_texts([tmp_path / "a.txt"])) == ["Où ça?", "Icitte"]


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.txt", b"", "is empty"),
        ("a.txt", b"d\xe9j\xe0\n", "not UTF-8"),
        ("a.txt", b"a\0b\n", "binary"),
        ("a.jsonl", b'{"text": "a"}\n{"text"\n', "line 2"),
        ("a.jsonl", b"[1]\n", "no JSON object"),
        ("a.jsonl", b'{"txt": "a"}\n', "no text in 'text'; expected one of its fields: txt"),
        ("a.jsonl", b'{"text": 3}\n', "no text"),
        ("a.jsonl", b'{"text": "a \\ud800 b"}\n', "line 1.*surrogate|line 1.*encode"),
        ("a.jsonl", b'{"text": "a", "n": ' + b"1" * 5000 + b"}\n", "line 1: Exceeds the limit"),
        ("a.jsonl", b"[" * 100_000 + b"\n", "line 1: maximum recursion"),
        ("a.tsv", b"text\tlabel\nonly\n", "line 2"),
        ("a.csv", b'text\n"open\n', "a.csv"),
        ("a.parquet", b"PAR?", "no Parquet"),
    ],
)
def test_bad_text_is_named(tmp_path: Path, name: str, data: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(CorpusError, match=message):
        list(read_texts([tmp_path / name]))


def test_a_field_of_a_table_may_be_a_novel(tmp_path: Path) -> None:
    for name in ("a.tsv", "a.csv"):
        (tmp_path / name).write_text("text\n" + "word " * 60_000 + "\n")
        assert [len(text) for text in read_texts([tmp_path / name])] == [299_999]


def test_a_device_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from isogloss.settings import device

    monkeypatch.setenv("ISOGLOSS_DEVICE", "tpu9")
    with pytest.raises(UsageError, match="'tpu9', which this machine doesn't have"):
        device()


def test_a_template_fills_fields_and_nothing_else() -> None:
    row = {"text": "{place} {0}", "place": "Lagos", "n": 2}
    assert fill("{{{text}}} in {place}, {n}", row) == "{{place} {0}} in Lagos, 2"
    assert fields_of("{{x}} {text} {place}") == ["text", "place"]
    with pytest.raises(CorpusError, match=r"\{c\}"):
        fill("{c}", row)


def test_an_unset_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ISOGLOSS_DATA", raising=False)
    with pytest.raises(UsageError, match="export ISOGLOSS_DATA=FOLDER"):
        expand("${ISOGLOSS_DATA}/a.txt")


def test_the_registry_of_the_nearest_parent_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ISOGLOSS_HOME")
    (tmp_path / ".isogloss").mkdir()
    (tmp_path / "a" / "b").mkdir(parents=True)
    assert home(tmp_path / "a" / "b") == tmp_path / ".isogloss"
    monkeypatch.setenv("ISOGLOSS_HOME", str(tmp_path / "x"))
    assert home(tmp_path / "a") == tmp_path / "x"


def test_an_experiment_makes_its_registry_where_it_is_told_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ISOGLOSS_HOME", str(tmp_path / "x"))
    assert home_here() == tmp_path / "x"
    monkeypatch.delenv("ISOGLOSS_HOME")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "none"))
    assert home_here() == tmp_path / ".isogloss"


def test_every_error_is_in_the_drawn_tree() -> None:
    import isogloss.errors as module

    drawn = module.__doc__ or ""
    for name, kind in vars(module).items():
        if isinstance(kind, type) and issubclass(kind, IsoglossError):
            assert name in drawn, name
            assert kind.__doc__
