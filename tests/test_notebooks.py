"""The notebooks run from top to bottom on a freshly built store, and are kept without outputs."""

from __future__ import annotations

import json
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

import tulu_data
from tulu_data.workspace import Workspace

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_kept_without_outputs(path: Path) -> None:
    cells = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
    assert cells
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells)


@pytest.mark.slow
def test_the_mixture_notebook_runs_on_a_fresh_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built = tulu_data.build("sft_mini", workspace=Workspace(ROOT), store=tmp_path / "store")
    monkeypatch.setenv("TULU_DATA_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # the kernel starts elsewhere, installed or not
    notebook = nbformat.read(ROOT / "notebooks" / "inspect_mixture.ipynb", as_version=4)  # type: ignore[no-untyped-call]
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()

    shown = [json.dumps(cell.get("outputs", [])) for cell in notebook.cells]
    everything = "\n".join(shown)
    assert built.name in everything
    for words in ("exact_dedup:duplicate", "licenses:cc-by-nc-4.0", "<mark>", "vega"):
        assert words in everything
    # chat-106 asks it in small letters; the item does not
    assert "<mark>which planet has the great red spot</mark>" in everything
