"""One made-up example of a dataset, and what must become of it: the truth that a test can check.

The texts themselves carry the truth. A case has a key; its prompt holds the token `prompt-KEY`, and each of
its answers one such as `answer-best-KEY` or `answer-worse2-KEY`. So whatever a build makes of the rows, a
reader can tell which answer was chosen, and whether it belongs to the prompt.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Literal

import pyarrow as pa

from tulu_data.sources.samples.text import STYLES, Style, Talk

Row = dict[str, Any]
Message = dict[str, str]
Expected = Literal["kept", "paired", "tie", "dropped"]

TOKEN = re.compile(r"(?:prompt|answer-[a-z]+\d*)-[0-9a-f]{6}-\d+")
"""A token in a text; it ends in the key of its case."""

TEXT, NUMBER, WHOLE = pa.string(), pa.float64(), pa.int64()
CONTENT_ROLE = pa.list_(pa.struct([("content", pa.string()), ("role", pa.string())]))
"""A conversation, keys in the order in which most datasets have them."""
JSON = pa.schema([])
"""Of a file in JSON, whose rows say their columns themselves."""


def schema(**columns: pa.DataType) -> pa.Schema:
    """Columns in order; hyphens stand where Python's names have `__`."""
    return pa.schema([(name.replace("__", "-"), kind) for name, kind in columns.items()])


@dataclass
class Made:
    """The native rows of a case, and what must become of them.

    `expected` is what adapters, pairing and the checks of `valid_conversation` or `valid_pair` make of it:
    `kept` (an SFT or RLVR row), `paired`, `tie` (no answer is the better, so there is no pair) or `dropped`
    (nothing to learn from, such as an empty answer). `why` names what is special about it. Some of that only
    a recipe's own steps act upon: `provider_name`, `copy`, `misaligned`, `other_dataset`, `toxic`, and the
    `tie` of a pair whose status alone tells of it.
    """

    rows: Sequence[Row]
    expected: Expected = "kept"
    why: str = ""
    chosen: Sequence[str] = ()
    """Tokens of the answers that may become the chosen one; nearly always one."""
    rejected: Sequence[str] = ()
    """Tokens of the answers that may become the rejected one."""


class Case:
    """The next example to make up; it depends on no other.

    Args:
        tag: six hexadecimal digits of its file, or of the family of files that have the same prompts.
        number: which of the file's, from 0.
        seed: other seeds give other cases.
        room: how many rows it may have at most.
    """

    def __init__(self, tag: str, number: int, seed: int, room: int) -> None:
        self.tag, self.number, self.seed, self.room = tag, number, seed, room
        self.key = f"{tag}-{number}"
        """Ends its tokens."""
        packed = int(tag, 16) << 64 | (seed & 0xFFFFFFFF) << 32 | number
        self.rng = Random(packed)  # noqa: S311 - nothing secret
        self.talk = Talk(self.rng)
        """Its texts."""

    def before(self) -> Case:
        """The case before it, made anew."""
        return Case(self.tag, self.number - 1, self.seed, self.room)

    @property
    def style(self) -> Style:
        """Every style in turn."""
        return STYLES[self.number % len(STYLES)]

    @property
    def prompt_token(self) -> str:
        """What its prompt carries."""
        return f"prompt-{self.key}"

    def token(self, label: str) -> str:
        """What the answer of that label carries."""
        return f"answer-{label}-{self.key}"

    def ask(self, style: Style | None = None) -> str:
        """Its prompt."""
        return f"{self.talk.ask(style or self.style)} ({self.prompt_token})"

    def answer(
        self, label: str = "best", style: Style | None = None, *, least: int = 2, most: int = 7
    ) -> str:
        """An answer to its prompt."""
        text = self.talk.answer(style or self.style, least, most)
        return f"{text}{chr(10) * 2 if text.endswith('```') else ' '}({self.token(label)})"

    def worse(self, count: int) -> list[str]:
        """Labels of answers that are worse than the best."""
        return [f"worse{i}" for i in range(1, count + 1)]

    def quirk(self, *names: str) -> str:
        """One of the names every few cases, each at its own turn; else nothing.

        A period has at least 20 cases, and four for each name, so that most rows are plain.
        """
        period = max(20, 4 * len(names))
        turns = {2 + i * period // len(names): name for i, name in enumerate(names)}
        return turns.get(self.number % period, "")

    def set_apart(self) -> None:
        """Gives it a prompt that no other dataset of its family has."""
        self.key = f"{self.key}000"

    def once(self, number: int) -> bool:
        """Whether it is the one case that has what is so rare that one row of the dataset has it."""
        return self.number == number

    def id(self, size: int = 24) -> str:
        """A made-up identifier in hexadecimal."""
        return f"{self.rng.getrandbits(4 * size):0{size}x}"


def message(role: str, content: str) -> Message:
    """One turn."""
    return {"content": content, "role": role}


def turns(*texts: str, system: str = "") -> list[Message]:
    """A conversation whose turns are the user's and the assistant's in turn."""
    begun = [message("system", system)] if system else []
    return begun + [message(("user", "assistant")[i % 2], text) for i, text in enumerate(texts)]


Maker = Callable[[Case], Made]


@dataclass(frozen=True, eq=False)
class Part:
    """One file of a dataset as upstream lays it out, and who makes its rows.

    The format is that of the path's ending. `most` bounds the rows (upstream has no more), `scattered` mixes
    the rows of the cases, `copies` lets a few cases come twice, `items` are those of an evaluation, of which
    there is no truth to tell, and files of one `family` have the same prompts.
    """

    path: str
    make: Maker
    schema: pa.Schema
    config: str = "default"
    split: str = "train"
    most: int | None = None
    scattered: bool = False
    copies: bool = False
    items: bool = False
    family: str = ""


Dataset = Sequence[Part]
Catalog = Mapping[str, Dataset]


def per_split(
    make: Maker,
    schema: pa.Schema,
    *splits: str,
    path: str = "data/{split}-00000-of-00001.parquet",
    config: str = "default",
    **settings: Any,
) -> list[Part]:
    """A file for each split, `train` if none is named."""
    return [
        Part(path.format(split=split, config=config), make, schema, config=config, split=split, **settings)
        for split in splits or ("train",)
    ]
