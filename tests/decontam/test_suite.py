"""A suite is whole or it is no suite: whatever is wrong with it is told once, with its place."""

from __future__ import annotations

import json
from pathlib import Path
from textwrap import dedent

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tulu_data.decontam.check import check_suite, suite_problems
from tulu_data.decontam.items import SuiteItems, _unlike, read_items
from tulu_data.decontam.rules import PRESETS, Distinctive
from tulu_data.decontam.suite import Suite, load_suite
from tulu_data.errors import RecipeError, SourceError, TuluDataError, UsageError
from tulu_data.workspace import Workspace

ROWS = [
    {
        "id": "a",
        "question": "Who wrote the play Faust?",
        "choices": ["Goethe"],
        "extra": {"deep": {"text": "one"}},
    },
    {
        "id": "b",
        "question": "How many legs does a spider have in all, counted one by one?",
        "choices": [],
        "extra": {"deep": {"text": "two"}},
    },
    {"id": "a", "question": "!", "choices": ["x"], "extra": {"deep": {"text": None}}},
]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return tmp_path


def suite(place: Path, text: str, rule: str | None = None) -> Suite:
    (place / "evals.yaml").write_text(dedent(text))
    return load_suite("evals.yaml", Workspace(place), rule=rule)


def one_eval(place: Path, entry: str, rule: str | None = None) -> SuiteItems:
    return read_items(suite(place, f"suite: mine\nevals:\n  - {{name: e, {entry}}}\n", rule))


def test_what_a_suite_says(place: Path) -> None:
    found = suite(
        place,
        """\
        suite: mine
        rule: {ngram: 5}
        evals:
          - {name: e, role: unseen, from: items.jsonl, split: test, id: id, rows: 3,
             fields: [question, {name: deep, column: extra.deep.text}]}
        train: [rows.jsonl]
    """,
    )
    assert (found.name, found.rule, found.train, found.base) == (
        "mine",
        Distinctive(rule="like tulu-data", ngram=5),
        ("rows.jsonl",),
        place,
    )
    part = read_items(found).evals[0]
    assert part.ids == ["a", "b", "a~1"]
    assert part.texts == [[row["question"] for row in ROWS], ["one", "two", ""]]
    assert (part.eval.role, part.eval.split) == ("unseen", "test")


def test_the_rule_of_the_command_wins(place: Path) -> None:
    text = "suite: m\nrule: {ngram: 5}\nevals: [{name: e, from: items.jsonl, fields: [question]}]\n"
    assert suite(place, text, rule="tulu3").rule == PRESETS["tulu3"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("suit: m\nevals: []\n", r"unknown key 'suit'.*Did you mean 'suite'"),
        ("suite: m\nevals: []\n", r"line 2.*evals.*at least 1"),
        ("suite: m\n", r"'evals' is missing"),
        ("suite: ../m\nevals: [{name: e, from: x.csv, fields: [a]}]\n", r"line 1.*suite"),
        (
            "suite: m\nrule: tulu\nevals: [{name: e, from: x.csv, fields: [a]}]\n",
            r"line 2.*no rule is named 'tulu'.*'tulu3'",
        ),
        (
            "suite: m\nrule: {ngam: 3}\nevals: [{name: e, from: x.csv, fields: [a]}]\n",
            r"line 2.*unknown key 'ngam'.*'ngram'",
        ),
        ("suite: m\nrule: 3\nevals: [{name: e, from: x.csv, fields: [a]}]\n", r"line 2.*rule"),
        (
            "suite: m\nevals:\n - {name: e, from: x.csv, fields: [a], splt: test}\n",
            r"line 3.*unknown key 'splt'.*'split'",
        ),
        ("suite: m\nevals:\n - {name: e, from: x.csv}\n", r"line 3.*'fields' is missing"),
        ("suite: m\nevals:\n - {name: e, from: x.csv, fields: []}\n", r"line 3.*fields"),
        ("suite: m\nevals:\n - {name: e, from: x.csv, fields: a}\n", r"line 3.*fields"),
        (
            "suite: m\nevals:\n - {name: e, from: x.csv, fields: [a, a]}\n",
            r"line 3.*two fields are named 'a'",
        ),
        (
            "suite: m\nevals:\n - {name: e, from: x.csv, fields: [a], role: hidden}\n",
            r"line 3.*role.*'development' or 'unseen'",
        ),
        ("suite: m\nevals:\n - {name: e, from: x.csv, fields: [a], rows: 0}\n", r"line 3.*rows"),
        (
            "suite: m\nevals:\n - {name: e, from: x.csv, fields: [{name: f, column: a, pattern: '('}]}\n",
            r"line 3.*not a regular expression",
        ),
        (
            "suite: m\nevals:\n - {name: e, from: x.csv, fields: [{name: f, column: a, pattern: 'a'}]}\n",
            r"line 3.*the pattern has 0 groups",
        ),
        ("suite: m\nevals:\n - {name: e, from: x.csv, fields: [{name: f, colum: a}]}\n", r"line 3"),
        (
            "suite: m\nevals:\n - {name: e, from: x, fields: [a]}\n - {name: e, from: y, fields: [a]}\n",
            r"line 4.*two evals are named 'e'",
        ),
        ("suite: m\nevals: {name: e}\n", r"line 2.*evals"),
        ("- suite\n", r"not a mapping"),
        ("suite: m\ntrain: rows.jsonl\nevals: [{name: e, from: x.csv, fields: [a]}]\n", r"line 2.*train"),
    ],
)
def test_a_wrong_suite_is_told_with_its_line(place: Path, text: str, message: str) -> None:
    import re

    with pytest.raises((RecipeError, UsageError)) as caught:
        suite(place, text)
    said = str(caught.value)
    assert re.search(message, said, re.DOTALL), said
    assert caught.value.exit_status == 2
    assert "evals.yaml" in said


def test_every_problem_of_a_suite_is_told_at_once(place: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        suite(place, "suite: m\nsute: m\nevals:\n  - {name: e, form: x.csv, fields: [a]}\n")
    assert len(caught.value.problems) == 3, str(caught.value)  # two unknown keys, and no `from`


def test_a_name_that_no_suite_has(place: Path) -> None:
    with pytest.raises(UsageError, match=r"no suite is named 'tulu4'.*Did you mean 'tulu3'"):
        load_suite("tulu4", Workspace(place))


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("from: item.jsonl, fields: [question]", r"item.jsonl.*does not exist.*Did you mean 'items.jsonl'"),
        (
            "from: items.jsonl, fields: [questoin]",
            r"items.jsonl.*'e' has no field 'questoin'.*id, question.*Did you mean 'question'",
        ),
        ("from: items.jsonl, fields: [extra.deep.txt]", r"no field 'extra.deep.txt'"),
        ("from: items.jsonl, fields: [question], id: idd", r"no field 'idd'.*Did you mean 'id'"),
        (
            "from: items.jsonl, fields: [question], rows: 4",
            r"items.jsonl.*'e' has 3 rows; expected 4, as the suite says",
        ),
        (
            "from: items.jsonl, fields: [choices]",
            r"items.jsonl, line 1, row 0, field choices.*no text but list",
        ),
        (
            "from: items.jsonl, fields: [{name: q, column: question, pattern: '(How many)'}]",
            r"line 1, row 0, field question.*does not fit",
        ),
        ("from: empty.csv, fields: [question]", r"empty.csv"),
        ("from: blank.csv, fields: [question, answer]", r"blank.csv.*field 'answer' is empty in every row"),
    ],
)
def test_an_eval_that_is_not_as_the_suite_says_stops_the_run(place: Path, entry: str, message: str) -> None:
    import re

    (place / "empty.csv").write_text("question,answer\n")
    (place / "blank.csv").write_text("question,answer\nwhy,\nhow,\n")
    with pytest.raises(TuluDataError) as caught:
        one_eval(place, entry)
    assert isinstance(caught.value, SourceError)
    assert re.search(message, str(caught.value), re.DOTALL), str(caught.value)


def test_the_place_of_a_bad_field_counts_from_the_file_even_with_first(place: Path) -> None:
    with pytest.raises(SourceError, match=r"line 1, row 0"):
        one_eval(place, "from: items.jsonl, fields: [choices], first: 2")


def test_a_pattern_takes_its_group(place: Path) -> None:
    found = one_eval(
        place, "from: items.jsonl, fields: [{name: q, column: question, pattern: '^(.*?)\\W*$'}]"
    )
    assert found.evals[0].texts[0] == [
        "Who wrote the play Faust",
        "How many legs does a spider have in all, counted one by one",
        "",
    ]


def test_first_counts_in_every_file(place: Path) -> None:
    for name in ("part1", "part2"):
        (place / f"{name}.csv").write_text("question\n" + "".join(f"{name} row {i}\n" for i in range(5)))
    found = one_eval(place, "from: part*.csv, fields: [question], first: 2, rows: 4").evals[0]
    assert found.texts[0] == ["part1 row 0", "part1 row 1", "part2 row 0", "part2 row 1"]
    assert found.ids == ["0", "1", "5", "6"]


def test_a_csv_without_a_header(place: Path) -> None:
    (place / "plain.csv").write_text("What is up,sky\nWhat is down,earth\n")
    found = one_eval(
        place, "from: plain.csv, columns: [question, answer], fields: [question], rows: 2"
    ).evals[0]
    assert found.texts == [["What is up", "What is down"]]


def test_parquet_with_nested_columns_and_null_ids(place: Path) -> None:
    pq.write_table(
        pa.table({"q": [{"stem": "one two"}, {"stem": None}], "id": [None, 7]}), place / "x.parquet"
    )
    found = one_eval(place, "from: x.parquet, fields: [q.stem], id: id").evals[0]
    assert (found.texts, found.ids) == ([["one two", ""]], ["0", "7"])


def test_ids_that_repeat_are_told_apart_from_each_other_and_from_those_that_look_so() -> None:
    assert _unlike(["a", "a", "b", "a"]) == ["a", "a~1", "b", "a~2"]
    assert _unlike(["a", "a", "a~1"]) == ["a", "a~2", "a~1"]
    assert _unlike(["a~1", "a", "a", "a~1"]) == ["a~1", "a", "a~2", "a~1~1"]


@pytest.mark.parametrize(
    ("rule", "remedy"),
    [("tulu3", "a common phrase matches by chance"), ("tulu-data", "a sentence of their own")],
)
def test_items_without_a_token_are_counted_as_unchecked_and_told(place: Path, rule: str, remedy: str) -> None:
    items = one_eval(place, "from: items.jsonl, fields: [question]", rule)
    assert items.unchecked(items.evals[0]) == 1
    short, nothing = check_suite(items)
    assert str(short).startswith(f"{place / 'evals.yaml'}, line 3")
    assert "1 of 3 items of eval 'e' has fewer tokens in every field than an n-gram" in short.what
    assert remedy in short.remedy
    assert (
        "1 of 3 items of eval 'e' cannot be checked: no field of it has a letter or a digit" in nothing.what
    )
    assert {short.level, nothing.level} == {"warning"}


def test_an_item_with_one_long_field_is_no_problem(place: Path) -> None:
    (place / "two.csv").write_text(
        "subject,question\nart,who painted the starry night over the rhone in arles\n"
    )
    assert check_suite(one_eval(place, "from: two.csv, fields: [subject, question]")) == []


def test_what_an_item_is_called_survives_the_order_of_the_suite(place: Path) -> None:
    (place / "two.csv").write_text("q\none\ntwo\n")
    found = read_items(
        suite(
            place,
            """\
        suite: m
        evals:
          - {name: first, from: two.csv, fields: [q]}
          - {name: second, from: items.jsonl, fields: [question], id: id}
    """,
        )
    )
    assert [(found.place(i)[0].eval.name, found.place(i)[1]) for i in range(5)] == [
        ("first", 0),
        ("first", 1),
        ("second", 0),
        ("second", 1),
        ("second", 2),
    ]
    assert found.names.ids.to_pylist() == ["0", "1", "a", "b", "a~1"]


def test_the_fingerprint_follows_the_texts_and_the_rule(place: Path) -> None:
    entry = "from: items.jsonl, fields: [question]"
    first = one_eval(place, entry).fingerprint
    assert one_eval(place, entry).fingerprint == first
    (place / "items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS[:2]))
    assert one_eval(place, entry).fingerprint != first


def test_check_gathers_every_eval_that_cannot_be_read(place: Path) -> None:
    (place / "s.yaml").write_text(
        "suite: s\nevals:\n"
        "  - {name: a, from: item.jsonl, fields: [question]}\n"
        "  - {name: b, from: items.jsonl, fields: [question]}\n"
        "  - {name: c, from: items.jsonl, fields: [question], rows: 9}\n"
    )
    first, second = suite_problems("s.yaml", Workspace(place))
    assert (first.level, second.level) == ("error", "error")
    assert "line 3" in first.where
    assert "items.jsonl" in str(first)
    assert "line 5" in second.where
    assert "expected 9" in second.what


def test_check_warns_only_of_a_suite_that_can_be_read(place: Path) -> None:
    (place / "s.yaml").write_text("suite: s\nevals:\n  - {name: b, from: items.jsonl, fields: [question]}\n")
    assert [problem.level for problem in suite_problems("s.yaml", Workspace(place))] == ["warning"] * 2
    (place / "s.yaml").write_text("suite: s\nevls: []\n")
    assert {problem.level for problem in suite_problems("s.yaml", Workspace(place))} == {"error"}
