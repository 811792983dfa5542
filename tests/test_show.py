"""Row text is printed literally: what is in a row can be seen, and can do nothing."""

from __future__ import annotations

import io
import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tulu_data import show
from tulu_data.show import Side, beside, cell_text, excerpt, marked, pieces, table, visible

HOSTILE = {
    "colour": "\x1b[31mred\x1b[0m",
    "clear screen": "\x1b[2J\x1b[H",
    "window title": "\x1b]0;owned\x07",
    "hyperlink": "\x1b]8;;http://example.org\x1b\\click\x1b]8;;\x1b\\",
    "8-bit control sequence": "\x9b31mred",
    "carriage return": "good\rbad",
    "backspace": "safe\b\b\b\bevil",
    "right-to-left override": "abc\u202etxt.exe",
    "zero-width space": "pass\u200bword",
    "line separator": "one\u2028two",
    "NUL": "a\x00b",
    "delete": "a\x7fb",
    "lone surrogate": "a\ud800b",
    "byte order mark": "\ufeffa",
    "tag characters": "a\U000e0041b",
}
MARKUP = ["[/INST]", "[bold]no[/bold]", "[red", "[[x]]", ":smile:", "[link=http://x]y[/link]", "\\[b]", "[/]"]


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_text_reaches_no_terminal(text: str) -> None:
    shown = visible(text)
    assert all(unicodedata.category(c) not in show.INVISIBLE for c in shown)
    assert shown != text


@pytest.mark.parametrize("text", [*HOSTILE.values(), *MARKUP])
def test_tables_and_sides_print_what_visible_gives(text: str) -> None:
    for out in (io.StringIO(), _Terminal()):
        table(("text",), [(text,)], file=out)
        assert visible(text) in _bare(out.getvalue())
    for out in (io.StringIO(), _Terminal()):
        beside(Side("row", text), Side("item", "other"), file=out)
        assert _squeezed(visible(text, newline=" ⏎ ")) in _squeezed(_bare(out.getvalue()))


@given(st.text())
def test_visible_text_has_one_line_and_no_controls(text: str) -> None:
    shown = visible(text)
    assert len(shown.splitlines()) <= 1
    assert all(unicodedata.category(c) not in show.INVISIBLE for c in shown)


@given(st.text(st.characters(exclude_categories=sorted(show.INVISIBLE))))  # type: ignore[arg-type]
def test_harmless_text_is_shown_as_it_is(text: str) -> None:
    assert visible(text) == text


Marked = tuple[str, list[tuple[int, int]]]


@st.composite
def marked_texts(draw: st.DrawFn) -> Marked:
    text = draw(st.text(max_size=60))
    borders = sorted(draw(st.lists(st.integers(0, len(text)), max_size=6, unique=True)))
    return text, list(zip(borders[::2], borders[1::2], strict=False))


@given(marked_texts())
def test_pieces_join_to_the_text_and_the_marked_ones_are_the_spans(drawn: Marked) -> None:
    text, spans = drawn
    cut = list(pieces(text, spans))
    assert "".join(piece for piece, _ in cut) == text
    assert [piece for piece, hit in cut if hit] == [text[a:b] for a, b in spans]


@given(marked_texts(), st.integers(0, 20))
def test_an_excerpt_keeps_every_marked_word(drawn: Marked, around: int) -> None:
    text, spans = drawn
    part, places = excerpt(text, spans, around)
    assert [part[a:b] for a, b in places] == [text[a:b] for a, b in spans]


def test_marks_are_stars_without_colours_and_styles_with_them() -> None:
    assert marked("one two", [(4, 7)], colour=False).plain == "one **two**"
    coloured = marked("one two", [(4, 7)], colour=True)
    assert coloured.plain == "one two"
    assert [(s.start, s.end) for s in coloured.spans] == [(4, 7)]


def test_a_terminal_gets_colours_and_a_file_does_not() -> None:
    left, right = Side("row", "one two", [(4, 7)]), Side("item", "two", [(0, 3)])
    terminal, plain = _Terminal(), io.StringIO()
    beside(left, right, file=terminal)
    beside(left, right, file=plain)
    assert "\x1b[1;31mtwo" in terminal.getvalue()
    assert "**two**" in plain.getvalue()
    assert "\x1b" not in plain.getvalue()


def test_long_names_are_never_cut_in_a_file() -> None:
    name = "data/" + "n" * 300 + ".jsonl"
    out = io.StringIO()
    table(("data set", "rows"), [(name, 1234567), ("b", None)], file=out)
    lines = out.getvalue().splitlines()
    assert lines[2].split() == [name, "1,234,567"]
    assert lines[3] == "b"


def test_cells_say_numbers_as_people_write_them() -> None:
    assert [cell_text(v) for v in (0, 12345, 0.04, False, None, "x\ny")] == [
        "0",
        "12,345",
        "0.0",
        "no",
        "",
        "x⏎y",
    ]


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _colours(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "200")


def _bare(text: str) -> str:
    """Without the colours that are ours."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def _squeezed(text: str) -> str:
    return " ".join(text.split())
