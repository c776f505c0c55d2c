"""Publishes in a process of its own, with the real client, to the loopback address only.

Each line of stdin is ``{"home": …, "call": {"ref", "repo", …}}``; for each, ``publish`` of
``isogloss.publish`` is called, and one line says what came back, or the error. Every connection
that Python makes is counted, and refused unless it goes to the loopback address.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

CONNECTIONS: list[str] = []


def _guard(event: str, arguments: tuple[Any, ...]) -> None:
    if event != "socket.connect":
        return
    address = arguments[1]
    host = address[0] if isinstance(address, tuple) else "unix"
    CONNECTIONS.append(str(host))
    if host not in ("127.0.0.1", "::1", "localhost"):
        raise RuntimeError(f"the test tried to reach {host}")


def main() -> None:
    """Make the calls that come in."""
    sys.addaudithook(_guard)
    from isogloss.errors import IsoglossError
    from isogloss.publish import publish
    from isogloss.registry import Registry

    for line in sys.stdin:
        asked = json.loads(line)
        call, before = asked["call"], len(CONNECTIONS)
        with Registry.open(Path(asked["home"])) as registry:
            version = registry.get(call.pop("ref"))
            try:
                said: dict[str, Any] = publish(registry, version, **call)._asdict()
                said["error"] = None
            except IsoglossError as error:
                said = {"error": type(error).__name__, "message": str(error)}
        print(json.dumps(said | {"connections": len(CONNECTIONS) - before}), flush=True)


if __name__ == "__main__":
    main()
