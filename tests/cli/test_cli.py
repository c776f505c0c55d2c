"""The command line: help, exit codes, one-line errors, JSON; in a registry of its own."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from isogloss.cli.app import app
from isogloss.registry import Registry

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """run("registry", "ls") in a folder with a registry."""
    monkeypatch.delenv("ISOGLOSS_HOME")
    monkeypatch.chdir(tmp_path)
    Registry.init(tmp_path / ".isogloss").close()
    runner = CliRunner()

    def invoke(*words: object) -> Result:
        return runner.invoke(app, [str(word) for word in words])

    return invoke


def every_command() -> list[list[str]]:
    """The words of each command."""
    found: list[list[str]] = [[c.name or ""] for c in app.registered_commands]
    for group in app.registered_groups:
        inner = group.typer_instance
        assert inner is not None
        for command in inner.registered_commands:
            name = command.name or getattr(command.callback, "__name__", "")
            found.append([group.name or "", str(name)])
    return found


@pytest.mark.parametrize("words", every_command(), ids=" ".join)
def test_every_command_has_help_with_an_example_and_json(run: Run, words: list[str]) -> None:
    done = run(*words, "--help")
    assert done.exit_code == 0
    assert "--json" in done.stdout
    simple = {"ls", "show", "reindex", "presets", "methods", "suites"}
    if words[-1] not in simple:
        assert f"isogloss {' '.join(words)}" in done.stdout


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom isogloss.cli import main\nsys.argv = ['isogloss', '--help']\n"
        "try:\n    main()\nexcept SystemExit as done:\n    assert not done.code\n"
        "heavy = {'torch', 'transformers', 'peft', 'datasets', 'numba', 'sqlalchemy', 'pydantic'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_importing_isogloss_or_its_registry_imports_no_torch() -> None:
    code = (
        "import sys, isogloss, isogloss.registry\n"
        "isogloss.Registry, isogloss.registry.Version\n"
        "assert not {'torch', 'transformers', 'numpy'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_a_corpus_from_adding_to_showing(run: Run, tmp_path: Path) -> None:
    (tmp_path / "naija.txt").write_text("How you dey?\nI dey kampe.\n")
    done = run(
        "registry", "add", "naija.txt", "--name", "naija", "--language", "pcm",
        "--glottocode", "nige1257", "--prestige", "en", "--license", "cc-by-sa-4.0",
        "--consent", "given by the speakers", "--json",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["corpus"]["documents"] == 2
    assert "naija:1" in run("registry", "ls", "--language", "pcm").stdout
    assert run("registry", "ls", "--language", "fr", "-q").stdout == ""
    assert run("registry", "ls", "-q").stdout == "naija:1\n"
    page = run("registry", "show", "naija").stdout
    assert "given by the speakers" in page
    assert "cc-by-sa-4.0" in page
    assert run("registry", "alias", "naija:1", "best", "--why", "the only one").exit_code == 0
    assert json.loads(run("registry", "show", "naija@best", "--json").stdout)["number"] == 1
    folder = Path(run("registry", "path", "naija").stdout.strip())
    assert (folder / "naija.txt").read_text() == "How you dey?\nI dey kampe.\n"
    tree = json.loads(run("registry", "log", "naija", "--json").stdout)
    assert tree["ref"] == "naija:1"
    records = json.loads(run("registry", "reindex", "--json").stdout)["records"]
    assert records == 2


def lines(result: Result) -> list[str]:
    return [line for line in result.stderr.splitlines() if line.startswith("isogloss: ")]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ("registry show nothing", 1, "nothing"),
        ("registry add none.txt --name a", 1, "none.txt"),
        ("registry add empty.txt --name a", 1, "empty"),
        ("registry add ok.txt --name A!", 1, "can't be a name"),
        ("registry add ok.txt --name a --language zz-zzzz-q", 2, "zz-zzzz-q"),
        ("registry add ok.txt --name a --base b", 2, "--base for a corpus"),
        ("registry add ok.txt --name a --role dialekt", 1, "role"),
        ("registry add pickled --name a", 1, "pytorch_model.bin"),
        ("registry add broken --name a", 1, "model.safetensors"),
        ("registry alias ok latest", 1, "latest"),
        ("train cpt --base none --corpus ok.txt --name a", 1, "none"),
        ("train cpt --base ok --corpus ok.txt --name a --set rnk=3", 1, "did you mean 'rank'"),
        ("train cpt --base ok --corpus ok.txt --name a --set rank", 2, "key=value"),
        ("train cpt --base ok --corpus ok.txt --name a --preset cpu", 1, "no preset 'cpu'"),
        ("train cpt --base ok --corpus ok.txt --name a --set rank=[", 2, "a value in YAML"),
        ("train cpt --base ok --corpus ok.txt --name a --set rank=2024-13-45", 2, "in YAML"),
        ("train cpt --base ./none --corpus ok.txt --name a", 1, "nothing at ./none"),
        ("train base --corpus ok.txt --name a --vocab 3", 2, ""),
        ("registry ls --kind modell", 2, "did you mean 'model'"),
        ("registry ls --role tsak", 2, "did you mean 'task'"),
        ("registry add ok.txt --name a --glottocode nige1257", 2, "without a language"),
        ("registry init ok.txt", 1, "Not a directory"),
        ("demo --folder ok.txt", 1, "Not a directory"),
        ("eval compare ok ok --suite naija", 2, "compared with itself"),
        ("experiment run x.yaml --out pickled", 2, "is a folder"),
        ("experiment run x.yaml --seed -1", 2, ""),
        ("train base --corpus ok.txt --name a --shape big", 1, "HIDDENxLAYERS"),
        ("merge run recipe.yaml", 2, "--name NAME or --out FOLDER"),
        ("merge run none.yaml --out o", 1, "none.yaml"),
        ("merge run recipe.yaml --out o", 1, "did you mean 'density'"),
        ("merge plan recipe.yaml", 1, "density"),
        ("eval run ok --suite naja", 1, "naija"),
        ("eval run ok --suite dialect-gap --split tset", 1, "tset"),
        ("eval compare ok --suite naija", 2, "one variant"),
        ("experiment run none.yaml", 1, "none.yaml"),
        ("publish run ok --repo a/b --override winner", 2, "reason"),
        ("publish run none --repo a/b", 1, "none"),
        ("registry", 2, ""),
        ("registry show", 2, ""),
        ("nonsense", 2, ""),
        ("registry ls --nonsense", 2, ""),
    ],
)
def test_bad_input_is_one_line_and_the_right_exit_code(
    run: Run, tmp_path: Path, words: str, code: int, message: str
) -> None:
    (tmp_path / "ok.txt").write_text("one line\n")
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "recipe.yaml").write_text(
        "merge_method: ties\nbase_model: b\nmodels:\n"
        "  - {model: a, parameters: {weight: 1, densty: 0.5}}\n"
    )
    for name, weights in (("pickled", "pytorch_model.bin"), ("broken", "model.safetensors")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text('{"model_type": "llama"}')
        (tmp_path / name / weights).write_bytes(b"\x80\x02}q\x00.")
    (tmp_path / "x.yaml").write_text("name: x\nbase: base\nmeasure: {suite: naija}\n")
    assert run("registry", "add", "ok.txt", "--name", "ok").exit_code == 0
    with Registry.open(tmp_path / ".isogloss") as registry:
        before = registry.index_digest()
    done = run(*words.split())
    assert done.exit_code == code, done.output
    assert "Traceback" not in done.output
    assert not isinstance(done.exception, Exception) or isinstance(done.exception, SystemExit)
    if message:
        (error,) = lines(done)
        assert message in error
    if "--corpus" not in words:
        with Registry.open(tmp_path / ".isogloss") as registry:
            assert registry.index_digest() == before


def test_brackets_and_colons_are_printed_as_they_are(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("text\n")
    words = ("--name", "a", "--note", "[red]see[/b] :smile: [collapse]", "--origin", "[x]")
    assert run("registry", "add", "a.txt", *words).exit_code == 0
    page = run("registry", "show", "a")
    assert page.exit_code == 0
    assert "[red]see[/b] :smile: [collapse]" in page.stdout
    assert "[x]" in page.stdout


def test_json_is_json_whatever_the_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    from isogloss.cli import out

    out.show({"loss": [float("-inf"), (float("nan"), 1.5)]}, lambda: "", json=True)
    assert json.loads(capsys.readouterr().out) == {"loss": [None, [None, 1.5]]}


def test_without_a_registry_the_way_to_one_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ISOGLOSS_HOME", str(tmp_path / "none"))
    done = CliRunner().invoke(app, ["registry", "ls"])
    assert done.exit_code == 1
    assert "isogloss registry init" in done.stderr


def test_an_ambiguous_reference_lists_what_it_could_be(run: Run, tmp_path: Path) -> None:
    (tmp_path / "thing.txt").write_text("text\n")
    assert run("registry", "add", "thing.txt", "--name", "thing").exit_code == 0
    (tmp_path / "thing").mkdir()
    done = run("train", "cpt", "--base", "thing", "--corpus", "thing.txt", "--name", "x")
    assert done.exit_code == 1
    assert "./thing" in done.stderr
    assert "thing:1" in done.stderr


def test_a_base_an_adapter_and_a_merge_from_the_command_line(run: Run, tmp_path: Path) -> None:
    text = "\n".join(f"we dey go market buy rice number {i}" for i in range(60))
    (tmp_path / "text.txt").write_text(text)
    tiny = ["--set", "sequence_length=32", "--set", "batch_tokens=128", "--set", "max_steps=2"]
    words: list[list[Any]] = [
        ["train", "base", "--corpus", "text.txt", "--name", "base", "--shape", "llama:32x1",
         "--vocab", 300, *tiny],
        ["train", "cpt", "--base", "base", "--corpus", "text", "--name", "cpt", *tiny,
         "--set", "rank=2"],
    ]  # fmt: skip
    for command in words:
        done = run(*command)
        assert done.exit_code == 0, done.output
    (tmp_path / "recipe.yaml").write_text(
        "merge_method: task_arithmetic\nbase_model: base\nmodels:\n"
        "  - {model: cpt, parameters: {weight: 0.5}}\n"
    )
    assert "task_arithmetic" in run("merge", "plan", "recipe.yaml").stdout
    done = run("merge", "run", "recipe.yaml", "--name", "merged")
    assert done.exit_code == 0, done.output
    log = run("registry", "log", "merged").stdout
    for ref in ("merged:1", "base:1", "cpt:1", "text:1"):
        assert ref in log
    (tmp_path / "suite.yaml").write_text(
        "name: s\ntasks:\n"
        "  - {name: a, kind: perplexity, side: dialect, data: {dev: text.txt}}\n"
        "  - {name: b, kind: perplexity, side: prestige, data: {dev: text.txt}}\n"
    )
    done = run("eval", "compare", "base", "merged", "--rival", "cpt", "--suite", "suite.yaml")
    assert done.exit_code == 0, done.output
    assert "winner" in done.stdout
    found = run("eval", "run", "base+cpt", "--suite", "suite.yaml", "--json")
    assert json.loads(found.stdout)[0]["ref"] == "base:1+cpt:1"
    found = run(
        "eval", "run", "base", "--suite", "dialect-gap", "--split", "test", "--json",
        "--fill", "dialect=text.txt", "--fill", "prestige=text.txt",
    )  # fmt: skip
    assert [e["task"] for e in json.loads(found.stdout)] == ["dialect-bpb", "prestige-bpb"]
    card = run("publish", "card", "merged")
    assert card.exit_code == 0, card.output
    assert card.stdout.startswith("---\n")
    dry = run("publish", "run", "merged", "--repo", "me/merged", "--dry-run")
    assert dry.exit_code == 0, dry.output
    assert "FAIL" in dry.stdout
    refused = run("publish", "run", "merged", "--repo", "me/merged")
    assert refused.exit_code == 1
    assert len(lines(refused)) == 1


def test_merging_paths_without_a_registry(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = run(
        "train", "base", "--corpus", _text(tmp_path), "--name", "base", "--shape", "llama:32x1",
        "--vocab", 300, "--set", "max_steps=1", "--set", "sequence_length=32",
        "--set", "batch_tokens=64",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    folder = run("registry", "path", "base", "--writable", "copy").stdout.strip()
    shutil.copytree(folder, "again")
    monkeypatch.setenv("ISOGLOSS_HOME", str(tmp_path / "none"))
    (tmp_path / "recipe.yaml").write_text(
        f"merge_method: linear\nmodels:\n  - {{model: {folder}, parameters: {{weight: 1}}}}\n"
        "  - {model: again, parameters: {weight: 3}}\n"
    )
    done = run("merge", "run", "recipe.yaml", "--out", "merged")
    assert done.exit_code == 0, done.output
    merged = (tmp_path / "merged" / "model.safetensors").read_bytes()
    original = (Path(folder) / "model.safetensors").read_bytes()
    assert merged[-1000:] == original[-1000:]


def _text(folder: Path) -> Path:
    path = folder / "some.txt"
    path.write_text("\n".join(f"a line of text {i}" for i in range(40)))
    return path
