"""An installed package finds the recipes that come with it: from a wheel and editable, anywhere."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
RECIPES = {
    path.relative_to(ROOT).as_posix()
    for folder in ("mixtures", "decontam", "synth")
    for path in (ROOT / folder).rglob("*")
    if path.is_file()
}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the wheel and the source distribution of this tree."""
    folder = tmp_path_factory.mktemp("dist")
    _run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-t", "sdist", "-d", str(folder)], ROOT)
    return folder


def test_the_wheel_holds_the_package_and_the_recipes_and_nothing_else(built: Path) -> None:
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
    inside = {name.removeprefix("tulu_data/_recipes/") for name in names if "/_recipes/" in name}
    assert inside == RECIPES
    modules = {p.relative_to(ROOT).as_posix() for p in (ROOT / "tulu_data").rglob("*.py")}
    assert modules <= names
    pages = {p.relative_to(ROOT).as_posix() for p in (ROOT / "tulu_data").glob("**/web/*")}
    assert pages
    assert pages <= names
    assert all(name.startswith("tulu_data/") and "__pycache__" not in name for name in names)


def test_the_source_distribution_builds_the_same_wheel(built: Path, tmp_path: Path) -> None:
    with tarfile.open(next(built.glob("*.tar.gz"))) as sdist:
        sdist.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    assert (source / "tests").is_dir()
    assert not any((source / name).exists() for name in (".venv", ".git", "demo", "store"))
    _run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)], source)
    (first,), (second,) = built.glob("*.whl"), tmp_path.glob("*.whl")
    assert first.read_bytes() == second.read_bytes()


@pytest.fixture(scope="module")
def installed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment in which the wheel is installed."""
    return _environment(tmp_path_factory.mktemp("wheel"), str(next(built.glob("*.whl"))))


def test_a_wheel_finds_its_recipes_from_an_empty_directory(installed: Path, tmp_path: Path) -> None:
    assert _home(installed, tmp_path).is_relative_to(installed.parent.parent)
    _assert_recipes_are_found(installed, tmp_path)


def test_an_editable_install_finds_its_recipes_from_an_empty_directory(tmp_path: Path) -> None:
    python = _environment(tmp_path / "env", "-e", str(ROOT))
    assert _home(python, tmp_path).is_relative_to(ROOT)
    _assert_recipes_are_found(python, tmp_path)


def _home(python: Path, folder: Path) -> Path:
    return Path(_run([str(python), "-c", "import tulu_data; print(tulu_data.__file__)"], folder).strip())


def _assert_recipes_are_found(python: Path, folder: Path) -> None:
    program, empty = str(python.parent / "tulu-data"), folder / "empty"
    empty.mkdir()
    assert "sft_mini: 1 warning" in _run([program, "check", "sft_mini"], empty)
    assert list(empty.iterdir()) == []
    _run([program, "init"], empty)
    assert "my_mix: nothing wrong" in _run([program, "check", "my_mix"], empty)


def test_an_installed_package_brings_operators_of_its_own(installed: Path, tmp_path: Path) -> None:
    (libraries,) = (installed.parent.parent / "lib").glob("*/site-packages")
    (libraries / "loud.py").write_text(LOUD)
    about = libraries / "loud-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: loud\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[tulu_data.operators]\nloud = loud:Loud\n")
    program = str(installed.parent / "tulu-data")
    listed = json.loads(_run([program, "operators", "--json"], tmp_path))
    assert {"operator": "loud", "what": "Rejects nothing", "settings": ""} in listed
    _run([program, "init"], tmp_path)
    recipe = tmp_path / "mixtures" / "my_mix.yaml"
    recipe.write_text(recipe.read_text() + "steps:\n  - {op: loud}\n")
    assert "my_mix: nothing wrong" in _run([program, "check", "my_mix"], tmp_path)


LOUD = '''
import pyarrow as pa
from tulu_data.op import Op, verdicts


class Loud(Op):
    """Rejects nothing."""

    name = "loud"

    def reads(self, kind):
        return ("messages",)

    def apply(self, batch, state):
        return verdicts(batch, pa.array([False] * batch.num_rows), "loud:never")

    @classmethod
    def example(cls):
        return cls()
'''


def _environment(folder: Path, *what: str) -> Path:
    """A virtual environment with `what` installed that sees the libraries of this one; returns its Python."""
    _run([sys.executable, "-m", "venv", "--without-pip", str(folder)], folder.parent)
    python = folder / "bin" / "python"
    home = _run([str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], folder).strip()
    # Not followed from there is the .pth file by which this package may be installed here.
    Path(home, "libraries.pth").write_text(sysconfig.get_path("purelib"))
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps"]
    _run([*pip, "--no-build-isolation", *what], folder)
    return python


def _run(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
