"""isogloss: dialect adapters — trained, merged, measured, published, and never lost.

The four wings are ``isogloss.registry``, ``isogloss.merge``, ``isogloss.train`` and
``isogloss.eval``; ``docs/architecture.md`` draws the house. Importing this module imports no
torch: the names below are loaded when first touched.

>>> import isogloss
>>> isogloss.__version__
'0.1.0'
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from isogloss.experiment import Experiment
    from isogloss.merge import Recipe
    from isogloss.registry import Registry

__version__ = "0.1.0"
__all__ = ["Experiment", "Recipe", "Registry"]

_HOMES = {
    "Experiment": "isogloss.experiment",
    "Recipe": "isogloss.merge",
    "Registry": "isogloss.registry",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'isogloss' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
