"""Findings written as marked text, `so [[this part]] matches`, and the review page of them."""

from __future__ import annotations

import json
import re
import zlib
from base64 import b64decode
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from tulu_data.decontam.evidence import FINDING, explode
from tulu_data.decontam.items import SuiteItems, read_items
from tulu_data.decontam.review.page import Head, write_report
from tulu_data.decontam.review.texts import RowTexts
from tulu_data.decontam.suite import load_suite
from tulu_data.record import MESSAGES
from tulu_data.workspace import Workspace

Span = dict[str, Any]


@dataclass(frozen=True)
class Found:
    """A finding: what is in double brackets is marked, on both sides."""

    row: str
    """`dataset/name`; findings of one row give the same messages, with marks of their own."""
    messages: Sequence[str]
    """`role: text` of each; `prompt: …`, `chosen role: …` and `rejected role: …` for a pair of answers."""
    item: str
    """`eval/id`."""
    fields: dict[str, str]
    kind: str = "partial"
    score: float = 0.75
    action: str = "drop"
    train_id: str | None = None

    @property
    def dataset(self) -> str:
        return self.row.partition("/")[0]

    @property
    def row_id(self) -> str:
        return f"{self.row}/0"


def unmarked(text: str) -> tuple[str, list[tuple[int, int]]]:
    """The text without its brackets, and the spans that they enclosed.

    >>> unmarked("a [[b]] c [[d]]")
    ('a b c d', [(2, 3), (6, 7)])
    """
    out, spans = "", []
    for part in text.split("[["):
        inside, closed, after = part.partition("]]")
        if closed:
            spans.append((len(out), len(out) + len(inside)))
            out += inside + after
        else:
            out += part
    return out, spans


def _row(found: Found) -> tuple[dict[str, Any], list[Span]]:
    """The row as adapted, and the spans in it."""
    row: dict[str, Any] = {}
    spans: list[Span] = []
    for message in found.messages:
        head, marked = message.split(": ", 1)
        text, marks = unmarked(marked)
        column, _, role = head.rpartition(" ")
        if head == "prompt":
            column, number, row["prompt"] = head, 0, text
        else:
            column = column or "messages"
            number = len(row.setdefault(column, []))
            row[column].append({"role": role, "content": text})
        spans += [{"column": column, "message": number, "start": a, "end": b} for a, b in marks]
    return row, spans


@dataclass
class Case:
    """A suite and findings in its folder, ready to be shown."""

    folder: Path
    found: Sequence[Found]
    rows: dict[str, int] = field(default_factory=dict)
    """How many rows a dataset has; those that match where it is not said."""

    def suite(self) -> SuiteItems:
        """The suite of all items that the findings name, and one more in each eval."""
        items: dict[str, dict[str, dict[str, str]]] = {}
        for found in self.found:
            name, _, item_id = found.item.partition("/")
            texts = {slot: unmarked(text)[0] for slot, text in found.fields.items()}
            items.setdefault(name, {"other": dict.fromkeys(texts, "Something else altogether")})[item_id] = (
                texts
            )
        lines = ["suite: mine", "evals:"]
        for name, of in items.items():
            rows = [{"id": item_id, **texts} for item_id, texts in of.items()]
            (self.folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
            fields = list(dict.fromkeys(key for row in rows for key in row if key != "id"))
            lines.append(f"  - {{name: {name}, from: {name}.jsonl, split: test, fields: {fields}, id: id}}")
        (self.folder / "suite.yaml").write_text("\n".join(lines))
        return read_items(load_suite("suite.yaml", Workspace(self.folder)))

    def batches(self) -> list[tuple[pa.Array, pa.Array, pa.Table, pa.Array]]:
        """Row ids, datasets, adapted rows and findings, one batch a row."""
        out: list[tuple[pa.Array, pa.Array, pa.Table, pa.Array]] = []
        by_row: dict[str, list[Found]] = {}
        for found in self.found:
            by_row.setdefault(found.row, []).append(found)
        for own in by_row.values():
            content, _ = _row(own[0])
            kinds = {name: pa.string() if name == "prompt" else MESSAGES for name in content}
            rows = pa.table({name: pa.array([content[name]], kind) for name, kind in kinds.items()})
            rows = rows.append_column("row", pa.array([len(out)], pa.int64()))
            findings = pa.array([[_finding(found) for found in own]], pa.list_(FINDING))
            out.append((pa.array([own[0].row_id]), pa.array([own[0].dataset]), rows, findings))
        return out

    def matches(self) -> pa.Table:
        """`matches.parquet`."""
        ids = {found.row_id: found.train_id for found in self.found}
        return pa.concat_tables(
            explode(dataset, pa.array([ids[row_ids[0].as_py()]], pa.string()), row_ids, findings)
            for row_ids, dataset, _, findings in self.batches()
        )

    def write(self, **settings: Any) -> Path:
        """The page; `head` settings and others of `write_report` may be given."""
        path = self.folder / "report.html"
        datasets = dict.fromkeys((found.dataset for found in self.found), 1) | self.rows
        head = {"title": "a test", "datasets": datasets, "roles": ["user"]} | settings.pop("head", {})
        with RowTexts(self.folder / "texts.arrow") as texts:
            for row_ids, _, rows, findings in self.batches():
                texts.append(row_ids, rows, findings)
            write_report(
                path, head=Head(**head), matches=[self.matches()], texts=texts, suite=self.suite(), **settings
            )
        return path


def _finding(found: Found) -> dict[str, Any]:
    name, _, item_id = found.item.partition("/")
    marks = {slot: unmarked(text)[1] for slot, text in found.fields.items()}
    return {
        "role": "development",
        "eval": name,
        "split": "test",
        "item_id": item_id,
        "kind": found.kind,
        "score": found.score,
        "field_scores": [{"field": slot, "score": found.score} for slot, of in marks.items() if of],
        "action": found.action,
        "train_spans": _row(found)[1],
        "item_spans": [{"field": f, "start": a, "end": b} for f, of in marks.items() for a, b in of],
    }


def blocks(path: Path) -> list[Any]:
    """What lies packed in the page."""
    packed = re.findall(
        r'<script type="application/octet-stream" id="b\d+">([^<]*)</script>', path.read_text()
    )
    return [json.loads(zlib.decompress(b64decode(part), -zlib.MAX_WBITS)) for part in packed]


def head_of(path: Path) -> dict[str, Any]:
    found = re.findall(r'<script type="application/json" id="head">([^<]*)</script>', path.read_text())
    (text,) = found
    return dict(json.loads(text))


# -- examples ------------------------------------------------------------------------------------------------

POST = "[[Marek puts a fence post every metre along the edge, and each post costs 3 euros]]"
BOXES = "[[Nora packs lunch boxes for a school trip]]"
NOON = "[[How many are left at noon?]]"
FILLER = "The committee met to discuss the budget and nobody could agree. " * 60
HOSTILE = (
    "<script>window.pwned = 1</script><img src=x onerror='window.pwned = 2'></script><!-- \u2028 &lt;b&gt;"
)

YARD = Found(
    "chat/0a",
    ["system: Be brief.", f"user: My yard is long. {POST}. What now?"],
    "gsm8k/17",
    {"question": f"A garden. {POST}. What do all cost?"},
    score=0.56,
    train_id="c-59",
)
YARD_AGAIN = Found(
    "chat/0a",
    ["system: Be brief.", f"user: My [[yard is long]]. {unmarked(POST)[0]}. What now?"],
    "mmlu/4",
    {"question": "Whose [[yard is long]]?", "hint": "None"},
    kind="near_duplicate",
    action="review",
    score=0.61,
    train_id="c-59",
)
LONG = Found(
    "tasks/7c",
    [f"user: {FILLER}{BOXES} {FILLER}{NOON} {FILLER}"],
    "gsm8k/3",
    {"question": f"{BOXES}, each with two. {NOON}"},
    score=0.93,
)
CHINESE = Found(
    "zh/55",
    ["user: 😀请回答:[[求斜边的长度]]😀是[[并写出过程]]。"],
    "cmath/1",
    {"question": "😀[[求斜边的长度]]。请[[并写出过程]]"},
    kind="copy",
    score=0.97,
)
NUMBERS = Found(
    "tasks/12",
    ["user: [[A train leaves Lisbon at 9 and travels 340 miles]]"],
    "gsm8k/8",
    {"question": "[[A train leaves Berlin at 7 and travels 340 miles]]"},
    kind="changed_numbers",
    action="review",
    score=0.88,
)
PAIR = Found(
    "pref/66",
    [
        "prompt: [[The cell]] is",
        "chosen user: [[The cell]] is",
        "chosen assistant: [[mitochondria]]",
        "rejected assistant: no",
    ],
    "mmlu/9",
    {"question": "[[The cell]]", "hint": "[[mitochondria]]"},
    kind="options",
    score=1.0,
)  # fmt: skip
ALL = [YARD, YARD_AGAIN, LONG, CHINESE, NUMBERS, PAIR]
ROWS = {"chat": 1200, "tasks": 300, "zh": 15, "pref": 40}
