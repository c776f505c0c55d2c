"""What a measurement is: the result of one variant on one task, and its items as bytes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from isogloss.errors import EvalError
from isogloss.files import canonical_json

Item = dict[str, Any]
"""One scored item.

perplexity: ``{"id": "0", "sha": "…", "nats": 31.2, "bytes": 24, "tokens": 9}``;
classification: ``{"id": "0", "sha": "…", "gold": "positive", "pred": "negative",
"ll": {"positive": -4.1, "negative": -3.9}, "correct": false}``. ``sha`` holds the first 12 hex
digits of the sha256 of the text, so that two runs can be told to be on the same items. Nats are
−log p, natural logarithm; log-likelihoods ``ll`` are sums over the tokens of a label's words.
"""


class TaskResult(NamedTuple):
    """One variant on one split of one task."""

    task: str
    side: str
    kind: str
    split: str
    protocol: str
    """As the task's, with ``+bfloat16`` or so after it where the model wasn't in float32."""
    task_digest: str
    metric: str
    """The metric that ``error`` is made of."""
    error: float
    """Bits per byte, or 1 − score: lower is better."""
    n: int
    metrics: dict[str, float]
    flags: tuple[str, ...]
    items: list[Item]
    """In the order of the data."""


def items_to_jsonl(items: Iterable[Mapping[str, Any]]) -> bytes:
    """Items as canonical JSON lines: the same items give the same bytes everywhere.

    >>> items_to_jsonl([{"id": "0", "bytes": 3}])
    b'{"bytes":3,"id":"0"}\\n'
    """
    return b"".join(canonical_json(dict(item)) + b"\n" for item in items)


def items_from_jsonl(data: bytes) -> list[Item]:
    """The items that :func:`items_to_jsonl` wrote.

    Raises:
        EvalError: the bytes are not JSON objects, one a line.
    """
    items: list[Item] = []
    for number, line in enumerate(data.split(b"\n"), 1):
        if not line:
            continue
        try:
            item = json.loads(line)
        except ValueError as error:
            raise EvalError(f"line {number} of the stored items is no JSON") from error
        if not isinstance(item, dict):
            raise EvalError(f"line {number} of the stored items is no JSON object")
        items.append(item)
    return items
