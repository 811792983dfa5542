"""What others read a version by: `datasets` with its configs, and the columns that trainers name."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.mixtures.places import Place, preference_rows, rlvr_rows, sft_rows
from tulu_data.mixtures.build import BuildResult
from tulu_data.record import KINDS, MESSAGES, OUTPUT, Kind

LOAD = """
import json, sys
from datasets import load_dataset

def load(arguments, options):
    try:
        rows = load_dataset(*arguments, **options)
    except Exception as error:
        return {"error": type(error).__name__}
    schemas = {name: str(split.features.arrow_schema.remove_metadata()) for name, split in rows.items()}
    return {name: [schemas[name], split.to_list()] for name, split in rows.items()}

print(json.dumps({name: load(*told) for name, told in json.loads(sys.argv[1]).items()}))
"""
ROWS: dict[Kind, list[dict[str, Any]]] = {
    "sft": [{**row, "tools": '[{"name": "add"}]'} for row in sft_rows(20)],
    "preference": preference_rows(20, rated=True),
    "rlvr": rlvr_rows(20),
    "prompts": sft_rows(20),
}


def schema_of(kind: Kind, *columns: str) -> str:
    """The published columns of a kind as `datasets` shows them: all of them, or some."""
    return str(pa.schema([f for f in OUTPUT[kind] if not columns or f.name in columns]))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[Kind, BuildResult]:
    """A version of every kind, with rows held out."""
    root = tmp_path_factory.mktemp("kinds")
    (root / "mixtures").mkdir()
    place = Place(root)
    for kind, rows in ROWS.items():
        source = {"name": "a", "from": place.jsonl(kind, rows)}
        place.recipe(kind, kind=kind, sources=[source], holdout={"fraction": 0.3})
    return {kind: place.build(kind) for kind in KINDS}


@pytest.fixture(scope="module")
def altered(made: dict[Kind, BuildResult], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of a version that lacks a row."""
    copy = tmp_path_factory.mktemp("altered") / "copy"
    shutil.copytree(made["sft"].path, copy)
    file = next((copy / "data").iterdir())
    pq.write_table(pq.read_table(file).slice(1), file)
    return copy


@pytest.fixture(scope="module")
def loaded(
    made: dict[Kind, BuildResult], altered: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, dict[str, Any]]:
    """What `load_dataset` reads, offline, in a process of its own, from where it has no cache."""
    file = next((made["rlvr"].path / "data").iterdir())
    wanted: dict[str, tuple[list[str], dict[str, str]]] = {
        **{kind: ([str(built.path)], {}) for kind, built in made.items()},
        "trl": ([str(made["preference"].path), "trl"], {}),
        "file": (["parquet"], {"data_files": str(file)}),
        "altered": ([str(altered)], {}),
    }
    home = str(tmp_path_factory.mktemp("hf"))
    done = subprocess.run(
        [sys.executable, "-c", LOAD, json.dumps(wanted)],
        env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": home},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told: dict[str, dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return told


def rows_in(built: BuildResult, folder: str, columns: list[str] | None = None) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(built.path / folder, columns=columns).to_pylist()
    return rows


@pytest.mark.parametrize("kind", KINDS)
def test_datasets_loads_every_kind_and_split_as_published(
    made: dict[Kind, BuildResult], loaded: dict[str, dict[str, Any]], kind: Kind
) -> None:
    columns = [name for name in OUTPUT[kind].names if kind != "prompts" or name != "tools"]
    assert list(loaded[kind]) == ["train", "test"]
    assert loaded[kind]["train"] == [schema_of(kind, *columns), rows_in(made[kind], "data")]
    assert loaded[kind]["test"] == [schema_of(kind, *columns), rows_in(made[kind], "test")]


def test_the_config_trl_has_the_columns_that_trl_takes(
    made: dict[Kind, BuildResult], loaded: dict[str, dict[str, Any]]
) -> None:
    columns = ["chosen", "rejected", "source"]
    schema, pairs = schema_of("preference", *columns), made["preference"]
    assert loaded["trl"] == {
        "train": [schema, rows_in(pairs, "data", columns)],
        "test": [schema, rows_in(pairs, "test", columns)],
    }


def test_the_loader_notices_rows_that_the_card_does_not_count(loaded: dict[str, dict[str, Any]]) -> None:
    assert loaded["altered"] == {"error": "NonMatchingSplitsSizesError"}


# -- open-instruct -------------------------------------------------------------------------------------------

READ: dict[Kind, dict[str, pa.DataType]] = {
    "sft": {"messages": MESSAGES},
    "preference": {"chosen": MESSAGES, "rejected": MESSAGES},
    "rlvr": {"messages": MESSAGES, "ground_truth": pa.string(), "dataset": pa.string()},
}
"""The columns that open-instruct's transforms name in `open_instruct/dataset_transformation.py`:
`sft_tulu_tokenize_and_truncate_v1`, `preference_tulu_tokenize_and_truncate_v1` (and `preference_tokenize_v1`
of reward models), and `rlvr_tokenize_v1`, whose verifier is the one that `dataset` names."""


@pytest.mark.parametrize("kind", READ)
def test_columns_are_those_that_open_instruct_reads(made: dict[Kind, BuildResult], kind: Kind) -> None:
    schema = pq.read_schema(made[kind].path / next(iter(made[kind].manifest["files"])))
    assert {name: schema.field(name).type for name in READ[kind]} == READ[kind]


def test_rows_have_the_shape_that_its_transforms_assume(made: dict[Kind, BuildResult]) -> None:
    """A message has a role and a text; only the last ones of a pair differ; a prompt waits for an answer."""
    for pair in rows_in(made["preference"], "data"):
        assert pair["chosen"][:-1] == pair["rejected"][:-1]
        assert pair["chosen"][-1] != pair["rejected"][-1]
        assert [message["role"] for message in pair["chosen"]] == ["user", "assistant"]
    for row in rows_in(made["rlvr"], "data"):
        assert row["messages"][-1]["role"] == "user"
        assert row["dataset"] == "gsm8k"
    for row in rows_in(made["sft"], "data"):
        assert all(message.keys() == {"role", "content"} for message in row["messages"])


def test_single_files_load_as_open_instruct_loads_them(
    made: dict[Kind, BuildResult], loaded: dict[str, dict[str, Any]]
) -> None:
    """It takes a local mixture file by file."""
    assert loaded["file"]["train"][1] == rows_in(made["rlvr"], "data")
