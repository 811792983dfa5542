"""`tulu-data sql`: what is asked, how it is printed, and how faults are told."""

from __future__ import annotations

import csv
import io
import json
from itertools import islice
from pathlib import Path

import pytest

import tulu_data
from tests.mixtures.places import Place, turns
from tulu_data import cli
from tulu_data.errors import StoreError, UsageError
from tulu_data.verbs.sql import ROWS

LONG = "long " * 100
ODD = "red \x1b[31m \u202eleft"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with one version of `mini`: a dialogue, a long answer, and what acts on terminals."""
    place = Place(tmp_path_factory.mktemp("sql"))
    (place.root / "mixtures").mkdir()
    rows = [
        {"messages": turns("Two\nlines?", "Yes.", "Sure?", "I am.", "Really?", "Yes!", "Well.", "Well.")},
        {"messages": turns("Go on", LONG)},
        {"messages": turns(ODD, "What?")},
    ]
    place.recipe(sources=[{"name": "talk", "from": place.jsonl("talk", rows)}])
    place.build()
    return place.store


@pytest.fixture
def ask(store: Path, capsys: pytest.CaptureFixture[str]) -> Ask:
    return Ask(store, capsys)


class Ask:
    """Runs the verb over the store; gives what it prints, and keeps what it says beside."""

    def __init__(self, store: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.store, self.capsys, self.said = store, capsys, ""

    def __call__(self, statement: str, *options: str, status: int = 0) -> str:
        got = cli.run(["sql", statement, "--store", str(self.store), *options])
        out, self.said = self.capsys.readouterr()
        assert got == status, self.said
        return out


# -- what is printed -----------------------------------------------------------------------------------------


def test_the_views_are_listed(ask: Ask) -> None:
    assert ask("SHOW TABLES").split() == [
        "name",
        "─" * len("mini@v1_dropped"),
        *("mini", "mini@v1", "mini@v1_dropped", "mini@v1_lineage", "mini_dropped", "mini_lineage"),
        "versions",
    ]


def test_a_conversation_is_shown_as_turns(ask: Ask) -> None:
    lines = [line.strip() for line in ask("SELECT messages FROM mini WHERE len(messages) > 2").splitlines()]
    assert lines[2:] == [
        "user: Two⏎lines?",
        *("assistant: Yes.", "user: Sure?", "assistant: I am.", "user: Really?", "assistant: Yes!"),
        "… (+2 turns)",
    ]


def test_a_long_cell_is_cut_with_a_mark_and_whole_as_json(ask: Ask) -> None:
    where = "FROM mini WHERE messages[1].content = 'Go on'"
    assert f"assistant: {LONG[:120]} … (+380)" in ask(f"SELECT messages {where}")
    assert ask(f"SELECT messages[2].content AS answer {where}").splitlines()[2] == f"{LONG[:300]} … (+200)"
    assert json.loads(ask(f"SELECT messages {where}", "--json"))[0]["messages"] == turns("Go on", LONG)


def test_nothing_that_is_printed_acts_on_the_terminal(ask: Ask) -> None:
    statement = 'SELECT messages, messages[1].content AS "a\x1b[1m" FROM mini WHERE len(messages) = 2'
    shown, data = ask(statement), ask(statement, "--json")
    assert "user: red ␛[31m \\u202eleft" in shown
    assert "a␛[1m" in shown
    assert {"\x1b", "\u202e"}.isdisjoint(shown + data)
    assert ODD in [row["a\x1b[1m"] for row in json.loads(data)]


def test_values_are_printed_as_sql_has_them(ask: Ask) -> None:
    values = (
        "NULL AS a, true AS b, 1234567 AS c, 2/3 AS d, 1.50 AS e, 1e-9 AS f, 'x' AS g, {'k': [1, NULL]} AS h"
    )
    assert ask(f"SELECT {values}").splitlines()[2].split(maxsplit=7) == [
        *("NULL", "true", "1234567", "0.6667", "1.50", "1e-09", "x"),
        '{"k": [1, null]}',
    ]


def test_json_and_csv_hold_the_same_values(ask: Ask) -> None:
    statement = """SELECT NULL AS a, true AS b, 2/3 AS c, 'nan'::DOUBLE AS d, 1.5 AS e,
                   DATE '2024-02-29' AS f, [{'role': 'user', 'content': 'Hé, "x"'}] AS g,
                   '\\xAA'::BLOB AS h, MAP {1: 2} AS i"""
    (row,) = json.loads(ask(statement, "--json"))
    first = {"a": None, "b": True, "c": 2 / 3, "d": None, "e": 1.5, "f": "2024-02-29"}
    assert row == first | {"g": [{"role": "user", "content": 'Hé, "x"'}], "h": "aa", "i": {"1": 2}}
    (line,) = csv.DictReader(io.StringIO(ask(statement, "--csv")))
    assert (line["a"], line["d"], line["f"], line["h"]) == ("", "", "2024-02-29", "aa")
    assert {key: json.loads(line[key]) for key in "bcegi"} == {key: row[key] for key in "bcegi"}


def test_columns_of_one_name_are_numbered(ask: Ask) -> None:
    (row,) = json.loads(ask("SELECT 1 AS id, 2 AS id, 3 AS id_1, 4 AS id", "--json"))
    assert row == {"id": 1, "id_1": 2, "id_1_1": 3, "id_2": 4}


@pytest.mark.parametrize(
    ("options", "rows"), [([], ROWS), (["--limit", "3"], 3), (["--limit", "5000"], 2500)]
)
def test_a_table_shows_a_screen_unless_a_limit_is_given(ask: Ask, options: list[str], rows: int) -> None:
    lines = ask("SELECT * FROM range(2500)", *options).splitlines()
    assert lines[-1].strip() == str(rows - 1)
    assert len(lines) == rows + 2
    note = f"only the first {rows:,} rows are shown; --limit says how many\n"
    assert ask.said == (note if rows < 2500 else "")


@pytest.mark.parametrize(("options", "rows"), [([], 2500), (["--limit", "3"], 3), (["--limit", "0"], 0)])
def test_data_is_whole_unless_a_limit_is_given(ask: Ask, options: list[str], rows: int) -> None:
    assert len(json.loads(ask("SELECT * FROM range(2500)", "--json", *options))) == rows
    assert len(ask("SELECT * FROM range(2500)", "--csv", *options).splitlines()) == rows + 1
    assert ask.said == ""


def test_a_statement_may_come_from_standard_input(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("SELECT count(*) AS n\nFROM mini"))
    assert json.loads(ask("-", "--json")) == [{"n": 3}]


@pytest.mark.parametrize("statement", ["", "/* nothing */"])
def test_a_statement_without_an_answer_prints_nothing(ask: Ask, statement: str) -> None:
    assert ask(statement) == ""


def test_an_answer_can_be_written_to_a_file(ask: Ask, tmp_path: Path) -> None:
    ask(f"COPY (SELECT id FROM mini) TO '{tmp_path / 'ids.csv'}'")
    assert len((tmp_path / "ids.csv").read_text().splitlines()) == 4


# -- in Python -----------------------------------------------------------------------------------------------


def test_an_answer_is_read_as_it_comes(store: Path) -> None:
    answer = tulu_data.sql("SELECT range AS n FROM range(1000000000)", store=store)
    assert answer.columns == ("n",)
    assert list(islice(answer.dicts(), 3)) == [{"n": 0}, {"n": 1}, {"n": 2}]


# -- faults --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("FROM mni", "no table or view is named 'mni'; expected one of: mini, mini@v1, "),
        ("FROM mni", "Did you mean 'mini'?"),
        ('FROM "mini@v1_droped"', "Did you mean 'mini@v1_dropped'?"),
        ("FROM mini@v1", """in double quotes, the statement in single ones: 'FROM "mini@v1"'"""),
        ("SELECT mesages FROM mini", '"mesages" not found in FROM clause! Candidate bindings: "messages"'),
        ("SELECT id,\nFROM mini\nWHER true", 'line 3: Parser Error: syntax error at or near "true"'),
        ("SELECT 'a'::INT", "Could not convert string 'a' to INT32"),
        ("SELECT ?", "Values were not provided"),
    ],
)  # fmt: skip
def test_a_wrong_statement_is_one_message(ask: Ask, statement: str, message: str) -> None:
    assert ask(statement, status=2) == ""
    assert message in ask.said
    assert len(ask.said.splitlines()) == 1
    assert "LINE" not in ask.said


def test_what_fails_late_is_told_as_well(store: Path) -> None:
    rows = tulu_data.sql(
        "SELECT CASE WHEN range < 3000000 THEN '1' ELSE 'a' END::INT FROM range(3000001)", store=store
    ).rows
    with pytest.raises(UsageError, match="Could not convert string 'a'"):
        list(rows)


def test_a_file_that_cannot_be_written_is_one_message(ask: Ask, tmp_path: Path) -> None:
    ask(f"COPY mini TO '{tmp_path}/no/such.parquet'", status=1)
    assert "error: IO Error: Cannot open file" in ask.said


def test_json_and_csv_exclude_each_other(ask: Ask) -> None:
    ask("SELECT 1", "--json", "--csv", status=2)
    assert "--json and --csv exclude each other" in ask.said


def test_no_store_is_one_message(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"there is no store\. `tulu-data build-mixture NAME` makes one"):
        tulu_data.sql("SHOW TABLES", store=tmp_path / "store")
