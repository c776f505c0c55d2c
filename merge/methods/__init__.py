"""The merge methods, one file each; :data:`METHODS` has them by name."""

from __future__ import annotations

# Importing a method's file registers it.
from isogloss.merge.methods import linear, task_arithmetic, ties  # noqa: F401
from isogloss.merge.methods.method import METHODS, Merged, Method, Parameter

__all__ = ["METHODS", "Merged", "Method", "Parameter"]
