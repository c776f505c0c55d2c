"""The command line: ``isogloss <noun> <verb>``, one module a noun.

Importing this package imports nothing heavy; each command imports what it needs in its body.
"""

from __future__ import annotations


def main() -> None:
    """Run the command line; exit 0 done, 1 failed, 2 misuse, 130 interrupted."""
    from isogloss.cli.app import app

    app()
