"""The corpus the package carries: its shape, its two varieties, and the grammar that draws it."""

from __future__ import annotations

import itertools
import json
import os
import random
import re
import subprocess
import sys
import unicodedata
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isogloss.errors import InputError, UsageError
from isogloss.experiment import demo
from isogloss.experiment.demo import DemoFiles, corpus, write_corpus
from isogloss.experiment.demo.grammar import draw, join, parse_grammar, polish
from isogloss.text import read_rows, read_texts

ROOT = Path(__file__).parents[2]
GRAMMARS = ("french", "french_opinions", "quebec", "quebec_opinions")

# Words and turns that nobody writes in the French of France, or only with another meaning; all of
# them stand in the training text of the dialect.
DIALECT_ONLY = [
    r"achaler|m'achaler|achalé",
    r"à matin",
    r"à soir",
    r"astheure",
    r"bidonnés",
    r"ben",
    r"blonde",
    r"bordée",
    r"braille",
    r"breuvage",
    r"broche à foin",
    r"c'te",
    r"cancellé",
    r"cennes?",
    r"chars?",
    r"chums?",
    r"chus",
    r"dépanneur",
    r"dins",
    r"dispendieux",
    r"faque",
    r"fin de semaine",
    r"frette",
    r"garroche",
    r"(m')?gosser",
    r"icitte",
    r"j'm'en vas",
    r"job",
    r"(le|ben du) fun",
    r"m'as",
    r"magasiner",
    r"mitaines",
    r"moé|toé",
    r"mouille|mouiller",
    r"niaiser|m'niaiser",
    r"nuitte",
    r"pantoute",
    r"piasses",
    r"pis",
    r"plate",
    r"pogné",
    r"présentement",
    r"quétaine",
    r"s'a",
    r"tannée?",
    r"trippé",
    r"tsé",
    r"tuque",
    r"vidanges",
    r"(c'est|ça \w+|y \w+|t'as|tu \w+|vous \w+|on \w+)-tu",
]
COMMON_IN_DIALECT = [r"ben", r"pis|faque|itou", r"chus|m'as|j'm'?\w*", r"pas|pus|pantoute"]
NEGATION_WITH_NE = re.compile(r"\b(ne |n')[\w']+ (pas|plus|jamais|rien)\b", re.IGNORECASE)


def _finds(marker: str, text: str) -> bool:
    return re.search(rf"(?<![\w'-])(?:{marker})(?![\w-])", text, re.IGNORECASE) is not None


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> DemoFiles:
    return write_corpus(tmp_path_factory.mktemp("corpus"))


def _texts(path: Path) -> list[str]:
    return list(read_texts([path]))


def _everything(files: DemoFiles) -> list[Path]:
    return [path for splits in files for path in splits]


def test_counts(files: DemoFiles) -> None:
    counts = {
        name: tuple(len(_texts(path)) for path in splits)
        for name, splits in files._asdict().items()
    }
    assert counts == {
        "french": (4000, 300, 300),
        "quebec": (4000, 300, 300),
        "task_french": (2400, 300, 600),
        "task_quebec": (1200, 300, 600),
    }


def test_no_text_stands_twice_in_the_whole_corpus(files: DemoFiles) -> None:
    times = Counter(text.casefold() for path in _everything(files) for text in _texts(path))
    assert [text for text, count in times.items() if count > 1] == []


def test_labels_balance_in_every_file(files: DemoFiles) -> None:
    for path in [*files.task_french, *files.task_quebec]:
        labels = Counter(row["label"] for row in read_rows(path))
        assert set(labels) == {"positif", "négatif"}
        assert labels["positif"] == labels["négatif"], path


def test_labels_are_mixed_within_a_file(files: DemoFiles) -> None:
    labels = [row["label"] for row in read_rows(files.task_french.dev)]
    changes = sum(a != b for a, b in itertools.pairwise(labels))
    assert changes > len(labels) / 3


def test_lines_are_nfc_and_tidy(files: DemoFiles) -> None:
    for path in _everything(files):
        assert path.read_bytes().endswith(b"\n")
        for text in _texts(path):
            assert unicodedata.is_normalized("NFC", text)
            assert not re.search(r"[<>\[\]|+_\d]|  | [,.]|[?!]\.|,\.", text), text
            assert text[0].isupper() or text[0] == "'", text
            assert text[-1] in ".?!", text


def test_elision_and_contraction(files: DemoFiles) -> None:
    """What a grammar gets wrong first: *de Antoine*, *que il*, *le aspirateur*, *de le marché*."""
    hiatus = re.compile(
        r"\b(de|que|le|la|je|ne|me|te|se) (?!onze|huit|oui)([aeiouéèêâîô]|h[ieéô])[\w']+", re.I
    )
    for path in [*files.french, *files.task_french]:
        for text in _texts(path):
            assert not hiatus.search(text), text
            assert not re.search(r"\b(à|de) les?\b (?!\w+(er|ir|re)\b)|\bsi ils?\b", text), text
    for path in [*files.quebec, *files.task_quebec]:
        for text in _texts(path):
            found = hiatus.search(text)
            assert not (found and found[1].lower() in ("de", "que")), text


@pytest.mark.parametrize("marker", DIALECT_ONLY)
def test_dialect_marker_is_in_quebec_and_never_in_french(files: DemoFiles, marker: str) -> None:
    dialect = [*_texts(files.quebec.train), *_texts(files.task_quebec.train)]
    assert any(_finds(marker, text) for text in dialect)
    for path in [*files.french, *files.task_french]:
        assert [text for text in _texts(path) if _finds(marker, text)] == []


def test_every_quebec_file_speaks_the_dialect(files: DemoFiles) -> None:
    for path in [*files.quebec, *files.task_quebec]:
        texts = _texts(path)
        for marker in COMMON_IN_DIALECT:
            found = sum(_finds(marker, text) for text in texts)
            assert found >= 0.02 * len(texts), (path, marker, found)


def test_french_negates_with_ne_and_quebec_without(files: DemoFiles) -> None:
    for path in [*files.french, *files.task_french]:
        texts = _texts(path)
        assert sum(bool(NEGATION_WITH_NE.search(text)) for text in texts) > 0.05 * len(texts)
        assert [text for text in texts if re.search(r"\bj'ai pas\b|\bc'est pas\b", text)] == []
    for path in [*files.quebec, *files.task_quebec]:
        assert [text for text in _texts(path) if NEGATION_WITH_NE.search(text)] == []


def test_the_task_crosses_over_in_part(files: DemoFiles) -> None:
    """Words of judgement learnt from French reach some of the dialect's texts, and far from all.

    A word judges when it stands at least nine times in ten under one label (and six times at all);
    a text is reached when its judging words lean to its own label.
    """
    seen: dict[str, Counter[str]] = {}
    for row in read_rows(files.task_french.train):
        for word in set(re.findall(r"\w+", row["text"].lower())):
            seen.setdefault(word, Counter())[row["label"]] += 1
    lean = {
        word: (1 if labels["positif"] > labels["négatif"] else -1)
        for word, labels in seen.items()
        if labels.total() >= 6 and max(labels.values()) >= 0.9 * labels.total()
    }

    def reached(path: Path) -> float:
        rows = list(read_rows(path))
        right = 0
        for row in rows:
            score = sum(lean.get(w, 0) for w in set(re.findall(r"\w+", row["text"].lower())))
            right += score * (1 if row["label"] == "positif" else -1) > 0
        return right / len(rows)

    assert reached(files.task_french.test) > 0.9
    assert 0.3 < reached(files.task_quebec.test) < 0.8


def test_false_friends_have_the_dialects_meaning(files: DemoFiles) -> None:
    rows = list(read_rows(files.task_quebec.train))
    for phrase, label in [
        ("c'était écœurant", "positif"),
        ("c'était malade", "positif"),
        ("c'était plate", "négatif"),
    ]:
        labels = {row["label"] for row in rows if phrase in row["text"].lower()}
        assert labels == {label}


def test_hand_written_texts_are_all_there(files: DemoFiles) -> None:
    for side, splits in (("french", files.french), ("quebec", files.quebec)):
        written = corpus.hand_written(side)
        assert len(written) == len(set(written)) >= 150
        assert set(written) <= {text for path in splits for text in _texts(path)}


def test_same_bytes_under_another_hash_seed(files: DemoFiles, tmp_path: Path) -> None:
    code = "import sys, pathlib; from isogloss.experiment.demo import write_corpus as w; "
    code += "w(pathlib.Path(sys.argv[1])); assert 'torch' not in sys.modules"
    for hash_seed in ("0", "4711"):
        folder = tmp_path / hash_seed
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        subprocess.run([sys.executable, "-c", code, folder], check=True, cwd=ROOT, env=environment)
        for path in _everything(files):
            again = folder / path.parent.name / path.name
            assert again.read_bytes() == path.read_bytes()


def test_another_seed_gives_another_corpus_of_the_same_shape(
    files: DemoFiles, tmp_path: Path
) -> None:
    other = write_corpus(tmp_path, seed=1)
    for mine, theirs in zip(_everything(files), _everything(other), strict=True):
        assert mine.read_bytes() != theirs.read_bytes()
        assert len(_texts(mine)) == len(_texts(theirs))


def test_writing_again_touches_nothing_and_mends_what_is_broken(
    files: DemoFiles, tmp_path: Path
) -> None:
    mine = write_corpus(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in _everything(mine)}
    mine.quebec.dev.write_text("fautif\n")
    assert write_corpus(tmp_path) == mine
    assert mine.quebec.dev.read_bytes() == files.quebec.dev.read_bytes()
    untouched = [path for path in _everything(mine) if path != mine.quebec.dev]
    assert all(path.stat().st_mtime_ns == before[path] for path in untouched)


def test_a_file_in_the_way_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "here").write_text("")
    with pytest.raises(UsageError, match="not a folder"):
        write_corpus(tmp_path / "here")


def test_sizes(files: DemoFiles) -> None:
    assert sum(path.stat().st_size for path in _everything(files)) < 1_500_000
    package = Path(corpus.__file__).parent
    assert sum(path.stat().st_size for path in package.glob("*.txt")) < 200_000


def test_few_draws_are_thrown_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []

    def counted(*args: object) -> str:
        drawn.append(draw(*args))  # type: ignore[arg-type]
        return drawn[-1]

    monkeypatch.setattr(corpus, "draw", counted)
    write_corpus(tmp_path)
    kept = 2 * 4600 + 3300 + 2100
    assert len(drawn) < 2 * kept


@pytest.mark.parametrize("name", GRAMMARS)
def test_grammars_are_varied(name: str) -> None:
    grammar = corpus.read_grammar(name)
    frames = grammar.frames()
    assert len(frames) == len(set(frames)) >= (26 if name.endswith("opinions") else 60)
    rng = random.Random(0)
    for frame in frames:
        assert len({draw(grammar, frame, rng) for _ in range(60)}) >= 12, frame


@pytest.mark.parametrize("name", GRAMMARS)
def test_every_list_is_used(name: str) -> None:
    grammar = corpus.read_grammar(name)
    entries = [entry for entries in grammar.lists.values() for entry in entries]
    text = "\n".join([*entries, *grammar.frames()])
    assert [place for place in grammar.lists if f"<{place}>" not in text] == []


@pytest.mark.parametrize(
    ("left", "right", "joined"),
    [
        ("de", "le", "du"),
        ("de", "les", "des"),
        ("à", "le", "au"),
        ("à", "les", "aux"),
        ("de", "la", "de la"),
        ("de", "Alma", "d'Alma"),
        ("de", "Hélène", "d'Hélène"),
        ("de", "hockey", "de hockey"),
        ("de", "onze", "de onze"),
        ("que", "Élodie", "qu'Élodie"),
        ("que", "elle", "qu'elle"),
        ("le", "aspirateur", "l'aspirateur"),
        ("si", "il", "s'il"),
        ("si", "elle", "si elle"),
        ("avec", "elle", "avec elle"),
    ],
)
def test_join(left: str, right: str, joined: str) -> None:
    assert join(left, right) == joined


def test_polish_joins_trims_and_capitalises() -> None:
    text = "le+aspirateur  est tombé . je parle de+les voisins , pas de+le chat. où ? ici"
    assert polish(text) == "L'aspirateur est tombé. Je parle des voisins, pas du chat. Où ? Ici"


@given(st.integers())
def test_tied_places_take_the_same_position(seed: int) -> None:
    grammar = parse_grammar(
        "nom_m = le chat | le chien",
        "nom_f = la poule",
        "@ t",
        "[1:<nom_m>|<nom_f>] [1:noir|noire].",
    )
    text = draw(grammar, grammar.themes["t"][0], random.Random(seed))
    assert text in {"Le chat noir.", "Le chien noir.", "La poule noire."}


def test_nested_places_and_long_lists() -> None:
    grammar = parse_grammar("a = x", "  | y", "@ t", "[z|[un|deux] <a>].")
    drawn = {draw(grammar, "[z|[un|deux] <a>].", random.Random(i)) for i in range(80)}
    assert drawn == {"Z.", "Un x.", "Un y.", "Deux x.", "Deux y."}


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        (["une phrase."], "before any theme"),
        (["a = x", "a = y"], "there already"),
        (["@ t", "un <mot>."], "no list `mot`"),
        (["@ t", "un [chat|chien."], "doesn't close"),
        (["@ t", "[1:a|b] [1:c]"], "differ in length"),
    ],
)
def test_a_broken_grammar_is_found_when_read(lines: list[str], found: str) -> None:
    with pytest.raises(InputError, match=found):
        parse_grammar(*lines)


def test_a_grammar_that_says_too_little_is_an_error_and_no_endless_loop() -> None:
    grammar = parse_grammar("@ t", "[a|b].")
    with pytest.raises(UsageError, match="no more than"):
        corpus.draw_distinct(grammar, grammar.frames(), 3, random.Random(0), set())


def test_exports() -> None:
    assert demo.__all__ == ["DemoFiles", "Splits", "run_demo", "write_corpus"]
    assert set(demo.__all__) <= set(dir(demo))
    with pytest.raises(AttributeError, match="nothing"):
        demo.nothing  # noqa: B018


def test_jsonl_is_readable_as_it_stands(files: DemoFiles) -> None:
    line = files.task_quebec.test.read_text("utf-8").splitlines()[0]
    assert list(json.loads(line)) == ["text", "label"]
    assert "\\u" not in line
