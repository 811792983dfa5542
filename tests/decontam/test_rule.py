"""The rule of Tülu 3, point by point, on both matchers; with the faults of the reference, not repeated."""

from __future__ import annotations

import pytest

from tests.decontam.test_match import Row, fast, slow
from tulu_data.decontam.rules import PRESETS, Coverage, Distinctive, rule_of
from tulu_data.errors import RecipeError, UsageError

LONG = "Which of the following best describes the main purpose of this passage about tides"
OTHER = "Nothing in these other words has anything whatever to do with the sea or moon"


def score(item: list[str], *messages: str, n: int = 8, threshold: float = 0.0) -> float:
    """What both matchers give the item in a row of these messages; 0 where they report nothing."""
    row: Row = [(message, True) for message in messages]
    found = fast([item], [[row]], n, threshold)
    assert found == slow([item], [[row]], n, threshold)
    return found[0, 0][0] if found else 0.0


def test_the_preset_is_the_papers() -> None:
    assert PRESETS["tulu3"] == Coverage(rule="tulu3", ngram=8, threshold=0.5, contaminated=0.02)
    assert {PRESETS["tulu3"].action(kind) for kind in Coverage.kinds} == {"drop"}


def test_a_verbatim_copy_scores_one() -> None:
    assert score([LONG], f"Please answer: {LONG}?") == 1.0


def test_exactly_half_of_the_tokens_is_no_match() -> None:
    item = " ".join(f"w{i}" for i in range(16))
    half = " ".join(f"w{i}" for i in range(8))
    assert score([item], half) == 0.5
    assert score([item], half, threshold=0.5) == 0
    assert score([item], f"{half} w8", threshold=0.5) == 9 / 16


def test_a_half_of_a_mean_of_fields_is_no_match_though_floats_make_it_more() -> None:
    assert (5 / 6 + 1 / 2 + 1 / 6) / 3 > 0.5
    item = ["a1 a2 a3 a4 a5 a6", "b1 b2", "c1 c2 c3 c4 c5 c6"]
    assert score(item, "a1 a2 a3 a4 a5", "b1", "c1", n=1) == pytest.approx(0.5)
    assert score(item, "a1 a2 a3 a4 a5", "b1", "c1", n=1, threshold=0.5) == 0


def test_seven_tokens_in_a_row_are_not_enough() -> None:
    item = " ".join(f"w{i}" for i in range(14))
    assert score([item], " ".join([*(f"w{i}" for i in range(7)), "x", *(f"w{i}" for i in range(7, 14))])) == 0


def test_an_ngram_does_not_run_from_one_message_into_the_next() -> None:
    words = LONG.split()
    assert score([LONG], " ".join(words[:7]), " ".join(words[7:])) == 0


def test_coverage_is_the_union_over_messages() -> None:
    words = LONG.split()
    assert len(words) == 14
    assert score([LONG], " ".join(words[:8]), " ".join(words[6:])) == 1.0


def test_every_position_of_a_repeated_ngram_counts() -> None:
    """The reference keeps n-grams in a dictionary, so an earlier position is overwritten by a later one."""
    refrain = "row row row your boat gently down the stream"
    assert score([f"{refrain} {refrain} {refrain}"], refrain) == 1.0


def test_an_empty_passage_does_not_cap_the_score() -> None:
    """In the reference an AGIEval row with passage="" can score 0.5 at most, and 0.5 is no match."""
    assert score(["", LONG], LONG, threshold=0.5) == 1.0
    assert score(["… — !", LONG], LONG, threshold=0.5) == 1.0


def test_a_short_field_is_checked_whole_instead_of_scoring_zero() -> None:
    """In the reference a field shorter than an n-gram scores 0 and stays in the mean: no PopQA."""
    assert score(["Who wrote Faust?"], "who wrote FAUST", threshold=0.5) == 1.0
    assert score(["Who wrote Faust?"], "who wrote the play Faust") == 0
    assert score(["Paris"], "Is Paris the capital?", threshold=0.5) == 1.0
    assert score([LONG, "Paris"], f"{LONG} Paris", threshold=0.5) == 1.0


def test_a_missing_field_counts_in_the_mean_only_if_it_has_tokens() -> None:
    assert score([LONG, OTHER], LONG) == 0.5
    assert score([LONG, OTHER, ""], LONG) == 0.5
    assert score([LONG, OTHER], LONG, threshold=0.5) == 0


def test_the_denominator_is_the_fields_own_tokens_not_the_rows() -> None:
    """Punctuation is no token here: in the reference it counts, in the n-grams and in the score."""
    spaced = " ... ".join(LONG.split())
    assert score([spaced], LONG) == 1.0
    assert score([LONG], spaced) == 1.0


def test_no_cap_on_how_many_rows_one_ngram_finds() -> None:
    """The reference asks for 100 hits of each n-gram, so boilerplate hides all rows but a hundred."""
    rows: list[Row] = [[(f"Item {i}: {LONG}", True)] for i in range(5_000)]
    assert sorted(fast([[LONG]], [rows])) == [(i, 0) for i in range(5_000)]


def test_frequent_ngrams_do_not_hide_an_item() -> None:
    """Every item begins alike; the one that is copied is still told from the others."""
    items = [
        [f"{LONG} and about the {i} waves that {i} reach the beach on day {i} of {i}"] for i in range(300)
    ]
    assert fast(items, [[[(items[137][0], True)]]])[0, 137][0] == 1.0
    assert fast(items, [[[(items[137][0], True)]]]) == slow(items, [[[(items[137][0], True)]]])


def test_math_and_code_are_matched_by_their_words() -> None:
    assert (
        score(["def f(x): return x + 1 if x > 0 else -x"], "def f(x):\n    return x+1 if x>0 else -x") == 1.0
    )


def test_a_contraction_is_cut_alike_on_both_sides() -> None:
    """The reference cuts items with spaCy and rows with Elasticsearch, so `n't …` cannot match."""
    text = "n't the farmer going to sell all of his hens"
    assert score([f"Is{text}"], f"Is{text}") == 1.0
    assert score([text], f"is{text}") < 1.0  # isn is another token than n, and only that one is lost


@pytest.mark.parametrize("n", [1, 2, 8, 13, 64])
def test_any_length_of_ngram(n: int) -> None:
    item = " ".join(f"w{i}" for i in range(64))
    assert score([item], item, n=n) == 1.0
    assert score([item], " ".join(f"w{i}" for i in range(n - 1)), n=n) == 0


def test_a_rule_is_a_preset_or_its_settings() -> None:
    assert rule_of("tulu3") == Coverage(rule="tulu3")
    assert rule_of({"like": "tulu3", "ngram": 13, "threshold": 0.8}) == Coverage(
        rule="like tulu3", ngram=13, threshold=0.8
    )
    assert rule_of({"rule": "mine", "ngram": 5}) == Distinctive(rule="mine", ngram=5)
    assert rule_of("tulu-data") == rule_of({"rule": "tulu-data"}) == Distinctive(rule="tulu-data")
    with pytest.raises(UsageError, match=r"no rule is named 'tulu4'.*Did you mean 'tulu3'"):
        rule_of("tulu4")
    with pytest.raises(RecipeError, match=r"suite.yaml, line 2: unknown key 'ngrams'.*Did you mean 'ngram'"):
        rule_of({"ngrams": 13}, where="suite.yaml, line 2")
    for wrong in ({"ngram": 0}, {"ngram": 65}, {"threshold": 1}, {"threshold": -0.1}, {"contaminated": 2}):
        with pytest.raises(RecipeError, match=next(iter(wrong))):
            rule_of(wrong)
