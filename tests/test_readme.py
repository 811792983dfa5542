"""README.md is true: its commands print what it shows, its Python runs, and its tree lists what is there."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


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
    assert re.search(r"^\w+ row .*? {2,}\w+ item .*$", first[1], re.MULTILINE), "the row beside the item"
    assert first[1].count("**") >= 4, "both have marked words"


def test_the_python_runs(shown: tuple[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shown[1])
    blocks = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {})


def test_the_tree_lists_what_is_there() -> None:
    listed = set(_tree())
    assert [path for path in listed if not (ROOT / path).exists()] == []
    there = {f"{path.name}/" for path in ROOT.iterdir() if _is_part(path)} - {
        "demo/",
        "store/",
        "build/",
        "dist/",
    }
    there |= {f"tulu_data/{path.name}/" for path in (ROOT / "tulu_data").iterdir() if _is_part(path)}
    assert there <= listed


def _is_part(path: Path) -> bool:
    return path.is_dir() and not path.name.startswith((".", "_")) and not path.name.endswith(".egg-info")


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
