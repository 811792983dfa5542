"""An installed package finds the recipes that come with it: from a wheel and editable, anywhere."""

from __future__ import annotations

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


@pytest.mark.parametrize("how", ["wheel", "editable"])
def test_shipped_recipes_are_found_from_an_empty_directory(how: str, built: Path, tmp_path: Path) -> None:
    python = _environment(tmp_path / "env")
    what = ["-e", str(ROOT)] if how == "editable" else [str(next(built.glob("*.whl")))]
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps"]
    _run([*pip, "--no-build-isolation", *what], tmp_path)
    empty = tmp_path / "empty"
    empty.mkdir()
    where = _run([str(python), "-c", "import tulu_data; print(tulu_data.__file__)"], empty).strip()
    assert Path(where).is_relative_to(ROOT if how == "editable" else tmp_path / "env")
    program = str(python.parent / "tulu-data")
    assert "sft_mini: nothing wrong" in _run([program, "check", "sft_mini"], empty)
    assert "my_mix: nothing wrong" in _run(
        [program, "check", "my_mix", "--workspace", str(_started(program, tmp_path / "new"))], empty
    )
    assert list(empty.iterdir()) == []


def _started(program: str, folder: Path) -> Path:
    _run([program, "init", str(folder)], folder.parent)
    return folder


def _environment(folder: Path) -> Path:
    """A virtual environment that sees the libraries of this one, but not this package; returns its Python."""
    _run([sys.executable, "-m", "venv", "--without-pip", str(folder)], folder.parent)
    python = folder / "bin" / "python"
    home = _run([str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], folder).strip()
    Path(home, "libraries.pth").write_text(sysconfig.get_path("purelib"))  # a .pth file there is not followed
    return python


def _run(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
