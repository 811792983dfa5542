"""Plans of operators and folds: what passes, what is counted, what is handed on, what is left behind."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar, Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tulu_data.engine import LocalEngine
from tulu_data.errors import UsageError
from tulu_data.op import Context, Fold, Op, verdicts
from tulu_data.record import Kind

SCHEMA = pa.schema([("id", pa.string()), ("number", pa.int64())])


class _Numbers:
    @classmethod
    def example(cls) -> Self:
        return cls()

    def reads(self, kind: Kind) -> tuple[str, ...]:
        return ("number",)


class DropMultiples(_Numbers, Op):
    name: ClassVar[str] = "drop_multiples"
    of: int = 2

    def apply(self, batch: pa.Table, state: Any) -> pa.Table:
        whole = pc.equal(pc.multiply(pc.divide(batch["number"], self.of), self.of), batch["number"])
        return verdicts(batch, whole, f"{self.name}:{self.of}")


class Total(_Numbers, Fold):
    name: ClassVar[str] = "total"

    def setup(self, context: Context) -> Kind:
        return context.kind

    def partial(self, batch: pa.Table, state: Kind) -> pa.Table:
        assert state == "rlvr"
        return pa.table({"sum": [pc.sum(batch["number"]).as_py() or 0]})

    def nothing(self) -> pa.Table:
        return pa.table({"sum": pa.array([], pa.int64())})

    def finish(self, partials: pa.Table) -> pa.Table:
        return pa.table({"sum": [pc.sum(partials["sum"]).as_py() or 0]})


class Last(Total):
    """What the last row says: the order of the partials matters."""

    name: ClassVar[str] = "last"

    def partial(self, batch: pa.Table, state: Kind) -> pa.Table:
        return pa.table({"sum": batch["number"]})

    def finish(self, partials: pa.Table) -> pa.Table:
        return partials.slice(max(0, partials.num_rows - 1))


class Percent(Total):
    """What each number is of the total that another fold found."""

    name: ClassVar[str] = "percent"
    needs: ClassVar[tuple[str, ...]] = ("total",)

    def setup(self, context: Context) -> Any:
        (total,) = context.artifact("total")["sum"].to_pylist()
        return total

    def partial(self, batch: pa.Table, state: Any) -> pa.Table:
        return pa.table({"sum": [100 * number // state for number in batch["number"].to_pylist()]})

    def finish(self, partials: pa.Table) -> pa.Table:
        return partials


class Tell(_Numbers, Op):
    """Writes what a fold found into every row."""

    name: ClassVar[str] = "tell"
    fold: str = "total"

    def writes(self) -> pa.Schema:
        return pa.schema([(self.fold, pa.int64())])

    def setup(self, context: Context) -> Any:
        return context.artifact(self.fold)["sum"].to_pylist()

    def apply(self, batch: pa.Table, state: Any) -> pa.Table:
        return batch.append_column(
            self.fold, pa.array([state[0]] * batch.num_rows, pa.int32())
        )  # conform casts it


class Fail(_Numbers, Op):
    name: ClassVar[str] = "fail"

    def apply(self, batch: pa.Table, state: Any) -> pa.Table:
        if 7 in batch["number"].to_pylist():
            raise RuntimeError("seven")
        return batch.append_column("verdict", pa.nulls(batch.num_rows, pa.string()))


def numbers(count: int, start: int = 0) -> pa.Table:
    every = range(start, start + count)
    return pa.table({"id": [f"r{n}" for n in every], "number": list(every)}, schema=SCHEMA)


def run(
    engine: LocalEngine, tables: Iterable[pa.Table], plan: list[Op | Fold], **kwargs: Any
) -> list[dict[str, Any]]:
    batches = engine.run(tables, plan, Context(kind="rlvr"), **kwargs)
    return [row for batch in batches for row in batch.to_pylist()]


def spills(scratch: Path) -> list[Path]:
    return list(scratch.glob("*.arrow"))


def test_an_empty_plan_lets_everything_pass(tmp_path: Path) -> None:
    assert run(LocalEngine(tmp_path), [numbers(5)], []) == numbers(5).to_pylist()


def test_rejected_rows_leave_after_the_operator_that_rejected_them(tmp_path: Path) -> None:
    engine = LocalEngine(tmp_path)
    gone: list[tuple[int, str, str]] = []

    def dropped(rows: pa.Table, place: int) -> None:
        gone.extend((place, row["id"], row["verdict"]) for row in rows.to_pylist())

    rows = run(engine, [numbers(10)], [DropMultiples(of=2), DropMultiples(of=3)], dropped=dropped)
    assert [row["number"] for row in rows] == [1, 5, 7]
    assert {row["verdict"] for row in rows} == {None}
    assert sorted(gone) == [
        *((0, f"r{n}", "drop_multiples:2") for n in (0, 2, 4, 6, 8)),
        *((1, f"r{n}", "drop_multiples:3") for n in (3, 9)),
    ]
    first, second = engine.counts
    assert (first.rows_in, first.rows_out, dict(first.reasons)) == (10, 5, {"drop_multiples:2": 5})
    assert (second.rows_in, second.rows_out, dict(second.reasons)) == (5, 3, {"drop_multiples:3": 2})


def test_a_fold_sees_what_came_before_it_and_tells_what_comes_after(tmp_path: Path) -> None:
    engine = LocalEngine(tmp_path)
    plan: list[Op | Fold] = [
        DropMultiples(of=2),
        Total(),
        Tell(),
        DropMultiples(of=3),
        Last(),
        Tell(fold="last"),
    ]
    rows = run(engine, [numbers(5), numbers(5, 5)], plan)
    assert [(r["number"], r["total"], r["last"]) for r in rows] == [(1, 25, 7), (5, 25, 7), (7, 25, 7)]
    assert engine.artifacts == [
        ("total", tmp_path / "01-total.parquet"),
        ("last", tmp_path / "04-last.parquet"),
    ]
    assert [pq.read_table(path).to_pylist() for _, path in engine.artifacts] == [[{"sum": 25}], [{"sum": 7}]]
    assert spills(tmp_path) == []
    assert [c.name for c in engine.counts] == [step.name for step in plan]


def test_folds_side_by_side_share_one_pass(tmp_path: Path) -> None:
    opened = 0

    def once() -> Any:
        nonlocal opened
        opened += 1
        yield numbers(4)

    engine = LocalEngine(tmp_path)
    plan: list[Op | Fold] = [Total(), Last(), Tell(), Tell(fold="last")]
    (batch,) = engine.run(once(), plan, Context(kind="rlvr"))
    assert opened == 1
    assert set(batch["total"].to_pylist()) == {6}
    assert set(batch["last"].to_pylist()) == {3}


def test_a_fold_that_needs_another_gets_a_pass_of_its_own(tmp_path: Path) -> None:
    engine = LocalEngine(tmp_path)
    rows = run(engine, [numbers(2, 1), numbers(2, 3)], [Total(), Percent(), Last()])
    assert [row["number"] for row in rows] == [1, 2, 3, 4]
    found = {name: pq.read_table(path)["sum"].to_pylist() for name, path in engine.artifacts}
    assert found == {"total": [10], "percent": [10, 20, 30, 40], "last": [4]}
    assert not spills(tmp_path)


def test_a_fold_at_the_end_still_passes_the_rows(tmp_path: Path) -> None:
    engine = LocalEngine(tmp_path)
    assert run(engine, [numbers(3)], [Total()]) == numbers(3).to_pylist()
    assert [path.is_file() for _, path in engine.artifacts] == [True]


def test_of_folds_with_one_name_operators_see_the_latest_and_all_are_kept(tmp_path: Path) -> None:
    engine = LocalEngine(tmp_path)
    plan: list[Op | Fold] = [Total(), DropMultiples(of=2), Total(), Tell()]
    assert {row["total"] for row in run(engine, [numbers(4)], plan)} == {1 + 3}
    assert [name for name, _ in engine.artifacts] == ["total", "total"]
    assert [pq.read_table(path)["sum"].to_pylist() for _, path in engine.artifacts] == [[6], [4]]
    run(engine, [numbers(2)], plan)
    assert len(engine.artifacts) == 2


def test_artifacts_of_the_caller_are_handed_on(tmp_path: Path) -> None:
    path = tmp_path / "mine.parquet"
    pq.write_table(pa.table({"sum": [9]}), path)
    context = Context(kind="rlvr", artifacts={"mine": path})
    (batch,) = LocalEngine(tmp_path).run([numbers(1)], [Total(), Tell(fold="mine")], context)
    assert batch["mine"].to_pylist() == [9]
    assert context.artifacts == {"mine": path}


@pytest.mark.parametrize("tables", [[], [numbers(0)], [numbers(0), numbers(0)]])
def test_no_rows(tables: list[pa.Table], tmp_path: Path) -> None:
    engine = LocalEngine(tmp_path)
    assert run(engine, tables, [DropMultiples(), Total(), Tell()]) == []
    assert [pq.read_table(path).to_pylist() for _, path in engine.artifacts] == [[{"sum": 0}]]
    assert [(c.rows_in, c.rows_out) for c in engine.counts] == [(0, 0)] * 3


class Shout(_Numbers, Op):
    """Changes a column that it does not declare."""

    name: ClassVar[str] = "shout"

    def writes(self) -> pa.Schema:
        return pa.schema([("length", pa.int64())])

    def apply(self, batch: pa.Table, state: Any) -> pa.Table:
        louder = batch.set_column(1, "number", pc.negate(batch["number"]))
        return louder.append_column("length", pc.utf8_length(batch["id"]))


def test_only_what_operators_declare_is_set_down_of_rows_that_can_be_read_again(tmp_path: Path) -> None:
    class Look(Total):
        name: ClassVar[str] = "look"

        def partial(self, batch: pa.Table, state: Kind) -> pa.Table:
            with pa.OSFile(str(tmp_path / "pass-1.arrow")) as file:
                on_disk.append(pa.ipc.open_file(file).schema.names)
            return super().partial(batch, state)

    on_disk: list[list[str]] = []
    plan: list[Op | Fold] = [Total(), Tell(), Shout(), Last(), DropMultiples(of=2), Look()]
    rows = run(LocalEngine(tmp_path), [numbers(10)], plan)
    odd = (1, 3, 5, 7, 9)
    assert rows == [{"id": f"r{n}", "number": n, "total": 45, "length": 2, "verdict": None} for n in odd]
    assert on_disk == [["total", "length"]]
    assert spills(tmp_path) == []


def test_every_row_rejected(tmp_path: Path) -> None:
    assert run(LocalEngine(tmp_path), [numbers(5)], [DropMultiples(of=1), Total(), Tell()]) == []


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 9), max_size=6), st.sampled_from([1, 64, 1 << 20]), st.integers(1, 3))
def test_batches_and_threads_change_nothing(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], batch_bytes: int, threads: int
) -> None:
    def result(tables: Iterable[pa.Table], **kwargs: Any) -> tuple[Any, ...]:
        engine = LocalEngine(tmp_path_factory.mktemp("run"), **kwargs)
        gone: list[str] = []
        plan: list[Op | Fold] = [
            DropMultiples(),
            Total(),
            Last(),
            Tell(),
            Tell(fold="last"),
            DropMultiples(of=3),
        ]
        rows = run(
            engine,
            tables,
            plan,
            dropped=lambda rows, place: gone.extend(f"{place}:{i}" for i in rows["id"].to_pylist()),
        )
        return rows, sorted(gone), engine.counts, [g for g in gone if g.startswith("5")]

    starts = [sum(sizes[:place]) for place in range(len(sizes))]
    tables = [numbers(size, start) for size, start in zip(sizes, starts, strict=True)]
    if sum(sizes) > 1:
        expected = result([numbers(sum(sizes))], threads=1)
        assert result(tables, batch_bytes=batch_bytes, threads=threads) == expected
        assert result(iter(tables), batch_bytes=batch_bytes, threads=threads) == expected


@pytest.mark.parametrize(
    "plan", [[Fail()], [Total(), Fail()], [Fail(), Total()], [Total(), Tell(), Fail(), Last()]]
)
@pytest.mark.parametrize("threads", [1, 2])
def test_a_failure_leaves_no_rows_and_no_threads_behind(
    plan: list[Op | Fold], threads: int, tmp_path: Path
) -> None:
    engine = LocalEngine(tmp_path, threads=threads, batch_bytes=32)
    with pytest.raises(UsageError, match=r"fails: RuntimeError: .*seven"):
        run(engine, [numbers(100)], plan)
    assert spills(tmp_path) == []
    assert not [t for t in threading.enumerate() if t.name.startswith("tulu-data")]


@pytest.mark.parametrize("once", [True, False])
def test_a_reader_that_stops_early_leaves_nothing_behind(once: bool, tmp_path: Path) -> None:
    engine = LocalEngine(tmp_path, batch_bytes=32)
    tables = [numbers(100)]
    plan: list[Op | Fold] = [Total(), Tell(), Last(), Tell(fold="last")]
    stream = engine.run(iter(tables) if once else tables, plan, Context(kind="rlvr"))
    next(stream)
    assert len(spills(tmp_path)) == 1 + once  # what operators wrote, and all rows where they come only once
    stream.close()  # type: ignore[attr-defined]
    assert spills(tmp_path) == []
    assert not [t for t in threading.enumerate() if t.name.startswith("tulu-data")]


def test_an_operator_that_drops_rows_itself_is_at_fault(tmp_path: Path) -> None:
    class Cuts(DropMultiples):
        name: ClassVar[str] = "cuts"

        def apply(self, batch: pa.Table, state: Any) -> pa.Table:
            return batch.slice(1)

    with pytest.raises(UsageError, match="'cuts' returned 4 rows for 5"):
        run(LocalEngine(tmp_path), [numbers(5)], [Cuts()])


def test_an_engine_counts_each_run_anew(tmp_path: Path) -> None:
    engine = LocalEngine(tmp_path)
    for _ in range(2):
        run(engine, [numbers(4)], [DropMultiples()])
        assert [(c.rows_in, c.rows_out) for c in engine.counts] == [(4, 2)]
