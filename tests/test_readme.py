"""README.md is true: its commands print what it shows, its Python runs, and its tree lists what is there."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
CACHES = {"__pycache__"}


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """The page as its commands print it now, and the folder in which they ran."""
    folder = tmp_path_factory.mktemp("readme")
    return runpy.run_path(str(ROOT / "docs" / "readme.py"))["page"](folder), folder


def test_the_commands_print_what_is_shown(shown: tuple[str, Path]) -> None:
    assert shown[0] == TEXT, "run `make docs`"


def test_the_flagged_row_is_marked_beside_its_item() -> None:
    first = re.search(r"```console\n(.*?)```", TEXT, re.DOTALL)
    assert first
    assert re.search(r"\*\*\w.*\w\*\*.* {2,}.*\*\*\w", first[1]), "both sides have marked words"


def test_the_python_runs(shown: tuple[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shown[1])
    blocks = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {})


def test_the_tree_lists_what_is_there() -> None:
    listed = set(_tree())
    assert [path for path in listed if not (ROOT / path).exists()] == []
    parts = {
        f"tulu_data/{path.name}/"
        for path in (ROOT / "tulu_data").iterdir()
        if path.is_dir() and path.name not in CACHES and not path.name.startswith("_")
    }
    assert parts <= listed
    assert {"mixtures/", "decontam/", "docs/", "tests/"} <= listed


def _tree() -> list[str]:
    block = re.search(r"```text\n(mixtures/.*?)```", TEXT, re.DOTALL)
    assert block
    paths: list[str] = []
    parent = ""
    for line in block[1].splitlines():
        name = line.split()[0]
        inside = line.startswith(" ")
        parent = parent if inside else name
        paths.append(f"{parent}{name}" if inside else name)
    return paths


def test_every_verb_is_named() -> None:
    from tulu_data.cli import cli

    assert all(f"tulu-data {verb}" in TEXT for verb in cli.commands)
