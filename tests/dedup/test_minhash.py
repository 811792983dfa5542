"""Of nearly equal rows one stays: the measured likeness of each with its survivor, whatever the order."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.dedup.finding import Found, duplicates, find
from tests.rows import conversation, one_of, rows_of, table_of
from tulu_data.dedup._kernels import _least_first, leaders
from tulu_data.dedup.clusters import CLUSTERS
from tulu_data.dedup.minhash import MISS_WEIGHT, MinHash
from tulu_data.errors import UsageError
from tulu_data.op import Context
from tulu_data.record import KINDS, Kind
from tulu_data.text import minhash_plain
from tulu_data.text.minhash import bands_for, found_with

STORY = " ".join(f"word{number}" for number in range(60))
SURE: dict[str, Any] = {"threshold": 0.5, "ngram": 2}


def changed(text: str, *places: int) -> str:
    words = text.split()
    for place in places:
        words[place] = "changed"
    return " ".join(words)


def says(text: str, answer: str = "Yes.") -> dict[str, Any]:
    return one_of("sft", f"user: {text}", f"assistant: {answer}")


@pytest.fixture
def sure(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pair above the threshold is missed less than once in 10^30 times: tests can expect it to be found."""
    monkeypatch.setattr("tulu_data.dedup.minhash.MISS_WEIGHT", 1.0)
    assert MinHash(**SURE).bands() == (128, 1)


def test_how_many_are_found_is_what_it_is_said_to_be() -> None:
    bands = bands_for(0.8, 128, MISS_WEIGHT)
    assert [round(found_with(jaccard, *bands), 3) for jaccard in (0.8, 0.85)] == [0.986, 0.999]
    balanced = bands_for(0.8, 128)
    assert [round(found_with(jaccard, *balanced), 2) for jaccard in (0.8, 0.85)] == [0.4, 0.69]


def test_a_nearly_equal_row_goes_and_says_why(tmp_path: Path) -> None:
    table = table_of(
        "sft", [says(STORY), says(changed(STORY, 30)), says("Something else."), says(STORY.upper())]
    )
    first, second, other, third = table["id"].to_pylist()
    found = find(MinHash(threshold=0.7), tmp_path, table)
    assert found.kept == [first, other]
    assert found.gone == {second: first, third: first}
    assert found.similarity == {second: 52 / 62, third: 1.0}  # 57 shingles each; one word is in five of them
    assert found.clusters.schema == CLUSTERS
    assert found.clusters.to_pylist() == [
        {"cluster": 0, "id": row, "survivor": first, "rule": "first", "jaccard": likeness}
        for row, likeness in ((first, 1.0), (second, 52 / 62), (third, 1.0))
    ]


def test_the_threshold_belongs_to_the_duplicates(tmp_path: Path) -> None:
    rows = [one_of("sft", f"user: {STORY}"), one_of("sft", f"user: {' '.join(STORY.split()[:48])}")]
    assert duplicates(MinHash(ngram=1, threshold=0.8), tmp_path, rows) == [None, 0]
    assert duplicates(MinHash(ngram=1, threshold=0.801), tmp_path, rows) == [None, None]


def test_there_are_no_chains(tmp_path: Path) -> None:
    """The second is like the first and like the third; but the third is not like the first, so it stays."""
    rows = [says(STORY), says(changed(STORY, 10, 40)), says(changed(STORY, 10, 40, 25, 55))]
    assert duplicates(MinHash(threshold=0.65, by="prompt"), tmp_path, rows) == [None, 0, None]
    assert duplicates(MinHash(threshold=0.65, by="prompt"), tmp_path, rows[1:]) == [None, 0]


def test_a_row_goes_with_the_survivor_that_it_is_most_like(tmp_path: Path) -> None:
    far, near = changed(STORY, 5, 15, 25), changed(STORY, 35, 45)
    rows = [says(far), says(near), says(STORY)]
    assert duplicates(MinHash(threshold=0.5, by="prompt"), tmp_path, rows) == [None, None, 1]


def test_texts_shorter_than_a_shingle_are_duplicates_only_where_their_tokens_are_equal(
    tmp_path: Path,
) -> None:
    rows = [one_of("sft", f"user: {text}") for text in ("Hello!", "hello", "Hello world", "hello, World", "")]
    assert duplicates(MinHash(), tmp_path, rows) == [None, 0, None, 2, None]


def test_rows_without_a_token_are_left_alone(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"messages": None}, {"messages": []}, says("", ""), says("?!", "🙂")]
    assert duplicates(MinHash(), tmp_path, rows + rows) == [None] * 8


def test_by_prompt_the_answers_do_not_count_and_rows_that_ask_nothing_are_left_alone(tmp_path: Path) -> None:
    rows = [
        says(STORY, "One."),
        says(STORY, "Two, and something else entirely."),
        one_of("sft", f"assistant: {STORY}"),
        one_of("sft", f"system: {STORY}"),
        one_of("sft", "system: word0 word1", f"user: {STORY}", "assistant: A", "user: And?", "assistant: B"),
    ]
    assert duplicates(MinHash(by="prompt"), tmp_path, rows) == [None, 0, None, None, 0]


def test_by_a_column(tmp_path: Path) -> None:
    rows = [one_of("rlvr", "user: a", ground_truth=truth) for truth in (STORY, changed(STORY, 7), "4", None)]
    rows += [one_of("rlvr", "user: b", ground_truth="4")]
    step = MinHash(by=("ground_truth",))
    assert duplicates(step, tmp_path, rows, "rlvr") == [None, 0, None, None, 2]


def test_a_column_that_is_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="a column of type double is compared; expected text or messages"):
        duplicates(MinHash(by=("chosen_rating",)), tmp_path, [{}], "preference")


def test_the_ground_truth_of_rlvr_rows_counts(tmp_path: Path) -> None:
    rows = [one_of("rlvr", "user: What is 2 + 2?", ground_truth=truth) for truth in ("4", "5", "4")]
    assert duplicates(MinHash(), tmp_path, rows, "rlvr") == [None, None, 0]


def test_of_preferences_both_answers_count_and_the_prompt_once(tmp_path: Path) -> None:
    def row(chosen: str, rejected: str) -> dict[str, Any]:
        sides = {"chosen": chosen, "rejected": rejected}
        turns = {name: conversation(f"user: {STORY}", f"assistant: {text}") for name, text in sides.items()}
        return {"prompt": STORY, **turns}

    good, bad = (" ".join(f"{name}{number}" for number in range(40)) for name in ("good", "bad"))
    rows = [row(good, bad), row(bad, good), row(good, changed(bad, 39)), row(good, "No.")]
    assert duplicates(MinHash(), tmp_path, rows, "preference") == [None, None, 0, None]
    assert duplicates(MinHash(by="prompt"), tmp_path, rows, "preference") == [None, 0, 0, 0]


def test_scripts_without_spaces(tmp_path: Path) -> None:
    text = "春眠不覚暁処処聞啼鳥夜来風雨声花落知多少床前明月光疑是地上霜挙頭望明月低頭思故郷"
    rows = [says(text), says(text.replace("少", "許")), says(text[::-1])]
    assert duplicates(MinHash(threshold=0.7, by="prompt"), tmp_path, rows) == [None, 0, None]


# -- which row stays -----------------------------------------------------------------------------------------

LONG, SHORT = "A much longer answer than the other one.", "Short."


@pytest.mark.parametrize(
    ("keep", "survivor"),
    [
        ({}, 0),
        ({"keep": "longest"}, 1),
        ({"keep": "best_source", "sources": ("good", "better")}, 2),
        ({"keep": "license", "licenses": ("CC0-1.0", "apache-2.0")}, 3),
    ],
)
def test_the_rule_says_which_row_stays(keep: dict[str, Any], survivor: int, tmp_path: Path) -> None:
    rows = [
        says(STORY, SHORT) | {"license": "cc-by-nc-4.0", "source": "better"},
        says(STORY, LONG) | {"license": "apache-2.0", "source": "unknown"},
        says(STORY, "Well") | {"license": None, "source": "good"},
        says(STORY, "Hm") | {"license": " cc0-1.0", "source": "better"},
    ]
    expected = [None if number == survivor else survivor for number in range(4)]
    step = MinHash(by="prompt", **keep)
    assert duplicates(step, tmp_path, rows) == expected
    assert set(find(step, tmp_path, table_of("sft", rows)).clusters["rule"].to_pylist()) == {step.keep}


def test_equally_good_rows_go_by_their_ids(tmp_path: Path) -> None:
    rows = [says(STORY, answer) for answer in "ABCDE"]
    table = table_of("sft", rows)
    found = find(MinHash(by="prompt", keep="longest"), tmp_path, table)
    assert found.kept == [min(table["id"].to_pylist())]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"keep": "best_source"}, "needs a list `sources`"),
        ({"keep": "license"}, "needs a list `licenses`"),
        ({"sources": ("a",)}, "`sources` is for `keep: best_source`, but `keep` is first"),
        ({"threshold": 0.1}, "greater than or equal to 0.3"),
        ({"by": ()}, "at least 1 item"),
    ],
)
def test_settings_that_make_no_sense_are_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        MinHash(**given)


# -- what does not matter ------------------------------------------------------------------------------------

texts = st.lists(st.sampled_from("a b c d e".split()), min_size=1, max_size=12).map(" ".join)  # noqa: SIM905
prompts = st.lists(texts.map(lambda text: one_of("sft", f"user: {text}")), max_size=12)


def expected(rows: list[dict[str, Any]], ids: list[str]) -> tuple[dict[str, str], dict[str, float]]:
    """Rows by their order, as the documentation has it: each stays, or goes with what it is most like."""
    sets = [
        minhash_plain.shingles(minhash_plain.tokens_of(row["messages"][0]["content"]), SURE["ngram"])
        for row in rows
    ]
    stays: list[int] = []
    gone: dict[str, str] = {}
    similarity: dict[str, float] = {}
    for number, own in enumerate(sets):
        measured = [(minhash_plain.jaccard(own, sets[other]), -other) for other in stays]
        best, other = max(measured, default=(0.0, 0))
        if best >= SURE["threshold"]:
            gone[ids[number]], similarity[ids[number]] = ids[-other], best
        else:
            stays.append(number)
    return gone, similarity


@pytest.mark.usefixtures("sure")
def test_it_finds_what_the_plain_rule_finds(tmp_path_factory: pytest.TempPathFactory) -> None:
    @settings(max_examples=60, deadline=None)
    @given(prompts, st.sampled_from([1, 300, 1 << 20]), st.sampled_from([1, 2]))
    def holds(rows: list[dict[str, Any]], batch_bytes: int, threads: int) -> None:
        table = table_of("sft", rows)
        found = find(
            MinHash(**SURE), tmp_path_factory.mktemp("run"), table, batch_bytes=batch_bytes, threads=threads
        )
        assert (found.gone, found.similarity) == expected(rows, table["id"].to_pylist())

    holds()


@pytest.mark.slow
@pytest.mark.usefixtures("sure")
@pytest.mark.parametrize("keep", [{"keep": "longest"}, {"keep": "license", "licenses": ("mit",)}])
def test_the_order_of_rows_does_not_matter(
    keep: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    rows = prompts.map(
        lambda rows: [row | {"license": "mit" if k % 3 else None} for k, row in enumerate(rows)]
    )

    @settings(max_examples=30, deadline=None)
    @given(rows, st.randoms(use_true_random=False), st.sampled_from([1, 1 << 20]))
    def holds(rows: list[dict[str, Any]], random: Any, batch_bytes: int) -> None:
        table = table_of("sft", rows)
        order = list(range(len(rows)))
        random.shuffle(order)
        scratch = tmp_path_factory.mktemp("run")
        one = find(MinHash(**SURE, **keep), scratch, table)
        other = find(
            MinHash(**SURE, **keep),
            scratch,
            table.take(pa.array(order, pa.int64())),
            batch_bytes=batch_bytes,
            threads=2,
        )
        assert (one.gone, one.similarity) == (other.gone, other.similarity)
        assert one.clusters.equals(other.clusters)

    holds()


sets = st.lists(st.sets(st.integers(0, 30), min_size=1, max_size=20), min_size=1, max_size=14)


@settings(deadline=None, max_examples=200)
@given(sets, st.sampled_from([0.3, 0.5, 0.6, 0.75, 0.8, 0.95, 1.0]))
def test_each_set_goes_with_the_earlier_survivor_that_it_is_most_like(
    of: list[set[int]], threshold: float
) -> None:
    spread = np.uint64(0x9E3779B97F4A7C15)
    hashes = [np.sort(np.array(sorted(one), np.uint64) * spread) for one in of]
    ends = np.cumsum([0, *map(len, of)])
    led_by, likeness = leaders(np.concatenate(hashes), ends[:-1], ends[1:], threshold)
    stays: list[int] = []
    for number, own in enumerate(of):
        measured = [(len(own & of[other]) / len(own | of[other]), -other) for other in stays]
        best, other = max(measured, default=(0.0, 0))
        if best >= threshold:
            assert (led_by[number], likeness[number]) == (-other, best)
        else:
            assert (led_by[number], likeness[number]) == (number, 1.0)
            stays.append(number)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_goes_on_an_estimate(kind: Kind, tmp_path_factory: pytest.TempPathFactory) -> None:
    @settings(max_examples=15, deadline=None)
    @given(rows_of(kind, max_size=10))
    def holds(table: pa.Table) -> None:
        table = pa.concat_tables([table, table]).drop_columns("verdict")
        table = table.set_column(0, "id", pa.array([f"row-{number:03}" for number in range(table.num_rows)]))
        found: Found = find(MinHash(threshold=0.4, ngram=1), tmp_path_factory.mktemp("run"), table, kind)
        assert set(found.gone.values()) <= set(found.kept)
        assert all(likeness >= 0.4 for likeness in found.similarity.values())
        assert sorted([*found.kept, *found.gone]) == table["id"].to_pylist()

    holds()


# -- many rows -----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_hundred_thousand_equal_rows_are_one_set(tmp_path: Path) -> None:
    table = table_of("sft", [says(STORY)]).take(pa.array(np.zeros(100_000, np.int64)))
    table = table.set_column(0, "id", pa.array([f"{number:06}" for number in range(len(table))]))
    found = find(MinHash(), tmp_path, table, batch_bytes=8 << 20)
    assert found.kept == ["000000"]


@pytest.mark.slow
def test_many_rows_of_one_template_are_not_compared_all_with_all(tmp_path: Path) -> None:
    """20,000 rows that pairwise share just under the threshold: 200 million pairs would take a minute."""
    head = " ".join(f"t{number}" for number in range(60))
    rows = [one_of("sft", f"user: {head} {' '.join(f'{k}x{n}' for n in range(20))}") for k in range(20_000)]
    table = table_of("sft", rows)
    found = find(MinHash(threshold=0.6), tmp_path, table, batch_bytes=8 << 20)
    assert found.gone == {}
    near = find(MinHash(threshold=0.5), tmp_path, table.slice(0, 2_000))
    assert len(near.kept) == 1


def test_it_may_follow_itself_in_a_recipe(tmp_path: Path) -> None:
    from tulu_data.engine import LocalEngine

    table = table_of("sft", [says(STORY, "A"), says(changed(STORY, 9), "B"), says(STORY, LONG)])
    plan = [*MinHash(threshold=0.99).plan(), *MinHash(threshold=0.6, by="prompt").plan()]
    engine = LocalEngine(tmp_path)
    kept = [row["row"] for batch in engine.run([table], plan, Context()) for row in batch.to_pylist()]
    assert kept == [0]
    assert [sum(count.reasons.values()) for count in engine.counts] == [0, 0, 0, 0, 0, 2]
    assert [name for name, _ in engine.artifacts] == ["minhash_candidates", "near_duplicates"] * 2


def test_no_rows_at_all(tmp_path: Path) -> None:
    found = find(MinHash(), tmp_path, table_of("sft", []))
    assert (found.kept, found.gone) == ([], {})
    assert all(one < other for one, other in pairwise(found.clusters["cluster"].to_pylist()))


@settings(deadline=None)  # the first call compiles
@given(st.lists(st.integers(0, 9) | st.integers(0, 2**64 - 1), max_size=50), st.integers(0, 60))
def test_the_least_values_stand_first_in_their_order(values: list[int], wanted: int) -> None:
    wanted = min(wanted, len(values))
    array = np.array(values, np.uint64)
    _least_first(array, wanted)
    assert array[:wanted].tolist() == sorted(values)[:wanted]
    assert sorted(array.tolist()) == sorted(values)
