"""The public face of the wing."""

from __future__ import annotations

import subprocess
import sys

import isogloss.eval


def test_all_is_sorted_and_every_name_loads() -> None:
    names = isogloss.eval.__all__
    assert names == sorted(names)
    assert set(names) == set(isogloss.eval._HOMES)
    for name in names:
        assert getattr(isogloss.eval, name).__name__ == name


def test_names_are_not_shadowed_by_modules() -> None:
    """A submodule once imported becomes an attribute: none may be called as a public name is."""
    assert not set(isogloss.eval._HOMES) & set(isogloss.eval._HOMES.values())


def test_suites_and_verdicts_need_no_torch() -> None:
    code = (
        "import sys; from isogloss.eval import compare, judge, load_suite, suites;"
        "[load_suite(n) for n in suites()];"
        "sys.exit(any(m in sys.modules for m in ('torch', 'transformers', 'peft')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
