"""Every error that isogloss raises on purpose, in one tree.

::

    IsoglossError                 exit 1
    ├── UsageError                exit 2   the command line or a call is wrong in itself
    ├── ConfigError                        a recipe, suite or experiment file says something unknown
    ├── RefError                           a reference names nothing, or more than one thing
    ├── InputError                         something from outside can't be used
    │   ├── CorpusError                    text: missing, empty, not UTF-8, wrong fields
    │   ├── CheckpointError                a model folder or a safetensors file
    │   ├── AdapterError                   a PEFT adapter folder
    │   └── UnsafeInput                    weights in pickles, links, paths that leave the folder
    ├── RegistryError
    │   └── IntegrityError                 a record or blob isn't what its digest says
    ├── MergeError
    │   ├── BaseMismatch                   inputs that don't stand on one base
    │   └── NonFinite                      NaN or infinity met while merging
    ├── TrainError
    ├── EvalError
    └── PublishError
        ├── GateRefused                    the measurements don't carry a publication
        ├── LicenceConflict                the licences of the lineage don't join
        └── HubError                       the Hub said no, or gave back something else

A message has three parts: what was *found*, what was *expected*, and what to type next
(*hint*). The command line prints them on one line and exits with ``exit_code``.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class IsoglossError(Exception):
    """What was found, what was expected, what to type next.

    >>> str(IsoglossError("notes.txt is empty", expected="UTF-8 text, one document a line"))
    'notes.txt is empty; expected UTF-8 text, one document a line'
    """

    exit_code = 1

    def __init__(self, found: str, *, expected: str = "", hint: str = "") -> None:
        self.found, self.expected, self.hint = found, expected, hint
        parts = [found]
        if expected:
            parts.append(f"expected {expected}")
        if hint:
            parts.append(hint)
        super().__init__("; ".join(parts))


class UsageError(IsoglossError):
    """A call that can't be right whatever the files hold."""

    exit_code = 2


class ConfigError(IsoglossError):
    """A recipe, suite or experiment file with an unknown key or a wrong value."""


class RefError(IsoglossError):
    """A reference that names nothing, or more than one thing."""


class InputError(IsoglossError):
    """Something from outside that can't be used."""


class CorpusError(InputError):
    """Text that is missing, empty, not UTF-8, or lacks a field."""


class CheckpointError(InputError):
    """A model folder or safetensors file that is broken or unfit."""


class AdapterError(InputError):
    """A PEFT adapter that is broken, unfit, or not a plain delta."""


class UnsafeInput(InputError):
    """Weights in pickles, symbolic links, or paths that leave their folder."""


class RegistryError(IsoglossError):
    """The registry can't do what was asked."""


class IntegrityError(RegistryError):
    """A record or blob that isn't what its digest says."""


class MergeError(IsoglossError):
    """A merge that can't be done."""


class BaseMismatch(MergeError):
    """Inputs that don't stand on one base."""


class NonFinite(MergeError):
    """NaN or infinity met while merging; the message names the tensor."""


class TrainError(IsoglossError):
    """A training run that can't start or can't go on."""


class EvalError(IsoglossError):
    """A measurement that can't be made, or two that can't be compared."""


class PublishError(IsoglossError):
    """A publication that can't be made."""


class GateRefused(PublishError):
    """The measurements don't carry a publication; the message gives the number."""


class LicenceConflict(PublishError):
    """The licences of the lineage don't join."""


class HubError(PublishError):
    """The Hub refused, or gave back something else than was sent."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A suggestion for a misspelt ``word``, or the list of what is known.

    >>> did_you_mean("densty", ["density", "weight"])
    "did you mean 'density'?"
    >>> did_you_mean("xyz", ["density", "weight"])
    'known: density, weight'
    """
    names = list(known)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    return "known: " + ", ".join(sorted(names)) if names else "none is known"
