"""Suites from YAML: those that come with the package, by name, and anybody's, by path."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from isogloss.config import load_yaml, parse
from isogloss.errors import ConfigError, did_you_mean
from isogloss.eval.task import Suite

_BUILT_IN = Path(__file__).parent / "suites"

Fill = Mapping[str, str | Path | Sequence[str | Path]]


def suites() -> list[str]:
    """The names of the suites that come with the package.

    >>> "naija" in suites()
    True
    """
    return sorted(path.stem for path in _BUILT_IN.glob("*.yaml"))


def load_suite(
    name_or_path: str | Path | Mapping[str, Any],
    *,
    root: Path | None = None,
    fill: Fill | None = None,
) -> Suite:
    """A suite by built-in name, by path of a YAML file, or from a mapping.

    Relative data paths are made absolute here; variables such as ``${ISOGLOSS_DATA}`` are left
    for :meth:`Task.files`, so that a suite can be listed where they are not set.

    Args:
        root: what relative data paths stand relative to; the suite file's folder unless given,
            for a mapping the working directory.
        fill: files for the blanks of a template: ``{"dialect": path, "prestige": [path, …]}``
            replaces data written as ``"{dialect}"`` and ``"{prestige}"``.

    Raises:
        ConfigError: no such suite, not YAML, an unknown key or a wrong value.

    >>> load_suite("dialect-gap", fill={"dialect": "a.txt", "prestige": "b.txt"}).tasks[0].side
    'dialect'
    """
    if isinstance(name_or_path, Mapping):
        content: Any = dict(name_or_path)
        where, folder = f"suite {content.get('name', '')}".strip(), Path.cwd()
    else:
        path = _find(name_or_path)
        content, where, folder = load_yaml(path), str(name_or_path), path.parent
    suite = parse(Suite, content, where)
    return _place(suite, (root or folder).absolute(), fill or {})


def _find(name: str | Path) -> Path:
    text = str(name)
    if text in suites():
        return _BUILT_IN / f"{text}.yaml"
    path = Path(name).expanduser()
    if path.suffix.lower() in (".yaml", ".yml") or path.is_file():
        return path
    raise ConfigError(
        f"there is no suite {text!r}",
        expected="the name of a built-in suite or the path of a .yaml file",
        hint=did_you_mean(text, suites()),
    )


def _place(suite: Suite, root: Path, fill: Fill) -> Suite:
    used: set[str] = set()

    def place(name: str) -> list[str]:
        blank = name[1:-1] if name.startswith("{") and name.endswith("}") else None
        if blank is not None and blank in fill:
            used.add(blank)
            given = fill[blank]
            # A filled-in path is the caller's, so it stands relative to the caller's folder.
            names = [given] if isinstance(given, str | Path) else list(given)
            return [_absolute(str(n), Path.cwd()) for n in names]
        return [name if blank is not None else _absolute(name, root)]

    tasks = []
    for task in suite.tasks:
        data: dict[str, str | list[str]] = {}
        for split, named in task.data.items():
            found = [p for n in ([named] if isinstance(named, str) else named) for p in place(n)]
            data[split] = found[0] if len(found) == 1 else found
        tasks.append(task.model_copy(update={"data": data}))
    if strange := sorted(set(fill) - used):
        blanks = [n[1:-1] for t in suite.tasks for n in _blanks(t.data)]
        raise ConfigError(
            f"suite {suite.name} has no blank {strange[0]!r}",
            hint=did_you_mean(strange[0], blanks) if blanks else "it takes no fill",
        )
    return suite.model_copy(update={"tasks": tasks})


def _blanks(data: Mapping[str, str | list[str]]) -> list[str]:
    names = [n for named in data.values() for n in ([named] if isinstance(named, str) else named)]
    return sorted({n for n in names if n.startswith("{") and n.endswith("}")})


def _absolute(name: str, root: Path) -> str:
    # "${VARIABLE}/…" and "~/…" are resolved when the file is read.
    return name if name.startswith(("$", "~")) else str(root / name)
