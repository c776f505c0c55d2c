"""Language tags: what is accepted, how it is written, and what finds what."""

from __future__ import annotations

import pytest

from isogloss.errors import UsageError
from isogloss.registry import Language, language, matches
from isogloss.registry.languages import normalised


def test_normal_forms() -> None:
    assert language("FR_ca", "queb1247", "FR") == Language(
        tag="fr-CA", glottocode="queb1247", prestige="fr"
    )
    assert normalised("eng") == "en"
    assert normalised("pcm") == "pcm"
    assert normalised("ZH-hant-tw") == "zh-Hant-TW"
    assert normalised("fr-CA-x-joual") == "fr-CA-x-joual"
    assert normalised("de-CH-1901") == "de-CH-1901"


@pytest.mark.parametrize(
    "tag", ["", "zzz", "english", "fr-", "fr--CA", "fr-QQ9", "en_US.UTF-8", "é", "a" * 300, "C"]
)
def test_no_tag(tag: str) -> None:
    with pytest.raises(UsageError, match="is no language tag; expected BCP-47"):
        language(tag)
    with pytest.raises(UsageError, match="is no language tag"):
        language("fr", prestige=tag)


@pytest.mark.parametrize("code", ["", "queb124", "queb12470", "QUEB1247", "1247queb", "que-1247"])
def test_no_glottocode(code: str) -> None:
    with pytest.raises(UsageError, match="is no Glottocode"):
        language("fr", code)


# The rows with *, and those of de, are the examples of RFC 4647, section 3.3.2.
@pytest.mark.parametrize(
    ("wanted", "tag", "found"),
    [
        ("fr", "fr-CA", True),
        ("FR", "fr-ca", True),
        ("fr-CA", "fr", False),
        ("fr-CA", "fr-FR", False),
        ("f", "fr", False),
        ("pcm", "pcm", True),
        ("zh-TW", "zh-Hant-TW", True),
        ("de-DE", "de-Latn-DE", True),
        ("de-DE", "de-DE-x-goethe", True),
        ("de-DE", "de-Latn-DE-1996", True),
        ("de-DE", "de-Deva-DE", True),
        ("de-DE", "de", False),
        ("de-DE", "de-x-DE", False),
        ("de-DE", "de-Deva", False),
        ("*-CA", "fr-CA", True),
        ("fr-*", "fr", True),
    ],
)
def test_filtering(wanted: str, tag: str, found: bool) -> None:
    assert matches(wanted, tag) is found
