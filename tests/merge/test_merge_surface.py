"""What the wing shows of itself, and what importing it costs."""

from __future__ import annotations

import subprocess
import sys

import isogloss.merge
from isogloss.merge import METHODS


def test_all_is_alphabetical_and_there() -> None:
    names = isogloss.merge.__all__
    assert names == sorted(names)
    assert all(getattr(isogloss.merge, name) is not None for name in names)
    assert set(names) <= set(dir(isogloss.merge))
    assert callable(isogloss.merge.plan)


def test_no_module_hides_a_public_name() -> None:
    # A module called like a function of the surface would replace it once it is imported.
    script = (
        "import sys, isogloss.merge.engine, isogloss.merge as m\n"
        "assert callable(m.plan) and callable(m.run) and callable(m.load_recipe)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_merging_needs_no_torch() -> None:
    script = (
        "import sys, isogloss.merge\n"
        "[getattr(isogloss.merge, name) for name in isogloss.merge.__all__]\n"
        "assert not {'torch', 'transformers', 'peft', 'mergekit'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_methods_tell_of_themselves() -> None:
    assert sorted(METHODS) == ["linear", "task_arithmetic", "ties"]
    for name, method in METHODS.items():
        told = method.describe()
        assert told["name"] == name
        assert told["paper"].startswith("https://arxiv.org/abs/")
        assert told["parameters"]["weight"]["required"]
        assert all(parameter["about"] for parameter in told["parameters"].values())
