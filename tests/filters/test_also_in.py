"""Rows are kept whose prompt another source has, too; that source lends its prompts and nothing else."""

from __future__ import annotations

from typing import Any

import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from tests.mixtures.places import Place, preference_rows, sft_rows
from tulu_data.filters.also_in import AlsoIn


def build(place: Place, kind: str, rows_of: dict[str, Any], **settings: Any) -> dict[str, dict[str, Any]]:
    entries = [{"name": name, "from": place.parquet(name, rows)} for name, rows in rows_of.items()]
    place.recipe(kind=kind, sources=entries, steps=[{"op": "also_in", **settings}])
    return {source["source"]: source for source in place.build().summary["sources"]}


def test_pairs_are_kept_whose_prompt_the_other_source_has(place: Place) -> None:
    pairs = preference_rows(20, rated=False)
    lent = [{**pair, "prompt": f" {pair['prompt']}\n"} for pair in pairs[5:12]]
    found = build(place, "preference", {"argilla": lent, "h4": pairs}, source="argilla")
    assert found["argilla"]["dropped"] == {"also_in:lends_prompts": 7}
    assert (found["h4"]["kept"], found["h4"]["dropped"]) == (7, {"also_in:not_there": 13})
    data = pq.read_table(next((place.store / "mixtures" / "mini").glob("v1-*/data/*.parquet")))
    assert sorted(data["prompt"].to_pylist()) == sorted(pair["prompt"] for pair in pairs[5:12])


def test_other_kinds_have_their_first_user_message_as_prompt(place: Place) -> None:
    rows = sft_rows(9)
    found = build(place, "sft", {"lends": rows[:4], "asks": rows}, source="lends")
    assert found["asks"]["kept"] == 4


def test_sources_that_are_not_named_are_left_alone(place: Place) -> None:
    rows = sft_rows(9)
    found = build(
        place, "sft", {"lends": rows[:4], "asks": rows, "free": rows}, source="lends", sources=["asks"]
    )
    assert (found["asks"]["kept"], found["free"]["kept"]) == (4, 9)


def test_a_source_cannot_lend_to_itself() -> None:
    with pytest.raises(ValidationError, match="lends its prompts"):
        AlsoIn(source="a", sources=("a", "b"))
