"""The verbs on finished versions: what each prints, in words and as JSON, and its exit status."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.mixtures.places import Place, preference_rows, sft_rows, turns
from tulu_data import cli
from tulu_data.verbs.versions import VERBS
from tulu_data.workspace import shipped

Printed = pytest.CaptureFixture[str]
NAMES = ("mixtures", "show", "diff", "trace", "verify", "gc")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A workspace in the current folder, with two versions of a mixture."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mixtures").mkdir()
    place = Place(tmp_path)
    for count in (20, 30):
        sources = [
            {"name": "maths", "from": place.parquet("maths", sft_rows(40, "sum")), "count": count},
            {"name": "chat", "from": place.jsonl("chat", sft_rows(12, "talk")), "license": "mit"},
        ]
        place.recipe(sources=sources, steps=[{"op": "exact_dedup"}])
        place.build()
    return place


def said(printed: Printed, *arguments: str, status: int = 0) -> str:
    """What a command printed, on either stream."""
    assert cli.run(arguments) == status
    out, err = printed.readouterr()
    return out + err


def told(printed: Printed, *arguments: str) -> Any:
    """What a command prints as JSON."""
    assert cli.run([*arguments, "--json"]) == 0
    return json.loads(printed.readouterr().out)


def test_these_are_the_verbs_on_versions() -> None:
    assert tuple(verb.name for verb in VERBS) == NAMES


@pytest.mark.parametrize("verb", NAMES)
def test_every_example_of_the_help_runs(verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.run(["build-mixture", "sft_mini"]) == 0
    for line in (cli.cli.commands[verb].epilog or "").splitlines()[2:]:
        program, *arguments = shlex.split(line)
        assert program == "tulu-data"
        assert cli.run(arguments) == 0


def test_mixtures_lists_versions_and_recipes(place: Place, capsys: Printed) -> None:
    place.build(limit=4)
    text = said(capsys, "mixtures")
    assert [line.split()[:3] for line in text.splitlines() if line.startswith("mini ")] == [
        ["mini", "v1", "sft"],
        ["mini", "v2", "sft"],
        ["mini", "preview", "sft"],
    ]
    assert text.count("latest") == 1
    assert any(line.startswith("sft_mini") and "not built" in line for line in text.splitlines())
    listed = {entry["mixture"]: entry for entry in told(capsys, "mixtures")}
    assert [version["name"] for version in listed["mini"]["versions"]] == ["mini@v1", "mini@v2"]


def test_show_prints_sources_steps_and_rows_as_turns(place: Place, capsys: Printed) -> None:
    text = said(capsys, "show", "mini", "--examples", "1")
    assert text.startswith("mini@v2: ")
    assert "data/maths.parquet" in text
    assert "not stated" in text
    assert "exact_dedup:duplicate" in text
    assert "\n  user: " in text
    assert "[{'role'" not in text
    assert told(capsys, "show", "mini@v1")["manifest"]["version"].startswith("v1-")


def test_show_prints_the_recipe_of_what_was_never_built(place: Place, capsys: Printed) -> None:
    text = said(capsys, "show", "sft_mini")
    assert "never built" in text
    assert "op: exact_dedup" in text


def test_show_prints_a_pair_with_its_prompt_once(place: Place, capsys: Printed) -> None:
    pairs = [{"name": "p", "from": place.parquet("p", preference_rows(3, rated=True))}]
    place.recipe("pairs", kind="preference", sources=pairs)
    place.build("pairs")
    text = said(capsys, "show", "pairs", "--examples", "1")
    assert text.count("user: ask") == 1
    assert "chosen: assistant: good" in text
    assert "rejected: assistant: bad" in text
    assert "chosen_rating = 4.5" in text


def test_diff_prints_why_rows_came(place: Place, capsys: Printed) -> None:
    text = said(capsys, "diff", "mini@v1", "mini", "--examples", "1")
    assert text.startswith("mini@v1 -> mini@v2\nsource maths: count: 20 -> 30\n")
    assert "not selected in mini@v1" in text
    assert text.count("\nadded: maths/") == 1
    summary = told(capsys, "diff", "mini@v1", "mini")
    assert {group["because"] for group in summary["responsible"] if group["change"] == "added"} == {
        "selection"
    }


def test_diff_writes_every_row_that_differs(place: Place, capsys: Printed) -> None:
    said(capsys, "diff", "mini@v1", "mini", "--rows", "rows.parquet")
    rows = pq.read_table("rows.parquet")
    assert set(rows["change"].to_pylist()) <= {"added", "removed"}
    assert rows.num_rows == sum(g["rows"] for g in told(capsys, "diff", "mini@v1", "mini")["responsible"])
    assert "the file exists" in said(capsys, "diff", "mini@v1", "mini", "--rows", "rows.parquet", status=1)
    assert pq.read_table("rows.parquet").equals(rows)


def test_diff_marks_the_turns_that_differ(place: Place, capsys: Printed) -> None:
    for answer in ("Old \x1b[31mred", "New"):
        rows = [{"id": "a", "messages": turns("Same?", answer)}]
        place.recipe("one", sources=[{"name": "x", "from": place.parquet("one", rows)}])
        place.build("one")
    lines = said(capsys, "diff", "one@v1", "one").splitlines()
    assert lines[-3:] == ["    user: Same?", "  - assistant: Old ␛[31mred", "  + assistant: New"]


def test_what_a_recipe_sets_is_printed_in_words(place: Place, capsys: Printed) -> None:
    step = {"op": "keyword_filter", "words": ["no such"], "roles": ["user", "assistant"]}
    amounts: dict[str, Any] = {"size": {"rows": 15}, "max_per_source": 20, "holdout": {"fraction": 0.1}}
    place.recipe(sources=[{"name": "maths", "from": "data/maths.parquet"}], steps=[step], **amounts)
    place.build()
    shown = said(capsys, "show", "mini", "--examples", "0")
    assert "\nlayout shuffled; seed 42; size rows 15; max_per_source 20; holdout fraction 0.1\n" in shown
    assert "words: no such; roles: user, assistant" in shown
    differing = said(capsys, "diff", "mini@v2", "mini", "--examples", "0")
    assert "\nmixture: size: not there -> rows 15\n" in differing
    assert "\nstep keyword_filter: step: not there -> words no such, roles user, assistant\n" in differing
    (row,) = told(capsys, "show", "mini", "--examples", "1")["examples"]
    traced = said(capsys, "trace", "mini", row["id"])
    assert "; size rows 15\n" in traced
    for text in (shown, differing, traced):
        assert not {"{'", "['"} & {text[at : at + 2] for at in range(len(text))}


def test_trace_prints_a_line_per_stage(place: Place, capsys: Printed) -> None:
    (row,) = told(capsys, "show", "mini", "--examples", "1")["examples"]
    text = said(capsys, "trace", "mini", row["id"])
    assert text.startswith(f"mini@v2  {row['id']}: kept\n")
    for part in (
        "\nfrom ",
        "\nrow ",
        "\nupstream id  ",
        "\nselection ",
        "1 exact_dedup ",
        "lies in ",
        "\n  user: ",
    ):
        assert part in text
    assert told(capsys, "trace", "mini", row["id"])["outcome"] == "kept"
    assert "the source did not have it" in said(capsys, "trace", "mini", f"chat/{'0' * 32}/0")


def test_trace_prints_every_answer_that_a_pair_was_chosen_from(place: Place, capsys: Printed) -> None:
    assert cli.run(["build-mixture", "preference_mini"]) == 0
    (path,) = (place.store / "mixtures" / "preference_mini").glob("v1-*/dropped/01-pair.parquet")
    few = next(r["id"] for r in pq.read_table(path).to_pylist() if r["verdict"] == "pair:too_few")
    capsys.readouterr()
    text = said(capsys, "trace", "preference_mini", few)
    assert "\n1 pair           dropped      pair:too_few\n" in text
    assert "\n  one answer, by " in text
    assert "instruction_following" in text


def test_diff_names_the_step_that_wrote_other_values(place: Place, capsys: Printed) -> None:
    recipe = shipped() / "mixtures" / "preference_mini.yaml"
    shutil.copytree(recipe.parent / "sample", place.root / "mixtures" / "sample")
    for rejected in ("random_worse", "worst"):
        text = recipe.read_text().replace("rejected: random_worse", f"rejected: {rejected}")
        (place.root / "mixtures" / "preference_mini.yaml").write_text(text)
        assert cli.run(["build-mixture", "preference_mini"]) == 0
    capsys.readouterr()
    text = said(capsys, "diff", "preference_mini@v1", "preference_mini")
    assert "step pair: rejected: random_worse -> worst" in text
    assert "other values: rejected, rejected_rating, rejected_model, which pair writes" in text
    assert "\n  - rejected: assistant: " in text


def test_verify_prints_a_line_per_fault_and_fails(place: Place, capsys: Printed) -> None:
    assert "2 versions" in said(capsys, "verify")
    (version,) = (place.store / "mixtures" / "mini").glob("v1-*")
    (version / "lineage.parquet").unlink()
    lines = said(capsys, "verify", status=1).splitlines()
    assert lines[0] == "mini@v1: lineage.parquet: is missing"
    assert lines[1].endswith("1 fault in 1 version")
    assert "as they were built" in said(capsys, "verify", "mini@v2")
    assert cli.run(["verify", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["faults"][0]["what"] == "missing"


def test_verify_notes_what_an_earlier_release_did_not_cover(place: Place, capsys: Printed) -> None:
    (version,) = (place.store / "mixtures" / "mini").glob("v1-*")
    (version / "SHA256SUMS").unlink()
    text = said(capsys, "verify")
    assert text.startswith("note: mini@v1 has no SHA256SUMS: only its Parquet files and its lock")
    assert "2 versions" in text


def test_gc_lists_and_deletes_only_when_told(place: Place, capsys: Printed) -> None:
    assert "nothing to delete" in said(capsys, "gc")
    assert "--delete deletes them" in said(capsys, "gc", "--keep", "1")
    assert [one["name"] for one in told(capsys, "gc", "--keep", "1")["garbage"]] == ["mini@v1"]
    assert "deleted" in said(capsys, "gc", "--keep", "1", "--delete")
    assert [p.name[:2] for p in (place.store / "mixtures" / "mini").iterdir()] == ["v2"]


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["show", "mimi"], 2, "no version or recipe is named 'mimi'"),
        (["diff", "mini@v1", "mini@v9"], 2, "no version of mini is named 'v9'"),
        (["trace", "mini", "what"], 2, "no row of mini@v2 has the id 'what'"),
        (["verify", "nope"], 2, "no version of the store is named 'nope'"),
        (["verify", "--store", "elsewhere"], 1, "there is no store"),
        (["gc", "--keep", "0"], 2, "--keep"),
    ],
)
def test_what_cannot_be_is_one_message(
    arguments: list[str], status: int, message: str, place: Place, capsys: Printed
) -> None:
    text = said(capsys, *arguments, status=status)
    assert message in text
    assert "Traceback" not in text
