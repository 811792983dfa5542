"""The shipped recipes, suites and sample data hold what they say; real data goes all the way through."""

from __future__ import annotations

import csv
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

import tulu_data
from tulu_data.decontam.suite import load_suite
from tulu_data.mixtures.build import BuildResult
from tulu_data.sources import Batch, SourceSpec, open_source
from tulu_data.workspace import Workspace

ROOT = Path(__file__).parent.parent
SAMPLE = ROOT / "mixtures" / "sample"
RECIPES = Path(__file__).parent / "recipes"
HERE = Workspace(ROOT)

DEVELOPMENT = {
    *("mmlu", "popqa", "truthfulqa", "bbh", "drop", "gsm8k", "math", "humaneval", "humaneval_plus", "ifeval"),
    *(
        "alpaca_eval",
        "xstest",
        "harmbench",
        "do_anything_now",
        "jailbreak_trigger",
        "wildjailbreak",
        "wildguardtest",
    ),
}
UNSEEN = {"mmlu_pro", "gpqa", "agieval", "bigcodebench", "deepmind_math", "ifeval_ood", "href"}


def evals(file: Path) -> dict[str, dict[str, Any]]:
    return {entry["name"]: entry for entry in yaml.safe_load(file.read_text())["evals"]}


def read(entry: dict[str, Any], base: Path) -> Iterator[Batch]:
    known = {key: value for key, value in entry.items() if key in SourceSpec.model_fields or key == "from"}
    return open_source(SourceSpec(**known), base=base).batches()


def truth(name: str) -> list[dict[str, str]]:
    with (SAMPLE / name).open(newline="") as file:
        return list(csv.DictReader(file))


# -- the sample data ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mini(tmp_path_factory: pytest.TempPathFactory) -> BuildResult:
    return tulu_data.build("sft_mini", workspace=HERE, store=tmp_path_factory.mktemp("store"))


def dropped(built: BuildResult) -> pa.Table:
    tables = [pq.read_table(file) for file in sorted((built.path / "dropped").glob("*.parquet"))]
    return pa.concat_tables([t.select(["id", "upstream_id", "source", "verdict"]) for t in tables])


def rejected(built: BuildResult) -> dict[str, set[str]]:
    """The upstream ids of the rejected rows, by the operator that rejected them."""
    found = defaultdict(set)
    for row in dropped(built).to_pylist():
        found[row["verdict"].partition(":")[0]].add(row["upstream_id"])
    return found


def test_the_readme_counts_the_rows_of_every_sample_file() -> None:
    told = re.findall(r"^\| `(\w+\.[\w.]+)` \| (\d+) \|", (SAMPLE / "README.md").read_text(), re.MULTILINE)
    rows = {name: sum(b.table.num_rows for b in read({"from": name}, SAMPLE)) for name, _ in told}
    assert rows == {name: int(count) for name, count in told}
    assert {*rows, "README.md"} == {file.name for file in SAMPLE.iterdir()}


def test_the_sample_data_stays_small() -> None:
    assert sum(file.stat().st_size for file in SAMPLE.iterdir()) < 200_000


def test_planted_contamination_is_found_and_decoys_are_not(tmp_path: Path) -> None:
    result = tulu_data.decontaminate(against="sample", out=tmp_path / "out", workspace=HERE)
    assert result.exit_status == 3
    matches = pq.read_table(tmp_path / "out" / "matches.parquet").to_pylist()
    found = {(row["train_id"], row["eval"], row["item_id"]) for row in matches}
    planted = truth("planted.csv")
    assert found == {(p["row"], p["eval"], p["item"]) for p in planted if p["found"] == "yes"}
    assert sum(p["found"] == "no" for p in planted) == 8


def test_sft_mini_has_no_errors() -> None:
    assert [p for p in tulu_data.check("sft_mini", workspace=HERE) if p.level == "error"] == []


def test_sft_mini_drops_what_was_planted_and_nothing_else(mini: BuildResult) -> None:
    found = rejected(mini)
    assert found.pop("decontaminate") == {p["row"] for p in truth("planted.csv") if p["found"] == "yes"}
    assert found.pop("valid_conversation") == {"chat-124", "chat-159"}
    assert found.pop("keyword_filter") == {"chat-016", "chat-042", "chat-118", "chat-177"}
    assert found.pop("length") == {"chat-137", "chat-187"}
    assert found.pop("exact_dedup") == {d["row"] for d in truth("duplicates.csv") if d["kind"] != "wording"}
    assert found.pop("licenses") == {None}  # scraped.jsonl has no ids
    assert not found
    assert Counter(dropped(mini)["source"].to_pylist())["scraped"] == 80
    assert mini.rows == 215 + 143 + 80 - dropped(mini).num_rows


# -- the suites ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["sample", "tulu3"])
def test_a_shipped_suite_is_understood(name: str) -> None:
    assert load_suite(name, HERE).name == name
    assert name in HERE.names("decontam")


def test_the_tulu3_suite_is_whole() -> None:
    suite = evals(ROOT / "decontam" / "tulu3.yaml")
    assert {name for name, entry in suite.items() if entry["role"] == "development"} == DEVELOPMENT
    assert {name for name, entry in suite.items() if entry["role"] == "unseen"} == UNSEEN
    assert all(entry["from"].startswith("hf:") and entry["revision"] == "main" for entry in suite.values())


def test_every_eval_of_tulu3_names_its_source_and_that_of_its_row_count() -> None:
    text = (ROOT / "decontam" / "tulu3.yaml").read_text()
    told = re.findall(r"((?:^  #.*\n)+)^  - (\{name:.*\})$", text, re.MULTILINE)
    assert len(told) == len(DEVELOPMENT | UNSEEN)
    for comment, entry in told:
        assert re.search(r"\[(code|card|file|reader)\]", comment), entry
        counted = "rows" in yaml.safe_load(entry)
        assert counted == ("rows:" in comment), entry


def test_popqa_is_compared_by_its_question() -> None:
    assert evals(ROOT / "decontam" / "tulu3.yaml")["popqa"]["fields"] == ["question"]


# -- real data ----------------------------------------------------------------------------------------------


@pytest.fixture
def real(shared_data: Path, tmp_path: Path) -> Path:
    """A folder with the recipes for the real data, and the data under the name that they use."""
    for recipe in RECIPES.glob("*.yaml"):
        (tmp_path / recipe.name).write_text(recipe.read_text())
    (tmp_path / "data").symlink_to(shared_data, target_is_directory=True)
    return tmp_path


def manifest_rows(shared_data: Path, folder: str) -> dict[str, int]:
    """Rows of every file below a folder, by its path, as the data's own manifest has them."""
    with (shared_data / "MANIFEST.tsv").open(newline="") as file:
        rows = [line for line in csv.reader(file, delimiter="\t") if line[0].startswith(f"{folder}/")]
    return {row[0]: int(row[1]) for row in rows}


def test_the_local_suite_reads_every_eval_of_the_real_data(real: Path, shared_data: Path) -> None:
    suite = evals(real / "suite.yaml")
    for name, entry in suite.items():
        columns = [field if isinstance(field, str) else field["column"] for field in entry["fields"]]
        batches = list(read(entry, real))
        assert sum(batch.table.num_rows for batch in batches) == entry["rows"], name
        assert all({*columns} <= {*batch.table.column_names} for batch in batches), name
    folders = {path.split("/")[1] for path in manifest_rows(shared_data, "evals")}
    assert {entry["from"].split("/")[2] for entry in suite.values()} == folders


def test_the_patterns_of_drop_cut_every_context_in_two(real: Path) -> None:
    entry = evals(real / "suite.yaml")["drop"]
    contexts = [text for batch in read(entry, real) for text in batch.table["context"].to_pylist()]
    for field in entry["fields"]:
        assert all(re.search(field["pattern"], text) for text in contexts), field["name"]


@pytest.mark.slow
def test_a_real_mixture_is_built_and_built_again_to_the_same_bytes(real: Path, shared_data: Path) -> None:
    recipe, workspace = str(real / "sft_real.yaml"), Workspace(real)
    first = tulu_data.build(recipe, workspace=workspace, store=real / "one", threads=2)
    other = tulu_data.build(recipe, workspace=workspace, store=real / "two", threads=1, batch_bytes=3 << 20)
    assert other.name == first.name
    assert hashes(other.path / "data") == hashes(first.path / "data")
    assert tulu_data.build(recipe, workspace=workspace, store=real / "one").reused

    sources = {source["source"]: source for source in first.summary["sources"]}
    train = manifest_rows(shared_data, "train")
    assert len(sources) >= 8
    assert sources["gsm8k"]["read"] == train["train/gsm8k/train.jsonl.gz"]
    assert sources["t0"]["read"] == sum(rows for file, rows in train.items() if file.startswith("train/t0/"))
    assert all(sum(s["dropped"].values()) + s["kept"] == s["read"] for s in sources.values())
    assert 100_000 < first.rows < sum(s["read"] for s in sources.values())

    reasons = {verdict.partition(":")[0] for source in sources.values() for verdict in source["dropped"]}
    steps = {"decontaminate", "valid_conversation", "keyword_filter", "licenses", "length", "exact_dedup"}
    assert reasons == steps
    assert [sources[name]["kept"] for name in ("alpaca", "codealpaca", "lima")] == [0, 0, 0]

    matches = pq.read_table(first.path / "matches.parquet", columns=["dataset", "eval", "row_id"])
    pairs = {tuple(row.values()) for row in matches.to_pylist()}
    # BIG-bench's date and object-tracking tasks, from which BBH was drawn: 126 of 369 and 750 of 750 rows.
    assert sum(dataset == "bigbench_sources" and name == "bbh" for dataset, name, _ in pairs) == 876


def hashes(folder: Path) -> dict[str, str]:
    return {file.name: sha256(file.read_bytes()).hexdigest() for file in sorted(folder.iterdir())}
