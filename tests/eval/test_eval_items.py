"""Items of a task, and items as bytes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isogloss.config import parse
from isogloss.errors import CorpusError, EvalError
from isogloss.eval.items import read_questions
from isogloss.eval.result import items_from_jsonl, items_to_jsonl
from isogloss.eval.task import Task

ROWS: list[dict[str, Any]] = [
    {"tweet": " E sweet ", "label": "positive", "place": "Lagos"},
    {"tweet": "  ", "label": "odd", "place": "Jos"},
    {"tweet": "So so {x}", "label": "neutral", "place": "Aba"},
    {"tweet": "E no good", "label": "negative", "place": "Uyo"},
]


def make(folder: Path, rows: list[dict[str, Any]], **changes: Any) -> Task:
    file = folder / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    content: dict[str, Any] = {
        "name": "tone",
        "kind": "classification",
        "side": "task",
        "data": {"test": str(file)},
        "text": "tweet",
        "label": "label",
        "labels": {"positive": "good", "negative": "bad"},
        "keep": ["positive", "negative"],
        "prompt": "{text} ({place})\nTone:",
    }
    return parse(Task, content | changes, "here")


def test_items_are_stripped_kept_and_rendered(tmp_path: Path) -> None:
    found = read_questions(make(tmp_path, ROWS), "test")
    assert [(q.id, q.text, q.gold) for q in found.items] == [
        ("0", "E sweet (Lagos)\nTone:", "positive"),
        ("1", "E no good (Uyo)\nTone:", "negative"),
    ]
    assert found.left_out == 1
    assert len({q.sha for q in found.items}) == 2
    assert all(len(q.sha) == 12 for q in found.items)


def test_the_first_so_many_items(tmp_path: Path) -> None:
    found = read_questions(make(tmp_path, ROWS, limit=1), "test")
    assert [q.gold for q in found.items] == ["positive"]


def test_labels_may_be_numbers(tmp_path: Path) -> None:
    rows = [{"tweet": "a", "label": 1, "place": "b"}]
    task = make(tmp_path, rows, labels={"1": "yes", "0": "no"}, keep=None)
    assert read_questions(task, "test").items[0].gold == "1"


@pytest.mark.parametrize(
    ("rows", "changes", "error", "message"),
    [
        (ROWS, {"keep": None}, EvalError, "row 3, has the label 'neutral'"),
        (ROWS[2:3], {}, EvalError, "all 1 have labels outside `keep`"),
        (ROWS[1:2], {}, EvalError, "has no items"),
        (ROWS, {"text": "text"}, CorpusError, "row 1, has no text in 'text'"),
        (ROWS, {"label": "class"}, CorpusError, "no text in 'class'"),
        (ROWS, {"prompt": "{text} {when}"}, CorpusError, "no text in 'when'"),
        ([{"tweet": "a", "label": True}], {}, CorpusError, "no text in 'label'"),
        ([], {}, CorpusError, "is empty"),
        (ROWS, {"data": {"test": "/no/such.jsonl"}}, CorpusError, "is not a file"),
    ],
)
def test_items_that_cannot_be_used(
    tmp_path: Path,
    rows: list[dict[str, Any]],
    changes: dict[str, Any],
    error: type[Exception],
    message: str,
) -> None:
    task = make(tmp_path, rows, **changes)
    with pytest.raises(error) as caught:
        read_questions(task, "test")
    assert message in str(caught.value)


values = st.one_of(
    st.text(max_size=8),
    st.integers(-(2**40), 2**40),
    st.booleans(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.dictionaries(st.text(max_size=4), st.floats(-1e9, 0.0), max_size=3),
)


@given(st.lists(st.dictionaries(st.text(max_size=6), values, max_size=5), max_size=6))
def test_items_come_back_equal_and_bytes_are_stable(items: list[dict[str, Any]]) -> None:
    data = items_to_jsonl(items)
    assert items_from_jsonl(data) == items
    turned = [dict(reversed(item.items())) for item in items]
    assert items_to_jsonl(turned) == data


@pytest.mark.parametrize("data", [b"{\n", b'{"a":1}\n[]\n', b"\xff\n"])
def test_bytes_that_hold_no_items(data: bytes) -> None:
    with pytest.raises(EvalError, match="of the stored items"):
        items_from_jsonl(data)
