"""How little of a new version a store of chunks has to be sent, on real data; see `chunks`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.mixtures.chunks import LARGEST, SMALLEST, chunks, new_bytes
from tests.mixtures.places import Place
from tulu_data.mixtures.build import BuildResult


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    root = tmp_path_factory.mktemp("upload")
    (root / "mixtures").mkdir()
    return Place(root)


def built(place: Place, layout: str, sources: list[dict[str, Any]]) -> BuildResult:
    place.recipe("mini", layout=layout, sources=sources)
    return place.build()


def files(built: BuildResult) -> list[Path]:
    return sorted((built.path / "data").iterdir())


def share_new(after: BuildResult, before: BuildResult) -> float:
    new, total = new_bytes(files(after), files(before))
    return new / total


@pytest.fixture(scope="module")
def sources(shared_data: Path) -> list[dict[str, Any]]:
    """Three sources of 20,000 conversations in all, and a small one."""
    train = shared_data / "train"
    return [
        {"name": "gsm8k", "from": str(train / "gsm8k" / "train.jsonl.gz")},
        {"name": "math", "from": str(train / "math" / "MATH_train.jsonl.gz")},
        {"name": "alpaca", "from": str(train / "alpaca" / "alpaca_5000.json.gz")},
        {"name": "tools", "from": str(train / "llamafactory_demo" / "alpaca_en_demo.json.gz")},
    ]


@pytest.mark.slow
def test_by_source_a_new_source_sends_its_own_rows_alone(place: Place, sources: list[dict[str, Any]]) -> None:
    before, after = (built(place, "by_source", sources[:n]) for n in (3, 4))
    [own] = [file for file in files(after) if file.name.startswith("tools-")]
    new, total = new_bytes(files(after), files(before))
    assert new == own.stat().st_size
    assert new / total < 0.1


@pytest.mark.slow
def test_shuffled_a_new_source_sends_everything(place: Place, sources: list[dict[str, Any]]) -> None:
    before, after = (built(place, "shuffled", sources[:n]) for n in (3, 4))
    assert share_new(after, before) > 0.9


@pytest.mark.slow
def test_by_source_a_higher_count_sends_a_part_of_that_source(
    place: Place, sources: list[dict[str, Any]]
) -> None:
    counts = [{**sources[0], "count": count} for count in (7400, 7473)]
    before, after = (built(place, "by_source", [first, *sources[1:3]]) for first in counts)
    [grown] = [file for file in files(after) if file.name.startswith("gsm8k-")]
    new, _ = new_bytes(files(after), files(before))
    assert 0 < new < grown.stat().st_size / 2


def test_the_chunker_finds_its_cuts_again_behind_an_insertion() -> None:
    data = bytes(range(256)) * 64 + b"".join(n.to_bytes(4, "big") for n in range(500_000))
    pieces = list(chunks(data))
    assert b"".join(pieces) == data
    assert all(SMALLEST <= len(piece) <= LARGEST for piece in pieces[:-1])
    moved = list(chunks(data[:900_000] + b"a few more bytes" + data[900_000:]))
    assert len(set(moved) - set(pieces)) <= 3
