"""Rows of text from files: one reader for corpora, task data and evaluation items.

``.jsonl`` holds one JSON object a line, ``.tsv`` and ``.csv`` have a header row, ``.parquet`` has
columns, and in any other file (``.txt``) each line is ``{"text": line}``. Blank lines are
skipped, and counted nowhere.
"""

from __future__ import annotations

import contextlib
import csv
import json
import re
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from typing import Any

from isogloss.errors import CorpusError

Row = dict[str, Any]

_LONGEST = 1 << 30
"""Characters in one field of a table; csv's own limit is shorter than a novel."""


def read_rows(path: Path) -> Iterator[Row]:
    """Each row of a file as a dictionary, in the file's order.

    Raises:
        CorpusError: missing, empty, not UTF-8, binary, or a line that can't be read (numbered).
    """
    if not path.is_file():
        raise CorpusError(f"{path} is not a file", expected="a .txt, .jsonl, .tsv or .parquet file")
    found = False
    try:
        for row in _READERS.get(path.suffix.lower(), _read_txt)(path):
            found = True
            yield row
    except UnicodeDecodeError as error:
        raise CorpusError(
            f"{path} is not UTF-8 (byte {error.start} of a block)",
            expected="UTF-8 text",
            hint="convert it with: iconv -f latin1 -t utf-8",
        ) from error
    if not found:
        raise CorpusError(f"{path} is empty", expected="one document a line")


def read_texts(paths: Iterable[Path], field: str = "text") -> Iterator[str]:
    """The ``field`` of every row of every file, stripped, empty ones left out.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as d:
    ...     p = Path(d, "a.txt"); _ = p.write_text("How you dey?\\n\\nI dey.\\n")
    ...     list(read_texts([p]))
    ['How you dey?', 'I dey.']

    Raises:
        CorpusError: as :func:`read_rows`, and where a row lacks ``field`` or it is no string.
    """
    for path in paths:
        for number, row in enumerate(read_rows(path), 1):
            text = row.get(field)
            if not isinstance(text, str):
                fields = ", ".join(map(str, row))
                raise CorpusError(
                    f"{path}, row {number}, has no text in {field!r}",
                    expected=f"one of its fields: {fields}",
                )
            if text := text.strip():
                yield text


def _lines(path: Path) -> Generator[str]:
    # newline="\n" keeps U+2028 and a stray carriage return inside a document inside it.
    with path.open(encoding="utf-8-sig", newline="\n") as file:
        for line in file:
            if "\0" in line:
                raise CorpusError(f"{path} is binary (a NUL byte)", expected="UTF-8 text")
            yield line.rstrip("\r\n")


def _read_txt(path: Path) -> Iterator[Row]:
    yield from ({"text": line} for line in _lines(path) if line.strip())


def _read_jsonl(path: Path) -> Iterator[Row]:
    with contextlib.closing(_lines(path)) as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
                if "\\u" in line:  # half a surrogate pair is JSON and no text
                    json.dumps(row, ensure_ascii=False).encode()
            except (ValueError, RecursionError) as error:
                why = str(error).split(":", 1)[0]
                raise CorpusError(f"{path}, line {number}: {why}", expected="JSON") from error
            if not isinstance(row, dict):
                raise CorpusError(
                    f"{path}, line {number}, is no JSON object", expected='{"text": "…"}'
                )
            yield row


def _read_table(path: Path, delimiter: str) -> Iterator[Row]:
    csv.field_size_limit(_LONGEST)
    with contextlib.closing(_lines(path)) as lines:
        if delimiter == "\t":
            reader = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
        else:
            reader = csv.DictReader(lines, delimiter=delimiter, strict=True)
        for number, row in enumerate(reader, 2):
            if None in row or None in row.values():
                raise CorpusError(
                    f"{path}, line {number}, has another number of columns than the header",
                    expected=", ".join(reader.fieldnames or ()),
                )
            yield dict(row)


def _read_tsv(path: Path) -> Iterator[Row]:
    yield from _read_table(path, "\t")


def _read_csv(path: Path) -> Iterator[Row]:
    try:
        yield from _read_table(path, ",")
    except csv.Error as error:
        raise CorpusError(f"{path}: {error}", expected="comma-separated values") from error


def _read_parquet(path: Path) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1024):
                yield from batch.to_pylist()
    except pa.ArrowInvalid as error:
        raise CorpusError(f"{path} is no Parquet file", expected=".parquet") from error


_READERS = {
    ".jsonl": _read_jsonl,
    ".tsv": _read_tsv,
    ".csv": _read_csv,
    ".parquet": _read_parquet,
}


_PLACE = re.compile(r"\{\{|\}\}|\{([A-Za-z_]\w*)\}")


def fill(template: str, row: Row) -> str:
    """``template`` with each ``{field}`` replaced by that field of ``row``.

    Nothing else of ``str.format``; ``{{`` and ``}}`` are braces, and a brace in a value stays one.

    >>> fill("{text} {{x}}\\nSentiment:", {"text": "I dey {kampe}"})
    'I dey {kampe} {x}\\nSentiment:'

    Raises:
        CorpusError: the row lacks a field that the template names.
    """

    def value(match: re.Match[str]) -> str:
        if match[1] is None:
            return match[0][0]
        found = row.get(match[1])
        if found is None:
            raise CorpusError(
                f"the template names {{{match[1]}}}, which a row lacks",
                expected=f"one of its fields: {', '.join(map(str, row))}",
            )
        return str(found)

    return _PLACE.sub(value, template)


def fields_of(template: str) -> list[str]:
    """The fields that a template names, in order.

    >>> fields_of("{text}\\nTopic {{x}}, {place}:")
    ['text', 'place']
    """
    return [match[1] for match in _PLACE.finditer(template) if match[1] is not None]
