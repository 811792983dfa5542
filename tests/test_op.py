"""The contract of operators: conform, verdicts, and the registry that finds them by name."""

from __future__ import annotations

import json
import pickle
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar, Self

import polars as pl
import pyarrow as pa
import pytest

from tests.rows import one_of, table_of
from tulu_data import cli, op
from tulu_data.errors import RecipeError, UsageError
from tulu_data.op import BUILTIN, Op, Registry, applied, conform, load_operators, verdicts
from tulu_data.record import Kind

ROWS = [
    one_of("sft", "user: Hi", "assistant: Hello", verdict=None),
    {"messages": None},
    {"messages": [None, {"role": None, "content": None}]},
    {"messages": []},
]


class Tagging(Op):
    """Declares two columns more."""

    name: ClassVar[str] = "tagging"

    def reads(self, kind: Kind) -> tuple[str, ...]:
        return ("messages",)

    def writes(self) -> pa.Schema:
        return pa.schema([("verdict", pa.string()), ("tags", pa.list_(pa.string()))])

    def apply(self, batch: pa.Table, state: Any) -> pa.Table:
        return batch

    @classmethod
    def example(cls) -> Self:
        return cls()


class Failing(Tagging):
    """An operator of a user's that breaks, or breaks the contract."""

    name: ClassVar[str] = "failing"

    how: str = "raises"

    def apply(self, batch: pa.Table, state: Any) -> pa.Table:
        if self.how == "raises":
            raise ValueError("boom")
        return batch.slice(1)


@pytest.mark.parametrize(("how", "said"), [("raises", "ValueError: boom"), ("drops", "TypeError: operator")])
def test_a_users_operator_that_fails_is_named_with_its_line(how: str, said: str) -> None:
    with pytest.raises(UsageError, match=rf"test_op.py.*operator 'failing' fails: {said}"):
        applied(Failing(how=how), table_of("sft", ROWS), None)


class TestConform:
    TABLE = table_of("sft", ROWS)

    @pytest.mark.parametrize("level", [pl.CompatLevel.oldest(), pl.CompatLevel.newest()])
    def test_a_polars_round_trip_gives_back_our_types(self, level: pl.CompatLevel) -> None:
        frame = pl.from_arrow(self.TABLE)
        assert isinstance(frame, pl.DataFrame)
        after = frame.with_columns(tags=pl.lit(None), verdict=pl.lit(None)).to_arrow(compat_level=level)
        assert after.schema.field("messages").type != self.TABLE.schema.field("messages").type
        assert after.schema.field("verdict").type == pa.null()
        found = conform(self.TABLE, after, Tagging())
        assert found.select(self.TABLE.column_names).equals(self.TABLE)
        assert found.schema == self.TABLE.schema.append(pa.field("tags", pa.list_(pa.string())))

    def test_columns_come_in_the_order_of_the_input_then_of_what_is_written(self) -> None:
        after = self.TABLE.append_column("tags", pa.nulls(4)).append_column("undeclared", pa.nulls(4))
        shuffled = after.select(after.column_names[::-1])
        assert conform(self.TABLE, shuffled, Tagging()).column_names == [*self.TABLE.column_names, "tags"]

    def test_another_number_of_rows_is_the_operators_fault(self) -> None:
        with pytest.raises(TypeError, match="'tagging' returned 3 rows for 4; it must set verdicts instead"):
            conform(self.TABLE, self.TABLE.slice(1), Tagging())

    @pytest.mark.parametrize("column", ["tags", "source"])
    def test_a_column_that_is_missing_is_named(self, column: str) -> None:
        after = self.TABLE.append_column("tags", pa.nulls(4)).drop_columns(column)
        with pytest.raises(TypeError, match=re.escape(f"'tagging' did not return the columns ['{column}']")):
            conform(self.TABLE, after, Tagging())

    def test_values_that_do_not_fit_are_not_bent(self) -> None:
        after = self.TABLE.append_column("tags", pa.array([1, 2, 3, 4]))
        with pytest.raises(pa.ArrowException):
            conform(self.TABLE, after, Tagging())


class TestVerdicts:
    REJECTED = pa.array([True, True, False, None])

    def test_null_is_not_rejected_and_the_first_verdict_stands(self) -> None:
        batch = pa.table({"x": [1, 2, 3, 4], "verdict": ["a:old", None, None, None]})
        found = verdicts(batch, self.REJECTED, "b:new")
        assert found["verdict"].to_pylist() == ["a:old", "b:new", None, None]
        assert found.column_names == ["x", "verdict"]

    def test_the_column_is_added_where_there_is_none_and_typed_where_it_is_null(self) -> None:
        bare = pa.table({"x": [1, 2, 3, 4]})
        for batch in (bare, bare.append_column("verdict", pa.nulls(4))):
            found = verdicts(batch, self.REJECTED, "b:new")
            assert found["verdict"].to_pylist() == ["b:new", "b:new", None, None]
            assert found["verdict"].type == pa.string()

    def test_each_row_may_have_a_reason_of_its_own(self) -> None:
        batch = pa.table({"x": pa.chunked_array([[1], [2, 3, 4]])})
        found = verdicts(batch, self.REJECTED, pa.array(["r0", "r1", "r2", "r3"]))
        assert found["verdict"].to_pylist() == ["r0", "r1", None, None]


# -- the registry --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BUILTIN)
def test_every_word_finds_a_class_of_that_name(name: str) -> None:
    assert Registry().find(name).name == name


def test_an_unknown_name_lists_what_there_is_and_the_nearest() -> None:
    with pytest.raises(UsageError) as caught:
        Registry().make({"op": "keywrd_filter"}, where="m.yaml, line 3")
    said = str(caught.value)
    assert said.startswith("m.yaml, line 3: no operator is named 'keywrd_filter'; expected one of: ")
    assert said.endswith("Did you mean 'keyword_filter'?")
    assert all(name in said for name in BUILTIN)


@pytest.mark.parametrize("settings", [{}, {"op": None}, {"op": ["length"]}])
def test_a_step_without_a_name_says_how_to_write_one(settings: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"^here: a step names no operator; expected \{op: NAME, …\}$"):
        Registry().make(settings, where="here")


def test_every_problem_of_the_settings_has_its_place_and_remedy() -> None:
    settings = {"op": "length", "max_chars": "many", "max_char": 5, "zzzzzz": 1}
    with pytest.raises(RecipeError) as caught:
        Registry().make(settings, where="m.yaml, line 3")
    problems = {p.what: p for p in caught.value.problems}
    assert len(problems) == 3
    assert problems["unknown key 'max_char'"].remedy == "Did you mean 'max_chars'?"
    assert problems["unknown key 'zzzzzz'"].remedy.startswith("Known keys: ")
    (wrong,) = [p for what, p in problems.items() if "'many'" in what]
    assert wrong.where == "m.yaml, line 3: max_chars"


OPERATORS = '''
from __future__ import annotations

from typing import ClassVar, Literal

import pyarrow as pa
import pyarrow.compute as pc

from tulu_data.filters.length import Length  # what is only imported is not an operator of this file
from tulu_data.op import Op, verdicts

Case = Literal["upper", "lower"]


class Shout(Op):
    """Rejects rows that shout."""

    name: ClassVar[str] = "NAME"
    case: Case = "upper"

    def reads(self, kind):
        return ("messages",)

    def apply(self, batch, state):
        rows = [any(m["content"].isupper() for m in row) for row in batch["messages"].to_pylist()]
        return verdicts(batch, pa.array(rows, pa.bool_()), "NAME:loud")

    @classmethod
    def example(cls):
        return cls()
'''


def operators_file(folder: Path, name: str = "shout", more: str = "") -> Path:
    path = folder / "operators.py"
    path.write_text(OPERATORS.replace("NAME", name) + more)
    return path


class TestOperatorsFile:
    def test_its_operators_are_found_and_no_others(self, tmp_path: Path) -> None:
        registry = load_operators(operators_file(tmp_path))
        assert set(registry.local) == {"shout"}
        assert registry.names() == sorted([*BUILTIN, "shout"])
        step = registry.make({"op": "shout", "case": "lower"})
        assert pickle.loads(pickle.dumps(step)) == step

    def test_its_hash_is_in_the_fingerprint_of_its_operators_alone(self, tmp_path: Path) -> None:
        one = load_operators(operators_file(tmp_path))
        other = load_operators(operators_file(tmp_path, more="# a comment\n"))
        shouts = [registry.fingerprint(registry.make({"op": "shout"})) for registry in (one, other)]
        lengths = [registry.fingerprint(registry.make({"op": "exact_dedup"})) for registry in (one, other)]
        assert shouts[0] != shouts[1]
        assert lengths[0] == lengths[1] == Registry().make({"op": "exact_dedup"}).fingerprint()

    def test_a_name_that_is_taken(self, tmp_path: Path) -> None:
        path = operators_file(tmp_path, "length")
        with pytest.raises(UsageError) as caught:
            load_operators(path)
        assert str(caught.value) == f"{path}: the operator name 'length' is taken; expected a name of its own"

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("x = 1\nraise ValueError('no')\n", "line 2: the operators file fails: ValueError: no"),
            ("import json\n\njson.loads('{')\n", "line 3: the operators file fails: JSONDecodeError"),
            ("def f(:\n", "line 1: the operators file fails: SyntaxError"),
            ("import nothing_of_that_name\n", "line 1: the operators file fails: ModuleNotFoundError"),
        ],
    )
    def test_a_file_that_fails_is_one_message_with_its_line(
        self, text: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = tmp_path / "operators.py"
        path.write_text(text)
        assert cli.run(["operators", "--operators", str(path)]) == 2
        err = capsys.readouterr().err
        assert err.startswith(f"error: {path}, {said}")
        assert "Traceback" not in err
        assert not [m for m in sys.modules.values() if getattr(m, "__file__", None) == str(path)]

    def test_no_such_file(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match=r"none\.py: no such operators file"):
            load_operators(tmp_path / "none.py")

    def test_it_runs_in_a_real_build_and_only_when_it_is_named(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.chdir(tmp_path)
        operators_file(tmp_path)
        Path("mixtures").mkdir()
        talks = [one_of("sft", f"user: {said}", "assistant: fine") for said in ("hi", "HELLO", "hey")]
        Path("mixtures/talk.jsonl").write_text(
            "".join(json.dumps({"messages": t["messages"]}) + "\n" for t in talks)
        )
        Path("mixtures/mine.yaml").write_text(
            "mixture: mine\nkind: sft\nsources:\n  - {name: talk, from: talk.jsonl, license: mit}\n"
            "steps:\n  - {op: shout}\n"
        )
        assert cli.run(["build-mixture", "mine"]) == 2
        assert "mixtures/mine.yaml, line 6: no operator is named 'shout'" in capsys.readouterr().err
        prints: list[str] = []
        for comment in ("", "# changed\n"):
            path = operators_file(tmp_path, more=comment)
            assert (
                cli.run(
                    [
                        "build-mixture",
                        "mine",
                        "--operators",
                        str(path),
                        "--store",
                        f"s{len(prints)}",
                        "--json",
                    ]
                )
                == 0
            )
            built = json.loads(capsys.readouterr().out)
            assert built["rows"] == 2
            manifest = json.loads((Path(built["path"]) / "manifest.json").read_text())
            prints += re.findall(r'"fingerprint": "(\w+)"', json.dumps(manifest))
        assert len(prints) == 2
        assert prints[0] != prints[1]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], None]]:
    """Puts a distribution with an entry point on the path, as pip would."""

    def distribution(name: str, target: str) -> None:
        info = tmp_path / "shouting-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: shouting\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[tulu_data.operators]\n{name} = {target}\n")
        (tmp_path / "shouting.py").write_text(OPERATORS.replace("NAME", name))
        monkeypatch.syspath_prepend(str(tmp_path))
        op._installed.cache_clear()

    yield distribution
    op._installed.cache_clear()
    sys.modules.pop("shouting", None)


class TestInstalled:
    def test_operators_of_other_packages_are_found_by_name(self, install: Callable[[str, str], None]) -> None:
        install("shout", "shouting:Shout")
        registry = Registry()
        assert "shout" in registry.names()
        step = registry.make({"op": "shout"})
        assert type(step).__module__ == "shouting"
        assert isinstance(step, Op)
        batch = table_of("sft", [one_of("sft", "user: HELLO"), one_of("sft", "user: hi")])
        assert step.apply(batch, None)["verdict"].to_pylist() == ["shout:loud", None]

    def test_they_cannot_take_a_name_of_ours(self, install: Callable[[str, str], None]) -> None:
        install("length", "shouting:Shout")
        assert Registry().find("length").__module__ == "tulu_data.filters.length"

    def test_a_local_file_cannot_take_theirs(
        self, install: Callable[[str, str], None], tmp_path: Path
    ) -> None:
        install("shout", "shouting:Shout")
        with pytest.raises(UsageError, match="'shout' is taken"):
            load_operators(operators_file(tmp_path))

    @pytest.mark.parametrize(
        ("target", "said"),
        [
            ("shouting:Case", r"operator 'shout' \(shouting:Case\) is not a Step"),
            ("shouting:Whisper", "cannot be loaded: module 'shouting' has no attribute 'Whisper'"),
            ("not_installed:Shout", "cannot be loaded: No module named 'not_installed'"),
        ],
    )
    def test_one_that_cannot_be_used_says_why(
        self, install: Callable[[str, str], None], target: str, said: str
    ) -> None:
        install("shout", target)
        with pytest.raises(UsageError, match=said):
            Registry().find("shout")


def test_a_fingerprint_covers_name_version_settings_and_files(monkeypatch: pytest.MonkeyPatch) -> None:
    class Versioned(Tagging):
        least: int = 1

    base = Versioned().fingerprint()
    assert base == Versioned(least=1).fingerprint()
    others = {Versioned(least=2).fingerprint()}
    for attribute, value in (("name", "other"), ("version", 2), ("content", lambda _: "file")):
        with monkeypatch.context() as patch:
            patch.setattr(Versioned, attribute, value)
            others.add(Versioned().fingerprint())
    assert len(others - {base}) == 4
