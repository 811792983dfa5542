"""The floors of the house: imports point down only, and domains meet only as steps of a plan."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import tulu_data

PACKAGE = Path(tulu_data.__file__).parent
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if "_recipes" not in path.parts)

FLOORS = [
    {"digests", "errors", "record", "workspace", "progress", "document", "turns", "show"},
    {"text", "op"},
    {"engine", "sources", "verifiers", "llm"},
    {"decontam", "dedup", "filters", "synth", "preference"},
    {"mixtures"},
    {"cli", "cli_tables", "verbs", "demo", "init", "notebook", "__main__"},
]
"""From the ground up. A module may import its own floor and those below; but see APART."""
APART = FLOORS[3]
"""These do not import each other."""


def part_of(path: Path) -> str:
    """`tulu_data/engine/local.py` is of the part `engine`."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(node: ast.AST) -> Iterator[str]:
    """Every module that a file imports, wherever in it, but for what only type checkers see."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
            continue
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, "imports are written in full"
            yield from (f"{child.module}.{alias.name}" for alias in child.names)
        else:
            yield from imports(child)


def floor(part: str) -> int:
    found = [number for number, parts in enumerate(FLOORS) if part in parts]
    assert found, f"{part} has no floor: give it one in tests/test_floors.py"
    return found[0]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_imports_point_down(path: Path) -> None:
    here = part_of(path)
    if here == "__init__":
        return
    for name in imports(ast.parse(path.read_text())):
        top, _, rest = name.partition(".")
        if top != "tulu_data" or rest == "__version__":
            continue
        if not rest:
            assert floor(here) == len(FLOORS) - 1, (
                f"{here} imports the whole package, which only the command line may"
            )
            continue
        there = rest.split(".")[0]
        assert floor(there) <= floor(here), f"{here} imports {name}, which lies above it"
        assert there == here or not {here, there} <= APART, (
            f"{here} imports {name}: domains meet only as steps of a plan"
        )


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_only_one_file_imports_ray(path: Path) -> None:
    if path != PACKAGE / "engine" / "ray.py":
        assert not any(name.partition(".")[0] == "ray" for name in imports(ast.parse(path.read_text())))


def test_the_package_itself_imports_nothing_of_its_own() -> None:
    top_level = ast.parse((PACKAGE / "__init__.py").read_text())
    assert not any(name.startswith("tulu_data") for name in imports(top_level))


def test_the_walk_sees_imports_of_every_form() -> None:
    source = "import a.b\nfrom c import d, e\ndef f():\n    import g\nif TYPE_CHECKING:\n    import h\n"
    assert list(imports(ast.parse(source))) == ["a.b", "c.d", "c.e", "g"]
