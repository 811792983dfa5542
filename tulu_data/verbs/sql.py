"""`sql`: a question to the store, answered in the terminal."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Mapping
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tulu_data.errors import UsageError
from tulu_data.verbs.options import FOLDER, debug_option, example

if TYPE_CHECKING:
    from tulu_data.mixtures.sql import Answer

ROWS = 40
"""Rows of a table that are printed unless `--limit` says how many: about a screen."""
CELL = 300
"""Characters of a cell that are printed in a table; JSON and CSV have all."""
TURN, TURNS = 120, 6
"""Characters of a turn, and turns of a conversation, that are printed in a table."""


@click.command(
    epilog=example(
        'tulu-data sql "SHOW TABLES"',
        'tulu-data sql "SELECT source, count(*) FROM sft_mini GROUP BY ALL"',
        """tulu-data sql 'SELECT * FROM "sft_mini@v1_dropped"' --json --limit 3""",
    )
)
@click.argument("statement")
@click.option(
    "--store", type=FOLDER, help="Where versions are kept.  [default: store/ in the current folder]"
)
@click.option(
    "--limit", type=click.IntRange(min=0), metavar="N",
    help=f"Rows to print.  [default: {ROWS} in a table, else all]",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV instead of a table.")
@debug_option
def sql(statement: str, store: Path | None, limit: int | None, as_json: bool, as_csv: bool) -> None:
    """Ask the store a question in SQL.

    STATEMENT is in the SQL of DuckDB; `-` reads it from standard input. Every mixture is a view with the rows
    of its latest version; `NAME_dropped`, `NAME_lineage`, `NAME_matches` and `NAME_test` are beside it, and
    `versions` lists what there is. Names of earlier versions are quoted: "NAME@v1".
    """
    import tulu_data

    if as_json and as_csv:
        raise UsageError("--json and --csv exclude each other", expected="one of them")
    text = sys.stdin.read() if statement == "-" else statement
    answer = tulu_data.sql(text, store=store)
    if as_json:
        _print_json(answer, limit)
    elif as_csv:
        _print_csv(answer, limit)
    elif answer.columns:
        _print_table(answer, ROWS if limit is None else limit)


# -- as data -------------------------------------------------------------------------------------------------


def _print_json(answer: Answer, limit: int | None) -> None:
    """A list of objects, one a line as they come; in ASCII, so that nothing in it can act on a terminal."""
    before = "[\n"
    for row in islice(answer.dicts(), limit):
        sys.stdout.write(f"{before}  {json.dumps(_plain(row))}")  # `click.echo` would flush every one
        before = ",\n"
    click.echo("\n]" if before == ",\n" else "[]")


def _print_csv(answer: Answer, limit: int | None) -> None:
    """As the values are, but on a terminal, where what acts or shows nothing is made visible."""
    import csv

    from tulu_data.show import visible

    def shown(value: object) -> str:
        field = _field(value)
        return visible(field, newline="\n") if terminal else field

    terminal = sys.stdout.isatty()
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(map(shown, answer.columns))
    writer.writerows(map(shown, row) for row in islice(answer.rows, limit))


def _field(value: object) -> str:
    """A field of CSV: nothing for NULL, JSON for lists and structs."""
    match plain := _plain(value):
        case None:
            return ""
        case str():
            return plain
        case _:
            return json.dumps(plain, ensure_ascii=False)


def _plain(value: object) -> Any:
    """The value as JSON knows it: no number is NaN or infinite, bytes are hexadecimal."""
    match value:
        case None | bool() | int() | str():
            return value
        case float() | Decimal():
            return float(value) if math.isfinite(value) else None
        case Mapping():
            return {str(key): _plain(inner) for key, inner in value.items()}
        case list() | tuple():
            return [_plain(inner) for inner in value]
        case _:
            return value.hex() if isinstance(value, bytes) else str(value)


# -- as a table ----------------------------------------------------------------------------------------------


def _print_table(answer: Answer, limit: int) -> None:
    from tulu_data.show import table

    rows = list(islice(answer.rows, limit))
    table(answer.columns, rows, text=_cell)
    if next(answer.rows, None) is not None:
        click.echo(f"only the first {limit:,} rows are shown; --limit says how many", err=True)


def _cell(value: object) -> str:
    """A value as the table shows it: numbers as SQL writes them, conversations as turns."""
    from tulu_data.show import shortened

    match value:
        case None:
            return "NULL"
        case bool():
            return str(value).lower()
        case float():
            return _number(value)
        case list() if _is_conversation(value):
            return "\n".join(_turns(value))
        case list() | dict() | tuple() | bytes():
            text = (
                json.dumps(_plain(value), ensure_ascii=False) if not isinstance(value, bytes) else value.hex()
            )
            return shortened(text, CELL)
        case _:
            return shortened(str(value), CELL)


def _number(value: float) -> str:
    """Four decimals, or four digits of what is smaller."""
    if value == 0 or not math.isfinite(value) or abs(value) >= 0.001:
        return str(round(value, 4)) if math.isfinite(value) else str(value)
    return f"{value:.4g}"


def _is_conversation(value: list[Any]) -> bool:
    return bool(value) and all(
        isinstance(turn, dict) and turn.keys() == {"role", "content"} for turn in value
    )


def _turns(messages: list[dict[str, Any]]) -> Iterator[str]:
    from tulu_data.show import turn_lines

    yield from turn_lines(messages[:TURNS], longest=TURN)
    if len(messages) > TURNS:
        yield f"… (+{len(messages) - TURNS} turns)"


VERBS: list[click.Command] = [sql]
