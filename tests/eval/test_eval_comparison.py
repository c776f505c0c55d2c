"""Two variants side by side: golden values, symmetry, refusals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from isogloss.errors import EvalError
from isogloss.eval import TaskResult, compare
from isogloss.eval.bootstrap import mcnemar

Make = Callable[..., TaskResult]


def test_a_comparison_by_hand(perplexity_result: Make, class_result: Make) -> None:
    gold = ["a", "b"] * 20
    wrong = ["b" if g == "a" else "a" for g in gold]
    first = {
        "d": perplexity_result([10.0 + i % 3 for i in range(40)]),
        "c": class_result(gold, wrong[:10] + gold[10:]),
        "only-a": class_result(gold, gold, task="only-a"),
    }
    second = {
        "d": perplexity_result([9.0 + i % 3 for i in range(40)]),
        "c": class_result(gold, gold[:9] + wrong[9:12] + gold[12:]),
    }
    found = compare(first, second, names=("old", "new"))
    text, tone = found.rows
    assert (found.a, found.b, text.task, tone.task) == ("old", "new", "d", "c")
    assert text.difference.value == pytest.approx(text.b.value - text.a.value)
    assert text.difference.high < 0
    assert (text.word, text.method) == ("better", "bootstrap")
    # Item 9 both miss; the new one gains items 0 to 8 and loses 10 and 11.
    assert tone.method == "mcnemar-exact"
    assert tone.p == mcnemar(9, 2)
    assert tone.difference.value == pytest.approx(7 / 40)
    assert tone.holm_p == pytest.approx(tone.p)
    assert text.holm_p == pytest.approx(2 * text.p)
    assert tone.word == "undecided"


def test_turned_round_it_says_the_opposite(perplexity_result: Make) -> None:
    first = {"d": perplexity_result([10.0 + i % 3 for i in range(40)])}
    second = {"d": perplexity_result([9.0 + i % 5 for i in range(40)])}
    (there,), (back,) = compare(first, second).rows, compare(second, first).rows
    assert there.difference.value == pytest.approx(-back.difference.value)
    assert there.p == back.p
    assert (there.a, there.b) == (back.b, back.a)


def test_holm_decides_the_word(class_result: Make) -> None:
    gold = ["a"] * 30 + ["b"] * 10
    pred = ["b"] * 6 + gold[6:]
    alone = compare({"t": class_result(gold, pred)}, {"t": class_result(gold, gold)})
    assert alone.rows[0].p == pytest.approx(1 / 32)
    assert alone.rows[0].word == "better"
    twice = compare(
        {t: class_result(gold, pred, task=t) for t in "tu"},
        {t: class_result(gold, gold, task=t) for t in "tu"},
    )
    assert [row.word for row in twice.rows] == ["undecided", "undecided"]


def test_flags_name_their_variant(class_result: Make) -> None:
    gold = ["a", "b"] * 10
    found = compare({"c": class_result(gold, ["a"] * 20)}, {"c": class_result(gold, gold)})
    assert found.rows[0].flags == ("a:collapse",)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"protocol": "bpb-rolling-2"}, "a and b can't be compared on d: protocol is"),
        ({"task_digest": "f" * 64}, "task_digest is 000000000000 and ffffffffffff"),
        ({"split": "dev"}, "split is test and dev"),
        ({"n": 3}, "b has 2 stored items of d; expected 3"),
    ],
)
def test_what_cannot_be_compared(
    perplexity_result: Make, change: dict[str, Any], message: str
) -> None:
    one = perplexity_result([1.0, 2.0])
    with pytest.raises(EvalError) as caught:
        compare({"d": one}, {"d": one._replace(**change)})
    assert message in str(caught.value)


def test_another_number_of_items_cannot_be_compared(perplexity_result: Make) -> None:
    with pytest.raises(EvalError, match="n is 2 and 3"):
        compare({"d": perplexity_result([1.0] * 2)}, {"d": perplexity_result([1.0] * 3)})


@pytest.mark.parametrize("key", ["id", "sha", "bytes"])
def test_other_items_cannot_be_compared(perplexity_result: Make, key: str) -> None:
    one, two = perplexity_result([1.0, 2.0]), perplexity_result([1.0, 2.0])
    two.items[1][key] = "7" if key != "bytes" else 7
    with pytest.raises(EvalError, match=r"different items of d \(the first is item 1\)"):
        compare({"d": one}, {"d": two})


def test_no_task_in_common(perplexity_result: Make) -> None:
    with pytest.raises(EvalError, match="old and new share no task"):
        compare({"d": perplexity_result([1.0])}, {}, names=("old", "new"))
