"""Fixtures and options that all tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_DEFAULT_DATA = Path(__file__).resolve().parent.parent.parent / "shared" / "data"

# Tiny models lose more to threads than they gain, and two cores are shared.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# No test may reach the real Hub; the loopback server's tests set their own endpoint.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="also run the tests that take minutes")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--slow"):
        return
    skip = pytest.mark.skip(reason="slow; run with --slow (make test-slow)")
    for item in items:
        if "slow" in item.keywords:
            item.add_marker(skip)


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test ever sees the user's registry."""
    monkeypatch.setenv("ISOGLOSS_HOME", str(tmp_path / "home" / ".isogloss"))


@pytest.fixture(scope="session")
def isogloss_data() -> Path:
    """The folder of real text (docs/data.md); the test is skipped where it is missing."""
    folder = Path(os.environ.get("ISOGLOSS_DATA", _DEFAULT_DATA))
    if not (folder / "naija" / "train.jsonl").is_file():
        pytest.skip(f"no real text in {folder}; set ISOGLOSS_DATA (docs/data.md)")
    return folder
