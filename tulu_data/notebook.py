"""Rows as notebooks show them: conversations as turns, answers and matches side by side.

    conversation(row)      the turns of a row
    pair(row)              the prompt once, and the chosen answer beside the rejected one
    beside(rows)           rows under a title each: before and after, kept and dropped
    candidates(row)        every completion of a row, with its model and ratings
    finding(row, item)     a match of decontamination: the row beside the item, shared words marked
    items(suite)           the items of a suite, by eval and id, for `finding`

Rows are mappings with the columns of the store's views, as `frame.iter_rows(named=True)` or
`Answer.dicts()` give them. What a row says is escaped and never run; characters that show nothing, or turn
the direction of writing, are made visible.
"""

from __future__ import annotations

import html
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

from tulu_data.show import MARKS, Spans, pieces, turn_lines, visible
from tulu_data.workspace import Workspace

Row = Mapping[str, Any]
Messages = Sequence[Mapping[str, Any]]
Item = Mapping[str, str]
"""The texts of an evaluation item, by field."""

SIDES = ("chosen", "rejected")

_TEXT = "white-space: pre-wrap; overflow-wrap: anywhere"
_TURN = f"margin: 0.2em 0 0.6em; padding-left: 0.8em; border-left: 2px solid #8886; {_TEXT}"
_COLUMNS = "display: grid; grid-template-columns: repeat(auto-fit, minmax(20em, 1fr)); gap: 0 1.5em"
_FRAME = "text-align: left; border-top: 1px solid #8886; padding: 0.4em 0"


@dataclass(frozen=True, repr=False)
class Shown:
    """What a cell shows: HTML in a notebook, plain text elsewhere."""

    html: str
    text: str

    def _repr_html_(self) -> str:
        return f"<div style='{_FRAME}'>{self.html}</div>"

    def __repr__(self) -> str:
        return self.text


@dataclass(frozen=True)
class _Part:
    """Some texts under a title: a side of what is shown."""

    title: str
    texts: Sequence[tuple[str, str, Spans]]
    """Who says each (a role, a field), the text, and what is marked in it."""

    def html(self) -> str:
        if not (self.title or self.texts):
            return ""
        blocks = "".join(
            f"<b>{_escaped(speaker)}</b><div style='{_TURN}'>{_marked(text, spans)}</div>"
            for speaker, text, spans in self.texts
        )
        return f"<div>{_caption(self.title)}{blocks}</div>"

    def text(self) -> str:
        before, after = MARKS
        shown = [
            {"role": who, "content": "".join(f"{before}{p}{after}" if hit else p for p, hit in pieces(t, s))}
            for who, t, s in self.texts
        ]
        return "\n".join([visible(self.title), *(f"  {line}" for line in turn_lines(shown))])


# -- what is shown -------------------------------------------------------------------------------------------


def conversation(row: Row) -> Shown:
    """The turns of a row with `messages`, below its other columns that are short.

    >>> conversation({"id": "chat/1", "messages": [{"role": "user", "content": "Hello!"}]})
    id chat/1
      user: Hello!
    """
    return _one(_Part(_facts(row), _turns(row["messages"])))


def pair(row: Row) -> Shown:
    """The turns that both answers of a preference row begin with, and beside each other what follows.

    >>> hello = [{"role": "user", "content": "Hello!"}]
    >>> yes, no = ([*hello, {"role": "assistant", "content": text}] for text in ("Hi.", "No."))
    >>> pair({"id": "a/1", "chosen": yes, "rejected": no, "chosen_rating": 4.5, "chosen_model": "a-7b"})
    id a/1
      user: Hello!
    chosen · a-7b · rated 4.5 · 3 characters
      assistant: Hi.
    rejected · 3 characters
      assistant: No.
    """
    answers = {side: row.get(side) or [] for side in SIDES}
    same = _shared(answers.values())
    sides = [
        _answer(side, messages[same:], row.get(f"{side}_model"), [row.get(f"{side}_rating")])
        for side, messages in answers.items()
    ]
    return _beside(_Part(_facts(row), _turns(answers["chosen"][:same])), sides)


def beside(rows: Mapping[str, Row]) -> Shown:
    """Rows beside each other, each under its title; of a pair the last turns of both sides.

    >>> said = {word: [{"role": "user", "content": word}] for word in ("Hi", "Hello")}
    >>> beside({"before": {"messages": said["Hi"]}, "after": {"messages": said["Hello"]}})
    before
      user: Hi
    after
      user: Hello
    """
    sides = [_Part(" · ".join(filter(None, [title, _facts(row)])), _said(row)) for title, row in rows.items()]
    return _beside(_Part("", []), sides)


def candidates(row: Row) -> Shown:
    """Every one of a row's `completions` beside the others: its model, its ratings by aspect, its answer.

    Where the row has a pair as well, the two that make it are called chosen and rejected.
    """
    every = [completion for completion in row.get("completions") or [] if completion]
    answers = [completion["messages"] or [] for completion in every]
    same = _shared(answers)
    sides = [
        _answer(
            next((side for side in SIDES if row.get(side) == messages), f"{number} of {len(every)}"),
            messages[same:],
            completion["model"],
            [f"{r['aspect']} {_rating(r)}" for r in completion["ratings"] or []],
        )
        for number, (completion, messages) in enumerate(zip(every, answers, strict=True), 1)
    ]
    return _beside(_Part(_facts(row), _turns(answers[0][:same]) if answers else []), sides)


def finding(row: Row, item: Item | None = None) -> Shown:
    """A row of `NAME_matches`, joined with the training row that it is about, beside the item it matches.

    Args:
        row: the columns of a match, and the content of its row: `messages`, or `prompt`, `chosen` and
            `rejected`. Only texts in which something matched are shown.
        item: the item's texts by field, from `items`; without it the row stands alone.
    """
    places: dict[tuple[str, int], list[tuple[int, int]]] = {}
    for span in row["train_spans"]:
        places.setdefault((span["column"], span["message"]), []).append((span["start"], span["end"]))
    found = []
    for (column, number), spans in sorted(places.items()):
        value = row[column]
        who, text = (column, value) if isinstance(value, str) else _turn(value[number])
        found.append((who, text, sorted(spans)))
    fields: dict[str, list[tuple[int, int]]] = {}
    for span in row["item_spans"]:
        fields.setdefault(span["field"], []).append((span["start"], span["end"]))
    known = [(field, text, sorted(fields.get(field, ()))) for field, text in (item or {}).items() if text]
    title = (
        f"{row['eval']} item {row['item_id']} · {row['kind']} · {row['score']:.0%} shared · {row['action']}"
    )
    sides = [_Part(f"{row['dataset']} row {row['train_id'] or row['row_id']}", found)]
    return _beside(_Part(title, []), [*sides, *([_Part("the item", known)] if known else [])])


def items(
    suite: str, *, workspace: Workspace | None = None, mirror: Path | None = None
) -> dict[tuple[str, str], Item]:
    """The items of a suite, by eval and id.

    Args:
        suite: the name of a suite of `decontam/`, or a YAML file.
        workspace: where it is looked up; the current folder unless given, with the shipped ones behind it.
        mirror: a folder that stands in for the Hub.

    Raises:
        UsageError: there is no such suite.
        SourceError: one of its evals cannot be read.
    """
    from tulu_data.decontam.items import read_items
    from tulu_data.decontam.suite import load_suite

    read = read_items(load_suite(suite, workspace or Workspace.here()), mirror=mirror)
    return {
        (part.eval.name, name): dict(zip(part.slots, texts, strict=True))
        for part in read.evals
        for name, *texts in zip(part.ids, *part.texts, strict=True)
    }


# -- how it is written ---------------------------------------------------------------------------------------


def _one(part: _Part) -> Shown:
    return Shown(part.html(), part.text())


def _beside(head: _Part, sides: Sequence[_Part]) -> Shown:
    columns = "".join(side.html() for side in sides)
    text = "\n".join(part.text() for part in (head, *sides) if part.title or part.texts)
    return Shown(f"{head.html()}<div style='{_COLUMNS}'>{columns}</div>", text)


def _answer(name: str, messages: Messages, model: str | None, ratings: Iterable[object]) -> _Part:
    """One of several answers, titled by who gave it, how it was rated, and how long it is."""
    told = [f"rated {r:g}" if isinstance(r, float | int) else str(r) for r in ratings if r is not None]
    size = sum(len(message["content"] or "") for message in messages)
    words = [name, *([model] if model else []), *told, f"{size:,} characters"]
    return _Part(" · ".join(words), _turns(messages))


def _said(row: Row) -> list[tuple[str, str, Spans]]:
    """The turns of a row; of a pair those that both sides begin with, and then each side's answer."""
    if "messages" in row:
        return _turns(row["messages"])
    answers = [(side, str(row[side][-1]["content"] or ""), ()) for side in SIDES if row.get(side)]
    return [*_turns((row.get("chosen") or [])[:-1]), *answers]


def _shared(conversations: Collection[Messages]) -> int:
    """How many turns all of them begin with; of each at least one is left."""
    same = takewhile(lambda turns: all(turn == turns[0] for turn in turns), zip(*conversations, strict=False))
    shortest = min((len(messages) for messages in conversations), default=1)
    return max(min(len(list(same)), shortest - 1), 0)


def _rating(rating: Row) -> str:
    """The number, or what stood in its place."""
    return str(rating["note"]) if rating["rating"] is None else f"{rating['rating']:g}"


def _turns(messages: Messages) -> list[tuple[str, str, Spans]]:
    return [(*_turn(message), ()) for message in messages]


def _turn(message: Row) -> tuple[str, str]:
    return str(message["role"]), str(message["content"] or "")


FACT = 60
"""Characters of the longest value that stands above a row."""
_TOLD_ELSEWHERE = {"prompt", *(f"{side}_{what}" for side in SIDES for what in ("model", "rating"))}


def _facts(row: Row) -> str:
    """The columns of a row that are numbers or short texts."""
    return " · ".join(
        f"{name} {value}"
        for name, value in row.items()
        if isinstance(value, str | int | float) and name not in _TOLD_ELSEWHERE and len(str(value)) <= FACT
    )


def _caption(text: str) -> str:
    return f"<div style='opacity: 0.75; margin-bottom: 0.4em; {_TEXT}'>{_escaped(text)}</div>" if text else ""


def _marked(text: str, spans: Spans) -> str:
    return "".join(
        f"<mark>{_escaped(piece)}</mark>" if hit else _escaped(piece) for piece, hit in pieces(text, spans)
    )


def _escaped(text: str) -> str:
    """Text for HTML; line breaks and tabs stay, other characters that show nothing become visible."""
    return html.escape("\t".join(visible(part, newline="\n") for part in text.split("\t")))
