"""The package as it is shipped: what is listed is what is there, and a wheel needs nothing else."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SETUP = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]
PACKAGES: list[str] = SETUP["packages"]


def test_the_list_of_packages_is_the_disk() -> None:
    found = set()
    for name, folder in (("isogloss", "isogloss"), *((f"isogloss.{w}", w) for w in _wings())):
        for init in (ROOT / folder).rglob("__init__.py"):
            inner = init.parent.relative_to(ROOT / folder)
            if not any((ROOT / folder / p).is_symlink() for p in [inner, *inner.parents]):
                found.add(".".join([name, *inner.parts]))
    assert found == set(PACKAGES)
    assert set(SETUP["package-dir"]) == set(PACKAGES)


def _wings() -> list[str]:
    return ["eval", "merge", "registry", "train"]


def test_the_links_are_relative_and_lead_to_the_wings() -> None:
    for wing in _wings():
        link = ROOT / "isogloss" / wing
        assert str(link.readlink()) == f"../{wing}"


@pytest.mark.parametrize("name", PACKAGES)
def test_exports_exist_are_sorted_and_hidden_by_no_module(name: str) -> None:
    package = importlib.import_module(name)
    names = getattr(package, "__all__", [])
    assert list(names) == sorted(names)
    for one in names:
        value = getattr(package, one)
        assert type(value).__name__ != "module", one
    modules = {module.name for module in pkgutil.iter_modules(package.__path__)}
    assert not modules & set(names)


@pytest.mark.slow
def test_a_wheel_installed_elsewhere_imports_lists_and_renders(tmp_path: Path) -> None:
    """The wheel, unpacked next to nothing of the checkout, with the dependencies of this one."""
    source = tmp_path / "source"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(source)], check=True)
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation",
         "-w", str(tmp_path), str(source)],
        check=True, capture_output=True,
    )  # fmt: skip
    (wheel,) = tmp_path.glob("*.whl")
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    top = {p.name for p in site.iterdir() if not p.name.endswith(".dist-info")}
    assert top == {"isogloss"}
    script = f"""
import importlib, pkgutil, sys
from pathlib import Path
sys.path.insert(0, {str(site)!r})
import isogloss
assert Path(isogloss.__file__).is_relative_to({str(site)!r}), isogloss.__file__
for module in pkgutil.walk_packages(isogloss.__path__, "isogloss."):
    if not module.name.endswith("__main__"):
        found = importlib.import_module(module.name)
        assert Path(found.__file__).is_relative_to({str(site)!r}), module.name
from isogloss.eval import load_suite, suites
from isogloss.train import load_recipe, presets
from isogloss.experiment import load_experiment
from isogloss.experiment.demo import write_corpus
from isogloss.publish import card
from isogloss.registry import Draft, Registry
assert suites() and all(load_suite(name).tasks for name in suites())
assert presets() and all(load_recipe(name) for name in presets())
write_corpus(Path("demo/corpus"))
demo = Path({str(site)!r}) / "isogloss/experiment/demo/demo.yaml"
Path("demo/demo.yaml").write_bytes(demo.read_bytes())
assert load_experiment(Path("demo/demo.yaml")).merges
with Registry.init(Path("r")) as registry:
    Path("m").mkdir()
    Path("m/config.json").write_text('{{"model_type": "llama"}}')
    from safetensors.numpy import save_file
    import numpy
    save_file({{"w": numpy.zeros(2, "float32")}}, "m/model.safetensors")
    version = registry.add(Path("m"), Draft(name="m", kind="model", licence="apache-2.0"))
    assert card(registry, version).startswith("---")
print("fine")
"""
    work = tmp_path / "work"
    work.mkdir()
    done = subprocess.run(
        [sys.executable, "-I", "-c", script], cwd=work, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip().endswith("fine"), done.stderr[-2000:]
    assert (site / "isogloss" / "py.typed").is_file()
