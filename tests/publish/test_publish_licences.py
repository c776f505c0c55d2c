"""The licence join: what carries what, and who is named when nothing does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isogloss.publish.licences import TERMS, Licensed, carries, join

MERGE = Licensed("merge:1", None, derived=True)


def joined(*licences: str | None) -> str | None:
    return join(MERGE, [Licensed(f"p{i}:1", one) for i, one in enumerate(licences)]).licence


@pytest.mark.parametrize(
    ("parts", "whole"),
    [
        (["mit"], "mit"),
        (["mit", "apache-2.0"], "apache-2.0"),
        (["apache-2.0", "cc-by-4.0"], "cc-by-4.0"),
        (["apache-2.0", "cc-by-sa-4.0"], "cc-by-sa-4.0"),
        (["cc-by-sa-3.0", "cc-by-4.0"], "cc-by-sa-3.0"),
        (["cc-by-sa-3.0", "cc-by-sa-4.0"], "cc-by-sa-4.0"),  # 3.0 may move on to 4.0
        (["cc-by-sa-4.0", "gpl-3.0"], "gpl-3.0"),  # one way, as Creative Commons lists
        (["gpl-3.0", "agpl-3.0"], "agpl-3.0"),
        (["cc-by-4.0", "cc-by-nc-4.0"], "cc-by-nc-4.0"),
        (["cc-by-nc-4.0", "cc-by-nc-sa-4.0"], "cc-by-nc-sa-4.0"),
        (["llama3.2", "mit"], "llama3.2"),
        (["public-domain", "cc0-1.0"], "cc0-1.0"),
        (["cc-by-sa-4.0", "cc-by-nc-4.0"], None),
        (["cc-by-sa-4.0", "cc-by-nc-sa-4.0"], None),
        (["llama3.2", "cc-by-sa-4.0"], None),
        (["llama3.1", "llama3.2"], None),
        (["gpl-2.0", "apache-2.0"], None),
        (["gpl-2.0", "gpl-3.0"], None),
        (["cc-by-nd-4.0"], None),
        (["other"], None),
        ([None], None),
        ([], None),
    ],
)
def test_golden(parts: list[str | None], whole: str | None) -> None:
    assert joined(*parts) == whole


def test_conflict_names_both_licences_and_who_brings_them() -> None:
    parts = [Licensed("base:1", "mit"), Licensed("a:1", "cc-by-sa-4.0")]
    found = join(MERGE, [*parts, Licensed("b:2", "cc-by-nc-4.0")])
    assert found.problems == ("no one licence carries cc-by-sa-4.0 (a:1) and cc-by-nc-4.0 (b:2)",)


def test_unknown_names_every_artifact_without_a_licence() -> None:
    found = join(MERGE, [Licensed("a:1", None), Licensed("b:1", "mit"), Licensed("c:1", "weird")])
    assert found.problems == (
        "a:1 has no licence recorded",
        "c:1 is under 'weird', whose terms are not known here",
    )


def test_made_here_needs_no_licence_of_its_own() -> None:
    lineage = [Licensed("adapter:1", None, derived=True), Licensed("corpus:1", "cc-by-4.0")]
    assert join(MERGE, lineage).licence == "cc-by-4.0"


def test_own_licence_counts_if_it_carries_the_rest() -> None:
    lineage = [Licensed("corpus:1", "cc-by-sa-4.0")]
    assert join(Licensed("m:1", "cc-by-sa-4.0", True), lineage).licence == "cc-by-sa-4.0"
    refused = join(Licensed("m:1", "apache-2.0", True), lineage)
    assert refused.licence is None
    assert refused.problems == (
        "m:1 states apache-2.0, which doesn't carry corpus:1 (cc-by-sa-4.0)",
    )


def test_no_derivatives_may_be_passed_on_by_its_author_only() -> None:
    assert join(Licensed("base:1", "cc-by-nd-4.0"), []).licence == "cc-by-nd-4.0"
    assert "forbids" in join(MERGE, [Licensed("base:1", "cc-by-nd-4.0")]).problems[0]


IDS = st.lists(st.sampled_from(sorted(TERMS)), min_size=1, max_size=5)


@given(IDS)
def test_order_and_repetition_do_not_matter(ids: list[str]) -> None:
    assert joined(*ids) == joined(*reversed(ids)) == joined(*ids, *ids)


@given(IDS)
def test_the_join_carries_every_part_and_keeps_its_terms(ids: list[str]) -> None:
    whole = joined(*ids)
    if whole is None:
        return
    assert all(carries(whole, part) for part in ids)
    if not all(TERMS[part].commercial for part in ids):
        assert not TERMS[whole].commercial


@given(IDS, st.sampled_from(sorted(TERMS)))
def test_one_part_more_never_makes_it_freer(ids: list[str], extra: str) -> None:
    before, after = joined(*ids), joined(*ids, extra)
    if after is not None:
        assert before is not None
        assert TERMS[after].rank >= TERMS[before].rank
