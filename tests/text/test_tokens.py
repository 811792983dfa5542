"""What counts as a token, told in examples, and the laws of the plain tokeniser."""

from __future__ import annotations

import re
import unicodedata
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.text.kernel import TRICKY
from tulu_data.text import tokens as module
from tulu_data.text.tokens import Token, nfkc, normalise, normalise_with_origins, tokens


def words(text: str) -> list[str]:
    return [token.text for token in tokens(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("… — !?", []),
        ("Can't stop", ["can", "t", "stop"]),
        ("snake_case_1 2.5", ["snake_case_1", "2", "5"]),
        ("Ｆｕｌｌ ｗｉｄｔｈ", ["full", "width"]),
        ("ﬁne oﬃce", ["fine", "office"]),
        (
            "so\u00adft zero\u200bwidth join\u200der \u2066turned\u2069",
            ["soft", "zerowidth", "joiner", "turned"],
        ),
        ("e\u0301te\u0301 été", ["été", "été"]),
        ("x² ½", ["x2", "1", "2"]),  # the fraction slash is no word character
        ("ΟΔΟΣ ΟΔΟΣΑ", ["οδος", "οδοσα"]),
        ("İ", ["i"]),  # lower case is i and a dot above, which is a mark
        ("한국 \u1112\u1161\u11ab", ["한국", "한"]),
        ("日本語", ["日本語"]),
        ("٣ ४", ["٣", "४"]),
        ("a\x00b", ["a", "b"]),
        ("a😀b", ["a", "b"]),
        ("ﷺ", ["صلى", "الله", "عليه", "وسلم"]),
        ("\U000e0041a", ["a"]),  # a tag character is a format character
    ],
)
def test_words_of_a_text(text: str, expected: list[str]) -> None:
    assert words(text) == expected


def test_tokens_say_where_they_lie_in_the_original_text() -> None:
    assert tokens("ﬁ\u00adn e\u0301!") == [Token("fin", 0, 3), Token("é", 4, 6)]
    assert tokens("ﷺ") == [Token(word, 0, 1) for word in words("ﷺ")]


@settings(max_examples=500, deadline=None)
@given(st.text() | TRICKY)
def test_normalising_piece_by_piece_gives_nfkc_of_the_whole(text: str) -> None:
    whole = "".join(c for c in unicodedata.normalize("NFKC", text) if unicodedata.category(c) != "Cf").lower()
    plain, starts, ends = normalise_with_origins(text)
    assert plain == normalise(text) == whole
    assert len(plain) == len(starts) == len(ends)
    assert all(0 <= start < end <= len(text) for start, end in zip(starts, ends, strict=True))
    assert starts == sorted(starts)


@settings(max_examples=300, deadline=None)
@given(st.text() | TRICKY)
def test_the_original_of_a_token_normalises_to_it(text: str) -> None:
    """But for sigma, whose lower case depends on what follows the token."""
    for token in tokens(text):
        original = normalise(text[token.start : token.end])
        assert token.text.replace("ς", "σ") in original.replace("ς", "σ")


@settings(max_examples=300, deadline=None)
@given(st.text(st.characters(categories=("L", "Nd", "Z", "Po", "Pd", "Sm")), max_size=60))
def test_nltk_cuts_text_without_marks_the_same_way(text: str) -> None:
    """Whichever engine it runs on: they differ in marks, connectors and numbers that are no digits."""
    from nltk.tokenize import RegexpTokenizer

    plain = "".join(c for c in normalise(text) if not unicodedata.category(c).startswith("M"))
    assert RegexpTokenizer(r"\w+").tokenize(plain) == re.findall(r"\w+", plain)


MARKS = st.text(
    st.sampled_from("\u0300\u0316\u0344\u0345\u0323\u3099\u0f73\u0f81\u05b0"), min_size=25, max_size=80
)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("aeか\u1100ά"), MARKS), max_size=3))
@example([("a", "\u0316\u0300" * 20)])
def test_long_runs_of_marks_are_normalised_as_unicodedata_does(parts: list[tuple[str, str]]) -> None:
    text = "".join(letter + marks for letter, marks in parts)
    assert nfkc(text) == unicodedata.normalize("NFKC", text)


def test_unicodedata_never_gets_a_long_run_of_marks_out_of_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """It sorts by insertion, in time that grows with the square of the run: hours for a row of megabytes."""
    seen: list[int] = []

    def spy(form: Any, text: str) -> str:
        classes = [unicodedata.combining(c) for c in text]
        seen.append(sum(a > b > 0 for a, b in pairwise(classes)))
        return unicodedata.normalize(form, text)

    normalise("é")  # makes the tables
    monkeypatch.setattr(
        module, "unicodedata", type("Spy", (), {**vars(unicodedata), "normalize": staticmethod(spy)})
    )
    assert words("a" + "\u0300\u0316" * 50_000) == ["à"]
    assert max(seen) == 0
