"""Printing rows and tables: row text is shown as it is, and can do nothing to the terminal.

Everything that comes from data goes through `visible`: control characters, terminal escapes and invisible
format characters become symbols, so that what is in a row can be seen; and nothing is read as rich markup.
"""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.text import Text

Spans = Sequence[tuple[int, int]]
"""Marked places of a text, as `start, end` in characters; sorted, not overlapping."""

INVISIBLE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
"""Unicode categories that show nothing, break lines, or turn the direction of writing."""

MARKS = ("**", "**")
"""What surrounds marked words where the output has no colours."""

MARK_STYLE = "bold red"
PLAIN_WIDTH = 100
"""Columns of wrapped text where no terminal tells its width."""

WORD = 20
"""A column of cells no longer than this is not broken on a narrow terminal, as long as others can be."""


def visible(text: str, *, newline: str = "⏎") -> str:
    r"""`text` with every character that acts instead of showing made visible.

    >>> print(visible("red \x1b[31m, back\b, two\nlines, \u202eright to left"))
    red ␛[31m, back␈, two⏎lines, \u202eright to left
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join([_symbol(c, newline) if unicodedata.category(c) in INVISIBLE else c for c in text])


def _symbol(char: str, newline: str) -> str:
    code = ord(char)
    if char == "\n":
        return newline
    if code < 0x20:
        return chr(0x2400 + code)  # the block "Control Pictures" mirrors the C0 controls
    if code == 0x7F:
        return "␡"
    return f"\\x{code:02x}" if code <= 0xFF else f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def pieces(text: str, spans: Spans) -> Iterator[tuple[str, bool]]:
    """`text` cut at the borders of `spans`: each piece, and whether it is marked.

    >>> list(pieces("one two three", [(4, 7)]))
    [('one ', False), ('two', True), (' three', False)]
    """
    at = 0
    for start, end in spans:
        if start > at:
            yield text[at:start], False
        yield text[start:end], True
        at = end
    if at < len(text):
        yield text[at:], False


def excerpt(text: str, spans: Spans, around: int = 160) -> tuple[str, list[tuple[int, int]]]:
    """The part of `text` near its marked places, and those places in it; `…` stands for what is left out.

    >>> excerpt("a" * 50 + "HIT" + "b" * 50, [(50, 53)], around=4)
    ('…aaaaHITbbbb…', [(5, 8)])
    """
    first, last = (spans[0][0], spans[-1][1]) if spans else (0, 0)
    start, end = max(first - around, 0), min(last + around, len(text))
    head, tail = "…" if start else "", "…" if end < len(text) else ""
    shift = len(head) - start
    return f"{head}{text[start:end]}{tail}", [(a + shift, b + shift) for a, b in spans]


def marked(text: str, spans: Spans, *, colour: bool) -> Text:
    """`text`, made visible, with the words at `spans` styled, or between `MARKS` without colours."""
    from rich.text import Text

    out = Text(overflow="fold")
    before, after = ("", "") if colour else MARKS
    for piece, hit in pieces(text, spans):
        shown = visible(piece, newline=" ⏎ ")
        out.append(f"{before}{shown}{after}" if hit else shown, style=MARK_STYLE if hit and colour else "")
    return out


@dataclass(frozen=True)
class Side:
    """One text of a finding, with its title and the places that matched."""

    title: str
    text: str
    spans: Spans = ()


def beside(left: Side, right: Side, *, file: IO[str] | None = None) -> None:
    """Prints two texts side by side, with the words at their spans marked."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    console = _console(file)
    grid = Table(
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        width=min(console.width, 120),
        padding=(0, 2, 0, 0),
    )
    for side in (left, right):
        grid.add_column(Text(visible(side.title)), ratio=1, overflow="fold")
    grid.add_row(
        *(
            marked(*excerpt(s.text, s.spans), colour=console.is_terminal and not console.no_color)
            for s in (left, right)
        )
    )
    _print(console, grid)


def table(
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    *,
    text: Callable[[object], str] | None = None,
    file: IO[str] | None = None,
) -> None:
    """Prints a table: numbers to the right, text as it is; cuts no cell unless on a terminal.

    `text` says how a cell is printed, with nothing in it that acts on a terminal; `cell_text` unless given.
    """
    from rich import box
    from rich.measure import Measurement
    from rich.table import Table
    from rich.text import Text

    printed = text or cell_text
    console = _console(file)
    grid = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for number, column in enumerate(columns):
        cells = [row[number] for row in rows]
        right = bool(rows) and all(cell is None or isinstance(cell, int | float) for cell in cells)
        whole = all(len(printed(cell)) <= WORD for cell in cells)
        grid.add_column(
            Text(visible(column)), justify="right" if right else "left", overflow="fold", no_wrap=whole
        )
    for row in rows:
        grid.add_row(*(Text(printed(cell)) for cell in row))
    if not console.is_terminal:
        console.width = max(Measurement.get(console, console.options.update(width=10_000), grid).maximum, 1)
    _print(console, grid)


def cell_text(value: object) -> str:
    """A cell as it is printed: thousands are separated, fractions have one digit, None is empty.

    >>> cell_text(1234567), cell_text(4.26), cell_text(None), cell_text(True)
    ('1,234,567', '4.3', '', 'yes')
    """
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case float():
            return f"{value:,.1f}"
        case _:
            return visible(str(value))


def turn_lines(messages: Sequence[Mapping[str, Any] | None], *, longest: int | None = None) -> list[str]:
    r"""A conversation as text, a line per turn; `longest` is of a turn's text, in characters.

    >>> turn_lines([{"role": "user", "content": "Two\nlines?"}, {"role": "assistant", "content": "Yes."}])
    ['user: Two⏎lines?', 'assistant: Yes.']
    """
    turns = [(m.get("role"), m.get("content")) if m else (None, None) for m in messages]
    return [f"{visible(str(role))}: {shortened(str(content), longest)}" for role, content in turns]


def shortened(text: str, longest: int | None) -> str:
    """`text` made visible, and cut after `longest` characters with a mark that says how many more there are.

    >>> shortened("one two three", 7), shortened("one", 7), shortened("one", None)
    ('one two … (+6)', 'one', 'one')
    """
    if longest is None or len(text) <= longest:
        return visible(text)
    return f"{visible(text[:longest])} … (+{len(text) - longest:,})"


def _console(file: IO[str] | None) -> Console:
    from rich.console import Console

    console = Console(file=file or sys.stdout, markup=False, highlight=False, emoji=False, soft_wrap=False)
    if not console.is_terminal:
        console.width = PLAIN_WIDTH
    return console


def _print(console: Console, what: RenderableType) -> None:
    """Prints without the spaces that rich puts behind short lines where nobody sees them."""
    if console.is_terminal:
        console.print(what)
        return
    with console.capture() as capture:
        console.print(what)
    lines = [line.rstrip() for line in capture.get().splitlines()]
    console.file.write("\n".join(lines) + "\n")
