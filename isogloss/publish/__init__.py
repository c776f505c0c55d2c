"""Publishing: from a version in the registry to a repository on the Hub, or a reasoned refusal.

The gates are computed from stored measurements, the licences of the whole lineage are joined, a
card and a provenance statement are written from the records, and everything goes up in one
commit that is read back and compared. Importing this module imports neither torch nor the Hub's
client: the names below are loaded when first touched.

>>> from isogloss.publish import Gate
>>> Gate("licence", True, "cc-by-sa-4.0").passed
True
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from isogloss.publish.cards import card
    from isogloss.publish.gate import Gate, gates
    from isogloss.publish.run import Published, publish

__all__ = ["Gate", "Published", "card", "gates", "publish"]

_HOMES = {
    "Gate": "gate",
    "Published": "run",
    "card": "cards",
    "gates": "gate",
    "publish": "run",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'isogloss.publish' has no attribute {name!r}")
    return getattr(importlib.import_module(f"isogloss.publish.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
