"""The words of the reference, at the word boundaries of Python, named in the verdict."""

from __future__ import annotations

import re
import sys
import unicodedata
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.rows import conversation, one_of, table_of, texts
from tulu_data.errors import RecipeError
from tulu_data.filters.keyword_filter import _WORD_CHARACTER, KeywordFilter
from tulu_data.filters.words import LISTS
from tulu_data.op import Context, Registry
from tulu_data.record import KINDS, Kind


def verdicts_of(rows: list[dict[str, Any]], kind: Kind = "sft", **settings: Any) -> list[str | None]:
    op = KeywordFilter(**settings)
    result: list[str | None] = op.apply(table_of(kind, rows), op.setup(Context(kind=kind)))[
        "verdict"
    ].to_pylist()
    return result


def verdict_on(text: str, **settings: Any) -> str | None:
    return verdicts_of([one_of("sft", f"assistant: {text}")], **settings)[0]


def test_the_lists_have_the_sizes_of_the_papers_filters() -> None:
    assert len(LISTS["provider_names"].words) == 18
    assert len(LISTS["provider_names_tulu2"].words) == 22


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("I am OpenAI.", "OpenAI"),
        ("I am CHATGPT, made by OpenAI", "ChatGPT"),
        ("OpenAI's", "OpenAI"),
        ("a\nlaion\nb", "LAION"),
        ("gpt-3.5-turbo", "GPT-3.5"),
        ("GPT-3 is older", "GPT-3"),
        ("日本。OpenAI。", "OpenAI"),
    ],
)
def test_whole_words_are_found_in_any_case_and_named_as_the_list_spells_them(text: str, word: str) -> None:
    assert verdict_on(text, list="provider_names") == f"keyword_filter:{word}"


@pytest.mark.parametrize(
    "text", ["MyOpenAI", "OpenAIs", "OpenAI_x", "éOpenAI", "OpenAI日", "GPT45", "GPT-3x5", "", "open  ai"]
)
def test_parts_of_words_in_any_script_are_not(text: str) -> None:
    assert verdict_on(text, list="provider_names") is None


def test_inside_of_words_too_where_the_recipe_or_the_list_says_so() -> None:
    assert verdict_on("MyOpenAIs", list="provider_names", whole_words=False) == "keyword_filter:OpenAI"
    assert verdict_on("palmistry", list="provider_names_tulu2") == "keyword_filter:Palm"
    assert verdict_on("palmistry", list="provider_names_tulu2", whole_words=True) is None


def test_only_the_chosen_roles_are_looked_at() -> None:
    rows = [
        one_of("sft", "user: Are you ChatGPT?", "assistant: No."),
        one_of("sft", "user: Hi", "assistant: ChatGPT"),
    ]
    assert verdicts_of(rows, list="provider_names") == [None, "keyword_filter:ChatGPT"]
    assert verdicts_of(rows, list="provider_names", roles=["user"]) == ["keyword_filter:ChatGPT", None]
    assert verdicts_of(rows, list="provider_names_tulu2") == ["keyword_filter:ChatGPT"] * 2


def test_the_first_message_with_a_word_names_it() -> None:
    row = one_of("sft", "assistant: none here", "assistant: LAION", "assistant: OpenAI")
    assert verdicts_of([row], list="provider_names") == ["keyword_filter:LAION"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_conversation_of_every_kind_is_looked_at(kind: Kind) -> None:
    bad = one_of(kind, "user: a", "assistant: ChatGPT")
    good = one_of(kind, "user: a", "assistant: b")
    assert verdicts_of([bad, good], kind, list="provider_names") == ["keyword_filter:ChatGPT", None]
    if kind == "preference":
        mixed = good | {"rejected": conversation("user: a", "assistant: OpenAI")}
        assert verdicts_of([mixed], kind, list="provider_names") == ["keyword_filter:OpenAI"]


def test_words_are_taken_literally() -> None:
    assert verdict_on("I like C++ best", words=["C++"]) == "keyword_filter:C++"
    assert verdict_on("I like Cpp", words=["C++"]) is None
    assert verdict_on("a\\b", words=["a\\b"]) == "keyword_filter:a\\b"
    assert verdict_on("АЛИСА!", words=["Алиса"]) == "keyword_filter:Алиса"
    assert verdict_on("im a-b", words=["a-b", "[x]"]) == "keyword_filter:a-b"


def test_a_word_character_is_what_python_takes_for_one() -> None:
    known = [
        chr(i) for i in range(sys.maxunicode) if unicodedata.ucd_3_2_0.category(chr(i)) not in {"Cs", "Cn"}
    ]
    ours = pc.match_substring_regex(pa.array(known), f"[{_WORD_CHARACTER}]").to_pylist()
    assert [c for c, is_ours in zip(known, ours, strict=True) if is_ours != bool(re.match(r"\w", c))] == []


reference = re.compile(
    r"(?<!\w)(" + "|".join(re.escape(w.lower()) for w in LISTS["provider_names"].words) + r")(?!\w)"
)
# Code points that one Unicode version knows and another does not, and those on which "ignore case"
# and "lower case first" differ (İ, ſ, the Kelvin sign), are left out.
neighbours = st.text(
    st.characters(exclude_categories=["Cs", "Cn"], exclude_characters="\u0130\u017f\u212a"), max_size=2
)


@given(neighbours, st.sampled_from(LISTS["provider_names"].words), neighbours)
def test_a_word_boundary_is_what_python_takes_for_one(before: str, word: str, after: str) -> None:
    text = before + word + after
    assert (verdict_on(text, list="provider_names") is not None) == bool(reference.search(text.lower()))


@given(st.lists(st.lists(texts, max_size=3), max_size=5))
def test_rows_are_told_apart(rows: list[list[str]]) -> None:
    found = verdicts_of(
        [{"messages": conversation(*(f"assistant: {t}" for t in row))} for row in rows], words=["Ω", "é"]
    )
    assert [bool(v) for v in found] == [
        any(re.search(r"(?i)(?<!\w)[Ωé](?!\w)", t) for t in row) for row in rows
    ]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "give `list` or `words`"),
        ({"list": "provider_name"}, "provider_names"),
        ({"words": ["a", " "]}, "empty word"),
        ({"words": ["a"], "roles": []}, "no roles"),
        ({"words": ["a"], "roles": ["gpt"]}, "'assistant'"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        KeywordFilter(**settings)
    with pytest.raises(RecipeError, match=said):
        Registry().make({"op": "keyword_filter", **settings})


def test_another_list_is_another_filter(monkeypatch: pytest.MonkeyPatch) -> None:
    op = KeywordFilter(list="provider_names")
    before = op.fingerprint()
    monkeypatch.setitem(LISTS, "provider_names", LISTS["provider_names_tulu2"])
    assert op.fingerprint() != before


def test_text_of_another_arrow_layout_is_read_alike() -> None:
    table = table_of(
        "sft", [one_of("sft", "assistant: x"), one_of("sft", "assistant: OpenAI"), one_of("sft")]
    )
    op = KeywordFilter(list="provider_names")
    state = op.setup(Context())
    assert op.apply(table.slice(1), state)["verdict"].to_pylist() == ["keyword_filter:OpenAI", None]
    chunked = pa.concat_tables([table.slice(0, 1), table.slice(1)])
    assert op.apply(chunked, state)["verdict"].to_pylist() == [None, "keyword_filter:OpenAI", None]


def test_only_the_rows_of_named_sources_are_looked_at() -> None:
    op = KeywordFilter(words=("Alpaca",), sources=("chat",))
    rows = [one_of("sft", "assistant: I am Alpaca.")]
    found = [op.apply(table_of("sft", rows, name), op.setup(Context()))["verdict"] for name in ("chat", "x")]
    assert [verdict.to_pylist() for verdict in found] == [["keyword_filter:Alpaca"], [None]]
