"""A family in a registry, a Hub on the loopback address, and a way to publish from one to other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.publish.family import Family
from tests.publish.hub_server import WRITER, LoopbackHub
from tests.publish.process import Publish, Publisher, client_environment


@pytest.fixture
def family(tmp_path: Path) -> Iterator[Family]:
    """The small family of ``family.py``, not measured yet."""
    made = Family(tmp_path / "family")
    yield made
    made.registry.close()


@pytest.fixture(scope="session")
def hub_of_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoopbackHub]:
    """One server for all tests: the client reads its address once, when it is imported."""
    with LoopbackHub(tmp_path_factory.mktemp("hub")) as server:
        yield server


@pytest.fixture
def hub(hub_of_session: LoopbackHub, tmp_path: Path) -> LoopbackHub:
    """An empty Hub."""
    hub_of_session.reset(tmp_path / "hub")
    return hub_of_session


@pytest.fixture(scope="session")
def publisher(
    hub_of_session: LoopbackHub, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Publisher]:
    """The process that most tests share."""
    folder = tmp_path_factory.mktemp("client")
    made = Publisher(client_environment(hub_of_session, folder), folder / "log")
    yield made
    made.close()


@pytest.fixture
def publish_calls(
    family: Family, hub: LoopbackHub, publisher: Publisher, tmp_path: Path
) -> Publish:
    """Make calls of ``publish`` in another process; with ``env``, in one of their own."""

    def run(*calls: dict[str, Any], env: dict[str, str] | None = None) -> list[dict[str, Any]]:
        used = publisher
        if env:
            used = Publisher(client_environment(hub, tmp_path) | env, tmp_path / "log")
        try:
            return [used.call(family.home, {"token": WRITER} | call) for call in calls]
        finally:
            if env:
                used.close()

    return run
