"""The shipped recipes of Tülu count what the papers count, and build what they promise.

They are built from a sample mirror, whose texts carry tokens (`prompt-KEY` in a prompt, `answer-best-KEY` and
the like in answers), and whose truth.jsonl tells what must become of each.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

import tulu_data
from tests.mixtures.places import Place
from tulu_data.mixtures.build import BuildResult
from tulu_data.mixtures.recipe import Recipe, SourceEntry, load_recipe
from tulu_data.workspace import Workspace

ROOT = Path(__file__).parent.parent
MIXTURES = ROOT / "mixtures"
HERE = Workspace(ROOT)
ROWS = 80
"""Of each source of the sample: so many that each of the four files of HH-RLHF has every oddity."""

SUMS = {
    "sft_8b": 939_344,
    "sft_70b": 939_344,
    "dpo_8b": 271_409,
    "dpo_70b": 334_302,
    "dpo_405b": 360_924,
    "rm_8b": 271_409,
    "rlvr": 29_946,
}
"""What the counts of a recipe's sources add up to: Tülu 3, arXiv 2411.15124; of 405B, its dataset's card."""

UF = 60_908
PUBLISHED = {
    "alpaca_farm_gpt4_pref": 19_465,
    "alpaca_farm_human_pref": 9_686,
    "capybara": 7_563,
    "chatbot_arena_2023": 20_465,
    "chatbot_arena_2024": 34_269,
    "helpsteer": 9_270,
    "hh_rlhf": 158_530,
    "hh_rlhf_60k": UF,
    "nectar": 180_099,
    "nectar_60k": UF,
    "orca_dpo_pairs": 12_859,
    "preference_big_mixture": 259_851,
    "prm800k_pairs_phase2": 6_949,
    "shp_2": 500_000,
    "stack_exchange_60k": UF,
    "stack_exchange_paired": 500_000,
    "ultrafeedback_mean_aspects": UF,
    "ultrafeedback_overall": 58_933,
}
"""The pairs of each split of allenai/tulu-2.5-preference-data, as its page counts them."""

TULU25 = [f"tulu2.5/{name}" for name in PUBLISHED]
PREFERENCES = [*TULU25, "tulu2/dpo", "dpo_8b", "dpo_70b", "dpo_405b", "rm_8b"]
RECIPES = [*PREFERENCES, "sft_8b", "sft_70b", "tulu2/sft", "rlvr"]


def each(names: Iterable[str]) -> list[Any]:
    """Of the recipes; those of Tülu 3 read a whole suite of evaluations, which takes seconds."""
    long = ("sft_", "dpo_", "rm_")
    return [pytest.param(n, marks=[pytest.mark.slow] if n.startswith(long) else []) for n in names]


FLAN = re.compile(r"^flan_.*")
"""FLAN is one dataset of the paper's, read from seven of its folders."""


def recipe_of(name: str) -> Recipe:
    return load_recipe(name, HERE)


def counts(name: str) -> Counter[str]:
    """The rows that a recipe asks for, by its sources; those of FLAN together."""
    found: Counter[str] = Counter()
    for source in recipe_of(name).sources:
        rows = (source.entry.count or 0) * int(source.entry.repeat or 1)
        found[FLAN.sub("flan", source.entry.name)] += rows
    return found


# -- what they say ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SUMS)
def test_the_counts_add_up(name: str) -> None:
    assert counts(name).total() == SUMS[name]


def test_the_sft_mixture_is_of_nineteen_datasets_with_the_counts_of_its_card() -> None:
    found = counts("sft_8b")
    assert len(found) == 19
    assert found["flan"] == 89_982
    assert (found["hardcoded"], found["wildchat"], found["evol_codealpaca"]) == (240, 100_000, 107_276)
    assert recipe_of("sft_70b").sources == recipe_of("sft_8b").sources


def test_the_reward_model_is_trained_on_the_pairs_of_dpo() -> None:
    assert recipe_of("rm_8b").sources == recipe_of("dpo_8b").sources
    assert recipe_of("rm_8b").steps == recipe_of("dpo_8b").steps


def test_the_big_mixture_takes_as_many_of_the_large_sets_as_of_ultrafeedback() -> None:
    big = recipe_of("tulu2.5/preference_big_mixture")
    whole = {source.entry.name for source in big.sources} - {"helpsteer", "prm800k"}
    assert (big.max_per_source, len(whole)) == (UF, 4)
    parts = PUBLISHED["helpsteer"] + PUBLISHED["prm800k_pairs_phase2"] + len(whole) * UF
    assert parts == PUBLISHED["preference_big_mixture"]


@pytest.mark.parametrize("name", ["hh_rlhf", "nectar", "stack_exchange"])
def test_the_small_sets_are_the_large_ones_cut_to_size(name: str) -> None:
    small, large = f"tulu2.5/{name}_60k", f"tulu2.5/{name}{'_paired' if name == 'stack_exchange' else ''}"
    size = recipe_of(small).size
    assert size is not None
    assert size.rows == UF
    assert recipe_of(small).sources == recipe_of(large).sources
    assert recipe_of(small).steps == recipe_of(large).steps


def test_a_slipped_source_leaves_the_mixtures_that_are_made_of_several() -> None:
    for name in ("dpo_8b", "dpo_70b", "rm_8b"):
        assert {"op": "relevance", "action": "drop_source"} in [s.settings for s in recipe_of(name).steps]


def test_every_recipe_is_on_the_page_with_its_rows() -> None:
    rows = re.findall(
        r"^\| (`.+?) \| .* \| ([\d,; ]+) \|$", (ROOT / "docs/mixtures.md").read_text(), re.MULTILINE
    )
    told: dict[str, int] = {}
    for recipes, numbers in rows:
        listed = [int(number.replace(",", "")) for number in numbers.split("; ")]
        names = re.findall(r"`(?:tulu2\.5/)?([\w./]+)`", recipes)
        told |= dict(zip(names, listed * (len(names) if len(listed) == 1 else 1), strict=True))
    assert told == {**SUMS, **PUBLISHED, "tulu2/sft": 326_154, "tulu2/dpo": 61_135}


def files() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every recipe and part of Tülu, as it is written."""
    for path in sorted(MIXTURES.rglob("*.yaml")):
        name = path.relative_to(MIXTURES).with_suffix("").as_posix()
        if not name.endswith("_mini"):
            yield name, yaml.safe_load(path.read_text())


def test_every_recipe_is_built_here() -> None:
    names = {name for name, _ in files() if not name.startswith("parts/")}
    assert names == set(RECIPES)


def test_no_dataset_is_written_twice() -> None:
    places = defaultdict(set)
    for name, data in files():
        for source in data.get("sources", ()):
            places[source["from"], source.get("split"), source.get("files")].add(name)
    assert {dataset: names for dataset, names in places.items() if len(names) > 1} == {}


def test_no_commit_is_invented_and_what_is_not_on_the_hub_says_where_to_get_it() -> None:
    for name, data in files():
        for source in data.get("sources", ()):
            if source["from"].startswith("hf:"):
                assert source["revision"] == "main", (name, source)
            else:
                assert source["from"].startswith("mirror:"), (name, source)
                assert source["get"], (name, source)


# -- from a sample mirror -----------------------------------------------------------------------------------

TOKEN = re.compile(r"(?:prompt|answer-[a-z]+\d*)-[0-9a-f]+-\d+")


@dataclass(frozen=True)
class Sample:
    """A mirror for all recipes, what was built from it, and what should be."""

    mirror: Path
    store: Path
    built: dict[str, BuildResult]
    truths: list[dict[str, Any]]

    def build(self, name: str) -> BuildResult:
        if name not in self.built:
            self.built[name] = tulu_data.build(name, workspace=HERE, store=self.store, mirror=self.mirror)
        return self.built[name]

    def truth(self, entry: SourceEntry) -> list[dict[str, Any]]:
        """What must become of the rows that a source reads."""
        home = entry.from_.partition(":")[2]
        return [t for t in self.truths if t["dataset"] == home and _reads(entry, t)]


def _reads(entry: SourceEntry, truth: dict[str, Any]) -> bool:
    if entry.files:
        return fnmatchcase(truth["file"], entry.files)
    return (truth["split"], truth["config"]) == (entry.split or "train", entry.config or "default")


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    folder = tmp_path_factory.mktemp("tulu")
    tulu_data.sample_mirror(RECIPES, ROWS, folder / "mirror", workspace=HERE)
    lines = (folder / "mirror" / "truth.jsonl").read_text(encoding="utf-8").splitlines()
    return Sample(folder / "mirror", folder / "store", {}, [json.loads(line) for line in lines])


def rows_of(built: BuildResult) -> list[dict[str, Any]]:
    return [
        row for file in sorted((built.path / "data").iterdir()) for row in pq.read_table(file).to_pylist()
    ]


def dropped(built: BuildResult) -> list[dict[str, Any]]:
    found = []
    for file in sorted((built.path / "dropped").glob("*.parquet")):
        found += pq.read_table(file, columns=["id", "source", "native", "verdict"]).to_pylist()
    return found


def tokens(messages: list[dict[str, str]], kind: str) -> list[str]:
    found = [token for m in messages for token in TOKEN.findall(m["content"])]
    return [token for token in found if token.startswith(kind)]


@pytest.mark.parametrize("name", each(RECIPES))
def test_check_finds_no_error(name: str, sample: Sample) -> None:
    found = tulu_data.check(name, workspace=HERE, store=sample.store, mirror=sample.mirror)
    assert [str(problem) for problem in found if problem.level == "error"] == []


@pytest.mark.parametrize("name", each(PREFERENCES))
def test_the_right_answer_is_chosen(name: str, sample: Sample) -> None:
    built = sample.build(name)
    rows = rows_of(built)
    for source in recipe_of(name).sources:
        truth = {t["prompt"]: t for t in sample.truth(source.entry)}
        pairs = [row for row in rows if row["source"] == source.entry.name]
        for row in pairs:
            *before, chosen = row["chosen"]
            *_, rejected = row["rejected"]
            (prompt,) = set(tokens(before, "prompt"))
            assert prompt in row["prompt"]
            assert truth[prompt]["expected"] == "paired", truth[prompt]
            assert set(tokens([chosen], "answer")) <= set(truth[prompt]["chosen"])
            assert set(tokens([rejected], "answer")) <= set(truth[prompt]["rejected"])
            assert tokens([chosen], "answer")
            assert row["chosen"][:-1] == row["rejected"][:-1]


@pytest.mark.parametrize("name", [*TULU25, "tulu2/dpo"])
def test_all_pairs_that_there_are_are_found_and_no_others(name: str, sample: Sample) -> None:
    rows = rows_of(sample.build(name))
    expected = set()
    for source in recipe_of(name).sources:
        expected |= {t["prompt"] for t in sample.truth(source.entry) if t["expected"] == "paired"}
    if name == "tulu2.5/ultrafeedback_overall":
        argilla, overall = (sample.truth(source.entry) for source in recipe_of(name).sources)
        tied = {t["prompt"] for t in overall if t["expected"] == "tie"}
        expected = {t["prompt"] for t in argilla} & {t["prompt"] for t in overall} - tied
        assert expected
        assert expected < {t["prompt"] for t in overall} - tied
    assert {token for row in rows for token in tokens(row["chosen"], "prompt")} == expected


@pytest.mark.parametrize("name", each(["dpo_8b", "dpo_70b", "dpo_405b", "rm_8b"]))
def test_every_pair_of_tulu3_is_asked_whether_its_answers_belong_to_its_prompt(
    name: str, sample: Sample
) -> None:
    lineage = pq.read_table(sample.build(name).path / "lineage.parquet", columns=["relevance_own"])
    assert lineage["relevance_own"].null_count == 0


SLIPPED = "sft_reused_on_policy"
"""The source of the sample in which, as in the released one, answers belong to other prompts."""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dpo_8b", "rm_8b"])
def test_a_source_of_tulu3_whose_answers_slipped_is_left_out_whole_and_no_other_is(
    name: str, sample: Sample
) -> None:
    built = sample.build(name)
    entries = {source.entry.name: source.entry for source in recipe_of(name).sources}
    slipped = {t["prompt"] for t in sample.truth(entries[SLIPPED]) if t["why"] == "misaligned"}
    assert slipped
    assert not slipped & {token for row in rows_of(built) for token in tokens(row["chosen"], "prompt")}
    sources = {source["name"]: source for source in built.manifest["sources"]}
    assert {name for name, source in sources.items() if not source["rows"]["kept"]} == {SLIPPED}
    assert not any(
        verdict.startswith("relevance:")
        for name, source in sources.items()
        for verdict in source["dropped"]
        if name != SLIPPED
    )
    assert sources[SLIPPED]["dropped"]["relevance:out_of_step"] > len(slipped)
    card = (built.path / "README.md").read_text()
    assert f"`relevance`: source {SLIPPED} is out of step" in card
    assert "; all of it is rejected." in card


FITS: dict[str, Callable[[dict[str, Any]], bool]] = {
    "wildchat": lambda native: native["model"].startswith("gpt-4") and not native["toxic"],
    "sciriff": lambda native: native["dataset"].startswith("science"),
    "openmath2_gsm8k": lambda native: native["problem_source"] in ("gsm8k", "augmented_gsm8k"),
    "wildguardmix": lambda native: "wildguardmixtrain" in native["source"],
    "tulu2": lambda native: native["dataset"] != "hard_coded",
    "tulu2_hard_coded": lambda native: native["dataset"] == "hard_coded",
}
"""What is taken of the sources of which not all rows are."""


@pytest.mark.slow
@pytest.mark.parametrize(("name", "source"), [("tulu2/sft" if "tulu2" in s else "sft_8b", s) for s in FITS])
def test_of_some_sources_only_a_part_is_taken(name: str, source: str, sample: Sample) -> None:
    built = sample.build(name)
    lineage = pq.read_table(built.path / "lineage.parquet", columns=["source", "native"]).to_pylist()
    kept = [json.loads(row["native"]) for row in lineage if row["source"] == source]
    lost = [json.loads(row["native"]) for row in dropped(built) if row["source"] == source]
    other = [
        json.loads(row["native"])
        for row in dropped(built)
        if row["source"] == source and not row["verdict"].startswith("where:")
    ]
    assert kept
    assert all(FITS[source](native) for native in [*kept, *other])
    assert sum(not FITS[source](native) for native in lost) == len(lost) - len(other) > 0


@pytest.mark.parametrize("name", each(["sft_8b", "sft_70b", "tulu2/sft"]))
def test_every_source_gives_conversations_that_name_no_provider(name: str, sample: Sample) -> None:
    rows = rows_of(sample.build(name))
    assert {row["source"] for row in rows} == {source.entry.name for source in recipe_of(name).sources}
    said = [m["content"] for row in rows if row["source"] != "tulu2_hard_coded" for m in row["messages"]]
    assert not any("ChatGPT" in text or "Claude" in text for text in said)
    named = [row for row in dropped(sample.build(name)) if row["verdict"].startswith("keyword_filter:")]
    assert named
    assert all(row["messages"][-1]["role"] == "assistant" for row in rows)


@pytest.mark.slow
def test_the_answers_of_a_conversation_are_those_of_its_prompt(sample: Sample) -> None:
    for source in recipe_of("sft_8b").sources:
        truth = {t["prompt"]: set(t["chosen"]) for t in sample.truth(source.entry)}
        rows = [row for row in rows_of(sample.build("sft_8b")) if row["source"] == source.entry.name]
        for row in rows:
            (prompt,) = set(tokens(row["messages"], "prompt"))
            assert set(tokens(row["messages"], "answer")) <= truth[prompt], source.entry.name


@pytest.mark.slow
def test_the_hard_coded_rows_stand_there_ten_times_each(sample: Sample) -> None:
    rows = [row for row in rows_of(sample.build("sft_8b")) if row["source"] == "hardcoded"]
    said = Counter(json.dumps(row["messages"]) for row in rows)
    assert (len(said), set(said.values())) == (24, {10})
    assert len({row["id"] for row in rows}) == 240


def test_hard_coded_rows_of_tulu2_may_name_providers(sample: Sample) -> None:
    rows = [row for row in rows_of(sample.build("tulu2/sft")) if row["source"] == "tulu2_hard_coded"]
    (entry,) = (s.entry for s in recipe_of("tulu2/sft").sources if s.entry.name == "tulu2_hard_coded")
    expected = {t["prompt"] for t in sample.truth(entry) if t["why"] == "hard_coded"}
    assert {token for row in rows for token in tokens(row["messages"], "prompt")} >= expected
    assert expected


def test_ground_truths_stay_what_they_are(sample: Sample) -> None:
    rows = rows_of(sample.build("rlvr"))
    for source in recipe_of("rlvr").sources:
        data = sample.mirror / source.entry.from_.removeprefix("hf:") / "data"
        table = pa.concat_tables([pq.read_table(file) for file in sorted(data.glob("train-*"))])
        native = {row["messages"][0]["content"]: row["ground_truth"] for row in table.to_pylist()}
        found = {
            row["messages"][0]["content"]: row["ground_truth"]
            for row in rows
            if row["source"] == source.entry.name
        }
        assert found == native


def test_a_manifest_says_that_the_rows_are_made_up(sample: Sample) -> None:
    assert "synthetic" in json.dumps(sample.build("tulu2.5/helpsteer").manifest)


# -- as a part of one's own ---------------------------------------------------------------------------------


@pytest.fixture
def place(tmp_path: Path) -> Place:
    (tmp_path / "mixtures").mkdir()
    return Place(tmp_path)


def test_a_recipe_of_ones_own_cuts_a_shipped_one_to_size(place: Place, sample: Sample) -> None:
    place.recipe("few", text="mixture: few\ninclude: [tulu2.5/hh_rlhf]\nsize: 20\n")
    few = place.build("few", mirror=sample.mirror)
    whole = {row["id"] for row in rows_of(sample.build("tulu2.5/hh_rlhf"))}
    assert few.rows == 20
    assert {row["id"] for row in rows_of(few)} < whole


def test_no_source_of_the_big_mixture_gives_more_than_its_cap(place: Place, sample: Sample) -> None:
    place.recipe("big", text="mixture: big\ninclude: [tulu2.5/preference_big_mixture]\nmax_per_source: 12\n")
    rows = rows_of(place.build("big", mirror=sample.mirror))
    assert set(Counter(row["source"] for row in rows).values()) == {12}


def test_a_shipped_recipe_is_decontaminated_against_a_suite_of_ones_own(place: Place, sample: Sample) -> None:
    asked = rows_of(sample.build("tulu2.5/helpsteer"))[0]["prompt"]
    items = [
        {"question": asked},
        {"question": "Which of these nine planets is known for seventeen bright rings?"},
    ]
    place.jsonl("items", items)
    (place.root / "decontam").mkdir()
    suite = "{name: mine, role: development, from: ../mixtures/data/items.jsonl.gz, fields: [question]}"
    (place.root / "decontam" / "mine.yaml").write_text(f"suite: mine\nrule: tulu3\nevals:\n  - {suite}\n")
    text = (
        "mixture: clean\ninclude: [tulu2.5/helpsteer]\ndecontaminate: mine\nsteps:\n  - {op: decontaminate}\n"
    )
    place.recipe("clean", text=text)
    clean = place.build("clean", mirror=sample.mirror)
    assert [row["verdict"] for row in dropped(clean)].count("decontaminate:mine") == 1
    assert asked not in {row["prompt"] for row in rows_of(clean)}
