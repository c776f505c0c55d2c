"""What is measured: a task, a suite of tasks, and a variant to measure.

A task is a few lines of YAML::

    - name: naija-sentiment
      kind: classification
      side: dialect
      data: {dev: "${ISOGLOSS_DATA}/naija_sentiment/dev.jsonl"}
      label: label
      labels: {positive: positive, negative: negative}
      keep: [positive, negative]
      prompt: "{text}\\nSentiment:"
      metric: macro_f1
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from isogloss.config import Strict
from isogloss.errors import EvalError, did_you_mean
from isogloss.files import digest_of, sha256_bytes
from isogloss.settings import expand
from isogloss.text import fields_of

Kind = Literal["perplexity", "classification"]
Side = Literal["dialect", "prestige", "task"]
Metric = Literal["bits_per_byte", "accuracy", "macro_f1"]

PROTOCOLS: Mapping[str, str] = {"perplexity": "bpb-rolling-1", "classification": "label-ll-1"}
"""How items of a kind are turned into numbers; the number rises when the same model on the same
items would give other scores."""

_METRICS: Mapping[str, tuple[Metric, ...]] = {
    "perplexity": ("bits_per_byte",),
    "classification": ("accuracy", "macro_f1"),
}
_FIELD = re.compile(r"\{([A-Za-z_]\w*)\}")


class Variant(NamedTuple):
    """Something to measure: a model folder, or an adapter folder on top of one."""

    name: str
    model: Path
    adapter: Path | None = None


class Task(Strict):
    """One measurement of one ability in one variety.

    ``error`` of a result is bits per byte, or 1 − score: lower is better. ``side`` says what the
    error counts towards: ``dialect`` tasks make the gain, ``prestige`` tasks the loss, ``task``
    is reported and decides nothing.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    kind: Kind
    side: Side
    description: str = ""
    data: dict[str, str | list[str]] = Field(min_length=1)
    """Split to file or files; a task is left out of the run of a split that it lacks."""
    text: str = "text"
    """Field of the text; ``{text}`` in a prompt is this field."""
    label: str | None = None
    """Field of the gold label (classification)."""
    labels: dict[str, str] | None = None
    """Gold label to the words scored after the prompt, in the order in which ties are broken."""
    keep: list[str] | None = None
    """Gold labels whose items are kept; all others are left out and counted. Unless given, a
    label outside ``labels`` is an error."""
    prompt: str | None = None
    """Template with ``{field}`` names, nothing else of ``str.format``; ``{{`` is a brace."""
    delimiter: str = " "
    """What stands between the prompt and the words of a label."""
    metric: Metric | None = None
    """The metric that ``error`` is made of; the first of the kind unless given."""
    language: str | None = None
    """BCP-47."""
    licence: str | None = None
    source: str | None = None
    limit: int | None = Field(default=None, ge=1)
    """Measure the first so many items only."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        allowed = _METRICS[self.kind]
        if self.metric is not None and self.metric not in allowed:
            raise ValueError(f"a metric of {self.kind}: {', '.join(allowed)}")
        answers: dict[str, object] = {
            "label": self.label,
            "labels": self.labels,
            "prompt": self.prompt,
        }
        if self.kind == "perplexity":
            answers["keep"] = self.keep
            given = [key for key, value in answers.items() if value is not None]
            if given:
                raise ValueError(f"no {', '.join(given)} in a perplexity task")
        else:
            self._check_answers(answers)
        return self

    def _check_answers(self, answers: Mapping[str, object]) -> None:
        lacking = [key for key, value in answers.items() if value is None]
        if lacking:
            raise ValueError(f"{', '.join(lacking)} in a classification task")
        labels, prompt = self.labels or {}, self.prompt or ""
        if len(labels) < 2:
            raise ValueError("two labels or more")
        words = [word.strip() for word in labels.values()]
        if not all(words) or len(set(words)) < len(words):
            raise ValueError("words of its own for each label")
        strange = [label for label in self.keep or () if label not in labels]
        if strange:
            raise ValueError(f"`keep` out of {', '.join(labels)}; found {', '.join(strange)}")
        if self.keep is not None and not self.keep:
            raise ValueError("at least one label in `keep`")
        rest = _FIELD.sub("", prompt.replace("{{", "").replace("}}", ""))
        if "{" in rest or "}" in rest:
            raise ValueError("a prompt with {field} names only, and {{ for a brace")
        if "text" not in fields_of(prompt):
            raise ValueError("a prompt with {text} in it")

    @property
    def score(self) -> Metric:
        """The metric that ``error`` is made of."""
        return self.metric or _METRICS[self.kind][0]

    @property
    def protocol(self) -> str:
        """How items become numbers: ``bpb-rolling-1``, ``label-ll-1``."""
        return PROTOCOLS[self.kind]

    @property
    def digest(self) -> str:
        """sha256 of everything that decides the numbers but the data's place: 64 hex digits."""
        content: dict[str, Any] = self.model_dump(
            include={"name", "kind", "side", "text", "label", "keep", "delimiter", "limit"}
        )
        content["metric"] = self.score
        content["protocol"] = self.protocol
        content["labels"] = list((self.labels or {}).items())
        content["prompt"] = sha256_bytes(self.prompt.encode()) if self.prompt else None
        return digest_of(content)

    def files(self, split: str) -> list[Path]:
        """The files of a split, variables expanded.

        Raises:
            EvalError: the task has no such split, or the place of its data isn't filled in.
            UsageError: a variable in a path is not set.
        """
        if split not in self.data:
            raise EvalError(
                f"task {self.name} has no split {split!r}", hint=did_you_mean(split, self.data)
            )
        named = self.data[split]
        for name in named if isinstance(named, list) else [named]:
            if place := _FIELD.fullmatch(name):
                raise EvalError(
                    f"the data of task {self.name} is still the blank {name}",
                    hint=f"fill it in with --fill {place[1]}=FILE",
                )
        return [Path(expand(n)) for n in ([named] if isinstance(named, str) else named)]


class Suite(Strict):
    """Tasks that are measured together."""

    name: str
    title: str = ""
    description: str = ""
    tasks: list[Task] = Field(min_length=1)

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [task.name for task in self.tasks]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"a name of its own for each task; twice: {', '.join(twice)}")
        return self
