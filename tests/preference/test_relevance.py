"""Answers that belong to another prompt: found where they are planted, and hardly anywhere else."""

from __future__ import annotations

import gzip
import json
import math
import random
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.rows import conversation, table_of
from tulu_data.engine.local import LocalEngine
from tulu_data.errors import PolicyError
from tulu_data.op import Context, Fold
from tulu_data.preference.relevance import COMMON, PROMPT_WORDS, SURPRISE, TIMES, ComparePrompts, Relevance

Row = tuple[str, str, str]
"""A prompt and two answers."""

COUNT = 30


def topic(n: int) -> Row:
    """A prompt and two answers to it; words with the same number belong together."""
    return (
        f"How do the bees{n} turn nectar{n} into the honey{n} of their hive{n}?",
        f"The bees{n} dry the nectar{n} in the hive{n}, and it turns into honey{n}.",
        f"To turn into honey{n}, the nectar{n} is dried: the bees{n} fan it in their hive{n}.",
    )


def slipped(rows: list[Row]) -> list[Row]:
    """Each prompt with the answers of the next row, the last with those of the first."""
    return [(row[0], after[1], after[2]) for row, after in zip(rows, rows[1:] + rows[:1], strict=True)]


TOPICS = [topic(n) for n in range(COUNT)]
SLIPPED = slipped(TOPICS)
FOUND = "relevance:answers_another_prompt"


def table(rows: Sequence[Row], source: str = "made") -> pa.Table:
    made = [
        {
            "prompt": prompt,
            "chosen": conversation(f"user: {prompt}", f"assistant: {one}"),
            "rejected": conversation(f"user: {prompt}", f"assistant: {other}"),
        }
        for prompt, one, other in rows
    ]
    return table_of("preference", made, source)


def run(
    rows: pa.Table, folder: Path, **settings: Any
) -> tuple[list[dict[str, Any]], dict[str, Any], list[str]]:
    """(all rows after the step, in their order; what it tells the manifest; what it said)."""
    step = Relevance(**settings)
    said: list[str] = []
    context = Context(kind="preference", say=said.append)
    engine = LocalEngine(folder, batch_bytes=2000)
    dropped: list[pa.Table] = []
    kept = list(engine.run([rows], step.plan(), context, lambda rejected, _: dropped.append(rejected)))
    after = [row for part in [*kept, *dropped] for row in part.to_pylist()]
    order = {row: place for place, row in enumerate(rows["id"].to_pylist())}
    own = Context(kind="preference", artifacts=dict(engine.artifacts), say=said.append)
    return sorted(after, key=lambda row: order[row["id"]]), step.told(own), said


def test_rows_that_slipped_by_one_are_found_with_the_prompt_that_they_answer(tmp_path: Path) -> None:
    rows, told, said = run(table(SLIPPED), tmp_path)
    assert [row["verdict"] for row in rows] == [FOUND] * COUNT
    ids = [row["id"] for row in rows]
    assert [row["relevance_other_id"] for row in rows] == [*ids[1:], ids[0]]
    assert all(row["relevance_own"] < 0.1 < 0.8 < row["relevance_other"] for row in rows)
    entry = told["sources"][0]
    assert (entry["source"], entry["compared"], entry["found"], entry["share"]) == ("made", 30, 30, 1.0)
    assert entry["offsets"] == [{"offset": 1, "rows": 29}, {"offset": -29, "rows": 1}]
    assert "warning: source made is out of step: 30 of 30 rows (100%)" in said[-1]
    assert said[-1].endswith("29 of them of the one 1 row further; what is left of it is suspect too")


def test_where_nothing_slipped_nothing_is_found(tmp_path: Path) -> None:
    rows, told, said = run(table(TOPICS), tmp_path)
    assert [row["verdict"] for row in rows] == [None] * COUNT
    assert [row["relevance_other_id"] for row in rows] == [None] * COUNT
    assert all(row["relevance_own"] > 0.8 for row in rows)
    entry = {"source": "made", "compared": 30, "found": 0, "share": 0.0, "out_of_step": False, "offsets": []}
    assert told == {"sources": [entry]}
    assert not [line for line in said if "warning" in line]


def test_rows_may_only_be_told_of(tmp_path: Path) -> None:
    rows, told, said = run(table(SLIPPED), tmp_path, action="review")
    assert [row["verdict"] for row in rows] == [None] * COUNT
    assert None not in [row["relevance_other_id"] for row in rows]
    assert told["sources"][0]["found"] == COUNT
    assert "out of step" in said[-1]


HALF = [*slipped(TOPICS[:20]), *TOPICS[20:]]
"""Twenty that slipped, and ten that are right."""


def test_a_source_out_of_step_is_dropped_where_the_recipe_says_so(tmp_path: Path) -> None:
    both = pa.concat_tables([table(HALF, "bad"), table(TOPICS, "good")])
    rows, told, said = run(both, tmp_path, action="drop_source")
    expected = [FOUND] * 20 + ["relevance:out_of_step"] * 10 + [None] * COUNT
    assert [row["verdict"] for row in rows] == expected
    assert [f"warning: {line}" for line in told["warnings"]] == [line for line in said if "out of" in line]
    (warning,) = told["warnings"]
    assert warning.startswith("source bad is out of step: 20 of 30 rows (67%)")
    assert warning.endswith("; all of it is rejected")
    assert [row["verdict"] for row in run(both, tmp_path)[0]] == [FOUND] * 20 + [None] * 40


def test_a_source_out_of_step_stops_the_build_where_the_recipe_says_so(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="source bad is out of step: 20 of 30 rows"):
        run(pa.concat_tables([table(HALF, "bad"), table(TOPICS, "good")]), tmp_path, action="stop")
    assert run(table(TOPICS, "good"), tmp_path, action="stop")[1]["sources"][0]["found"] == 0


def test_a_few_rows_are_no_slip(tmp_path: Path) -> None:
    mixed = [*slipped(TOPICS[:3]), *TOPICS[3:]]
    rows, told, said = run(table(mixed), tmp_path, action="drop_source")
    assert [row["verdict"] for row in rows] == [FOUND] * 3 + [None] * 27
    assert not told["sources"][0]["out_of_step"]
    assert not [line for line in said if "warning" in line]


def test_one_misplaced_answer_is_not_enough(tmp_path: Path) -> None:
    rows = [(prompt, good, bad) for (prompt, good, _), (_, _, bad) in zip(TOPICS, SLIPPED, strict=True)]
    assert [row["verdict"] for row in run(table(rows), tmp_path)[0]] == [None] * COUNT


def test_prompts_of_other_sources_do_not_count(tmp_path: Path) -> None:
    apart = pa.concat_tables([table(SLIPPED[::2], "a"), table(SLIPPED[1::2], "b")])
    rows, told, _ = run(apart, tmp_path)
    assert [row["verdict"] for row in rows] == [None] * COUNT
    assert [entry["source"] for entry in told["sources"]] == ["a", "b"]


def test_only_the_sources_that_are_named_are_looked_at(tmp_path: Path) -> None:
    apart = pa.concat_tables([table(SLIPPED, "a"), table(SLIPPED, "b")])
    rows, told, _ = run(apart, tmp_path, sources=["b"])
    assert [row["verdict"] for row in rows] == [None] * COUNT + [FOUND] * COUNT
    assert [row["relevance_own"] is None for row in rows] == [True] * COUNT + [False] * COUNT
    assert [entry["source"] for entry in told["sources"]] == ["b"]


def test_an_answer_in_another_language_does_not_belong_to_any_prompt_of_that_language(tmp_path: Path) -> None:
    asked = "¿Cuál es la capital de la provincia y cuántos habitantes tiene en el año?"
    translated = ("Translate the bees0 song of the hive0 to Spanish.",
                  "La abeja es la reina y el año tiene la capital de la provincia.",
                  "El año es de la abeja; cuál es la capital y la provincia tiene miel.")  # fmt: skip
    spanish = (asked, "La capital de la provincia es Jaén.", "No sé cuál es la capital.")
    rows, _, _ = run(table([*TOPICS, spanish, translated]), tmp_path)
    assert (rows[-1]["relevance_own"], rows[-1]["verdict"]) == (0, None)
    told = ("How do the bees0 sing of the hive0?", f"The {translated[1]}", f"The {translated[2]}")
    rows, _, _ = run(table([*TOPICS, spanish, told]), tmp_path)
    assert rows[-1]["verdict"] == FOUND  # the same words, but behind words of the prompt's own language


def test_the_words_of_lists_are_no_evidence(tmp_path: Path) -> None:
    """A prompt full of digits would explain every numbered list."""
    sudoku = "Solve " + " ".join(f"| {n} | {n}" for n in range(1, 10))
    listed = "The list: 1. x 2. y 3. z 4. u 5. v 6. w 7. a 8. b 9. c"
    lists = [(f"How do the {word} people live?", listed, listed) for word in ("odd", "red", "tall", "wet")]
    solved = (sudoku, "I cannot solve it", "I can solve it")
    rows, _, _ = run(table([*TOPICS, solved, *lists]), tmp_path)
    assert [row["verdict"] for row in rows] == [None] * (COUNT + 5)


def test_rows_without_words_to_compare_are_left_alone(tmp_path: Path) -> None:
    odd: list[dict[str, Any]] = [
        {},
        {"chosen": [], "rejected": []},
        {
            "chosen": conversation("user: Hi", "assistant: a"),
            "rejected": conversation("user: Hi", "assistant: ?"),
        },
        {
            "chosen": conversation("user: ?!", "assistant: ok"),
            "rejected": conversation("user: ?!", "assistant: no"),
        },
        {"chosen": conversation("assistant: ok"), "rejected": conversation("assistant: no")},
        {"chosen": conversation("user: ok", "user: ok"), "rejected": conversation("user: ok", "user: no")},
    ]
    rows, told, _ = run(pa.concat_tables([table_of("preference", odd, "odd"), table(SLIPPED)]), tmp_path)
    assert [row["verdict"] for row in rows] == [None] * 6 + [FOUND] * COUNT
    assert [row["relevance_own"] for row in rows[:6]] == [None] * 6
    assert "odd" not in [e["source"] for e in told["sources"]]


def test_a_step_without_rows_gives_nothing() -> None:
    fold = ComparePrompts()
    assert fold.finish(fold.nothing()).num_rows == 0


# -- the plain twin ------------------------------------------------------------------------------------------


def plain(rows: Sequence[Row]) -> list[tuple[float, float | None, int | None]]:
    """Per row: what the own prompt explains, and what the best other one does, and which that is."""
    prompts, ones, others = ([words(row[part]) for row in rows] for part in range(3))
    held = Counter(word for p, a, b in zip(prompts, ones, others, strict=True) for word in p | (a & b))
    weight = {word: math.log(len(rows) / count) for word, count in held.items()}

    def weigh(some: set[str]) -> float:
        return sum(weight[word] for word in some)

    least = SURPRISE * math.log(len(rows))
    common = {word for word in weight if weight[word] <= -math.log(COMMON)}
    found: list[tuple[float, float | None, int | None]] = []
    for prompt, one, other in zip(prompts, ones, others, strict=True):
        own = weigh(prompt & (one | other)) / weigh(prompt) if weigh(prompt) else math.nan
        foreign = (one & other) - prompt
        best: tuple[float, float, int | None] = (0, 0, None)
        for number, asked in enumerate(prompts):
            gained = weigh(asked & foreign)
            if gained >= least - 1e-9 and gained * gained / weigh(asked) > best[0] + 1e-9:
                best = gained * gained / weigh(asked), gained / weigh(asked), number
        in_language = len(prompt & common) <= 6 * len(prompt & common & (one | other))
        fits = (
            in_language and own <= 0.3 and weigh(prompt) >= least - 1e-9 and best[1] >= max(0.15, TIMES * own)
        )
        found.append((own, best[1], best[2]) if fits else (own, None, None))
    return found


def words(text: str) -> set[str]:
    return {word for word in re.findall(r"\w+", text) if not re.fullmatch(r"\d{1,2}|[a-z0-9_]", word)}


VOCABULARY = [f"word{n}" for n in range(60)] + ["7", "x"]


def made(rng: random.Random, count: int) -> list[Row]:
    """Rows of which some answer their own prompt, others another; with words that come by chance."""
    asked = [rng.sample(VOCABULARY, rng.randint(2, 5)) + rng.sample(["the", "of"], 1) for _ in range(count)]
    rows: list[Row] = []
    for prompt in asked:
        told = prompt if rng.random() < 0.3 else rng.choice(asked)
        one, other = (
            told[: rng.randint(1, 6)] + rng.sample([*VOCABULARY, "the", "of"], rng.randint(0, 9))
            for _ in "ab"
        )
        rows.append((" ".join(prompt), " ".join(one), " ".join(other)))
    return rows


def test_the_rows_that_are_made_up_hold_what_is_looked_for() -> None:
    found = [number for seed in range(100) for *_, number in plain(made(random.Random(seed), 25))]
    assert 20 < len([number for number in found if number is not None]) < 400


@settings(max_examples=40, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(2, 30))
def test_the_kernels_find_what_the_plain_twin_finds(rng: random.Random, count: int) -> None:
    rows = made(rng, count)
    fold = ComparePrompts()
    batch = table(rows)
    found = fold.finish(fold.partial(batch, None)).to_pylist()
    ids = {row: number for number, row in enumerate(batch["id"].to_pylist())}
    expected = plain(rows)
    assert len(found) == len(expected)
    for row, (own, explained, number) in zip(found, expected, strict=True):
        assert (row["own"] is None) == math.isnan(own)
        if row["own"] is not None:
            assert row["own"] == pytest.approx(own)
        assert row["other"] == (None if explained is None else pytest.approx(explained))
        assert (row["other_id"] and ids[row["other_id"]]) == number


def test_of_a_long_prompt_a_fair_sample_of_words_is_looked_at() -> None:
    many = [f"word{n}" for n in range(1000)]
    half = " ".join(many[::2])
    fold = ComparePrompts()
    partial = fold.partial(table([(" ".join(many), half, half)]), None).to_pylist()[0]
    assert len(partial["echoed"]) + len(partial["missing"]) == PROMPT_WORDS
    assert 30 < len(partial["echoed"]) < 66


# -- real answers --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def answered(request: pytest.FixtureRequest) -> list[Row]:
    """AlpacaEval's 805 prompts with the answers of two models."""
    data: Path = request.getfixturevalue("shared_data")
    told = []
    for model in ("gpt4", "tulu-2-dpo-7b"):
        file = data / "completions/alpaca_eval" / model / "model_outputs.json.gz"
        rows = json.loads(gzip.decompress(file.read_bytes()))
        told.append({row["instruction"]: row["output"] for row in rows})
    return [(prompt, told[0][prompt], told[1][prompt]) for prompt in told[0]]


def compared(rows: Sequence[Row]) -> list[dict[str, Any]]:
    fold: Fold = ComparePrompts()
    found: list[dict[str, Any]] = fold.finish(fold.partial(table(rows), None)).to_pylist()
    return found


def test_of_real_pairs_hardly_any_is_suspected(answered: list[Row]) -> None:
    assert sum(row["other_id"] is not None for row in compared(answered)) <= 2


@pytest.mark.parametrize("shift", [1, 3])
def test_of_real_pairs_that_slipped_most_are_found(answered: list[Row], shift: int) -> None:
    slipped = [(row[0], other[1], other[2]) for row, other in zip(answered, answered[shift:], strict=False)]
    found = [row for row in compared(slipped) if row["other_id"] is not None]
    assert len(found) > 0.6 * len(slipped)
    assert sum(row["offset"] == shift for row in found) > 0.9 * len(found)


def test_of_real_pairs_that_were_swapped_here_and_there_most_are_found(answered: list[Row]) -> None:
    rng = random.Random(0)
    places = rng.sample(range(len(answered)), 40)
    mixed = list(answered)
    for one, other in zip(places[::2], places[1::2], strict=True):
        mixed[one] = (answered[one][0], answered[other][1], answered[other][2])
        mixed[other] = (answered[other][0], answered[one][1], answered[one][2])
    ids = table(mixed)["id"].to_pylist()
    found = {ids.index(row["id"]) for row in compared(mixed) if row["other_id"] is not None}
    assert len(found & set(places)) >= 20
    assert len(found - set(places)) <= 2
