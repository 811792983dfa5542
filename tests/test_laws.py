"""The laws that hold for every operator: registering one is enough for it to be tested here.

split         apply(a ++ b) == apply(a) ++ apply(b); the same of a fold's artifact
modesty       only declared columns change, and rows keep their order and number
sufficiency   the columns outside of reads() may be absent
survival      it pickles, equals itself after YAML, and keeps its fingerprint
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar, Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.rows import one_of, rows_of, table_of
from tulu_data.op import Context, Fold, Op, Registry, Step, conform, verdicts
from tulu_data.record import KINDS, VERDICT, Kind, working_schema

STEPS = [Registry().find(name) for name in Registry().names()]
EVERY = [pytest.param(step, kind, id=f"{step.name}-{kind}") for step in STEPS for kind in step.kinds]
lawful = settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


# -- the laws ------------------------------------------------------------------------------------------------


def split(step: type[Step], kind: Kind, rows: pa.Table, cut: int) -> None:
    for part, batch, state in walk(step, kind, rows):
        pieces = [batch.slice(0, min(cut, batch.num_rows)), batch.slice(cut)]
        if isinstance(part, Fold):
            together = part.partial(batch, state)
            apart = pa.concat_tables([part.partial(piece, state) for piece in pieces])
            assert together.schema == part.nothing().schema
            assert part.finish(apart).equals(part.finish(together)), f"{part.name} breaks split"
        else:
            apart = pa.concat_tables([applied(part, piece, state) for piece in pieces])
            assert apart.equals(applied(part, batch, state)), f"{part.name} breaks split"


def modesty(step: type[Step], kind: Kind, rows: pa.Table) -> None:
    for part, batch, state in walk(step, kind, rows):
        if isinstance(part, Fold):
            continue
        written = part.writes().names
        raw, after = part.apply(batch, state), applied(part, batch, state)
        untouched = [column for column in batch.column_names if column not in written]
        assert after.num_rows == batch.num_rows
        for column in untouched:  # `applied` would put them right
            assert raw[column].to_pylist() == batch[column].to_pylist(), f"{part.name} breaks modesty"
        assert set(after.column_names) == {*batch.column_names, *written}, f"{part.name} breaks modesty"
        for before, now in zip(batch[VERDICT].to_pylist(), after[VERDICT].to_pylist(), strict=True):
            fitting = now == before if before else now is None or now.startswith(f"{step.name}:")
            assert fitting, f"{part.name} breaks modesty: verdict {before!r} became {now!r}"


def sufficiency(step: type[Step], kind: Kind, rows: pa.Table) -> None:
    for part, batch, state in walk(step, kind, rows):
        whole = batch.drop_columns(VERDICT)  # that an earlier verdict stands is not reading
        narrow = whole.select(part.reads(kind))
        if isinstance(part, Fold):
            enough = part.finish(part.partial(narrow, state)).equals(part.finish(part.partial(whole, state)))
        else:
            written = part.writes().names
            enough = (
                applied(part, narrow, state)
                .select(written)
                .equals(applied(part, whole, state).select(written))
            )
        assert enough, f"{part.name} breaks sufficiency"


def survival(part: Step) -> None:
    again = type(part).model_validate(yaml.safe_load(yaml.safe_dump(part.model_dump(mode="json"))))
    for twin in (again, pickle.loads(pickle.dumps(part))):
        assert twin == part, f"{part.name} breaks survival"
        assert hash(twin) == hash(part), f"{part.name} breaks survival"
        assert twin.fingerprint() == part.fingerprint(), f"{part.name} breaks survival"


def applied(op: Op, batch: pa.Table, state: Any) -> pa.Table:
    """What the engine makes of an operator's answer."""
    return conform(batch, op.apply(batch, state), op)


@cache
def ready(part: Op | Fold, kind: Kind) -> Any:
    """The state, made once: operators may not change it, and some are costly to make."""
    return part.setup(Context(kind=kind))


def walk(step: type[Step], kind: Kind, rows: pa.Table) -> Iterator[tuple[Op | Fold, pa.Table, Any]]:
    """Every part of a step's plan, with the rows that reach it and its state; folds leave their artifacts."""
    artifacts: dict[str, Path] = {}
    with TemporaryDirectory() as folder:
        for part in step.example().plan():
            state = part.setup(Context(kind=kind, artifacts=artifacts)) if artifacts else ready(part, kind)
            yield part, rows, state
            if isinstance(part, Fold):
                artifacts = {**artifacts, part.name: Path(folder, f"{part.name}.parquet")}
                pq.write_table(part.finish(part.partial(rows, state)), artifacts[part.name])
            else:
                rows = applied(part, rows, state)  # rejected rows stay: the laws hold for them too


# -- every operator obeys them -------------------------------------------------------------------------------


@pytest.mark.parametrize(("step", "kind"), EVERY)
def test_split(step: type[Step], kind: Kind) -> None:
    lawful(given(rows_of(kind), st.integers(0, 6))(lambda rows, cut: split(step, kind, rows, cut)))()


@pytest.mark.parametrize(("step", "kind"), EVERY)
def test_modesty(step: type[Step], kind: Kind) -> None:
    lawful(given(rows_of(kind))(lambda rows: modesty(step, kind, rows)))()


@pytest.mark.parametrize(("step", "kind"), EVERY)
def test_sufficiency(step: type[Step], kind: Kind) -> None:
    lawful(given(rows_of(kind))(lambda rows: sufficiency(step, kind, rows)))()


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
def test_survival(step: type[Step]) -> None:
    for part in (step.example(), *step.example().plan()):
        survival(part)


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
def test_a_step_is_registered_by_its_own_name_and_tells_what_it_and_its_settings_do(step: type[Step]) -> None:
    assert Registry().find(step.name) is step
    assert step.__doc__
    assert [key for key, setting in step.model_fields.items() if not setting.description] == []


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
def test_settings_can_be_written_in_yaml_without_quotes(step: type[Step]) -> None:
    keys = [setting.alias or key for key, setting in step.model_fields.items()]
    assert [
        key for key in keys if yaml.safe_load(f"{key}: 1") != {key: 1}
    ] == []  # `on` and `no` are booleans


@pytest.mark.parametrize("kind", KINDS)
def test_the_generated_rows_are_of_the_working_schema(kind: Kind) -> None:
    def holds(rows: pa.Table) -> None:
        assert rows.schema == working_schema(kind)
        rows.validate(full=True)

    lawful(given(rows_of(kind))(holds))()


# -- and they find who does not ------------------------------------------------------------------------------


class Rogue(Op):
    """Obeys every law; those below each break one."""

    name: ClassVar[str] = "rogue"

    @classmethod
    def example(cls) -> Self:
        return cls()

    def reads(self, kind: Kind) -> tuple[str, ...]:
        return ("license",)

    def apply(self, batch: pa.Table, state: Any) -> pa.Table:
        return verdicts(batch, pc.equal(batch["license"], "mit"), "rogue:mit")


class LooksAtTheWholeBatch(Rogue):
    def apply(self, batch: pa.Table, state: Any) -> pa.Table:
        return verdicts(batch, pa.array([number > 0 for number in range(batch.num_rows)]), "rogue:second")


class ChangesAnotherColumn(Rogue):
    def apply(self, batch: pa.Table, state: Any) -> pa.Table:
        batch = super().apply(batch, state)
        return batch.set_column(
            batch.column_names.index("license"), "license", pc.utf8_upper(batch["license"])
        )


class OverrulesAVerdict(Rogue):
    def apply(self, batch: pa.Table, state: Any) -> pa.Table:
        return super().apply(batch.drop_columns(VERDICT), state)


class TurnsRowsRound(Rogue):
    def apply(self, batch: pa.Table, state: Any) -> pa.Table:
        return super().apply(batch, state).take(list(range(batch.num_rows))[::-1])


class ReadsMoreThanItSays(Rogue):
    def reads(self, kind: Kind) -> tuple[str, ...]:
        return ()


class ForgetsASetting(Rogue):
    made: Any = None

    @classmethod
    def example(cls) -> Self:
        return cls(made=(1, 2))  # a list after YAML


ROWS = table_of(
    "sft", [one_of("sft", license="mit"), one_of("sft", license="gpl", verdict="earlier:x"), one_of("sft")]
)


def test_a_lawful_operator_passes() -> None:
    split(Rogue, "sft", ROWS, 1)
    modesty(Rogue, "sft", ROWS)
    sufficiency(Rogue, "sft", ROWS)
    survival(Rogue.example())


@pytest.mark.parametrize(
    ("broken", "law"),
    [
        (LooksAtTheWholeBatch, lambda step: split(step, "sft", ROWS, 2)),
        (ChangesAnotherColumn, lambda step: modesty(step, "sft", ROWS)),
        (OverrulesAVerdict, lambda step: modesty(step, "sft", ROWS)),
        (TurnsRowsRound, lambda step: modesty(step, "sft", ROWS)),
        (ReadsMoreThanItSays, lambda step: sufficiency(step, "sft", ROWS)),
        (ForgetsASetting, lambda step: survival(step.example())),
    ],
)
def test_a_broken_law_is_found(broken: type[Step], law: Callable[[type[Step]], None]) -> None:
    with pytest.raises((AssertionError, KeyError, TypeError)):
        law(broken)
