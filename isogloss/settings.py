"""Where things are: the environment variables that isogloss reads, all of them, in one place.

=====================  ==========================================================================
``ISOGLOSS_HOME``      the registry; default: ``.isogloss/`` in the nearest parent folder that
                       has one, else the platform's user data folder
``ISOGLOSS_DATA``      the folder that ``${ISOGLOSS_DATA}`` stands for in experiment and suite files
``ISOGLOSS_DEVICE``    ``cpu``, ``cuda``, ``cuda:1`` …; default: a GPU where there is one
=====================  ==========================================================================

The Hub's own variables (``HF_HOME``, ``HF_TOKEN``, ``HF_ENDPOINT`` …) are read by its client.
"""

from __future__ import annotations

import os
from pathlib import Path

from isogloss.errors import UsageError


def home_here() -> Path:
    """:func:`home`, but where there is no registry yet ``.isogloss/`` in the working directory,
    unless ``ISOGLOSS_HOME`` names another place."""
    found = home()
    return found if found.exists() or os.environ.get("ISOGLOSS_HOME") else Path.cwd() / ".isogloss"


def home(start: Path | None = None) -> Path:
    """The registry's folder; it may not exist yet.

    Args:
        start: the folder whose parents are searched for ``.isogloss/``; the working directory
            unless given.
    """
    named = os.environ.get("ISOGLOSS_HOME")
    if named:
        return Path(named).expanduser().absolute()
    here = (start or Path.cwd()).absolute()
    for folder in (here, *here.parents):
        if (folder / ".isogloss").is_dir():
            return folder / ".isogloss"
    import platformdirs

    return Path(platformdirs.user_data_dir("isogloss"))


def device() -> str:
    """What training and scoring run on: ``ISOGLOSS_DEVICE``, else a GPU, else ``cpu``.

    Raises:
        UsageError: ``ISOGLOSS_DEVICE`` names no device of this machine.
    """
    import torch

    named = os.environ.get("ISOGLOSS_DEVICE")
    if named:
        try:
            torch.empty(0, device=named)
        except (RuntimeError, AssertionError, NotImplementedError) as error:
            raise UsageError(
                f"ISOGLOSS_DEVICE is {named!r}, which this machine doesn't have",
                expected="cpu, cuda, cuda:1 …",
            ) from error
        return named
    return "cuda" if torch.cuda.is_available() else "cpu"


def expand(text: str) -> str:
    """``text`` with ``${VARIABLE}`` replaced from the environment and ``~`` from the user's home.

    Raises:
        UsageError: a variable is not set.
    """
    expanded = os.path.expandvars(os.path.expanduser(text))
    if "${" in expanded:
        name = expanded.split("${", 1)[1].split("}", 1)[0]
        raise UsageError(
            f"{text} names the variable {name}, which is not set",
            hint=f"type: export {name}=FOLDER (docs/data.md says what belongs there)",
        )
    return expanded
