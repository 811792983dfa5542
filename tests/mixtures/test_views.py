"""The store as DuckDB views."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest

from tests.mixtures.places import Place, sft_rows
from tulu_data.errors import StoreError
from tulu_data.mixtures.views import connect


def query(connection: duckdb.DuckDBPyConnection, sql: str) -> list[tuple[Any, ...]]:
    return connection.execute(sql).fetchall()


def views(connection: duckdb.DuckDBPyConnection) -> list[str]:
    return sorted(name for (name,) in query(connection, "SHOW TABLES"))


def test_every_mixture_version_and_dropped_set_is_a_view(mini: Place) -> None:
    first = mini.build()
    path = mini.root / "mixtures" / "mini.yaml"
    path.write_text(path.read_text().replace("count: 40", "count: 60"))
    second = mini.build()
    preview = mini.build(limit=5)
    connection = connect(mini.store)
    endings = ["", "_dropped", "_lineage"]
    names = [n + e for n in ("mini", "mini@v1", "mini@v2", "mini@preview") for e in endings]
    assert views(connection) == sorted([*names, "versions"])
    assert query(connection, "SELECT count(*) FROM mini") == [(second.rows,)]
    assert query(connection, 'SELECT count(*) FROM "mini@v1"') == [(first.rows,)]
    assert query(connection, 'SELECT count(*) FROM "mini@preview"') == [(preview.rows,)]
    assert query(connection, "SELECT verdict, count(*) FROM mini_dropped GROUP BY ALL") == [
        ("exact_dedup:duplicate", 75 - second.rows)
    ]
    joined = "SELECT count(*) FROM mini JOIN mini_lineage USING (id) WHERE license IS NOT NULL"
    assert query(connection, joined) == [(second.rows,)]
    assert query(
        connection, "SELECT mixture, version, number, rows, latest FROM versions ORDER BY number"
    ) == [
        ("mini", first.name, 1, first.rows, False),
        ("mini", second.name, 2, second.rows, True),
        ("mini", "preview", None, preview.rows, False),
    ]


def test_the_dropped_view_exists_where_nothing_was_dropped(place: Place) -> None:
    place.recipe(sources=[{"name": "a", "from": place.jsonl("a", sft_rows(5))}])
    place.build()
    sql = "SELECT count(*), count(verdict), count(step), count(messages) FROM mini_dropped"
    assert query(connect(place.store), sql) == [(0, 0, 0, 0)]


def test_dropped_rows_of_several_steps_are_one_view(place: Place) -> None:
    steps = [{"op": "exact_dedup"}, {"op": "length", "max_chars": 16}]
    place.recipe(sources=[{"name": "a", "from": place.jsonl("a", sft_rows(50))}], steps=steps)
    place.build()
    told = "step, count(*) > 0, bool_and(duplicate_of IS NOT NULL)"
    sql = f"SELECT {told} FROM mini_dropped GROUP BY step ORDER BY step"
    assert query(connect(place.store), sql) == [(1, True, True), (2, True, False)]


def test_mixtures_in_folders_and_odd_paths_work(tmp_path: Path) -> None:
    root = tmp_path / "it's [odd] * and ?"
    (root / "mixtures").mkdir(parents=True)
    place = Place(root)
    place.recipe(
        "tulu2/sft", sources=[{"name": "a", "from": str(root / "mixtures" / place.parquet("a", sft_rows(5)))}]
    )
    place.build("tulu2/sft")
    connection = connect(place.store)
    assert query(connection, 'SELECT count(*) FROM "tulu2/sft"') == [(5,)]
    assert query(connection, 'SELECT count(*) FROM "tulu2/sft@v1_lineage"') == [(5,)]


def test_two_queries_follow_each_other(mini: Place) -> None:
    mini.build()
    connection = connect(str(mini.store))
    assert connection.execute("SELECT count(*) FROM mini").fetchone() is not None
    assert len(connection.cursor().execute("SELECT source FROM mini").fetchall()) > 1


def test_rows_that_are_held_out_have_a_view_of_their_own(mini: Place) -> None:
    built = mini.build()
    train = next((built.path / "data").glob("*.parquet"))
    (built.path / "test").mkdir()
    pq.write_table(pq.read_table(train).slice(0, 3), built.path / "test" / "test-00000-of-00001.parquet")
    connection = connect(mini.store)
    assert {"mini_test", "mini@v1_test"} <= set(views(connection))
    assert query(connection, "SELECT count(*) FROM mini_test") == [(3,)]
    assert query(connection, "SELECT count(*) FROM mini") == [(built.rows,)]


def test_no_store_is_one_message(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no store"):
        connect(tmp_path / "store")


def test_an_empty_store_has_only_the_list_of_versions(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    connection = connect(tmp_path / "store")
    assert views(connection) == ["versions"]
    assert query(connection, "SELECT * FROM versions") == []


@pytest.mark.parametrize(
    ("file", "content", "lost"),
    [
        ("lineage.parquet", b"damaged", ["mini_lineage"]),
        ("manifest.json", b"damaged", ["mini", "mini_lineage"]),
        ("manifest.json", b"[]", ["mini", "mini_lineage"]),
        ("manifest.json", None, ["mini", "mini_lineage"]),
    ],
)
def test_a_damaged_version_is_named_and_the_others_work(
    mini: Place, file: str, content: bytes | None, lost: list[str]
) -> None:
    first = mini.build()
    path = mini.root / "mixtures" / "mini.yaml"
    path.write_text(path.read_text().replace("count: 40", "count: 60"))
    second = mini.build()
    mini.build(limit=5)
    (second.path / file).unlink()
    if content is not None:
        (second.path / file).write_bytes(content)
    connection = connect(mini.store)
    assert not set(lost) & set(views(connection))
    assert query(connection, 'SELECT count(*) FROM "mini@v1"') == [(first.rows,)]
    assert {"mini@v1_lineage", "mini@preview"} <= set(views(connection))
    told = query(connection, "SELECT mixture, version, latest, problem FROM versions ORDER BY number")
    assert told[0] == ("mini", first.name, False, None)
    assert told[1][:3] == ("mini", second.name, True)
    assert second.name in told[1][3]
    assert told[2][3] is None
