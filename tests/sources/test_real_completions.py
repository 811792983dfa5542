"""Judged answers and worked solutions of the shared data, through the adapters that recipes use."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.sources.published import load

ANNOTATIONS = {
    "alpaca-7b": {(1.0, 0.0): 584, (0.0, 1.0): 205, (0.5, 0.5): 16},
    "phi-2-sft": {(0.0, 1.0): 551, (1.0, 0.0): 253, (): 1},
    "tulu-2-dpo-13b": {(0.0, 1.0): 707, (1.0, 0.0): 94, (0.5, 0.5): 3, (): 1},
}
"""GPT-4's votes for text-davinci-003 and the model: the counts of 1, 2, 0 and null in the files."""

LABELS = {"Natural": (42, 58), "Adversarial_Manual": (22, 24)}
"""LLMBar: how often the first and the second output is the better one."""


def votes(rows: list[dict[str, Any]]) -> Counter[tuple[float, ...]]:
    return Counter(tuple(r["rating"] for c in row["completions"] for r in c["ratings"]) for row in rows)


@pytest.mark.parametrize("model", ANNOTATIONS)
def test_annotations_of_alpaca_eval_are_votes(shared_data: Path, model: str) -> None:
    path = shared_data / "completions" / "alpaca_eval" / model / "annotations.json.gz"
    adapter, rows, bad = load(path, "preference")
    assert (adapter, bad, votes(rows)) == ("alpaca_farm", [], ANNOTATIONS[model])
    assert {tuple(c["model"] for c in row["completions"]) for row in rows} == {("text_davinci_003", model)}


@pytest.mark.parametrize("part", LABELS)
def test_labels_of_llmbar_are_votes(shared_data: Path, part: str) -> None:
    adapter, rows, bad = load(shared_data / "completions" / "llmbar" / f"{part}.json.gz", "preference")
    assert (adapter, bad) == ("alpaca_farm", [])
    assert votes(rows) == dict(zip([(1.0, 0.0), (0.0, 1.0)], LABELS[part], strict=True))


def test_transcripts_of_hh_keep_their_oddities(shared_data: Path) -> None:
    """Counted in the texts themselves: 4 pairs with an empty answer, 9 where a speaker speaks twice."""
    path = shared_data / "train" / "hh_rlhf" / "harmless-base_test.jsonl.gz"
    adapter, rows, bad = load(path, "preference")
    assert (adapter, len(rows), bad) == ("hh", 2_312, [])
    sides = [[row["chosen"], row["rejected"]] for row in rows]
    assert sum(any(not side[-1]["content"].strip() for side in pair) for pair in sides) == 4
    assert all(side[-1]["role"] == "assistant" for pair in sides for side in pair)
    assert sum(any(a["role"] == b["role"] for side in pair for a, b in pairwise(side)) for pair in sides) == 9


def test_ground_truths_of_math_are_those_of_another_hand(shared_data: Path) -> None:
    """One of 7,500 differs: the other hand took a box with a blank before its brace, full stop and all."""
    folder = shared_data / "train" / "math"
    _, rows, bad = load(folder / "MATH_train.jsonl.gz", "rlvr")
    assert (len(rows), bad) == (7_500, [])
    theirs = {
        row["prompt"][0]["content"].partition(" Let's think")[0].strip(): row["reward_model"]["ground_truth"]
        for row in pq.read_table(folder / "train.parquet", columns=["prompt", "reward_model"]).to_pylist()
    }
    pairs = [(row["ground_truth"], theirs[row["messages"][0]["content"].strip()]) for row in rows]
    assert [pair for pair in pairs if pair[0] != pair[1]] == [("17", "{17}.")]


def test_ground_truths_of_gsm8k_keep_their_commas(shared_data: Path) -> None:
    _, rows, bad = load(shared_data / "train" / "gsm8k" / "train.jsonl.gz", "rlvr")
    truths = [row["ground_truth"] for row in rows]
    assert (len(truths), bad, truths[0]) == (7_473, [], "72")
    assert {"1,080", "850,000"} <= set(truths)
