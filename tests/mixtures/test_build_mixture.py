"""Building: what a version holds, that it is always the same, and that nothing half-done stays."""

from __future__ import annotations

import errno
import json
import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from tests.mixtures.places import Place, preference_rows, rlvr_rows, sft_rows, turns
from tulu_data.cli_tables import print_build
from tulu_data.engine import sort
from tulu_data.errors import PolicyError, RecipeError, RowError, SourceError, StoreError, UsageError
from tulu_data.mixtures import writer
from tulu_data.mixtures.select import KEY
from tulu_data.mixtures.sums import write_sums
from tulu_data.op import VERDICT_FIELD, Context, Fold, Op, Registry, verdicts
from tulu_data.progress import Progress, Task
from tulu_data.record import LINEAGE, OUTPUT, Kind, sort_keys


def hashes(path: Path) -> dict[str, str]:
    return {
        name: file["sha256"]
        for name, file in json.loads((path / "manifest.json").read_text())["files"].items()
    }


def data(path: Path) -> pa.Table:
    return pa.concat_tables([pq.read_table(file) for file in sorted((path / "data").glob("*.parquet"))])


def test_a_version_holds_data_dropped_lineage_manifest_lock_and_card(mini: Place) -> None:
    built = mini.build()
    files = sorted(p.relative_to(built.path).as_posix() for p in built.path.rglob("*") if p.is_file())
    assert files == [
        "README.md",
        "SHA256SUMS",
        "croissant.json",
        "data/train-00000-of-00001.parquet",
        "dropped/01-exact_dedup.parquet",
        "lineage.parquet",
        "lock.json",
        "manifest.json",
    ]
    assert built.path == mini.store / "mixtures" / "mini" / built.name
    assert built.name == f"v1-{built.manifest['logical_hash'][:8]}"
    assert not built.reused
    assert mini.left_behind() == []


def test_every_selected_row_is_kept_or_dropped_with_a_verdict(mini: Place) -> None:
    built = mini.build()
    kept = data(built.path)
    dropped = pq.read_table(built.path / "dropped" / "01-exact_dedup.parquet")
    assert kept.num_rows == built.rows
    assert kept.num_rows + dropped.num_rows == 40 + 15
    assert not set(kept["id"].to_pylist()) & set(dropped["id"].to_pylist())
    assert set(dropped["verdict"].to_pylist()) == {"exact_dedup:duplicate"}
    assert set(dropped["step"].to_pylist()) == {1}
    assert {"messages", "source", "row", "upstream_id", "license", "duplicate_of"} <= set(
        dropped.column_names
    )
    assert not [name for name in dropped.column_names if name.startswith("_")]


def test_rows_lie_in_the_order_of_their_keys_and_lineage_follows(mini: Place) -> None:
    built = mini.build()
    kept, lineage = data(built.path), pq.read_table(built.path / "lineage.parquet")
    keys = sort_keys(kept["id"].combine_chunks(), 42).to_pylist()
    assert keys == sorted(keys)
    assert lineage["id"] == kept["id"]
    assert lineage.column_names[:6] == ["id", "source", "row", "upstream_id", "license", "native"]
    for row in lineage.to_pylist():
        assert row["upstream_id"] == f"up{row['row']}"
        assert row["license"] == {"maths": "mit", "chat": "odc-by"}[row["source"]]


def test_the_output_has_the_published_columns_and_tools_only_where_a_row_has_some(place: Place) -> None:
    place.recipe(sources=[{"name": "a", "from": place.jsonl("a", sft_rows(5))}])
    assert data(place.build().path).schema.names == ["id", "messages", "source"]
    rows = sft_rows(5)
    rows[3]["tools"] = json.dumps([{"name": "look_up"}])
    place.recipe(sources=[{"name": "a", "from": place.jsonl("a", rows)}])
    built = data(place.build().path)
    assert built.schema == OUTPUT["sft"]
    assert built["tools"].null_count == 4


def test_ratings_are_columns_only_where_a_row_is_rated(place: Place) -> None:
    bare = {"name": "bare", "from": place.jsonl("bare", preference_rows(6, rated=False))}
    rated = {"name": "rated", "from": place.jsonl("rated", preference_rows(6, rated=True))}
    place.recipe(kind="preference", sources=[bare])
    assert data(place.build().path).schema.names == ["id", "prompt", "chosen", "rejected", "source"]
    place.recipe(kind="preference", sources=[bare, rated])
    assert data(place.build().path).schema == OUTPUT["preference"]


@pytest.mark.parametrize("layout", ["shuffled", "by_source"])
def test_rebuilding_gives_the_same_bytes_at_any_thread_count_and_batch_size(
    place: Place, monkeypatch: pytest.MonkeyPatch, layout: str
) -> None:
    monkeypatch.setattr(writer, "ROWS_PER_GROUP", 64)
    monkeypatch.setattr(writer, "SHARD_BYTES", 4_000)
    sources = [
        {"name": "a", "from": place.parquet("a", sft_rows(700, "one"))},
        {"name": "b", "from": place.jsonl("b", sft_rows(500, "two")), "fraction": 0.7},
    ]
    place.recipe(
        sources=sources, layout=layout, steps=[{"op": "exact_dedup"}, {"op": "length", "max_chars": 30}]
    )
    made = [
        place.build(store=place.root / f"store{threads}-{size}", threads=threads, batch_bytes=size)
        for threads, size in [(1, None), (2, None), (1, 2_000), (2, 5_000), (3, 20_000)]
    ]
    monkeypatch.setattr(sort, "BUCKET_BYTES", 10_000)  # sorted in several buckets, as large mixtures are
    made.append(place.build(store=place.root / "buckets", threads=2))
    first = made[0]
    assert len(first.manifest["files"]) > 6
    assert sum(name.startswith("dropped/") for name in first.manifest["files"]) == 2
    for other in made[1:]:
        assert other.name == first.name
        assert other.manifest["logical_hash"] == first.manifest["logical_hash"]
        assert hashes(other.path) == hashes(first.path)
        for file in first.manifest["files"]:
            assert (other.path / file).read_bytes() == (first.path / file).read_bytes()


def test_two_manifests_of_one_recipe_differ_only_in_their_time(mini: Place) -> None:
    one, two = (mini.build(store=mini.root / name).manifest for name in ("s1", "s2"))
    assert {**one, "built": ""} == {**two, "built": ""}
    assert str(mini.root) not in json.dumps(one)


def test_the_layout_by_source_has_shards_per_source_in_key_order(mini: Place) -> None:
    text = (mini.root / "mixtures" / "mini.yaml").read_text()
    mini.recipe(text=text + "layout: by_source\n")
    built = mini.build()
    assert [p.name for p in sorted((built.path / "data").iterdir())] == [
        "chat-00000-of-00001.parquet",
        "maths-00000-of-00001.parquet",
    ]
    for name in ("chat", "maths"):
        rows = pq.read_table(built.path / "data" / f"{name}-00000-of-00001.parquet")
        assert set(rows["source"].to_pylist()) == {name}
        keys = sort_keys(rows["id"].combine_chunks(), 42).to_pylist()
        assert keys == sorted(keys)


def test_building_again_reuses_the_version(mini: Place) -> None:
    first, again = mini.build(), mini.build()
    assert again.reused
    assert again.path == first.path
    assert [p.name for p in (mini.store / "mixtures" / "mini").iterdir()] == [first.name]


def test_a_reused_version_of_another_recipe_is_told(mini: Place, capsys: pytest.CaptureFixture[str]) -> None:
    first = mini.build()
    assert first.differs == mini.build().differs == ()
    path = mini.root / "mixtures" / "mini.yaml"
    path.write_text(path.read_text().replace("odc-by", "cc0-1.0") + "- {op: length, max_chars: 9999}\n")
    again = mini.build()
    assert again.reused
    assert again.path == first.path
    assert again.manifest == first.manifest
    assert again.differs == ("recipe", "sources", "steps")
    assert again.summary["differs"] == list(again.differs)
    print_build(again)
    assert (
        f"the rows are those of {first.name}; its manifest, card and dropped rows are of the earlier recipe "
        "(differs in: recipe, sources, steps); remove the folder to record this one\n"
    ) in capsys.readouterr().out
    shutil.rmtree(first.path)
    assert mini.build().manifest["steps"][1]["op"] == "length"
    print_build(mini.build())
    assert "differs in" not in capsys.readouterr().out


def test_other_libraries_or_another_time_are_no_other_recipe(mini: Place) -> None:
    path = mini.build().path / "manifest.json"
    told = json.loads(path.read_text())
    told["libraries"]["pyarrow"] = "1.0"
    path.write_text(json.dumps({**told, "built": "long ago"}))
    write_sums(path.parent)
    assert mini.build().differs == ()


def test_other_rows_make_another_version(mini: Place) -> None:
    first = mini.build()
    path = mini.root / "mixtures" / "mini.yaml"
    path.write_text(path.read_text().replace("count: 40", "count: 41"))
    second = mini.build()
    assert second.name.startswith("v2-")
    assert not second.reused
    assert first.path.is_dir()
    assert mini.build().path == second.path


def test_an_altered_version_is_not_reused(mini: Place) -> None:
    file = next((mini.build().path / "data").iterdir())
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(StoreError, match=r"train-00000-of-00001.parquet: a file of this version was altered"):
        mini.build()


def test_a_larger_count_keeps_every_row_of_a_smaller_one(place: Place) -> None:
    source = place.parquet("a", sft_rows(100))
    ids: set[str] = set()
    for count in (5, 6, 40, 100):
        place.recipe(sources=[{"name": "a", "from": source, "count": count}])
        now = set(data(place.build().path)["id"].to_pylist())
        assert len(now) == count
        assert now > ids
        ids = now


def test_ids_do_not_depend_on_the_order_of_a_source(place: Place) -> None:
    rows = sft_rows(50)
    place.recipe(sources=[{"name": "a", "from": place.jsonl("a", rows)}])
    forward = place.build()
    place.recipe(sources=[{"name": "a", "from": place.jsonl("a", rows[::-1])}])
    assert place.build().manifest["logical_hash"] == forward.manifest["logical_hash"]


def test_a_count_above_what_exists_names_every_such_source(place: Place) -> None:
    sources = [
        {"name": name, "from": place.jsonl(name, sft_rows(n)), "count": 10}
        for name, n in [("a", 9), ("b", 10), ("c", 3)]
    ]
    place.recipe(sources=sources)
    with pytest.raises(RecipeError) as caught:
        place.build()
    assert "source a: count 10 is above the 9 rows that exist. Ask for at most 9" in str(caught.value)
    assert [p.what.split(":")[0] for p in caught.value.problems] == ["source a", "source c"]
    assert place.left_behind() == []


def test_a_limit_makes_a_preview_that_is_no_version(mini: Place) -> None:
    first = mini.build(limit=7)
    assert first.path == mini.store / "previews" / "mini"
    assert first.manifest["preview"] is True
    assert [s["rows"]["read"] for s in first.manifest["sources"]] == [7, 7]
    assert [s["rows"]["selected"] for s in first.manifest["sources"]] == [7, 4]
    second = mini.build(limit=3)
    assert second.path == first.path
    assert second.rows < first.rows
    assert not (mini.store / "mixtures").exists()
    assert mini.left_behind() == []


def test_the_manifest_counts_every_step_source_and_reason(mini: Place) -> None:
    told = mini.build().manifest
    maths, chat = told["sources"]
    assert maths["rows"]["read"] == 60
    assert maths["rows"]["selected"] == 40
    assert chat["rows"]["selected"] == 15
    step = told["steps"][0]
    assert step["op"] == "exact_dedup"
    assert step["rows_in"] == 55
    assert step["rows_out"] == told["rows"] == maths["rows"]["kept"] + chat["rows"]["kept"]
    assert step["dropped"] == {"exact_dedup:duplicate": 55 - told["rows"]}
    assert len(step["fingerprint"]) == 16
    assert maths["lock"]["files"][0]["path"] == "data/maths.parquet"
    assert maths["adapter"] == "messages"
    assert maths["share_of_rows"] + chat["share_of_rows"] == pytest.approx(1)
    assert maths["share_of_tokens"] + chat["share_of_tokens"] == pytest.approx(1)
    assert told["libraries"]["pyarrow"] == pa.__version__
    assert told["recipe"]["sources"][0] == {
        "name": "maths",
        "from": "data/maths.parquet",
        "license": "mit",
        "count": 40,
    }


def test_the_summary_tells_each_source(mini: Place) -> None:
    built = mini.build()
    rows = built.summary["sources"]
    assert [row["source"] for row in rows] == ["maths", "chat"]
    for row in rows:
        assert row["selected"] == row["kept"] + sum(row["dropped"].values())
    assert built.summary["path"] == str(built.path)


def test_bad_rows_stop_the_build_and_leave_nothing(place: Place) -> None:
    rows: list[Any] = sft_rows(5)
    rows[3]["messages"] = "not a list"
    place.recipe(sources=[{"name": "a", "from": place.jsonl("a", rows)}])
    with pytest.raises(RowError, match="row 3"):
        place.build()
    assert place.left_behind() == []
    assert not (place.store / "mixtures").exists()


def test_bad_rows_are_set_aside_with_their_reasons(place: Place) -> None:
    rows: list[Any] = [*sft_rows(200), *sft_rows(1)]
    rows[3]["messages"] = "not a list"
    rows[150]["messages"] = [*turns("no"), {"role": "nobody", "content": "x"}]
    place.recipe(sources=[{"name": "a", "from": place.jsonl("a", rows)}])
    built = place.build(bad_rows="skip", batch_bytes=500, threads=2)
    bad = pq.read_table(built.path / "bad_rows.parquet").to_pylist()
    assert [(b["source"], b["row"]) for b in bad] == [("a", 3), ("a", 150)]
    assert all(b["reason"] and b["text"] for b in bad)
    counts = {"read": 201, "bad": 2, "selected": 199, "survived": 199, "kept": 199}
    assert built.manifest["sources"][0]["rows"] == counts
    assert 150 not in pq.read_table(built.path / "lineage.parquet")["row"].to_pylist()


def test_a_mixture_that_keeps_nothing_is_an_error_and_its_preview_shows_why(place: Place) -> None:
    place.recipe(
        sources=[{"name": "a", "from": place.jsonl("a", sft_rows(5))}],
        steps=[{"op": "length", "max_chars": 1}],
    )
    with pytest.raises(PolicyError, match="the mixture mini keeps no row: length:too_long 5"):
        place.build()
    assert place.left_behind() == []
    built = place.build(limit=100)
    assert built.rows == 0
    assert data(built.path).schema.names == ["id", "messages", "source"]
    assert pq.read_table(built.path / "dropped" / "01-length.parquet").num_rows == 5


def test_a_selection_of_no_row_is_told(place: Place) -> None:
    rows = place.jsonl("a", sft_rows(50))
    none, some = ({"name": name, "from": rows, "fraction": f} for name, f in [("a", 0.001), ("b", 0.1)])
    place.recipe(sources=[none])
    with pytest.raises(PolicyError) as caught:
        place.build()
    assert str(caught.value) == (
        "the mixture mini keeps no row: the selection took 0 of 50 rows of source a. "
        "Ask for a larger `fraction`"
    )
    place.recipe(sources=[none, some], steps=[{"op": "length", "max_chars": 1}])
    with pytest.raises(
        PolicyError, match=r"length:too_long 5, the selection took 0 of 50 rows of source a\. A preview"
    ):
        place.build()


def test_rlvr_rows_keep_their_columns(place: Place) -> None:
    place.recipe(kind="rlvr", sources=[{"name": "a", "from": place.jsonl("a", rlvr_rows(4))}])
    assert data(place.build().path).schema == OUTPUT["rlvr"]


def test_a_mixture_can_be_made_of_another_one(mini: Place) -> None:
    first = mini.build()
    mini.recipe("second", sources=[{"name": "m", "from": "store:mixtures/mini", "license": "mit"}])
    assert [t for t in mini.problems("second") if "moves: it is the latest version" in t and "@v2" in t]
    mini.recipe("second", sources=[{"name": "m", "from": "store:mixtures/mini@v1", "license": "mit"}])
    assert mini.problems("second") == []
    second = mini.build("second")
    assert second.rows == first.rows
    assert second.manifest["sources"][0]["lock"]["files"][0]["path"].startswith("store/mixtures/mini/v1-")


# -- steps of the test's own ---------------------------------------------------------------------------------


class Fail(Op):
    """Fails at the row that says so."""

    name: ClassVar[str] = "fail"
    error: ClassVar[BaseException] = RuntimeError("planned")

    @classmethod
    def example(cls) -> Self:
        return cls()

    def reads(self, kind: Kind) -> tuple[str, ...]:
        return ("row",)

    def writes(self) -> pa.Schema:
        return pa.schema([])

    def apply(self, batch: pa.Table, state: Any) -> pa.Table:
        if 31 in batch["row"].to_pylist():
            raise self.error
        return batch


class Score(Op):
    """Writes a score and a column of its own; rejects row 0."""

    name: ClassVar[str] = "score"

    @classmethod
    def example(cls) -> Self:
        return cls()

    def reads(self, kind: Kind) -> tuple[str, ...]:
        return ("row",)

    def writes(self) -> pa.Schema:
        return pa.schema([("score", pa.int64()), ("_sketch", pa.int64()), ("verdict", pa.string())])

    def apply(self, batch: pa.Table, state: Any) -> pa.Table:
        batch = batch.append_column("score", batch["row"]).append_column("_sketch", batch["row"])
        return verdicts(batch, pa.array([row == 0 for row in batch["row"].to_pylist()]), "score:zero")


class Matches(Fold):
    """What decontamination leaves behind."""

    name: ClassVar[str] = "matches"

    @classmethod
    def example(cls) -> Self:
        return cls()

    def reads(self, kind: Kind) -> tuple[str, ...]:
        return ("id",)

    def partial(self, batch: pa.Table, state: Any) -> pa.Table:
        return batch.select(["id"])

    def nothing(self) -> pa.Table:
        return pa.table({"id": pa.array([], pa.string())})

    def finish(self, partials: pa.Table) -> pa.Table:
        return partials.slice(0, 2)


class Decontaminate(Op):
    """Stands for the true one: a fold named `matches`; rejects what it names."""

    name: ClassVar[str] = "decontaminate"
    suite: str

    @classmethod
    def example(cls) -> Self:
        return cls(suite="any")

    def plan(self) -> Sequence[Op | Fold]:
        return (Matches(), self)

    def reads(self, kind: Kind) -> tuple[str, ...]:
        return ("id",)

    def writes(self) -> pa.Schema:
        return pa.schema([])

    def setup(self, context: Context) -> pa.Table:
        return context.artifact("matches")

    def apply(self, batch: pa.Table, state: Any) -> pa.Table:
        return batch

    def told(self, context: Context) -> dict[str, Any]:
        assert set(context.artifacts) == {"matches"}
        return {"matched": context.artifact("matches")["id"].to_pylist()}


class DropMatches(Decontaminate):
    """Rejects what the fold before it names."""

    name: ClassVar[str] = "drop_matches"

    def writes(self) -> pa.Schema:
        return pa.schema([VERDICT_FIELD])

    def apply(self, batch: pa.Table, state: Any) -> pa.Table:
        return verdicts(batch, pc.is_in(batch["id"], state["id"].combine_chunks()), self.name)


OWN = Registry({step.name: step for step in (Fail, Score, Matches, Decontaminate, DropMatches)})


def with_steps(place: Place, *steps: str, **settings: Any) -> None:
    source = {"name": "a", "from": place.jsonl("a", sft_rows(60))}
    place.recipe(sources=[source], steps=[{"op": step} for step in steps], **settings)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (RuntimeError("planned"), UsageError),
        (KeyboardInterrupt(), KeyboardInterrupt),
        (StoreError("planned"), StoreError),
    ],
)
@pytest.mark.parametrize("threads", [1, 2])
def test_a_build_that_fails_leaves_nothing(
    place: Place,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    told: type[BaseException],
    threads: int,
) -> None:
    monkeypatch.setattr(Fail, "error", error)
    with_steps(place, "exact_dedup", "fail")
    with pytest.raises(told):
        place.build(registry=OWN, threads=threads, batch_bytes=500)
    assert place.left_behind() == []
    assert not (place.store / "mixtures").exists()


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("planned")])
def test_a_build_that_fails_while_it_writes_leaves_nothing(
    mini: Place, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def stop(*_: Any) -> None:
        raise error

    monkeypatch.setattr(writer.LogicalHash, "digests", stop)
    with pytest.raises(type(error)):
        mini.build()
    assert mini.left_behind() == []
    assert not (mini.store / "mixtures").exists()


def test_a_full_disk_is_one_message_and_leaves_nothing(mini: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pq.ParquetWriter, "write_table", full)
    with pytest.raises(StoreError, match="the disk is full"):
        mini.build()
    assert mini.left_behind() == []


def test_a_build_that_fails_at_its_very_end_leaves_nothing(
    mini: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(StoreError, match="the disk is full"):
        mini.build()
    assert mini.left_behind() == []
    assert not (mini.store / "mixtures").exists()


STEPS = ["run the steps rows", "run the steps, pass 2 rows"]
"""There is a fold in the plan of `mini`."""


def test_progress_tells_bytes_read_and_rows_written(mini: Place) -> None:
    done: dict[str, tuple[int, int | None]] = {}

    class Listening(Progress):
        @contextmanager
        def task(self, what: str, total: int | None = None, unit: str = "B") -> Iterator[Task]:
            with super().task(what, total, unit) as task:
                yield task
            done[f"{what} {unit}"] = (task.done, total)

    built = mini.build(progress=Listening())
    assert list(done) == ["read maths B", "read chat B", *STEPS, "write rows"]
    assert all(amount == total for amount, total in done.values()), done
    assert done["write rows"][0] == built.rows


def test_what_operators_write_goes_to_lineage_but_not_their_own_columns(place: Place) -> None:
    with_steps(place, "score")
    built = place.build(registry=OWN)
    lineage = pq.read_table(built.path / "lineage.parquet")
    assert lineage.column_names == ["id", "source", *LINEAGE.names, "tokens", "score"]
    assert lineage["score"] == lineage["row"]
    dropped = pq.read_table(built.path / "dropped" / "01-score.parquet")
    assert "_sketch" not in dropped.column_names
    assert KEY not in dropped.column_names


def test_decontamination_runs_first_and_its_matches_are_kept(place: Place) -> None:
    with_steps(place, "score", decontaminate="any")
    built = place.build(registry=OWN)
    assert [step["op"] for step in built.manifest["steps"]] == ["decontaminate", "score"]
    assert [step["rows_in"] for step in built.manifest["steps"]] == [60, 60]
    assert pq.read_table(built.path / "matches.parquet").num_rows == 2
    assert "matches.parquet" in built.manifest["files"]
    assert (built.path / "dropped" / "02-score.parquet").is_file()


def test_the_evidence_of_every_decontamination_is_kept(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    source = {"name": "a", "from": place.jsonl("a", sft_rows(60)), "license": "mit"}
    steps = [{"op": "drop_matches", "suite": "one"}, {"op": "score"}, {"op": "decontaminate", "suite": "two"}]
    place.recipe(sources=[source], steps=steps)
    built = place.build(registry=OWN)
    first, score, second = built.manifest["steps"]
    assert first["dropped"] == {"drop_matches": 2}
    assert not set(first["data"]["matched"]) & set(second["data"]["matched"])
    assert "data" not in score
    both = [*first["data"]["matched"], *second["data"]["matched"]]
    assert pq.read_table(built.path / "matches.parquet")["id"].to_pylist() == both
    assert built.manifest["files"]["matches.parquet"]["rows"] == 4
    other = place.build(registry=OWN, store=place.root / "other", threads=1, batch_bytes=500)
    assert hashes(other.path) == hashes(built.path)
    monkeypatch.setattr(writer, "ROWS_PER_GROUP", 3)
    groups = pq.read_metadata(place.build(registry=OWN, store=place.root / "groups").path / "matches.parquet")
    assert [groups.row_group(i).num_rows for i in range(groups.num_row_groups)] == [3, 1]


def test_two_searches_for_duplicates_each_reject_their_own(place: Place) -> None:
    source = {"name": "a", "from": place.jsonl("a", sft_rows(60)), "license": "mit"}
    place.recipe(sources=[source], steps=[{"op": "exact_dedup"}, {"op": "exact_dedup", "by": "prompt"}])
    rows = sft_rows(60)
    rows[7]["messages"][0] = rows[3]["messages"][0]  # another answer to one question
    place.jsonl("a", rows)
    built = place.build()
    assert [sum(step["dropped"].values()) for step in built.manifest["steps"]] == [5, 1]
    (again,) = pq.read_table(built.path / "dropped" / "02-exact_dedup.parquet").to_pylist()
    assert again["upstream_id"] == "up7"


def test_decontamination_runs_where_the_steps_place_it(place: Place) -> None:
    with_steps(place, "score", "decontaminate", decontaminate="any")
    built = place.build(registry=OWN)
    assert [step["op"] for step in built.manifest["steps"]] == ["score", "decontaminate"]
    assert built.manifest["steps"][1]["settings"] == {"suite": "any"}


def test_builds_at_the_same_time_do_not_disturb_each_other(place: Place) -> None:
    for number in range(4):
        rows = place.jsonl(f"s{number % 2}", sft_rows(50, f"word{number % 2}"))
        place.recipe(f"r{number}", mixture="same", sources=[{"name": "a", "from": rows}])
    paths: list[Path] = []
    workers = [threading.Thread(target=lambda n=n: paths.append(place.build(f"r{n}").path)) for n in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(paths) == 4
    assert sorted(path.name[:3] for path in set(paths)) == ["v1-", "v2-"]
    assert place.left_behind() == []


def test_an_unreadable_source_ends_the_build(place: Place) -> None:
    name = place.jsonl("a", sft_rows(5000))
    path = place.root / "mixtures" / name
    path.write_bytes(path.read_bytes()[:-20])
    place.recipe(sources=[{"name": "a", "from": name}])
    with pytest.raises((SourceError, RecipeError), match=r"a\.jsonl\.gz"):
        place.build()
    assert place.left_behind() == []
