"""What a merge method is: a pure function on arrays, and what is known about it.

A method is registered by :func:`register`, which carries its name (the paper's, in lower case),
its title, its paper and its parameters. The engine calls it with the base, the inputs and one
keyword for each parameter (``lambda_`` for ``lambda``): a value for a shared one, a list in the
order of the inputs for a per-input one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Value = float | bool | str | None

Kind = Literal["number", "flag", "choice", "normalize", "slack"]


class Parameter(NamedTuple):
    """One parameter of a method, as a recipe may give it."""

    name: str
    kind: Kind
    """``normalize`` is a choice that also takes mergekit's true and false; ``slack`` a mapping."""
    about: str
    default: Value = None
    required: bool = False
    per_input: bool = False
    """May differ between inputs; the function gets a list."""
    choices: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    plain: bool = False
    """One value for the whole merge: no gradient over layers, no filters."""


class Merged(NamedTuple):
    """One merged tensor and the counts taken on the way."""

    values: Array
    """float32, the shape of the inputs."""
    counts: dict[str, float]
    """Sums that add up over tensors; names with ``.i`` at the end belong to input ``i``."""


class Check(Protocol):
    """Raises ConfigError where resolved parameters can't go together for one tensor."""

    def __call__(
        self,
        tensor: str,
        labels: Sequence[str],
        shared: Mapping[str, Any],
        per_input: Mapping[str, Sequence[Any]],
    ) -> None: ...


class Method(NamedTuple):
    """A registered method."""

    name: str
    title: str
    paper: str
    space: Literal["weights", "deltas"]
    """What the function is given for each input: its weights, or its difference to the base."""
    parameters: tuple[Parameter, ...]
    function: Callable[..., Merged]
    check: Check
    presets: Mapping[str, Mapping[str, str]]
    """Values of ``semantics``, each with the options that it stands for."""
    version: int
    """Raised when the same recipe would give other bytes than before."""

    def parameter(self, name: str) -> Parameter | None:
        """The parameter called ``name``; None where there is none."""
        return next((p for p in self.parameters if p.name == name), None)

    def describe(self) -> dict[str, Any]:
        """JSON data for ``merge methods``."""
        shown = {"per_input", "choices", "about", "default", "required"}
        parameters = {
            p.name: {k: v for k, v in p._asdict().items() if k in shown} for p in self.parameters
        }
        return {
            "name": self.name,
            "title": self.title,
            "paper": self.paper,
            "native": True,
            "base_required": self.space == "deltas",
            "parameters": parameters,
        }


METHODS: dict[str, Method] = {}

_NO_PRESETS: Mapping[str, Mapping[str, str]] = {}


def accept(
    tensor: str,
    labels: Sequence[str],
    shared: Mapping[str, Any],
    per_input: Mapping[str, Sequence[Any]],
) -> None:
    """The check of a method whose parameters go together in any way."""


def register(
    *,
    name: str,
    title: str,
    paper: str,
    space: Literal["weights", "deltas"],
    parameters: tuple[Parameter, ...],
    check: Check = accept,
    presets: Mapping[str, Mapping[str, str]] = _NO_PRESETS,
    version: int = 1,
) -> Callable[[Callable[..., Merged]], Callable[..., Merged]]:
    """Register the decorated function in :data:`METHODS`, with the facts of :class:`Method`."""

    def decorate(function: Callable[..., Merged]) -> Callable[..., Merged]:
        METHODS[name] = Method(
            name, title, paper, space, parameters, function, check, presets, version
        )
        return function

    return decorate


WEIGHT = Parameter("weight", "number", "weight of the input", required=True, per_input=True)
LAMBDA = Parameter("lambda", "number", "scale on the merged delta", default=1.0)
INT8_MASK = Parameter(
    "int8_mask", "flag", "mergekit's dtype of a temporary; changes nothing here", default=False
)
