"""Rows of every kind, for Hypothesis: well-formed, malformed, empty, null, repeated, in many scripts."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

from tulu_data.record import (
    CONTENT,
    MESSAGES,
    Kind,
    beside,
    content_hashes,
    conversation_columns,
    row_ids,
    working_schema,
)

# Words that operators look for, beside text that nobody thought of; few enough that rows repeat.
WORDS = [
    "OpenAI",
    "chatgpt",
    "GPT-4",
    "Ω",
    "é",
    " ",
    "\n",
    "2 + 2?",
    "日本語",
    "ﬁ",
    "\u200b",
    "0",
    "_",
    "İ",
    "🙂",
    "\0",
]
texts = st.one_of(
    st.lists(st.sampled_from(WORDS), max_size=4).map("".join),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
)
roles = st.sampled_from(["user", "assistant", "user", "assistant", "system", "tool"])
messages = st.fixed_dictionaries({"role": roles, "content": texts})
broken = st.none() | st.fixed_dictionaries({"role": st.none() | roles, "content": st.none() | texts})
whole = st.lists(messages, max_size=4)
conversations = st.none() | whole | st.lists(messages | broken, max_size=3)
ratings = st.fixed_dictionaries(
    {
        "aspect": st.sampled_from(["helpfulness", "honesty", "rank"]),
        "rating": st.none() | st.integers(1, 3).map(float),
        "note": st.sampled_from([None, "N/A"]),
    }
)
completions = st.none() | st.lists(
    st.fixed_dictionaries(
        {
            "messages": st.none() | whole,
            "model": st.sampled_from([None, "a", "b"]),
            "ratings": st.none() | st.lists(ratings, max_size=3),
        }
    ),
    max_size=4,
)
licenses = st.sampled_from([None, "apache-2.0", "CC-BY-NC-4.0", "cc-by-nc-sa-4.0 ", "", "odc-by"])


def rows_of(kind: Kind, max_size: int = 6, *, nulls: bool = True) -> st.SearchStrategy[pa.Table]:
    """Tables of the working schema of `kind`, with true ids; some rows bear a verdict already.

    With `nulls`, conversations, messages, roles and contents are null here and there.
    """
    return st.lists(_row(kind, conversations if nulls else whole), max_size=max_size).map(
        lambda rows: table_of(kind, rows)
    )


def _row(kind: Kind, conversations: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    columns: dict[str, st.SearchStrategy[Any]] = {}
    for field in CONTENT[kind]:
        if field.type == MESSAGES:
            columns[field.name] = conversations
        elif field.type == pa.string():
            columns[field.name] = st.none() | texts
        else:
            columns[field.name] = st.none() | st.floats(1, 10)
    if "completions" in beside(kind).names:
        columns["completions"] = completions
    verdicts = st.sampled_from([None, None, None, "earlier:reason"])
    return st.fixed_dictionaries({**columns, "license": licenses, "verdict": verdicts})


def table_of(kind: Kind, rows: list[dict[str, Any]], source: str = "made") -> pa.Table:
    """Rows as dictionaries to a table of the working schema; what is not given is null, ids are true."""
    schema = working_schema(kind)
    table = pa.Table.from_pylist(
        [{"source": source, "row": number, **row} for number, row in enumerate(rows)], schema=schema
    )
    hashes = content_hashes(table, kind)
    seen: dict[bytes, int] = {}
    occurrences = []
    for digest in hashes.to_pylist():
        occurrences.append(seen.get(digest, 0))
        seen[digest] = occurrences[-1] + 1
    ids = row_ids(source, hashes, pa.array(occurrences, pa.int64()))
    return table.set_column(0, schema.field("id"), ids)


def conversation(*turns: str) -> list[dict[str, str]]:
    """`conversation("user: Hi", "assistant: Hello")` as messages."""
    return [dict(zip(("role", "content"), turn.split(": ", 1), strict=True)) for turn in turns]


def one_of(kind: Kind, *turns: str, **columns: Any) -> dict[str, Any]:
    """One row of `kind` whose conversations are all made of `turns`."""
    return {**{column: conversation(*turns) for column in conversation_columns(kind)}, **columns}
