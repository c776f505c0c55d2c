"""Languages and dialects: BCP-47 tags, Glottocodes, and which tag a person means by another.

A tag is validated against the IANA subtag registry that ``langcodes`` carries and written in its
canonical form. Many dialects have no tag of their own; the Glottocode says which one is meant.
"""

from __future__ import annotations

import re

from isogloss.errors import UsageError
from isogloss.registry.records import Language

_GLOTTOCODE = re.compile(r"[a-z0-9]{4}[0-9]{4}")


def language(tag: str, glottocode: str | None = None, prestige: str | None = None) -> Language:
    """A checked and normalised :class:`Language`.

    >>> language("FR_ca", glottocode="queb1247", prestige="fr")
    Language(tag='fr-CA', glottocode='queb1247', prestige='fr')

    Raises:
        UsageError: a tag is not BCP-47 or unknown to the IANA registry, or the Glottocode is
            not four letters or digits and four digits.
    """
    if glottocode is not None and not is_glottocode(glottocode):
        raise UsageError(
            f"{glottocode!r} is no Glottocode",
            expected="four letters or digits and four digits, as in queb1247",
        )
    return Language(
        tag=normalised(tag),
        glottocode=glottocode,
        prestige=None if prestige is None else normalised(prestige),
    )


def is_glottocode(text: str) -> bool:
    """Whether ``text`` has the form of a Glottocode.

    >>> is_glottocode("nige1257"), is_glottocode("pcm")
    (True, False)
    """
    return bool(_GLOTTOCODE.fullmatch(text))


def normalised(tag: str) -> str:
    """The canonical form of a BCP-47 tag.

    >>> normalised("eng_us"), normalised("PCM"), normalised("fr-ca-x-joual")
    ('en-US', 'pcm', 'fr-CA-x-joual')

    Raises:
        UsageError: as :func:`language`.
    """
    import langcodes

    try:
        known = langcodes.tag_is_valid(tag)
    except (ValueError, AttributeError):
        known = False
    if not known:
        raise UsageError(
            f"{tag!r} is no language tag",
            expected="BCP-47, as in fr-CA or pcm",
            hint="a dialect without a tag is its language with a Glottocode, or fr-CA-x-name",
        )
    return str(langcodes.standardize_tag(tag))


def matches(wanted: str, tag: str) -> bool:
    """Whether ``tag`` is ``wanted`` or a narrower variety of it.

    Extended filtering of RFC 4647 (section 3.3.2): subtags of ``wanted`` appear in ``tag`` in
    their order, the first ones equal; ``tag`` may have others between, but no singleton.

    >>> matches("fr", "fr-CA"), matches("fr-CA", "fr"), matches("zh-TW", "zh-Hant-TW")
    (True, False, True)
    """
    want, have = wanted.lower().split("-"), tag.lower().split("-")
    if want[0] not in ("*", have[0]):
        return False
    rest = have[1:]
    for subtag in want[1:]:
        if subtag == "*":
            continue
        while rest and rest[0] != subtag:
            if len(rest[0]) == 1:
                return False
            rest = rest[1:]
        if not rest:
            return False
        rest = rest[1:]
    return True
