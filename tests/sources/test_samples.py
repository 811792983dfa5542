"""A mirror of made-up rows: native shapes and oddities, a truth that builds can be held against."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

import tulu_data
from tulu_data import cli
from tulu_data.decontam.suite import load_suite
from tulu_data.errors import RecipeError, StoreError
from tulu_data.mixtures.recipe import load_recipe
from tulu_data.sources import SourceSpec, open_source
from tulu_data.sources.samples import SampleMirror, Wanted, catalogue, write_mirror
from tulu_data.sources.samples.case import TOKEN
from tulu_data.workspace import Workspace, shipped

Row = dict[str, Any]
ROWS = 100
SHIPPED = Workspace(shipped())
RECIPES = [name for name in SHIPPED.names("mixtures") if not name.startswith("parts/")]
PARTS = [(name, part) for name, parts in catalogue().items() for part in parts]
TRAINING = [(name, part) for name, part in PARTS if not part.items]


def wanted(name: str, **keys: Any) -> Wanted:
    return Wanted(SourceSpec(from_=f"hf:{name}", **keys))


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> SampleMirror:
    """Every dataset that is known: many rows in each of its files, a few in those of evaluations."""
    out = tmp_path_factory.mktemp("samples") / "mirror"
    evals = [wanted(name, files=parts[0].path) for name, parts in catalogue().items() if parts[0].items]
    return write_mirror([*evals, *(wanted(name, files=part.path) for name, part in TRAINING)], out, rows=ROWS)


def read(mirror: SampleMirror, name: str, path: str) -> list[Row]:
    """The rows of a file as our own reader has them."""
    source = open_source(wanted(name, files=path).spec, base=mirror.folder, mirror=mirror.folder)
    return [row for batch in source.batches() for row in batch.table.to_pylist()]


def truths(folder: Path, *datasets: str) -> list[Row]:
    lines = (folder / "truth.jsonl").read_text().splitlines()
    return [truth for truth in map(json.loads, lines) if not datasets or truth["dataset"] in datasets]


def shown(rows: object) -> str:
    return json.dumps(rows, default=str, ensure_ascii=False)


# -- every recipe has its samples ----------------------------------------------------------------------------


def test_every_source_and_evaluation_of_the_shipped_recipes_is_known(tmp_path: Path) -> None:
    made = tulu_data.sample_mirror(
        RECIPES, 4, tmp_path / "m", workspace=SHIPPED
    )  # raises for one that is not
    recipes = [load_recipe(name, SHIPPED) for name in RECIPES]
    specs = {source.entry.spec() for recipe in recipes for source in recipe.sources}
    assert len(specs) > 50
    for spec in (s for s in specs if s.from_.startswith(("hf:", "mirror:"))):
        source = open_source(spec, base=tmp_path, mirror=made.folder)
        assert source.synthetic
        assert sum(batch.table.num_rows for batch in source.batches()) == 4, spec
    suites = {
        step.settings["suite"] for recipe in recipes for step in recipe.steps if "suite" in step.settings
    }
    for entry in (
        e for suite in suites for e in load_suite(suite, SHIPPED).evals if e.from_.startswith("hf:")
    ):
        assert (made.folder / entry.from_.removeprefix("hf:") / "README.md").is_file()


def test_a_source_gets_the_rows_it_asks_for_and_other_splits_a_few(tmp_path: Path) -> None:
    asked = [
        wanted("allenai/coconot", config="original"),
        wanted("EleutherAI/hendrycks_math", config="*", split="test"),
    ]
    made = write_mirror(asked, tmp_path / "m", rows=100)
    sizes = {
        (n, p.config, p.split): len(read(made, n, p.path)) for n, p in PARTS if (tmp_path / "m" / n).is_dir()
    }
    assert sizes["allenai/coconot", "original", "train"] == 100
    assert sizes["allenai/coconot", "original", "test"] == sizes["allenai/coconot", "pref", "train"] == 5
    math = {
        split: [size for (n, _, s), size in sizes.items() if "math" in n and s == split]
        for split in ("train", "test")
    }
    assert (sum(math["test"]), max(math["test"]) - min(math["test"])) == (100, 1)
    assert math["train"] == [5] * 7


def test_sources_that_are_no_dataset_are_passed_over(tmp_path: Path) -> None:
    files = Wanted(SourceSpec(from_="data/x.jsonl"))
    assert write_mirror([files, wanted("GAIR/lima")], tmp_path / "m", rows=5).datasets[0].name == "GAIR/lima"


# -- the files -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", catalogue())
def test_files_are_read_with_the_columns_of_their_schemas(mirror: SampleMirror, name: str) -> None:
    for part in catalogue()[name]:
        rows = read(mirror, name, part.path)
        assert part.items or len(rows) == min(ROWS, part.most or ROWS)
        assert rows
        assert not part.schema.names or list(rows[0]) == part.schema.names
        if part.path.endswith(".parquet"):
            assert pq.read_schema(mirror.folder / name / part.path).equals(part.schema)


@pytest.mark.parametrize("name", catalogue())
def test_the_card_tells_configs_and_splits(mirror: SampleMirror, name: str) -> None:
    card = (mirror.folder / name / "README.md").read_text()
    configs = {c["config_name"]: c["data_files"] for c in yaml.safe_load(card.split("---")[1])["configs"]}
    for part in catalogue()[name]:
        paths = [
            path for told in configs[part.config] if told["split"] == part.split for path in told["path"]
        ]
        assert part.path in paths
    assert "Nothing in it comes from that dataset" in card


@pytest.mark.parametrize(
    ("name", "config", "split", "files"),
    [
        ("Anthropic/hh-rlhf", None, "test", 4),
        ("allenai/wildjailbreak", "train", "train", 1),
        ("tatsu-lab/alpaca_farm", "alpaca_gpt4_preference", "preference", 1),
        ("bigcode/bigcodebench", None, "v0.1.2", 1),
    ],
)
def test_a_config_and_split_is_found_as_on_the_hub(
    mirror: SampleMirror, name: str, config: str | None, split: str, files: int
) -> None:
    spec = SourceSpec(from_=f"hf:{name}", config=config, split=split)
    assert len(open_source(spec, base=mirror.folder, mirror=mirror.folder).lock().files) == files


def test_the_folder_says_that_its_rows_are_made_up(mirror: SampleMirror) -> None:
    for dataset in mirror.datasets:
        said = json.loads((mirror.folder / dataset.name / "sample.json").read_text())
        assert said == {"synthetic": True, "rows": dataset.rows}


def bytes_of(folder: Path) -> dict[str, bytes]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_a_sample_is_the_same_bytes_each_time_and_another_seed_gives_others(tmp_path: Path) -> None:
    every = [wanted(name, files=parts[0].path) for name, parts in catalogue().items() if not parts[0].items]
    for out, chosen, seed in (("a", every, 42), ("b", every, 42), ("c", every[::5], 7)):
        write_mirror(chosen, tmp_path / out, rows=8, seed=seed)
    one, again, other = (bytes_of(tmp_path / out) for out in "abc")
    assert one == again
    same = {path for path, data in other.items() if one[path] == data}
    assert {Path(path).name for path in same} <= {"README.md", "sample.json"}


def test_a_dataset_does_not_depend_on_what_else_is_sampled(tmp_path: Path) -> None:
    alone = write_mirror([wanted("GAIR/lima")], tmp_path / "a", rows=30)
    beside = write_mirror(
        [wanted("openai/gsm8k", config="main"), wanted("GAIR/lima")], tmp_path / "b", rows=30
    )
    assert bytes_of(alone.folder / "GAIR") == bytes_of(beside.folder / "GAIR")


# -- the truth -----------------------------------------------------------------------------------------------


def test_the_rows_of_a_case_hold_its_prompt_and_its_answers(mirror: SampleMirror) -> None:
    files = {(name, part.path): read(mirror, name, part.path) for name, part in TRAINING}
    told = truths(mirror.folder)
    for truth in told:
        text = shown([files[truth["dataset"], truth["file"]][row] for row in truth["rows"]])
        assert truth["prompt"] in text or truth["why"] in {"red_team", "no_messages"}, truth
        assert all(token in text for token in (*truth["chosen"], *truth["rejected"])), truth
        assert bool(truth["chosen"] and truth["rejected"]) == (truth["expected"] == "paired")
    for (name, path), rows in files.items():
        places = [row for t in told if (t["dataset"], t["file"]) == (name, path) for row in t["rows"]]
        assert sorted(places) == list(range(len(rows))), f"{name}/{path}"


def test_keys_are_told_apart_but_for_copies_and_shared_prompts(mirror: SampleMirror) -> None:
    seen: dict[str, Row] = {}
    for truth in truths(mirror.folder):
        before = seen.setdefault(truth["prompt"], truth)
        shared = {before["dataset"], truth["dataset"]} <= {
            "argilla/ultrafeedback-binarized-preferences-cleaned",
            "HuggingFaceH4/ultrafeedback_binarized",
        }
        same_text = before["dataset"] == truth["dataset"] and truth["why"] in {"copy", before["why"]}
        assert before is truth or shared or same_text, (before, truth)


# -- oddities ------------------------------------------------------------------------------------------------


def test_ratings_by_aspect_are_text_some_of_it_no_number(mirror: SampleMirror) -> None:
    raw = (mirror.folder / "openbmb/UltraFeedback/sharegpt.jsonl").read_text().splitlines()
    answers = [answer for row in map(json.loads, raw) for answer in row["completions"]]
    ratings = {a["annotations"][aspect]["Rating"] for a in answers for aspect in a["annotations"]}
    assert {"5", "N/A", "0", "Rating: five of five"} <= ratings
    assert {type(a["annotations"]["helpfulness"]["Type"]) for a in answers} == {str, list}
    assert {len(json.loads(line)["completions"]) for line in raw} == {0, 1, 3, 4}


def test_ranks_stand_in_any_order_and_some_answers_hold_turns(mirror: SampleMirror) -> None:
    rows = read(mirror, "berkeley-nest/Nectar", "data/rlaif.parquet")
    ranks = [[answer["rank"] for answer in row["answers"]] for row in rows]
    assert any(order != sorted(order) for order in ranks)
    assert [1.0] * 7 in ranks
    assert any("\n\nHuman: " in answer["answer"] for row in rows for answer in row["answers"])
    assert all(
        row["prompt"].startswith("\n\nHuman: ") and row["prompt"].endswith("\n\nAssistant: ") for row in rows
    )


def test_transcripts_part_early_end_empty_repeat_a_role_and_quote_the_marks(mirror: SampleMirror) -> None:
    pairs = [tuple(r.values()) for r in read(mirror, "Anthropic/hh-rlhf", "helpful-base/train.jsonl.gz")]
    assert any(rejected.endswith("\n\nAssistant:") for _, rejected in pairs)
    assert any(" reads Human: keep out" in chosen for chosen, _ in pairs)
    assert any("\n\nHuman: " in c.split("\n\nHuman: ", 1)[1].split("\n\nAssistant:")[0] for c, _ in pairs)
    last = [[side.rpartition("\n\nAssistant:")[0] for side in pair] for pair in pairs]
    assert any(chosen != rejected for chosen, rejected in last)


def test_rows_of_one_prompt_lie_apart(mirror: SampleMirror) -> None:
    for name, path in (
        ("nvidia/HelpSteer", "data/train-00000-of-00001.parquet"),
        ("openai/prm800k", "prm800k/data/phase2_train.jsonl"),
    ):
        groups = [t["rows"] for t in truths(mirror.folder, name) if t["file"] == path]
        assert {1, 2, 3, 4} <= {len(places) for places in groups}
        assert any(max(places) - min(places) > len(places) for places in groups)


def test_winners_are_on_either_side_and_votes_may_tie(mirror: SampleMirror) -> None:
    assert {
        row["labels"] for row in read(mirror, "stanfordnlp/SHP-2", "data/train-00000-of-00001.parquet")
    } == {0, 1}
    votes = read(mirror, "lmsys/chatbot_arena_conversations", "data/train-00000-of-00001.parquet")
    assert {row["winner"] for row in votes} == {"model_a", "model_b", "tie", "tie (bothbad)"}
    texts = read(mirror, "lmsys/lmsys-arena-human-preference-55k", "train.csv")
    assert any(None in json.loads(row[side]) for row in texts for side in ("response_a", "response_b"))
    assert sum(row["winner_tie"] == "1" for row in texts) == 5
    farm = read(mirror, "tatsu-lab/alpaca_farm", "alpaca_gpt4_preference.json")
    assert {row["preference"] for row in farm} == {1, 2}


def test_steps_may_lack_completions_and_problems_a_solution(mirror: SampleMirror) -> None:
    rows = read(mirror, "openai/prm800k", "prm800k/data/phase2_train.jsonl")
    assert {row["label"]["finish_reason"] for row in rows} == {
        "found_error",
        "solution",
        "bad_problem",
        "give_up",
    }
    assert any(row["question"]["ground_truth_solution"] is None for row in rows)
    assert any(step["completions"] is None for row in rows for step in row["label"]["steps"])
    assert {
        row["generation"] for row in read(mirror, "openai/prm800k", "prm800k/data/phase1_train.jsonl")
    } == {None}


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("Intel/orca_dpo_pairs", "data/train-00000-of-00001.parquet"),
        ("argilla/distilabel-capybara-dpo-7k-binarized", "data/train-00000-of-00001.parquet"),
    ],
)
def test_one_pair_is_of_equal_sides(mirror: SampleMirror, name: str, path: str) -> None:
    assert sum(row["chosen"] == row["rejected"] for row in read(mirror, name, path)) == 1


def test_misaligned_answers_are_those_of_the_row_before(mirror: SampleMirror) -> None:
    name = "allenai/tulu-3-sft-reused-on-policy-8b"
    rows = read(mirror, name, "data/train-00000-of-00001.parquet")
    astray = [t["rows"][0] for t in truths(mirror.folder, name) if t["why"] == "misaligned"]
    assert len(astray) == ROWS // 5
    starts = [place for place in astray if place - 1 not in astray]
    assert all(rows[place]["chosen"][-1] == rows[place - 1]["chosen"][-1] for place in starts)


def test_conversations_come_under_many_names(mirror: SampleMirror) -> None:
    path = "HTML_cleaned_raw_dataset/sg_90k_part1_html_cleaned.json"
    rows = read(mirror, "anon8231489123/ShareGPT_Vicuna_unfiltered", path)
    names = {turn["from"] for row in rows for turn in row["conversations"]}
    assert names == {"human", "gpt", "user", "chatgpt", "bing", "bard", "system"}
    assert {0, 60} <= {len(row["conversations"]) for row in rows}
    lima = read(mirror, "GAIR/lima", "train.jsonl")
    assert any(len(row["conversations"]) % 2 for row in lima)
    jailbreak = read(mirror, "allenai/wildjailbreak", "train/train.tsv")
    assert {row["adversarial"] == "" for row in jailbreak} == {True, False}


def test_constraints_are_told_as_json_text(mirror: SampleMirror) -> None:
    name = "allenai/RLVR-GSM-MATH-IF-Mixed-Constraints"
    rows = read(mirror, name, "data/train-00000-of-00001.parquet")
    assert {row["dataset"] for row in rows} == {"gsm8k", "MATH", "ifeval"}
    functions = {json.loads(row["ground_truth"])["func_name"] for row in rows if row["dataset"] == "ifeval"}
    assert "validate_no_commas" in functions
    assert {row["constraint"] for row in rows if row["dataset"] != "ifeval"} == {None, ""}


# -- built from native shapes --------------------------------------------------------------------------------

SOURCES = {
    "preference": [
        {"name": "by_aspect", "from": "hf:openbmb/UltraFeedback"},
        {"name": "one_by_one", "from": "hf:nvidia/HelpSteer2"},
        {"name": "votes", "from": "hf:stanfordnlp/SHP"},
        {"name": "orca", "from": "hf:argilla/distilabel-intel-orca-dpo-pairs"},
        {
            "name": "released",
            "from": "hf:allenai/tulu-2.5-preference-data",
            "split": "ultrafeedback_mean_aspects",
        },
        {"name": "texts", "from": "hf:allenai/coconot", "config": "pref"},
    ],
    "sft": [
        {"name": "sharegpt", "from": "hf:anon8231489123/ShareGPT_Vicuna_unfiltered", "files": "**/*.json"},
        {"name": "lima", "from": "hf:GAIR/lima"},
        {"name": "messages", "from": "hf:OpenAssistant/oasst1"},
        {"name": "trees", "from": "hf:OpenAssistant/oasst1", "files": "*.trees.jsonl.gz"},
        {"name": "code", "from": "mirror:sahil280114/codealpaca"},
        {"name": "guard", "from": "hf:allenai/wildguardmix", "config": "wildguardtrain"},
        {"name": "jailbreak", "from": "hf:allenai/wildjailbreak", "config": "train"},
        {"name": "math", "from": "hf:EleutherAI/hendrycks_math", "config": "*"},
    ],
}
ASPECTS = ["instruction_following", "honesty", "truthfulness", "helpfulness"]
STEPS: dict[str, list[Row]] = {
    "preference": [
        {"op": "where", "sources": ["orca"], "column": "status", "none_of": ["tie"]},
        {"op": "pair", "sources": ["by_aspect"], "by": ASPECTS},
        {
            "op": "pair",
            "sources": ["one_by_one"],
            "by": ["helpfulness", "correctness", "coherence", "complexity"],
        },
        {"op": "pair", "sources": ["votes"]},
        {"op": "valid_pair", "equal_ratings": "drop"},
    ],
    "sft": [
        {"op": "valid_conversation", "allow": ["consecutive_roles"]},
        {
            "op": "where",
            "sources": ["guard"],
            "column": "response_refusal_label",
            "one_of": ["refusal", "compliance"],
        },
        {"op": "keyword_filter", "list": "provider_names"},
        {"op": "minhash", "by": "conversation", "threshold": 0.7},
    ],
}


@pytest.fixture(scope="module", params=["preference", "sft"])
def built(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, list[Row], list[Row]]:
    """A kind, the rows of a mixture of many shapes, and the truths of the files it was made of."""
    kind: str = request.param
    root = tmp_path_factory.mktemp(kind)
    (root / "mixtures").mkdir()
    recipe = {"mixture": kind, "kind": kind, "sources": SOURCES[kind], "steps": STEPS[kind]}
    (root / "mixtures" / f"{kind}.yaml").write_text(yaml.safe_dump(recipe))
    place = Workspace(root)
    made = tulu_data.sample_mirror(kind, ROWS, root / "mirror", workspace=place)
    result = tulu_data.build(kind, mirror=made.folder, workspace=place, store=root / "store")
    rows = pa.concat_tables(map(pq.read_table, sorted((result.path / "data").iterdir()))).to_pylist()
    specs = [SourceSpec.model_validate({k: v for k, v in s.items() if k != "name"}) for s in SOURCES[kind]]
    return kind, rows, [t for spec in specs for t in _read_by(spec, made)]


def _read_by(spec: SourceSpec, made: SampleMirror) -> Iterator[Row]:
    """The truths of the files that a source reads."""
    name = spec.from_.partition(":")[2]
    lock = open_source(spec, base=made.folder, mirror=made.folder).lock()
    files = {file.path.removeprefix(f"{name}/") for file in lock.files}
    yield from (truth for truth in truths(made.folder, name) if truth["file"] in files)


def tokens(value: object, kind: str) -> set[str]:
    return {token for token in TOKEN.findall(shown(value)) if token.startswith(kind)}


FILTERED = {"provider_name", "copy"}
"""What the steps of these recipes act upon."""


def test_what_is_built_is_what_was_planted(built: tuple[str, list[Row], list[Row]]) -> None:
    kind, rows, told = built
    by_prompt = {truth["prompt"]: truth for truth in told if truth["why"] != "copy"}
    assert len(rows) > 400
    for row in rows:
        (prompt,) = tokens(row.get("chosen") or row["messages"], "prompt")
        truth = by_prompt[prompt]
        assert truth["expected"] in {"paired", "kept"}, truth
        if kind == "preference":
            assert tokens(row["chosen"][-1], "answer") == set(truth["chosen"])
            assert len(tokens(row["rejected"][-1], "answer") & set(truth["rejected"])) == 1
        else:
            assert tokens(row["messages"], "answer") == set(truth["chosen"])


def test_nothing_else_is_lost(built: tuple[str, list[Row], list[Row]]) -> None:
    kind, rows, told = built
    kept = {token for row in rows for token in tokens(row.get("chosen") or row["messages"], "prompt")}
    due = {t["prompt"] for t in told if t["expected"] in {"paired", "kept"} and t["why"] not in FILTERED}
    copied = {t["prompt"] for t in told if t["why"] == "copy"}
    assert kept | copied >= due
    provider = {t["prompt"] for t in told if t["why"] == "provider_name"}
    assert kind == "preference" or (provider and not provider & kept)


# -- bad input -----------------------------------------------------------------------------------------------


def refused(*wants: Wanted, out: Path, **settings: Any) -> str:
    with pytest.raises(RecipeError) as caught:
        write_mirror(wants, out, rows=5, **settings)
    assert not out.exists()
    return str(caught.value)


def test_a_dataset_of_unknown_shape_is_named_with_the_nearest(tmp_path: Path) -> None:
    wants = [
        Wanted(SourceSpec(from_="hf:GAIR/limas"), "r.yaml, line 3"),
        wanted("my/own"),
        wanted("GAIR/lima"),
    ]
    message = refused(*wants, out=tmp_path / "m")
    assert (
        "r.yaml, line 3: no sample is known for the dataset GAIR/limas. Did you mean 'GAIR/lima'?" in message
    )
    assert "no sample is known for the dataset my/own" in message
    made = write_mirror(wants, tmp_path / "m", rows=5, skip_unknown=True)
    assert (made.left_out, [d.name for d in made.datasets]) == (("GAIR/limas", "my/own"), ["GAIR/lima"])


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"config": "orginal"}, "has no config 'orginal'; expected one of: original, contrast, pref"),
        ({"config": "pref", "split": "test"}, "has no split 'test'; expected one of: train"),
        ({"files": "pref/*.csv"}, "has no file 'pref/*.csv'; expected one of: original/train-"),
    ],
)
def test_what_a_dataset_does_not_have_is_told(keys: dict[str, str], message: str, tmp_path: Path) -> None:
    assert f"hf:allenai/coconot {message}" in refused(wanted("allenai/coconot", **keys), out=tmp_path / "m")


def test_a_folder_that_holds_something_is_refused_and_force_replaces_samples_only(tmp_path: Path) -> None:
    out = tmp_path / "m"
    out.mkdir()
    write_mirror([wanted("GAIR/lima")], out, rows=5)  # an empty folder will do
    with pytest.raises(StoreError, match="exists already"):
        write_mirror([wanted("openai/gsm8k", config="main")], out, rows=5)
    write_mirror([wanted("openai/gsm8k", config="main")], out, rows=5, force=True)
    assert sorted(path.name for path in out.iterdir()) == ["openai", "truth.jsonl"]
    (out / "openai" / "real").mkdir()
    (out / "openai" / "real" / "train.jsonl").write_text("{}\n")
    with pytest.raises(StoreError, match="holds 'openai', so it is no result of this command"):
        write_mirror([wanted("GAIR/lima")], out, rows=5, force=True)
    assert (out / "openai" / "real" / "train.jsonl").is_file()


def test_nothing_half_written_remains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tulu_data.sources.samples.write_truth", fail)
    with pytest.raises(StoreError, match="the disk is full"):
        write_mirror([wanted("GAIR/lima")], tmp_path / "m", rows=5)
    assert not list(tmp_path.iterdir())


# -- the verb ------------------------------------------------------------------------------------------------


def run(*arguments: str) -> int:
    return cli.run(["mirror", "sample", *arguments])


def test_the_verb_writes_a_mirror_for_several_recipes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "my mirror"
    recipes: Sequence[str] = ("tulu2/dpo", "tulu2.5/prm800k_pairs_phase2")
    options = [word for name in recipes for word in ("--recipe", name)]
    assert run(*options, "--rows", "7", "--out", str(out)) == 0
    text = capsys.readouterr().out
    assert "openai/prm800k" in text
    assert f"tulu-data build-mixture tulu2/dpo --mirror '{out}'" in text
    assert run(*options, "--rows", "7", "--out", str(out), "--force", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert [d["name"] for d in told["datasets"]] == [
        "HuggingFaceH4/ultrafeedback_binarized",
        "openai/prm800k",
    ]


def test_the_verb_tells_faults_in_one_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--recipe", "sft_8c", "--out", str(tmp_path / "m")) == 2
    assert "Did you mean 'sft_8b'?" in capsys.readouterr().err
    recipe = tmp_path / "mine.yaml"
    source = '{name: x, from: "hf:my/own"}'
    recipe.write_text(f"mixture: mine\nkind: sft\nsources:\n  - {source}\n")
    assert run("--recipe", str(recipe), "--out", str(tmp_path / "m")) == 2
    assert "mine.yaml, line 4: no sample is known for the dataset my/own" in capsys.readouterr().err
    assert run("--recipe", str(recipe), "--out", str(tmp_path / "m"), "--skip-unknown") == 0
    assert "left out, since its shape is not known: my/own" in capsys.readouterr().err
