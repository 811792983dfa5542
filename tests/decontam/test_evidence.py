"""The evidence: which words of both sides are the same, what kind a finding is, whose messages count."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tulu_data.decontam.evidence import MATCHES, explode, findings_of, scanned_columns
from tulu_data.decontam.items import SuiteItems, read_items
from tulu_data.decontam.plain import match
from tulu_data.decontam.suite import load_suite
from tulu_data.record import MESSAGES
from tulu_data.sources import SourceSpec, open_source
from tulu_data.sources.adapters import adapt, detect
from tulu_data.text.tokens import tokens
from tulu_data.workspace import Workspace, shipped

MATH = "Nora packs lunch boxes for a school trip and fills twenty six of them before the bus arrives"
SHORT = "Who wrote Faust?"
TWO = (
    "A long passage about the moon and the tides of the sea at night",
    "Which pulls the sea more strongly, the moon or the sun, on an average day?",
)


@pytest.fixture(scope="module")
def items(tmp_path_factory: pytest.TempPathFactory) -> SuiteItems:
    place = tmp_path_factory.mktemp("suite")
    (place / "math.csv").write_text(f"id,question\nm1,{MATH}\n")
    (place / "facts.csv").write_text(f"id,question\nf1,{SHORT}\n")
    (place / "read.tsv").write_text("passage\tquestion\n" + "\t".join(TWO) + "\n")
    (place / "s.yaml").write_text(
        "suite: s\nrule: tulu3\nevals:\n"
        "  - {name: math, from: math.csv, split: test, fields: [question], id: id}\n"
        "  - {name: facts, role: unseen, from: facts.csv, fields: [question], id: id}\n"
        "  - {name: read, from: read.tsv, fields: [passage, question]}\n"
    )
    return read_items(load_suite("s.yaml", Workspace(place)))


def said(*turns: str) -> list[dict[str, str]]:
    return [{"role": role, "content": content} for role, content in (turn.split(": ", 1) for turn in turns)]


def sft(*rows: list[dict[str, str]] | None) -> pa.Table:
    return pa.table({"messages": pa.array(list(rows), MESSAGES)})


def found(
    batch: pa.Table, items: SuiteItems, kind: Any = "sft", roles: Any = ("user",)
) -> list[list[dict[str, Any]] | None]:
    rows: list[list[dict[str, Any]] | None] = findings_of(batch, kind, roles, items).to_pylist()
    return rows


@pytest.mark.parametrize(
    ("text", "kind", "score"),
    [
        (f"Solve: {MATH.upper()}!", "copy", 1.0),
        (" ".join(MATH.split()[:12]), "partial", 12 / 18),
        ("tell me, who wrote faust", "short", 1.0),
        (" / ".join(TWO), "copy", 1.0),
        (TWO[0] + " " + TWO[1][:50], "partial", None),
    ],
)
def test_the_kind_of_a_finding(items: SuiteItems, text: str, kind: str, score: float | None) -> None:
    ((one,),) = found(sft(said(f"user: {text}")), items)  # type: ignore[misc]
    assert one["kind"] == kind
    assert one["action"] == "drop"
    assert score is None or one["score"] == pytest.approx(score)


def test_every_field_of_an_item_has_its_own_score(items: SuiteItems) -> None:
    ((one,),) = found(sft(said(f"user: {TWO[0]} {TWO[1][:50]}")), items)  # type: ignore[misc]
    passage, question = one["field_scores"]
    assert passage == {"field": "passage", "score": 1.0}
    assert question["field"] == "question"
    assert one["score"] == pytest.approx((1 + question["score"]) / 2)


def test_whose_messages_are_looked_at(items: SuiteItems) -> None:
    row = said("system: Be brief.", f"assistant: {MATH}", "user: Thanks.", "tool: who wrote faust")

    def evals(roles: Any) -> set[str]:
        (findings,) = found(sft(row), items, roles=roles)
        return {one["eval"] for one in findings or []}

    assert evals(("user",)) == evals(("system", "user")) == set()
    assert evals(("assistant",)) == {"math"}
    assert evals(("tool",)) == {"facts"}
    assert evals(None) == {"math", "facts"}


def test_spans_name_the_message_by_its_place_in_the_whole_conversation(items: SuiteItems) -> None:
    ((one,),) = found(sft(None, [], said("assistant: Hello", f"user: Well, {MATH}?"))[2:], items)  # type: ignore[misc]
    assert one["train_spans"] == [{"column": "messages", "message": 1, "start": 6, "end": 6 + len(MATH)}]
    assert one["item_spans"] == [{"field": "question", "start": 0, "end": len(MATH)}]


def test_rows_without_messages_have_no_findings(items: SuiteItems) -> None:
    assert found(sft(None, [], said(f"user: {MATH}"), None), items)[::3] == [None, None]
    assert found(sft(), items) == []


def test_a_preference_row_is_looked_at_in_prompt_chosen_and_rejected(items: SuiteItems) -> None:
    x = said("user: x")
    batch = pa.table(
        {
            "prompt": pa.array([MATH, "other", "other", None]),
            "chosen": pa.array(
                [x, said(f"user: {MATH}", "assistant: a"), said("user: x", f"assistant: {MATH}"), None],
                MESSAGES,
            ),
            "rejected": pa.array(
                [x, said(f"user: {MATH}", "assistant: b"), None, said("user: who wrote faust")], MESSAGES
            ),
        }
    )
    assert scanned_columns("preference") == ("prompt", "chosen", "rejected")
    places = [
        [(span["column"], span["message"]) for one in findings or [] for span in one["train_spans"]]
        for findings in found(batch, items, "preference")
    ]
    assert places == [[("prompt", 0)], [("chosen", 0), ("rejected", 0)], [], [("rejected", 0)]]
    only = found(batch, items, "preference", ("assistant",))
    assert [bool(findings) for findings in only] == [False, False, True, False]


def test_an_rlvr_row_is_looked_at_in_its_prompt(items: SuiteItems) -> None:
    batch = pa.table(
        {
            "messages": pa.array([said(f"user: {MATH}"), said("user: x")], MESSAGES),
            "ground_truth": ["1", MATH],
        }
    )
    assert [bool(findings) for findings in found(batch, items, "rlvr")] == [True, False]


def test_exploded_findings_keep_whose_they_are_also_of_a_slice(items: SuiteItems) -> None:
    rows = sft(said("user: none"), said(f"user: {MATH}. {SHORT}"), said("user: none"), said(f"user: {SHORT}"))
    findings = findings_of(rows, "sft", None, items)
    names = [pa.array([f"{what}{i}" for i in range(4)]) for what in ("d", "t", "r")]
    whole = explode(names[0], names[1], names[2], findings)
    assert whole.schema.equals(MATCHES)
    assert whole.select(["dataset", "train_id", "row_id", "eval", "role"]).to_pylist() == [
        {"dataset": "d1", "train_id": "t1", "row_id": "r1", "eval": "math", "role": "development"},
        {"dataset": "d1", "train_id": "t1", "row_id": "r1", "eval": "facts", "role": "unseen"},
        {"dataset": "d3", "train_id": "t3", "row_id": "r3", "eval": "facts", "role": "unseen"},
    ]
    assert explode(names[0][2:], names[1][2:], names[2][2:], findings[2:]).equals(whole[2:])
    assert explode(names[0][:1], names[1][:1], names[2][:1], findings[:1]).num_rows == 0


def flagged(items: SuiteItems, file: str) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    for batch in open_source(
        SourceSpec.model_validate({"from": file}), base=shipped() / "mixtures" / "sample"
    ).batches():
        rows = adapt(batch, detect(batch.table), "sft", on_bad=lambda _bad: None).rows
        for row, findings in zip(rows.to_pylist(), found(rows, items), strict=True):
            for one in findings or []:
                yield row, one


@pytest.mark.parametrize(("file", "count"), [("chat.jsonl.gz", 9), ("tasks.jsonl", 5)])
def test_spans_cut_the_same_words_out_of_both_original_texts(file: str, count: int) -> None:
    sample = read_items(load_suite("sample", Workspace(Path(shipped())), rule="tulu3"))
    findings = list(flagged(sample, file))
    assert len(findings) == count
    for row, one in findings:
        part = next(part for part in sample.evals if part.eval.name == one["eval"])
        fields = dict(
            zip(
                [f.name for f in part.eval.fields],
                [t[part.ids.index(one["item_id"])] for t in part.texts],
                strict=True,
            )
        )
        ours = [
            words for s in one["train_spans"] for words in cut(row["messages"][s["message"]]["content"], s)
        ]
        theirs = [words for s in one["item_spans"] for words in cut(fields[s["field"]], s)]
        assert set(ours) == set(theirs)
        assert one["score"] == pytest.approx(
            len(theirs) / len(tokens(fields["question" if "question" in fields else "prompt"]))
        )
        plain = match(fields, [m["content"] for m in row["messages"] if m["role"] == "user"])
        assert plain is not None
        assert plain.score == one["score"]


def cut(text: str, span: dict[str, Any]) -> list[str]:
    """The words of a span; it begins and ends with one."""
    inside = text[span["start"] : span["end"]]
    around = [token for token in tokens(text) if span["start"] < token.end and token.start < span["end"]]
    assert (around[0].start, around[-1].end) == (span["start"], span["end"])
    return [token.text for token in tokens(inside)]
