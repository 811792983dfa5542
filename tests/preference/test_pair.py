"""Pairs from rated answers: who is chosen, who is rejected, and when there is no pair."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.rows import conversation, rows_of, table_of
from tulu_data.errors import RecipeError
from tulu_data.op import Context, Registry, applied
from tulu_data.preference.pair import Pair
from tulu_data.preference.sides import EQUAL
from tulu_data.record import sort_keys

SEED = 42


def answer(text: str, **ratings: float | None) -> dict[str, Any]:
    """An answer to one prompt; a rating of None is one that says N/A."""
    told = [
        {"aspect": aspect, "rating": rating, "note": "N/A" if rating is None else None}
        for aspect, rating in ratings.items()
    ]
    messages = conversation("user: Hi", f"assistant: {text}")
    return {"messages": messages, "model": f"model-{text}", "ratings": told}


def row_of(*answers: dict[str, Any], **columns: Any) -> dict[str, Any]:
    return {"prompt": "Hi", "completions": list(answers), **columns}


def paired(rows: list[dict[str, Any]], seed: int = SEED, source: str = "made", **settings: Any) -> pa.Table:
    table = table_of("preference", rows, source)
    op = Pair(**settings)
    return applied(op, table, op.setup(Context(kind="preference", seed=seed)))


def told(table: pa.Table) -> list[Any]:
    """Per row: the verdict's reason, or what the chosen and the rejected model are."""
    return [
        row["verdict"].removeprefix("pair:")
        if row["verdict"]
        else (row["chosen_model"].removeprefix("model-"), row["rejected_model"].removeprefix("model-"))
        for row in table.to_pylist()
    ]


def test_the_best_answer_is_chosen_with_all_that_belongs_to_it() -> None:
    rows = paired([row_of(answer("bad", overall=2), answer("good", overall=7.5))])
    row = rows.to_pylist()[0]
    assert row["chosen"] == conversation("user: Hi", "assistant: good")
    assert row["rejected"] == conversation("user: Hi", "assistant: bad")
    assert (row["chosen_rating"], row["rejected_rating"]) == (7.5, 2)
    assert (row["chosen_model"], row["rejected_model"]) == ("model-good", "model-bad")
    assert (row["prompt"], row["verdict"], len(row["completions"])) == ("Hi", None, 2)


def test_what_is_not_applicable_is_left_out_of_the_mean() -> None:
    """Three 5s and an N/A are better than four 4s: as -1 the N/A would make it 3.5."""
    creative = answer("creative", help=5, honest=None, truth=5, follow=5)
    plain = answer("plain", help=4, honest=4, truth=4, follow=4)
    row = paired([row_of(plain, creative)]).to_pylist()[0]
    assert (row["chosen_model"], row["chosen_rating"], row["rejected_rating"]) == ("model-creative", 5, 4)


def test_the_higher_mean_of_the_named_aspects_is_chosen_and_verbosity_left_out() -> None:
    aspects = ("helpfulness", "correctness", "coherence", "complexity")
    short = answer("short", helpfulness=4, correctness=4, coherence=4, complexity=2, verbosity=0)
    long = answer("long", helpfulness=3, correctness=3, coherence=4, complexity=2, verbosity=4)
    row = paired([row_of(long, short)], by=aspects).to_pylist()[0]
    assert (row["chosen_model"], row["rejected_model"]) == ("model-short", "model-long")
    assert (row["chosen_rating"], row["rejected_rating"]) == (3.5, 3.0)


def test_of_ranks_the_lowest_is_the_best() -> None:
    answers = [answer(str(rank), rank=rank) for rank in (3, 1, 2)]
    assert told(paired([row_of(*answers)], by="rank", best="lowest", rejected="next")) == [("1", "2")]
    assert told(paired([row_of(*answers)], by="rank", best="lowest", rejected="worst")) == [("1", "3")]
    row = paired([row_of(*answers)], by="rank", best="lowest", rejected="worst").to_pylist()[0]
    assert (row["chosen_rating"], row["rejected_rating"]) == (1, 3)


def test_a_random_worse_one_is_drawn_evenly_and_never_the_best_or_its_equal() -> None:
    rows = [row_of(*(answer(f"{n}-{mark}", overall=mark) for mark in (3, 5, 1, 4))) for n in range(400)]
    drawn = [rejected.split("-")[1] for _, rejected in told(paired(rows))]
    assert {mark: drawn.count(mark) for mark in "134"}.keys() == {"1", "3", "4"}
    assert all(90 < drawn.count(mark) < 180 for mark in "134")
    other = [rejected.split("-")[1] for _, rejected in told(paired(rows, seed=43))]
    assert drawn != other


def test_a_choice_depends_on_the_row_alone() -> None:
    rows = [row_of(*(answer(f"{n}-{mark}", overall=mark % 3) for mark in range(6))) for n in range(40)]
    settings: dict[str, Any] = {"ties": "seeded", "rejected": "random_other"}
    whole = {row["id"]: row for row in paired(rows, **settings).to_pylist()}
    back = {row["id"]: row for row in paired(rows[::-1], **settings).to_pylist()}
    assert {i: r["chosen"] for i, r in whole.items()} == {i: r["chosen"] for i, r in back.items()}
    assert {i: r["rejected"] for i, r in whole.items()} == {i: r["rejected"] for i, r in back.items()}


TIED = row_of(answer("a", vote=0.5), answer("b", vote=0.5))
TWO_BEST = row_of(answer("a", vote=1), answer("b", vote=1), answer("c", vote=0))


def test_ties_are_dropped_or_broken_by_the_row() -> None:
    assert told(paired([TIED, TWO_BEST])) == ["tie", "tie"]
    found = told(paired([TIED, TWO_BEST], ties="seeded"))
    assert found[0] == "tie"
    assert found[1] in {("a", "c"), ("b", "c")}
    chosen, rejected = told(paired([TIED], ties="seeded", rejected="random_other"))[0]
    assert {chosen, rejected} == {"a", "b"}


def test_both_of_two_equally_good_answers_are_chosen_now_and_then() -> None:
    rows = [row_of(answer(f"{n}a", v=1), answer(f"{n}b", v=1), answer(f"{n}c", v=0)) for n in range(60)]
    chosen = [best[-1] for best, _ in told(paired(rows, ties="seeded"))]
    assert {"a", "b"} == set(chosen)
    assert 15 < chosen.count("a") < 45


def test_who_is_rejected_does_not_hang_on_who_was_chosen() -> None:
    rows = [row_of(*(answer(f"{n}{m}", v=m in "ab") for m in "abcd")) for n in range(200)]
    drawn = [(best[-1], worse[-1]) for best, worse in told(paired(rows, ties="seeded"))]
    assert all(30 < drawn.count((best, worse)) < 70 for best in "ab" for worse in "cd")


def test_a_margin_asks_for_a_difference() -> None:
    rows = [row_of(answer("a", o=3), answer("b", o=2.5)), row_of(answer("a", o=3), answer("b", o=2))]
    assert told(paired(rows, margin=1)) == ["margin", ("a", "b")]
    three = row_of(answer("a", o=3), answer("b", o=2.5), answer("c", o=1))
    assert told(paired([three], margin=1, rejected="next")) == [("a", "c")]
    assert told(paired([TIED], margin=1)) == ["tie"]


def test_sums_in_another_order_are_no_difference() -> None:
    """0.1 + 0.2 + 0.3 is not 0.3 + 0.2 + 0.1 in floating point."""
    assert 0.1 + 0.2 + 0.3 != 0.3 + 0.2 + 0.1
    row = row_of(answer("a", x=0.1, y=0.2, z=0.3), answer("b", x=0.3, y=0.2, z=0.1))
    assert told(paired([row])) == ["tie"]


def test_rows_that_give_no_pair_say_why() -> None:
    rows = [
        {"prompt": "Hi"},
        row_of(),
        row_of(answer("a", o=1)),
        row_of(answer("a", o=1), {"messages": [], "model": None, "ratings": []}),
        row_of(answer("a", o=1), answer("b", o=None)),
        row_of(answer("a", o=1), answer("b")),
        row_of(answer("a", o=1), answer("b", o=float("nan"))),
    ]
    expected = ["no_completions", "too_few", "too_few", "too_few", "unrated", "unrated", "unrated"]
    assert told(paired(rows)) == expected
    assert told(paired([row_of(answer("a", o=1), answer("b", o=2))], by="other")) == ["unrated"]


def test_a_score_may_need_several_ratings() -> None:
    row = row_of(answer("a", x=5), answer("b", x=3, y=3), answer("c", x=1, y=None, z=2))
    assert told(paired([row], rejected="next")) == [("a", "b")]
    assert told(paired([row], rejected="next", at_least=2)) == [("b", "c")]


def test_pairs_pass_as_they_are() -> None:
    pair = {
        "prompt": "Hi",
        "chosen": conversation("user: Hi", "assistant: a"),
        "rejected": conversation("user: Hi", "assistant: b"),
        "chosen_rating": 4.0,
        "rejected_model": "m",
    }
    made = row_of(answer("x", o=2), answer("y", o=1))
    first, second, third = paired([pair, made, {"prompt": "Hi", "chosen": pair["chosen"]}]).to_pylist()
    assert {key: first[key] for key in pair} == pair
    assert (second["chosen_model"], second["verdict"]) == ("model-x", None)
    assert third["verdict"] == "pair:no_completions"


def test_rows_of_other_sources_are_left_alone() -> None:
    rows = [row_of(answer("x", o=2), answer("y", o=1)), {"prompt": "Hi"}]
    table = paired(rows, source="arena", sources=["nectar"])
    assert table["chosen"].null_count == 2
    assert table["verdict"].null_count == 2
    assert told(paired(rows, source="nectar", sources=["nectar"])) == [("x", "y"), "no_completions"]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"by": []}, "no aspect"),
        ({"by": ""}, "no aspect"),
        ({"margin": -1}, "greater"),
        ({"bets": "x"}, "best"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        Registry({"pair": Pair}).make({"op": "pair", **settings})


# -- the plain twin ------------------------------------------------------------------------------------------


def plain(row: dict[str, Any], op: Pair, key: int) -> tuple[int, int] | str | None:
    """The pair of one row as (number of the chosen, number of the rejected), or why there is none."""
    if row["completions"] is None:
        return None if row["chosen"] is not None and row["rejected"] is not None else "no_completions"
    answers = [a for a in row["completions"] if a["messages"]]
    if len(answers) < 2:
        return "too_few"
    marks = {number: score(a, op) for number, a in enumerate(row["completions"]) if a["messages"]}
    scores = {number: found for number, found in marks.items() if found is not None}
    if len(scores) < 2:
        return "unrated"
    sign = 1 if op.best == "highest" else -1
    most = max(sign * found for found in scores.values())
    behind = {number: most - sign * found for number, found in scores.items()}
    top = [number for number, gap in behind.items() if gap <= EQUAL]
    if len(top) > 1 and op.ties == "drop":
        return "tie"
    chosen, key = top[key % len(top)], key // len(top)
    others = {number: gap for number, gap in behind.items() if number != chosen}
    if not (op.rejected == "random_other" and op.ties == "seeded"):
        others = {number: gap for number, gap in others.items() if gap > EQUAL}
    far = {number: gap for number, gap in others.items() if gap >= op.margin - EQUAL}
    if not far:
        return "margin" if any(gap > EQUAL for gap in behind.values()) else "tie"
    if op.rejected in {"worst", "next"}:
        wanted = max(far.values()) if op.rejected == "worst" else min(far.values())
        far = {number: gap for number, gap in far.items() if abs(gap - wanted) <= EQUAL}
    return chosen, list(far)[key % len(far)]


def score(answer: dict[str, Any], op: Pair) -> float | None:
    by = (op.by,) if isinstance(op.by, str) else op.by
    told = [r for r in answer["ratings"] or [] if by is None or r["aspect"] in by]
    marks = [r["rating"] for r in told if r["rating"] is not None]
    return sum(marks) / len(marks) if len(marks) >= op.at_least else None


ASPECTS = st.sampled_from([None, "helpfulness", "rank", ("helpfulness", "honesty")])


@pytest.mark.parametrize("best", ["highest", "lowest"])
@pytest.mark.parametrize("rejected", ["random_worse", "worst", "next", "random_other"])
@pytest.mark.parametrize("ties", ["drop", "seeded"])
def test_whole_batches_are_paired_as_single_rows_are(best: Any, rejected: Any, ties: Any) -> None:
    @settings(max_examples=10, deadline=None)
    @given(rows_of("preference"), ASPECTS, st.sampled_from([0, 0.5, 1]), st.sampled_from([1, 2]))
    def holds(table: pa.Table, by: Any, margin: float, at_least: int) -> None:
        op = Pair(by=by, best=best, rejected=rejected, ties=ties, margin=margin, at_least=at_least)
        table = table.drop_columns("verdict")
        found = applied(op, table, SEED).to_pylist()
        keys = sort_keys(table["id"], SEED).to_pylist()
        for row, after, key in zip(table.to_pylist(), found, keys, strict=True):
            expected = plain(row, op, key)
            if isinstance(expected, tuple):
                chosen, worse = (row["completions"][number] for number in expected)
                assert (after["chosen"], after["rejected"]) == (chosen["messages"], worse["messages"])
                assert (after["chosen_model"], after["rejected_model"]) == (chosen["model"], worse["model"])
                assert after["chosen_rating"] == score(chosen, op)
                assert after["rejected_rating"] == score(worse, op)
                assert after["verdict"] is None
            else:
                assert after["verdict"] == (expected and f"pair:{expected}")
                assert after["chosen"] == row["chosen"]

    holds()
