"""A small grammar of sentences in a readable text file, and how a sentence is drawn from it.

A grammar file is read line by line:

===================  ==============================================================
``# …``              a comment
``@ théâtre``        what follows belongs to this theme
``nom = a | b | c``  a list; a line that begins with a space goes on with it
anything else        a frame: one sentence, or a few, with open places
===================  ==============================================================

Open places, in frames and in the entries of lists, may be nested:

- ``[a|b|c]`` is one of these; ``[|a]`` is ``a`` or nothing;
- ``[1:a|b] … [1:c|d]`` are tied: the same position is taken in every place with that digit, which
  is how a sentence agrees with itself: ``[1:Paul|Léa] est [1:content|contente]``;
- ``<nom>`` is an entry of the list of that name;
- ``de+<nom>`` joins two words as French does: *du*, *des*, *d'*, *au*, *qu'*, *s'il*.

>>> import random
>>> grammar = parse_grammar("ville = Arles | Metz", "@ voyage", "Je viens de+<ville>.")
>>> sorted({draw(grammar, grammar.themes["voyage"][0], random.Random(i)) for i in range(9)})
["Je viens d'Arles.", 'Je viens de Metz.']
"""

from __future__ import annotations

import random
import re
from typing import NamedTuple

from isogloss.errors import InputError

_LIST = re.compile(r"^(\w+) = (.*)$")
_JOINT = re.compile(r"(\w+)\+([^\s\]|]+)( ?)")
_SENTENCE_START = re.compile(r"(^|[.?!] )(\w)")
_VOWELS = "aeiouyàâæéèêëîïôöùûüœ"
_NO_ELISION = re.compile(
    r"(hach|halt|hamac|hamburger|haricot|hasard|haut|hibou|hockey|homard|hot|huit|onze|oui|"
    r"yaourt|yoga)"
)
_ELIDING = {"de", "que", "le", "la", "je", "ne", "me", "te", "se", "jusque", "parce que"}
_CONTRACTED = {("de", "le"): "du", ("de", "les"): "des", ("à", "le"): "au", ("à", "les"): "aux"}


class Grammar(NamedTuple):
    """Lists of phrases by name, and frames by theme, in the order of the file."""

    lists: dict[str, list[str]]
    themes: dict[str, list[str]]

    def frames(self) -> list[str]:
        """Every frame of every theme, in the order of the file."""
        return [frame for frames in self.themes.values() for frame in frames]


def parse_grammar(*lines: str) -> Grammar:
    """Read the lines of a grammar file.

    Raises:
        InputError: a frame stands before the first theme, a list is named twice, a place names a
            list that isn't there, or brackets don't close.
    """
    lists: dict[str, list[str]] = {}
    themes: dict[str, list[str]] = {}
    theme = name = ""
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.startswith("#"):
            continue
        if line.startswith(" ") and name:
            lists[name] += _alternatives(line.strip().removeprefix("|"))
        elif line.startswith("@ "):
            theme, name = line[2:].strip(), ""
            themes.setdefault(theme, [])
        elif match := _LIST.match(line):
            name = match[1]
            if name in lists:
                raise InputError(f"line {number}: the list `{name}` is there already")
            lists[name] = _alternatives(match[2].removesuffix("|"))
        elif not theme:
            raise InputError(f"line {number}: a frame before any theme", expected="`@ theme` first")
        else:
            name = ""
            themes[theme].append(line.strip())
    grammar = Grammar(lists, themes)
    _check(grammar)
    return grammar


def draw(grammar: Grammar, frame: str, rng: random.Random) -> str:
    """One sentence of ``frame``, its places filled by ``rng``, joined and capitalised.

    >>> draw(parse_grammar("@ t", "[1:elle|elle] est [1:là|là]."), "elle est là.", random.Random(0))
    'Elle est là.'
    """
    return polish(_fill(grammar, frame, rng, {}))


def polish(text: str) -> str:
    """Join what ``+`` marks, leave one space between words, begin sentences with a capital.

    >>> polish("on parle de+le match. il faut que+on parte")
    "On parle du match. Il faut qu'on parte"
    """
    text = " ".join(text.split()).replace(" ,", ",").replace(" .", ".")
    text = _JOINT.sub(lambda match: join(match[1], match[2], match[3]), text)
    return _SENTENCE_START.sub(lambda match: match[1] + match[2].upper(), text)


def join(left: str, right: str, space: str = "") -> str:
    """``left`` and the word ``right`` as French writes them together.

    >>> join("de", "les"), join("de", "hockey"), join("que", "elle"), join("si", "il")
    ('des', 'de hockey', "qu'elle", "s'il")
    """
    contracted = _CONTRACTED.get((left.lower(), right))
    if contracted:
        return (contracted.capitalize() if left[0].isupper() else contracted) + space
    if (left.lower() in _ELIDING and starts_with_vowel(right)) or (
        left.lower() == "si" and right in ("il", "ils")
    ):
        return f"{left[:-1]}'{right}{space}"
    return f"{left} {right}{space}"


def starts_with_vowel(word: str) -> bool:
    """Whether *de* becomes *d'* before ``word``: a vowel or a mute h, after French usage."""
    first = word.lower()
    return not _NO_ELISION.match(first) and first[0] in _VOWELS + "h"


def _fill(grammar: Grammar, text: str, rng: random.Random, tied: dict[str, int]) -> str:
    """``text`` with its outermost places filled, and theirs in turn; ``tied`` holds the draws."""
    out = []
    at = 0
    while at < len(text):
        if text[at] == "<":
            end = text.index(">", at)
            # Ties hold within the entry: a list's own digits don't meet those of the frame.
            out.append(_fill(grammar, rng.choice(grammar.lists[text[at + 1 : end]]), rng, {}))
        elif text[at] == "[":
            end = _closing(text, at)
            inside = text[at + 1 : end]
            key = inside[0] if inside[1:2] == ":" and inside[0].isdigit() else ""
            options = _alternatives(inside[2:] if key else inside, strip=False)
            choice = tied.get(key) if key else None
            if choice is None:
                choice = rng.randrange(len(options))
            if key:
                tied[key] = choice
            out.append(_fill(grammar, options[choice], rng, tied))
        else:
            end = at
            out.append(text[at])
        at = end + 1
    return "".join(out)


def _closing(text: str, start: int) -> int:
    """Where the bracket that opens at ``start`` closes; -1 where it never does."""
    depth = 0
    for at in range(start, len(text)):
        depth += (text[at] == "[") - (text[at] == "]")
        if depth == 0:
            return at
    return -1


def _alternatives(text: str, *, strip: bool = True) -> list[str]:
    """``text`` cut at the bars that stand in no bracket."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter == "[") - (letter == "]")
        if letter == "|" and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts] if strip else parts


def _check(grammar: Grammar) -> None:
    """Find what would only go wrong when a sentence is drawn."""
    entries = [entry for entries in grammar.lists.values() for entry in entries]
    for text in [*entries, *grammar.frames()]:
        if text.count("[") != text.count("]") or text.count("<") != text.count(">"):
            raise InputError(f"a bracket doesn't close in `{text}`")
        for name in re.findall(r"<(.*?)>", text):
            if name not in grammar.lists:
                raise InputError(
                    f"no list `{name}` in the grammar", expected=", ".join(sorted(grammar.lists))
                )
        sizes: dict[str, int] = {}
        for match in re.finditer(r"\[(\d):", text):
            inside = text[match.end() : _closing(text, match.start())]
            size = len(_alternatives(inside))
            if sizes.setdefault(match[1], size) != size:
                raise InputError(f"places tied by {match[1]} differ in length in `{text}`")
