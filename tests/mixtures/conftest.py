"""The workspaces that the tests of mixtures build in."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mixtures.places import Place, sft_rows


@pytest.fixture
def place(tmp_path: Path) -> Place:
    (tmp_path / "mixtures").mkdir()
    return Place(tmp_path)


@pytest.fixture
def mini(place: Place) -> Place:
    """A mixture of two sources with a step that drops some rows of the first."""
    sources = [
        {"name": "maths", "from": place.parquet("maths", sft_rows(60, "sum")), "license": "mit", "count": 40},
        {
            "name": "chat",
            "from": place.jsonl("chat", sft_rows(30, "talk")),
            "license": "odc-by",
            "fraction": 0.5,
        },
    ]
    place.recipe(sources=sources, steps=[{"op": "exact_dedup"}])
    return place
