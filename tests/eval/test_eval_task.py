"""Tasks and suites: what YAML may say, what it may not, and what the digest stands for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from isogloss.config import parse
from isogloss.errors import ConfigError, EvalError, UsageError
from isogloss.eval.suite import Fill, load_suite, suites
from isogloss.eval.task import Task

CLASSES: dict[str, Any] = {
    "name": "tone",
    "kind": "classification",
    "side": "task",
    "data": {"test": "a.jsonl"},
    "label": "label",
    "labels": {"p": "positive", "n": "negative"},
    "prompt": "{text}\nSentiment:",
}
PLAIN: dict[str, Any] = {
    "name": "bpb",
    "kind": "perplexity",
    "side": "dialect",
    "data": {"test": "a.txt", "dev": ["b.txt", "c.txt"]},
}


def task(content: dict[str, Any], **changes: Any) -> Task:
    return parse(Task, content | changes, "here")


@pytest.mark.parametrize(
    ("content", "changes", "message"),
    [
        (PLAIN, {"metrc": "bits_per_byte"}, "did you mean 'metric'"),
        (PLAIN, {"side": "left"}, "'dialect', 'prestige' or 'task'"),
        (PLAIN, {"kind": "guess"}, "'perplexity' or 'classification'"),
        (PLAIN, {"metric": "accuracy"}, "a metric of perplexity: bits_per_byte"),
        (PLAIN, {"prompt": "{text}"}, "no prompt in a perplexity task"),
        (PLAIN, {"name": "Two words"}, "name"),
        (PLAIN, {"data": {}}, "data"),
        (PLAIN, {"limit": 0}, "limit"),
        (CLASSES, {"label": None, "prompt": None}, "label, prompt in a classification task"),
        (CLASSES, {"labels": {"p": "positive"}}, "two labels or more"),
        (CLASSES, {"labels": {"p": "same", "n": " same"}}, "words of its own"),
        (CLASSES, {"labels": {"p": "", "n": "b"}}, "words of its own"),
        (CLASSES, {"keep": ["p", "x"]}, "`keep` out of p, n; found x"),
        (CLASSES, {"keep": []}, "at least one label"),
        (CLASSES, {"prompt": "{text} {0}"}, "{field} names only"),
        (CLASSES, {"prompt": "{text.__class__}"}, "{field} names only"),
        (CLASSES, {"prompt": "{text!r} {text}"}, "{field} names only"),
        (CLASSES, {"prompt": "Sentiment:"}, "a prompt with {text} in it"),
        (CLASSES, {"prompt": "{{text}}"}, "a prompt with {text} in it"),
        (CLASSES, {"metric": "bits_per_byte"}, "accuracy, macro_f1"),
    ],
)
def test_what_a_task_may_not_say(
    content: dict[str, Any], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        task(content, **changes)
    assert message in str(caught.value)


def test_defaults_by_kind() -> None:
    assert (task(PLAIN).score, task(PLAIN).protocol) == ("bits_per_byte", "bpb-rolling-1")
    assert (task(CLASSES).score, task(CLASSES).protocol) == ("accuracy", "label-ll-1")


def test_the_digest_leaves_out_places_and_words_about_the_task() -> None:
    plain = task(CLASSES).digest
    same: list[dict[str, Any]] = [
        {"data": {"dev": "elsewhere.jsonl"}},
        {"description": "x", "licence": "y", "source": "z", "language": "pcm"},
        {"metric": "accuracy"},
    ]
    assert {task(CLASSES, **change).digest for change in same} == {plain}


def test_the_digest_holds_everything_that_decides_the_numbers() -> None:
    changes: list[dict[str, Any]] = [
        {},
        {"name": "other"},
        {"side": "dialect"},
        {"metric": "macro_f1"},
        {"labels": {"n": "negative", "p": "positive"}},
        {"labels": {"p": "good", "n": "negative"}},
        {"keep": ["p"]},
        {"prompt": "{text}\nTone:"},
        {"delimiter": ""},
        {"limit": 5},
        {"text": "tweet"},
        {"label": "class"},
    ]
    assert len({task(CLASSES, **change).digest for change in changes}) == len(changes)


def test_files_are_expanded_when_they_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    found = task(PLAIN, data={"test": ["${ISOGLOSS_DATA}/a.txt", "b.txt"]})
    monkeypatch.setenv("ISOGLOSS_DATA", "/corpora")
    assert found.files("test") == [Path("/corpora/a.txt"), Path("b.txt")]
    monkeypatch.delenv("ISOGLOSS_DATA")
    with pytest.raises(UsageError, match="ISOGLOSS_DATA, which is not set"):
        found.files("test")
    with pytest.raises(EvalError, match="no split 'tset'; did you mean 'test'"):
        found.files("tset")


def test_built_in_suites_load_without_their_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ISOGLOSS_DATA", raising=False)
    assert suites() == ["dialect-gap", "naija"]
    for name in suites():
        suite = load_suite(name)
        assert suite.name == name
        assert suite.title
        assert {"dialect", "prestige"} <= {t.side for t in suite.tasks}
        assert all(t.description for t in suite.tasks)


def test_naija_chooses_and_reports_as_planned() -> None:
    tasks = {t.name: t for t in load_suite("naija").tasks}
    assert [n for n, t in tasks.items() if "dev" not in t.data] == ["english-ewt-bpb"]
    assert all("test" in t.data for t in tasks.values())
    assert tasks["naija-sentiment"].prompt == "{text}\nSentiment:"
    assert tasks["naija-sentiment"].score == "macro_f1"
    assert tasks["english-sentiment"].score == "accuracy"


def test_a_suite_file_is_read_relative_to_itself(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(
        "name: mine\ntasks:\n  - {name: a, kind: perplexity, side: dialect,"
        " data: {dev: texts/a.txt, test: [b.txt, '${X}/c.txt', /d.txt]}}\n"
    )
    (found,) = load_suite(file).tasks
    assert found.data["dev"] == str(tmp_path / "texts/a.txt")
    assert found.data["test"] == [str(tmp_path / "b.txt"), "${X}/c.txt", "/d.txt"]
    (moved,) = load_suite(str(file), root=Path("/r")).tasks
    assert moved.data["dev"] == "/r/texts/a.txt"


def test_blanks_are_filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    fill: Fill = {"dialect": "a.txt", "prestige": [Path("/b.txt"), "/c.txt"]}
    dialect, prestige = load_suite("dialect-gap", fill=fill).tasks
    assert dialect.files("test") == [tmp_path / "a.txt"]
    assert prestige.files("test") == [Path("/b.txt"), Path("/c.txt")]
    with pytest.raises(EvalError, match=r"still the blank \{dialect\}"):
        load_suite("dialect-gap").tasks[0].files("test")
    with pytest.raises(ConfigError, match="no blank 'dialekt'; did you mean 'dialect'"):
        load_suite("dialect-gap", fill={"dialekt": "a.txt"})
    with pytest.raises(ConfigError, match="it takes no fill"):
        load_suite("naija", fill={"dialect": "a.txt"})


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("niaja", "did you mean 'naija'"),
        ("missing.yaml", "is not a file"),
        ({"name": "x", "tasks": []}, "tasks"),
        ({"name": "x", "tasks": [PLAIN, PLAIN]}, "twice: bpb"),
        ({"name": "x", "task": [PLAIN]}, "did you mean 'tasks'"),
        ({"name": "x", "tasks": [PLAIN | {"sid": "task"}]}, "did you mean 'side'"),
    ],
)
def test_what_is_no_suite(name: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_suite(name)
    assert message in str(caught.value)
