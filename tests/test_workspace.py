"""Names of recipes: found in the workspace, then among the shipped, and never outside."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import ROOT
from tulu_data.errors import UsageError
from tulu_data.workspace import FOLDERS, Workspace, shipped


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    for name in ("mine", "sft_mini", "team/ours"):
        path = tmp_path / "work" / "mixtures" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"mixture: {name}\n")
    (tmp_path / "outside.yaml").write_text("mixture: outside\n")
    return Workspace(tmp_path / "work")


def test_names_are_found_in_the_workspace_then_among_the_shipped(workspace: Workspace) -> None:
    own = workspace.root / "mixtures"
    assert workspace.find("mixtures", "mine") == own / "mine.yaml"
    assert workspace.find("mixtures", "sft_mini") == own / "sft_mini.yaml"
    assert workspace.find("mixtures", "team/ours") == own / "team" / "ours.yaml"
    assert workspace.find("decontam", "tulu3") == shipped() / "decontam" / "tulu3.yaml"


def test_names_are_those_of_both(workspace: Workspace) -> None:
    names = workspace.names("mixtures")
    assert {"mine", "team/ours"} < set(names)
    assert names == sorted({*names, *Workspace(shipped()).names("mixtures")})
    assert names.count("sft_mini") == 1


def test_parts_of_recipes_are_found_but_are_no_names(workspace: Workspace) -> None:
    part = workspace.root / "mixtures" / "parts" / "maths.yaml"
    part.parent.mkdir()
    part.write_text("sources: []\n")
    assert workspace.find("mixtures", "parts/maths") == part
    assert not any(name.startswith("parts/") for name in workspace.names("mixtures"))


def test_an_empty_folder_finds_what_is_shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Workspace.here().find("mixtures", "sft_mini").is_file()
    assert Workspace.here().names("mixtures") == Workspace(shipped()).names("mixtures")
    for folder in FOLDERS:
        assert all(Workspace.here().find(folder, name).is_file() for name in Workspace.here().names(folder))


def test_the_repository_is_a_workspace_itself() -> None:
    if shipped() == ROOT:
        assert Workspace(ROOT).roots() == [ROOT]
    assert Workspace(shipped()).roots() == [shipped()]


@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.parametrize(
    "name", ["../../outside", "team/../../../outside", "{tmp}/outside", "link", "a\0b", ""]
)
def test_a_name_never_leads_outside(workspace: Workspace, folder: str, name: str, tmp_path: Path) -> None:
    (workspace.root / folder).mkdir(exist_ok=True)
    (workspace.root / folder / "link.yaml").symlink_to(tmp_path / "outside.yaml")
    with pytest.raises(UsageError, match="is named") as caught:
        workspace.find(folder, name.replace("{tmp}", str(tmp_path)))
    assert caught.value.nearest != name
    assert "link" not in workspace.names(folder)


def test_links_inside_are_names(workspace: Workspace) -> None:
    folder = workspace.root / "mixtures"
    (folder / "alias.yaml").symlink_to(folder / "mine.yaml")
    assert workspace.find("mixtures", "alias") == folder / "alias.yaml"
    assert "alias" in workspace.names("mixtures")


def test_an_unknown_name_says_what_there_is_and_the_nearest(workspace: Workspace) -> None:
    with pytest.raises(UsageError) as caught:
        workspace.find("mixtures", "min", where="m.yaml, line 4")
    said = str(caught.value)
    assert said.startswith("m.yaml, line 4: no mixture is named 'min'; expected one of: ")
    assert "team/ours, " in said
    assert said.endswith("or a .yaml file. Did you mean 'mine'?")


def test_a_path_counts_from_the_file_that_names_it_else_from_the_workspace(workspace: Workspace) -> None:
    base = workspace.root / "mixtures" / "team"
    assert workspace.find("mixtures", "ours.yaml", base=base) == base / "ours.yaml"
    assert workspace.find("mixtures", "mixtures/mine.yaml") == workspace.root / "mixtures" / "mine.yaml"
    with pytest.raises(
        UsageError, match=r"the file none\.yml does not exist; expected a recipe file or one of the"
    ):
        workspace.find("mixtures", "none.yml", base=base)


def test_a_path_that_leads_nowhere_names_the_nearest(workspace: Workspace) -> None:
    base = workspace.root / "mixtures"
    with pytest.raises(UsageError) as caught:
        workspace.find("mixtures", "team/our.yaml", base=base, where="m.yaml, line 2")
    said = str(caught.value)
    assert said.startswith("m.yaml, line 2: the file team/our.yaml does not exist; ")
    assert said.endswith("Did you mean 'team/ours.yaml'?")
