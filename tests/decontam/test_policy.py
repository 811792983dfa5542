"""What follows from matches: more than 2 % of an eval's items make a dataset contaminated; 2 % do not."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.rows import table_of
from tulu_data.decontam.evidence import MATCHES
from tulu_data.decontam.items import SuiteItems, read_items
from tulu_data.decontam.policy import cells
from tulu_data.decontam.step import Decontaminate, items_of
from tulu_data.decontam.suite import load_suite
from tulu_data.engine import LocalEngine
from tulu_data.errors import PolicyError
from tulu_data.op import Context, Registry
from tulu_data.workspace import Workspace


def question(number: int) -> str:
    return f"Item number {number}: what is {number} plus {number} times {number} in all?"


def made(place: Path, items: int = 100, share: float = 0.02, role: str = "unseen") -> SuiteItems:
    (place / "e.csv").write_text("question\n" + "".join(f"{question(i)}\n" for i in range(items)))
    (place / "s.yaml").write_text(
        f"suite: s\nrule: {{contaminated: {share}}}\nevals:\n"
        f"  - {{name: e, role: {role}, from: e.csv, fields: [question]}}\n"
    )
    return read_items(load_suite("s.yaml", Workspace(place)))


def matches(*pairs: tuple[str, str, int], action: str = "drop") -> pa.Table:
    rows = [
        {"dataset": d, "row_id": r, "eval": "e", "item_id": str(i), "action": action} for d, r, i in pairs
    ]
    return pa.Table.from_pylist(rows, schema=MATCHES)


def test_items_and_rows_are_each_counted_once(tmp_path: Path) -> None:
    suite = made(tmp_path)
    table = matches(("a", "r1", 1), ("a", "r2", 1), ("a", "r2", 2), ("a", "r3", 3), ("b", "r4", 1))
    first, second, third = cells(table, ["a", "b", "c"], suite)
    assert (first.matched, first.rows, first.items, first.percent, first.contaminated) == (
        3,
        3,
        100,
        3.0,
        True,
    )
    assert (second.matched, second.rows, second.contaminated) == (1, 1, False)
    assert (third.matched, third.rows, third.contaminated) == (0, 0, False)


def test_exactly_two_percent_is_not_contaminated(tmp_path: Path) -> None:
    suite = made(tmp_path)
    two = [("a", f"r{i}", i) for i in range(2)]
    assert not cells(matches(*two), ["a"], suite)[0].contaminated
    assert cells(matches(*two, ("a", "r", 2)), ["a"], suite)[0].contaminated


def test_findings_that_are_kept_do_not_count(tmp_path: Path) -> None:
    kept = matches(*(("a", f"r{i}", i) for i in range(50)), action="keep")
    assert cells(kept, ["a"], made(tmp_path))[0].matched == 0


@given(percent=st.integers(0, 100), found=st.integers(0, 100))
def test_a_share_means_what_is_written(
    tmp_path_factory: pytest.TempPathFactory, percent: int, found: int
) -> None:
    """0.29 of 100 is 29, though in floating point it is less."""
    suite = made(tmp_path_factory.mktemp("s"), share=percent / 100)
    table = matches(*(("a", f"r{i}", i) for i in range(found)))
    assert cells(table, ["a"], suite)[0].contaminated == (Fraction(found, 100) > Fraction(percent, 100))


def rows_of(*numbers: int | None) -> pa.Table:
    said = [
        question(n) if n is not None else "Nothing of the kind is asked here, of course." for n in numbers
    ]
    return table_of("sft", [{"messages": [{"role": "user", "content": text}]} for text in said])


def run(
    place: Path, table: pa.Table, *, batch_bytes: int = 1 << 20, threads: int = 1, **settings: Any
) -> tuple[pa.Table, list[str]]:
    step = Decontaminate(suite="s.yaml", **settings).bind(Workspace(place), place)
    scratch = place / "scratch"
    scratch.mkdir(exist_ok=True)
    dropped: list[pa.Table] = []
    engine = LocalEngine(scratch, threads=threads, batch_bytes=batch_bytes)
    kept = pa.concat_tables(engine.run([table], step.plan(), Context(), lambda t, _: dropped.append(t)))
    return kept, [verdict for part in dropped for verdict in part["verdict"].to_pylist()]


def test_matched_rows_are_rejected_with_the_eval_as_reason(tmp_path: Path) -> None:
    made(tmp_path)
    kept, dropped = run(tmp_path, rows_of(None, 5, None, 7))
    assert kept.num_rows == 2
    assert dropped == ["decontaminate:e"] * 2


def test_an_unseen_eval_stops_the_build(tmp_path: Path) -> None:
    made(tmp_path)
    with pytest.raises(
        PolicyError, match=r"matches 3 of 100 items of e \(3.0 %\).*on_unseen: rows.*on_unseen: drop"
    ):
        run(tmp_path, rows_of(1, 2, 3, None))


def test_a_development_eval_does_not_stop_the_build(tmp_path: Path) -> None:
    made(tmp_path, role="development")
    assert run(tmp_path, rows_of(1, 2, 3, None))[1] == ["decontaminate:e"] * 3


def test_on_unseen_rows_drops_the_rows_alone(tmp_path: Path) -> None:
    made(tmp_path)
    kept, dropped = run(tmp_path, rows_of(1, 2, 3, None), on_unseen="rows")
    assert (kept.num_rows, dropped) == (1, ["decontaminate:e"] * 3)


def test_on_unseen_drop_drops_the_whole_source_and_no_other(tmp_path: Path) -> None:
    made(tmp_path)
    first, second = rows_of(1, 2, 3, None), rows_of(4, None)
    place = second.schema.get_field_index("source")
    second = second.set_column(place, second.schema.field(place), pa.array(["another"] * 2))
    kept, dropped = run(tmp_path, pa.concat_tables([first, second]), on_unseen="drop")
    assert kept["source"].to_pylist() == ["another"]
    assert sorted(dropped) == sorted(["decontaminate:e"] * 4 + ["decontaminate:dataset:e"])


@pytest.mark.parametrize(("threads", "batch_bytes"), [(1, 1), (2, 300), (2, 1 << 20)])
def test_threads_and_batches_change_nothing(tmp_path: Path, threads: int, batch_bytes: int) -> None:
    made(tmp_path)
    table = rows_of(*(i if i % 7 == 0 else None for i in range(60)))
    kept, dropped = run(tmp_path, table, on_unseen="rows", threads=threads, batch_bytes=batch_bytes)
    assert (kept["id"].to_pylist(), dropped) == (
        [i for n, i in enumerate(table["id"].to_pylist()) if n % 7],
        ["decontaminate:e"] * 9,
    )


def test_a_step_that_looks_at_nobody_is_refused() -> None:
    with pytest.raises(Exception, match="roles"):
        Registry().make({"op": "decontaminate", "suite": "sample", "roles": []})


def test_items_are_read_again_when_a_file_of_the_suite_changes(tmp_path: Path) -> None:
    made(tmp_path, items=3)
    suite = load_suite("s.yaml", Workspace(tmp_path))
    step = Decontaminate(suite="s.yaml").bind(Workspace(tmp_path), tmp_path)
    before = items_of(suite, None)
    assert items_of(load_suite("s.yaml", Workspace(tmp_path)), None) is before
    assert step.content() == before.fingerprint
    (tmp_path / "e.csv").write_text("question\nanother one altogether\n")
    assert items_of(suite, None).evals[0].texts == [["another one altogether"]]
    assert step.content() != before.fingerprint
