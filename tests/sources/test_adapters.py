"""Adapters: a shape is known by its columns and values, and gives rows of its kinds."""

from __future__ import annotations

import doctest
import importlib
import json
import pkgutil
from typing import Any

import pyarrow as pa
import pytest

from tests.sources.shapes import ASK, COMPLETED, GATHERED, HI, PAIRS, SHAPES, skip, talk, turns
from tulu_data.errors import SourceError, UsageError
from tulu_data.record import KINDS
from tulu_data.sources import adapters
from tulu_data.sources.adapters import adapt_row, detect, get, names


@pytest.mark.parametrize(("name", "row", "expected"), SHAPES)
def test_a_shape_is_known_by_its_columns_and_gives_its_conversation(
    name: str, row: dict[str, Any], expected: Any
) -> None:
    assert detect(pa.Table.from_pylist([row])).name == name
    assert adapt_row(name, row)["messages"] == expected


@pytest.mark.parametrize(("name", "row"), PAIRS)
def test_a_pair_holds_whole_conversations_and_their_last_shared_user_turn(
    name: str, row: dict[str, Any]
) -> None:
    assert detect(pa.Table.from_pylist([row]), kind="preference").name == name
    found = adapt_row(name, row)
    assert (found["prompt"], found["chosen"], found["rejected"]) == ("Hi", HI, talk("Hi", "No."))


@pytest.mark.parametrize(("name", "row"), COMPLETED)
def test_answers_to_one_prompt_stay_whole_until_pairs_are_made(name: str, row: dict[str, Any]) -> None:
    table = pa.Table.from_pylist([row])
    assert detect(table, kind="preference").name == name
    with pytest.raises(
        SourceError, match=f"the shape of {name}, which only a recipe can use: each row holds"
    ):
        detect(table)  # where pairs are never made, answers would go unseen
    found = adapt_row(name, row)
    assert [one["messages"] for one in found["completions"]] == [HI, talk("Hi", "No.")]
    assert found["prompt"] == "Hi"
    assert not found.keys() & {"chosen", "rejected"}


@pytest.mark.parametrize(("name", "row"), GATHERED)
def test_gathered_rows_are_one(name: str, row: dict[str, Any]) -> None:
    found = adapt_row(name, row)
    talks = [found["messages"]] if "messages" in found else [c["messages"] for c in found["completions"]]
    assert talks == [HI, talk("Hi", "No.")][: len(talks)]
    assert get(name).gathers.partition(".")[0] in get(name).columns


@pytest.mark.parametrize("name", [name for name, _ in (*COMPLETED, *GATHERED)])
def test_an_adapter_for_recipes_is_refused_elsewhere(name: str) -> None:
    assert get(name).name == name
    with pytest.raises(UsageError, match=f"only a recipe can use the adapter '{name}'.*source of a recipe"):
        get(name, in_recipe=False)


def test_every_adapter_is_met_in_these_tests_and_told_by_name() -> None:
    assert {shape[0] for shape in (*SHAPES, *PAIRS, *COMPLETED, *GATHERED)} == set(names())
    assert all(get(name).name == name for name in names())
    assert {kind for name in names() for kind in get(name).kinds} == set(KINDS)


@pytest.mark.parametrize("module", [m.name for m in pkgutil.iter_modules(adapters.__path__)])
def test_the_examples_in_the_docstrings_hold(module: str) -> None:
    found = importlib.import_module(f"{adapters.__name__}.{module}")
    result = doctest.testmod(found)
    assert result.failed == 0
    if module in names():
        assert result.attempted > 0, f"{module} shows no example"


def test_an_unknown_adapter_names_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"no adapter is named 'alpacca'.*Did you mean 'alpaca'"):
        get("alpacca", where="recipe.yaml")


# -- detection -------------------------------------------------------------------------------------


def test_a_shape_that_could_mean_two_things_names_both() -> None:
    row = {"prompt": "Hi", "chosen": HI, "rejected": HI, "messages": HI}
    with pytest.raises(SourceError) as caught:
        detect(pa.Table.from_pylist([row]), where="data.parquet")
    text = str(caught.value)
    assert text.startswith("data.parquet: the rows fit more than one adapter: messages (")
    assert "and preference (" in text
    assert "Say which: `adapter: messages` or `adapter: preference` in a recipe" in text
    assert detect(pa.Table.from_pylist([row]), kind="preference").name == "preference"
    assert detect(pa.Table.from_pylist([row]), kind="sft").name == "messages"


def test_turns_with_both_pairs_of_keys_are_ambiguous() -> None:
    both = [{"role": "user", "content": "Hi", "from": "human", "value": "Hi"}]
    with pytest.raises(SourceError, match=r"messages .* and sharegpt"):
        detect(pa.table({"messages": [both]}))


def test_values_settle_what_columns_leave_open() -> None:
    plain = {"prompt": "Hi", "chosen": "Hello!", "rejected": "No."}
    transcript = {"prompt": "Hi", "chosen": f"{ASK} Hello!", "rejected": f"{ASK} No."}
    assert detect(pa.Table.from_pylist([plain])).name == "preference_text"
    assert detect(pa.Table.from_pylist([transcript])).name == "hh"
    with pytest.raises(SourceError, match=r"preference_text .* and hh"):
        detect(pa.Table.from_pylist([plain, transcript]))


def test_an_unknown_shape_lists_its_columns_and_what_each_adapter_needs() -> None:
    with pytest.raises(SourceError) as caught:
        detect(pa.table({"mesages": [HI], "n": [1]}), where="data.parquet")
    text = str(caught.value)
    assert "no adapter knows the shape of these columns: mesages (list<" in text
    assert "n (int64)" in text
    assert "Did you mean 'messages'?" in text
    assert [name for name in names() if f"\n  {name}: " not in text] == [
        name for name in names() if get(name).only_recipes
    ]


@pytest.mark.parametrize(
    "row",
    [
        {"question": "Q?", "answer": "A", "passage": "P"},
        {"sentence": "S", "label": 1},
        {"question": "Q?", "answer": 4},
        {"instruction": "I", "output_1": "a", "output_2": "b"},
        {"chosen": "a", "rejected": "b"},
        {"text": "Hi"},
    ],
)
def test_what_would_lose_or_guess_is_not_taken(row: dict[str, Any]) -> None:
    with pytest.raises(SourceError, match="no adapter knows the shape"):
        detect(pa.Table.from_pylist([row]))


def test_prompts_are_no_sft_rows_and_the_error_says_what_they_are() -> None:
    with pytest.raises(
        SourceError, match=r"no sft rows: they have the shape of instruction \(which gives prompts\)"
    ):
        detect(pa.table({"instruction": ["Hi"]}), kind="sft")
    with pytest.raises(SourceError, match=r"adapter 'rlvr' gives no sft rows"):
        adapt_row("rlvr", {"messages": HI[:1], "ground_truth": "x"}, "sft")


def test_an_adapter_named_by_hand_says_which_column_it_misses() -> None:
    with pytest.raises(SourceError, match=r"no column named output or response.*there are: instruction"):
        adapt_row("alpaca", {"instruction": "Hi"})
    with pytest.raises(SourceError, match=r"column 'output' holds int64; expected text"):
        adapt_row("alpaca", {"instruction": "Hi", "output": 4})
    with pytest.raises(
        SourceError, match=r"column 'messages' holds list<.*expected a list of turns with role and content"
    ):
        adapt_row("messages", {"messages": [{"speaker": "a"}]})


# -- kinds -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "row", "expected"), [s for s in SHAPES if s[0] != "dialogue"])
def test_prompts_end_in_the_last_user_turn(name: str, row: dict[str, Any], expected: Any) -> None:
    asked = expected[:-1] if expected[-1]["role"] == "assistant" else expected
    assert adapt_row(name, row, "prompts")["messages"] == asked


def test_prompts_need_no_answer_but_a_user_turn() -> None:
    assert adapt_row("prompt_completion", {"prompt": "Hi", "response": None}, "prompts")["messages"] == HI[:1]
    adapted, bad = skip(
        "messages", [{"messages": turns(("system", "S"))}, {"messages": []}, {"messages": HI}], "prompts"
    )
    assert [b.reason for b in bad] == ["messages holds no user turn"] * 2
    assert adapted.rows["messages"].to_pylist() == [HI[:1]]


def test_rlvr_rows_keep_what_the_verifier_is_told() -> None:
    row = {
        "messages": HI[:1],
        "ground_truth": '{"func_name": "x"}',
        "dataset": "ifeval",
        "constraint_type": "Case",
        "constraint": "Lower case.",
    }
    assert adapt_row("rlvr", row) == row
    assert adapt_row("rlvr", {**row, "ground_truth": ["4"]})["ground_truth"] == "4"
    assert json.loads(adapt_row("rlvr", {**row, "ground_truth": ["4", "5"]})["ground_truth"]) == ["4", "5"]
    verl = {"prompt": HI[:1], "reward_model": {"ground_truth": "4"}, "data_source": "math"}
    assert adapt_row("verl", verl) == {"messages": HI[:1], "ground_truth": "4", "dataset": "math"}


@pytest.mark.parametrize(
    ("chosen", "rejected"),
    [(f"{w}{m}chosen", f"{w}{m}rejected") for w in ("rating", "score") for m in "-_"]
    + [(f"chosen{m}{w}", f"rejected{m}{w}") for w in ("rating", "score") for m in "-_"],
)
def test_ratings_are_known_under_their_many_names(chosen: str, rejected: str) -> None:
    row = {"prompt": "Hi", "chosen": "a", "rejected": "b", chosen: 5, rejected: 2.5}
    found = adapt_row("preference_text", row)
    assert (found["chosen_rating"], found["rejected_rating"]) == (5.0, 2.5)
    assert "native" not in found


@pytest.mark.parametrize("chosen", ["chosen_model", "chonsen_model", "chosen-model", "model_chosen"])
def test_models_are_known_under_their_many_names(chosen: str) -> None:
    found = adapt_row("preference_text", {"prompt": "Hi", "chosen": "a", "rejected": "b", chosen: "m"})
    assert found["chosen_model"] == "m"


def test_a_rating_in_text_is_read_where_it_is_a_number_and_kept_as_it_is() -> None:
    rows = [{"prompt": "Hi", "chosen": "a", "rejected": "b", "chosen_rating": text} for text in ("4", "N/A")]
    found, _ = skip("preference_text", rows)
    assert found.rows["chosen_rating"].to_pylist() == [4.0, None]
    assert json.loads(found.rows["native"][1].as_py()) == {"chosen_rating": "N/A"}


ANSWERS: dict[str, dict[str, Any]] = {
    "preference": {"chosen": HI, "rejected": talk("Hi", "No.")},
    "hh": {"chosen": f"{ASK} Hello!", "rejected": f"{ASK} No."},
}


@pytest.mark.parametrize(("name", "row"), ANSWERS.items())
def test_a_native_prompt_is_the_prompt_and_changes_no_turn(name: str, row: dict[str, Any]) -> None:
    found = adapt_row(name, {"prompt": "Greet me.", **row})
    assert found == {**adapt_row(name, row), "prompt": "Greet me."}
    assert "native" not in found


def test_only_a_prompt_that_is_null_or_no_text_is_taken_from_the_turns() -> None:
    row = ANSWERS["preference"]
    found, _ = skip("preference", [{"prompt": text, **row} for text in ("Greet me.", None, "")])
    assert found.rows["prompt"].to_pylist() == ["Greet me.", "Hi", ""]
    assert found.rows["native"].null_count == 3
    alone, _ = skip("preference", [{"prompt": None, **row}])
    turns_too, _ = skip("preference", [{"prompt": talk("Hey"), **row}])
    assert alone.rows["prompt"].to_pylist() == turns_too.rows["prompt"].to_pylist() == ["Hi"]
