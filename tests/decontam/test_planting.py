"""The positive control: how items are planted, which are eligible, and what is found."""

from __future__ import annotations

import random
import unicodedata
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tulu_data.decontam.evidence import findings_of, scanned_columns
from tulu_data.decontam.items import SuiteItems, read_items
from tulu_data.decontam.matchers import tried
from tulu_data.decontam.plain import match
from tulu_data.decontam.planting import WAYS, Cell, Hosts, Measured, measure, row_keys
from tulu_data.decontam.planting.hosts import HOST_BYTES, carry, synthetic
from tulu_data.decontam.planting.kinds import Planting, Way
from tulu_data.decontam.planting.layout import body
from tulu_data.decontam.planting.reach import is_match, run_of
from tulu_data.decontam.planting.shapes import Anatomy, Shape, Specimen, words
from tulu_data.decontam.planting.texts import disguised, is_number, other_number, renumbered, respaced
from tulu_data.decontam.rules import PRESETS, Coverage, Distinctive
from tulu_data.decontam.suite import load_suite
from tulu_data.record import CONTENT, MESSAGES, Kind
from tulu_data.sources import SourceSpec, open_source
from tulu_data.sources.adapters import adapt, detect
from tulu_data.text.tokens import tokens
from tulu_data.workspace import Workspace, shipped

control = import_module("tulu_data.decontam.planting.measure")

KINDS: tuple[Kind, ...] = ("sft", "preference", "rlvr")
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
MANY = [f"w{number}" for number in range(400)]


# -- texts -----------------------------------------------------------------------------------------------


@given(TEXTS, st.integers(0, 20))
def test_other_spaces_leave_the_tokens_of_words_as_they_are(text: str, salt: int) -> None:
    letters = "".join(c for c in text if not unicodedata.combining(c) and unicodedata.category(c) != "Mn")
    assert words(respaced(letters, tokens(letters), salt)) == words(letters)


def test_case_spaces_and_punctuation_change() -> None:
    text = "Nora packs 26 boxes, then waits."
    assert respaced(text, tokens(text), 0) == "nora\nPACKS - 26  BOXES\tthen, WAITS"


@pytest.mark.parametrize(
    "text", ["ΟΔΟΣ ὀδός", "İstanbul ı", "straße ẞ", "e\u0301tude É", "ǆ ǅ", "ﬁn ﬁ", "한글 각"]
)
def test_letters_whose_other_case_is_another_word_stay(text: str) -> None:
    assert words(respaced(text, tokens(text), 1)) == words(text)


@given(TEXTS, st.integers(0, 20))
def test_a_disguise_is_undone_by_normalising(text: str, salt: int) -> None:
    plain = unicodedata.normalize("NFC", "".join(c for c in text if unicodedata.category(c)[0] != "C"))
    assert words(disguised(plain, tokens(plain), salt)) == words(plain)


def test_a_disguise_uses_every_form() -> None:
    text = 'Office staff can\'t fly to Café "flamingo" without first filling éclairs ' * 5
    new = disguised(text, tokens(text), 0)
    assert new != text
    for form in ("ｏ", "\u200b", "\u00ad", "ﬁ", "e\u0301", "\u00a0", "\u2019"):
        assert form in new, form


@given(st.from_regex(r"[0-9]{1,12}", fullmatch=True), st.text("ab", max_size=3))
def test_another_number_has_the_same_shape(number: str, salt: str) -> None:
    other = other_number(number, salt)
    assert other != number
    assert len(other) == len(number)
    assert number[0] == "0" or other[0] != "0"


def test_numbers_change_and_nothing_else() -> None:
    text = "16 eggs (x2, 3.5 kg, ３ of 16) at 007"
    new = renumbered(text, tokens(text), "s")
    before, after = [t.text for t in tokens(text)], [t.text for t in tokens(new)]
    assert len(before) == len(after)
    assert all((a != b) == is_number(a) for a, b in zip(before, after, strict=True))
    assert after[0] == after[-3], "equal numbers stay equal"


# -- eligibility -----------------------------------------------------------------------------------------


def flags(size: int) -> bytes:
    return b"\x01" * size


@settings(max_examples=200)
@given(
    sizes=st.lists(st.integers(1, 60), min_size=1, max_size=3),
    share=st.sampled_from([0.3, 0.4, 0.5, 0.6, 0.8]),
    ngram=st.integers(1, 13),
    threshold=st.sampled_from([0, 0.3, 0.5, 0.6]),
)
def test_a_part_is_eligible_exactly_where_the_plain_rule_finds_it(
    sizes: list[int], share: float, ngram: int, threshold: float
) -> None:
    rule = Coverage(rule="r", ngram=ngram, threshold=threshold)
    left = iter(MANY)
    fields = [[next(left) for _ in range(size)] for size in sizes]
    runs = [run_of(flags(size), share) for size in sizes]
    text = " / ".join(" ".join(f[run.start : run.stop]) for f, run in zip(fields, runs, strict=True))
    item = {str(n): " ".join(field) for n, field in enumerate(fields)}
    found = match(item, [text], ngram, threshold) is not None
    assert is_match(rule, Shape(tuple(map(flags, sizes))), share) == found


@pytest.mark.parametrize("size", [5, 12, 14, 25, 33, 34, 60])
def test_a_part_is_eligible_for_our_rule_where_it_would_drop(size: int) -> None:
    rule = PRESETS["tulu-data"]
    run = run_of(flags(size), 0.6)
    kind = tried(rule, " ".join(MANY[:size]), " ".join(MANY[run.start : run.stop])).split()[0]
    assert is_match(rule, Shape((flags(size),)), 0.6) == (kind in {"copy", "partial"})


def test_60_percent_of_a_12_token_item_holds_no_8_gram() -> None:
    assert [len(run_of(flags(size), 0.6)) for size in (12, 13, 14)] == [7, 7, 8]
    assert not is_match(PRESETS["tulu3"], Shape((flags(12),)), 0.6)


def test_a_run_holds_its_share_of_the_tokens_that_count() -> None:
    assert run_of(b"\0\1\1\0\1\1\1\0", 0.6) == range(2, 6)
    assert run_of(b"\1", 0.6) == range(0)


# -- hosts -----------------------------------------------------------------------------------------------


def conversation(*texts: str) -> list[dict[str, str]]:
    return [{"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(texts)]


def sft(rows: Sequence[Any]) -> pa.Table:
    return pa.table({"messages": pa.array(rows, MESSAGES)})


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 60), st.randoms(use_true_random=False), st.integers(1, 5))
def test_hosts_do_not_hang_on_batches_or_threads(count: int, rng: random.Random, size: int) -> None:
    rows = sft([conversation(f"question {number}", "answer") for number in range(count)])
    keys = row_keys(1, "d", np.arange(count))
    once = Hosts(size)
    once.add("sft", rows, keys)
    cuts = sorted(rng.sample(range(count + 1), min(count + 1, 4)))
    pieces = [(a, b) for a, b in zip([0, *cuts], [*cuts, count], strict=True) if b > a]
    rng.shuffle(pieces)
    cut = Hosts(size)
    with ThreadPoolExecutor(3) as pool:
        for done in [pool.submit(cut.add, "sft", rows.slice(a, b - a), keys[a:b]) for a, b in pieces]:
            done.result()
    assert cut.rows("sft") == once.rows("sft")
    best = np.argsort(keys)[:size]
    assert [row["messages"][0]["content"] for row in once.rows("sft")] == [f"question {n}" for n in best]
    assert Hosts.of(once.table(), size).table().equals(once.table())


def test_hosts_merge() -> None:
    rows, keys = sft([conversation(f"q{n}", "a") for n in range(9)]), row_keys(1, "d", np.arange(9))
    every, one, two = Hosts(4), Hosts(4), Hosts(4)
    every.add("sft", rows, keys)
    one.add("sft", rows.slice(0, 5), keys[:5])
    two.add("sft", rows.slice(5), keys[5:])
    one.merge(two)
    assert one.rows("sft") == every.rows("sft")


@pytest.mark.parametrize(
    "row",
    [
        None,
        [],
        [None],
        [{"role": "assistant", "content": "Hello"}],
        [{"role": "user", "content": None}],
        [{"role": None, "content": "Hello"}],
        conversation("x" * (HOST_BYTES + 1)),
    ],
)
def test_what_cannot_carry_is_no_host(row: Any) -> None:
    hosts = Hosts()
    hosts.add("sft", sft([row, conversation("Hello")]), np.array([1, 2], np.uint64))
    assert hosts.rows("sft") == [{"messages": conversation("Hello")}]


def test_other_seeds_and_datasets_give_other_keys() -> None:
    numbers = np.arange(1000)
    keys = [row_keys(seed, name, numbers) for seed, name in ((1, "a"), (2, "a"), (1, "b"))]
    assert len(np.unique(np.concatenate(keys))) == 3000
    assert keys[0].tolist() == row_keys(1, "a", numbers).tolist()


PAIR = {"prompt": "Hi", "chosen": conversation("Hi", "yes"), "rejected": conversation("Hi", "no")}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", ["message", "inside", "later", "assistant", "split"])
@pytest.mark.parametrize("role", ["user", "assistant", "system"])
def test_an_item_gets_into_a_copy_of_any_row(kind: Kind, place: Any, role: str) -> None:
    host = PAIR if kind == "preference" else {"messages": conversation("How are you today?", "Fine")}
    before = repr(host)
    texts = ("PLANTED", "HERE") if place == "split" else ("PLANTED",)
    for number in (0, 1):
        row = carry(kind, host, Planting(place, texts), role, number)
        assert repr(host) == before
        (table,) = [pa.Table.from_pylist([row], schema=pa.schema([CONTENT[kind].field(c) for c in row]))]
        assert set(table.column_names) == set(scanned_columns(kind))
        said = [turn for name, side in row.items() if name != "prompt" for turn in side]
        speaker = "assistant" if place == "assistant" else role
        for text in texts:
            assert any(text in turn["content"] for turn in said if turn["role"] == speaker)
        if kind == "preference" and role == "user" and place not in {"later", "assistant"}:
            assert texts[0] in row["prompt"]


# -- the control -----------------------------------------------------------------------------------------


def hosts_of(*places: Path) -> tuple[Hosts, list[Kind]]:
    hosts, kinds = Hosts(), set()
    for place in places:
        adapter = None
        for batch in open_source(
            SourceSpec.model_validate({"from": str(place)}), base=place.parent
        ).batches():
            adapter = adapter or detect(batch.table, where=str(place))
            rows = adapt(batch, adapter, adapter.kinds[0]).rows
            hosts.add(adapter.kinds[0], rows, row_keys(42, place.name, rows["row"].to_numpy()))
            kinds.add(adapter.kinds[0])
    return hosts, sorted(kinds)


@pytest.fixture(scope="module", params=["tulu3", "tulu-data"])
def sample(request: pytest.FixtureRequest) -> SuiteItems:
    return read_items(load_suite("sample", Workspace(shipped()), rule=request.param))


@pytest.fixture(scope="module")
def hosts() -> Hosts:
    folder = shipped() / "mixtures" / "sample"
    return hosts_of(folder / "chat.jsonl.gz", folder / "scraped.jsonl")[0]


def by_kind(measured: Measured) -> dict[str, tuple[int, int]]:
    """Planted and found, of each kind over all evals."""
    planted, found = Counter[str](), Counter[str]()
    for cell in measured.cells:
        planted[cell.kind] += cell.planted
        found[cell.kind] += cell.found
    return {kind: (planted[kind], found[kind]) for kind in planted}


PLAIN = ("exact", "inside", "case_and_spacing", "unicode", "later_turn", "assistant_turn")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("roles", [None, ("user", "assistant"), ("assistant",), ("system",)])
def test_what_a_rule_promises_is_found_in_rows_of_every_kind(
    sample: SuiteItems, hosts: Hosts, kind: Kind, roles: tuple[str, ...] | None
) -> None:
    found = by_kind(measure(sample, roles, hosts, kinds=[kind], plants=6))
    promised = [*PLAIN, "part_60"]
    if isinstance(sample.suite.rule, Distinctive):
        promised += ["split_turns", "changed_numbers"]
    if roles == ("system",):
        promised.remove("assistant_turn")
        assert found["assistant_turn"] == (0, 0)
    for name in promised:
        planted, hit = found[name]
        assert planted == hit > 0, name
    assert found["part_40"][0] > 0
    assert [found[way.name][1] for way in WAYS if way.decoy] == [0, 0, 0]


def test_what_can_be_planted_is_counted_for_every_item(sample: SuiteItems, hosts: Hosts) -> None:
    measured = measure(sample, ("user",), hosts, plants=3)
    assert [cell.kind for cell in measured.cells[: len(WAYS)]] == [way.name for way in WAYS]
    for cell in measured.cells:
        assert cell.items == cell.eligible + cell.not_checkable.total()
        assert cell.planted == min(3, cell.eligible)
    blind = [cell for cell in measured.cells if cell.kind == "assistant_turn"]
    assert all(cell.eligible == 0 and "no assistant turn" in next(iter(cell.not_checkable)) for cell in blind)
    parts = sum(cell.eligible for cell in measured.cells if cell.kind == "part_60")
    assert 0 < parts < 60, "short items hold no n-gram in 60 %"


def test_the_same_seed_plants_the_same(sample: SuiteItems, hosts: Hosts) -> None:
    once, again, other = (measure(sample, None, hosts, seed=seed, plants=5) for seed in (1, 1, 2))
    assert once == again
    anatomy = [Anatomy(sample, sample.evals[0], seed).order.tolist() for seed in (1, 1, 2)]
    assert anatomy[0] == anatomy[1] != anatomy[2]
    assert [cell.eligible for cell in once.cells] == [cell.eligible for cell in other.cells]


def test_more_plants_only_add(sample: SuiteItems) -> None:
    planted: dict[int, list[tuple[str, str, str]]] = {}
    for plants in (2, 5):
        anatomies = [Anatomy(sample, part, 7) for part in sample.evals]
        carriers: dict[Kind, list[Any]] = {"sft": [synthetic("sft")]}
        stream = control._plants(anatomies, [], carriers, None, plants)
        planted[plants] = [(plant.cell.kind, plant.cell.eval, plant.name) for plant in stream]
    assert set(planted[2]) < set(planted[5])


def test_without_rows_a_conversation_of_ours_carries(sample: SuiteItems) -> None:
    measured = measure(sample, ("user",), Hosts(), kinds=["sft", "preference"], plants=4)
    assert measured.hosts == {"preference": 0, "sft": 0}
    assert by_kind(measured)["exact"] == (12, 12)


def test_no_plants_measure_nothing(sample: SuiteItems, hosts: Hosts) -> None:
    measured = measure(sample, ("user",), hosts, plants=0)
    assert set(by_kind(measured).values()) == {(0, 0)}
    assert sum(cell.eligible for cell in measured.cells if cell.kind == "exact") == 60


def test_rows_that_match_something_carry_nothing(sample: SuiteItems) -> None:
    leak = sample.evals[0].texts[0][3]
    hosts = Hosts()
    hosts.add("sft", sft([conversation(leak), conversation("Hello there")]), np.array([1, 2], np.uint64))
    assert control._carriers(sample, hosts, ["sft"]) == {"sft": [{"messages": conversation("Hello there")}]}


def test_a_matcher_that_finds_nothing(
    sample: SuiteItems, hosts: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        control, "findings_of", without(lambda flat: pc.is_null(pc.struct_field(flat, "eval")))
    )
    measured = measure(sample, ("user",), hosts, plants=4)
    planted, found = by_kind(measured)["exact"]
    assert (planted, found) == (12, 0)
    assert {odd.kind for odd in measured.missed} >= {"exact", "inside", "part_60"}


def test_a_matcher_that_is_blind_to_an_eval_does_not_excuse_itself(
    sample: SuiteItems, hosts: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = measure(sample, ("user",), hosts, plants=4)
    monkeypatch.setattr(
        control,
        "findings_of",
        without(lambda flat: pc.not_equal(pc.struct_field(flat, "eval"), "sample_code")),
    )
    blind = measure(sample, ("user",), hosts, plants=4)
    assert [replace_found(cell) for cell in blind.cells] == [replace_found(cell) for cell in whole.cells]
    exact = {cell.eval: cell.found for cell in blind.cells if cell.kind == "exact"}
    assert exact == {"sample_math": 4, "sample_facts": 4, "sample_code": 0}
    assert {odd.eval for odd in blind.missed if odd.kind == "exact"} == {"sample_code"}


def replace_found(cell: Cell) -> Cell:
    return replace(cell, found=0)


def without(keep: Any) -> Any:
    """`findings_of` of a matcher that has lost some findings."""

    def blind(*given: Any) -> pa.Array:
        found = findings_of(*given)
        rows = []
        for row in found.to_pylist():
            kept = keep(pa.array(row or [], found.type.value_type)).to_pylist()
            rows.append([one for one, keeps in zip(row or [], kept, strict=True) if keeps] or None)
        return pa.array(rows, found.type)

    return blind


# -- a suite with everything -----------------------------------------------------------------------------

QUESTIONS = [
    "Which of the lakes that border Tanzania lies deepest below the level of the sea",
    "Which treaty ended the war between Sweden and the Hanseatic towns in the north",
    "Which enzyme unwinds the two strands of a helix ahead of the replication fork",
    "Which bridge over the river Douro was built by a pupil of Gustave Eiffel",
    "Which instrument did the court musicians of Versailles tune before the others",
    "Which mineral gives the sands of that southern beach their deep green colour",
]
TEMPLATE = "Read the following question with care and then choose the letter of the best answer."


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> SuiteItems:
    place = tmp_path_factory.mktemp("mixed")
    rows = ["id\tquestion\ta\tb\tc"]
    rows += [
        f"q{n}\t{TEMPLATE} {q}?\tthe {n} red fox\tthe {n} grey owl\tthe {n} old oak"
        for n, q in enumerate(QUESTIONS)
    ]
    (place / "choice.tsv").write_text("\n".join(rows) + "\n")
    (place / "same.tsv").write_text(f"id\tquestion\ns1\t{TEMPLATE} {QUESTIONS[0]}?\ns2\t？！\ns3\t你\n")
    (place / "s.yaml").write_text(
        "suite: mixed\nrule: tulu-data\nevals:\n"
        "  - {name: choice, from: choice.tsv, fields: [question], options: [a, b, c], id: id}\n"
        "  - {name: same, from: same.tsv, fields: [question], id: id}\n"
    )
    return read_items(load_suite("s.yaml", Workspace(place)))


def cells(measured: Measured, eval_: str) -> dict[str, Cell]:
    return {cell.kind: cell for cell in measured.cells if cell.eval == eval_}


def test_options_and_boilerplate(mixed: SuiteItems) -> None:
    found = cells(measure(mixed, ("user",), Hosts()), "choice")
    for kind in (*PLAIN[:-1], "split_turns", "shuffled_options"):
        assert (found[kind].planted, found[kind].found) == (6, 6), kind
    for kind in ("part_40", "answer_alone", "template_only"):
        assert (found[kind].planted, found[kind].found) == (6, 0), kind


def way(name: str) -> Way:
    return next(way for way in WAYS if way.name == name)


def text_of(mixed: SuiteItems, name: str, item: int = 0) -> str:
    planting = way(name).plant(specimen(mixed, item))
    assert planting is not None
    return " | ".join(planting.texts)


def specimen(suite: SuiteItems, item: int, part: int = 0) -> Specimen:
    return Anatomy(suite, suite.evals[part], 42).specimen(item)


def test_what_is_planted_reads_as_it_is_told(mixed: SuiteItems) -> None:
    assert text_of(mixed, "exact").endswith(
        "of the sea?\nA. the 0 red fox\nB. the 0 grey owl\nC. the 0 old oak"
    )
    assert text_of(mixed, "answer_alone") == "A. the 0 red fox\nB. the 0 grey owl\nC. the 0 old oak"
    question, *options = text_of(mixed, "shuffled_options").split("\n")
    assert question == f"{TEMPLATE} {QUESTIONS[0]}?"
    assert [o[:4] for o in options] == ["(1) ", "(2) ", "(3) "]
    texts = [option[4:] for option in options]
    assert sorted(texts) == ["the 0 grey owl", "the 0 old oak", "the 0 red fox"]
    assert texts[0] != "the 0 red fox"
    first, second = (way("split_turns").plant(specimen(mixed, 0)) or Planting("split", ())).texts
    assert first + second == body(specimen(mixed, 0))
    boilerplate = text_of(mixed, "template_only")
    assert "with care and then choose" in boilerplate
    assert "Tanzania" not in boilerplate


def test_items_without_tokens_cannot_be_checked(mixed: SuiteItems) -> None:
    measured = measure(mixed, ("user",), Hosts())
    assert measured.unfit["same"] == {"no token in any field": 1}
    assert cells(measured, "same")["exact"].eligible == 2


def test_an_item_of_the_same_words_elsewhere_counts_as_found(
    mixed: SuiteItems, monkeypatch: pytest.MonkeyPatch
) -> None:
    only = without(lambda flat: pc.not_equal(pc.struct_field(flat, "eval"), "same"))
    monkeypatch.setattr(control, "findings_of", only)
    found = cells(measure(mixed, ("user",), Hosts()), "same")
    assert found["exact"].found == 0, "q0 has options, s1 has none: they are not the same item"
    anatomies = [Anatomy(mixed, part, 1) for part in mixed.evals]
    assert anatomies[0].identity("q0")[0] == anatomies[1].identity("s1")[0]


def test_a_question_that_its_options_repeat_is_no_decoy(tmp_path: Path) -> None:
    (tmp_path / "e.tsv").write_text("q\ta\tb\nThe sun is a star\tthe sun is a star\tno\n")
    (tmp_path / "s.yaml").write_text(
        "suite: s\nrule: tulu3\nevals:\n  - {name: e, from: e.tsv, fields: [q], options: [a, b]}\n"
    )
    suite = read_items(load_suite("s.yaml", Workspace(tmp_path)))
    cell = cells(measure(suite, ("user",), Hosts()), "e")["answer_alone"]
    assert (cell.eligible, cell.planted, cell.not_checkable) == (0, 0, {"its own words": 1})


# -- real data -------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["tulu-data", "tulu3", "olmo3", "gpt3", "exact"])
def test_every_rule_keeps_its_promises_on_the_local_suite(
    shared_data: Path, tmp_path: Path, rule: str
) -> None:
    (tmp_path / "data").symlink_to(shared_data)
    suite_file = Path(__file__).parent.parent / "recipes" / "suite.yaml"
    (tmp_path / "suite.yaml").write_text(suite_file.read_text(encoding="utf-8"), encoding="utf-8")
    suite = read_items(load_suite("suite.yaml", Workspace(tmp_path), rule=rule))
    samples = shared_data / "train" / "tulu3_samples"
    hosts, kinds = hosts_of(*sorted(samples.glob("*_sample.jsonl*")))
    assert kinds == ["preference", "rlvr", "sft"]
    found = by_kind(measure(suite, None, hosts, kinds=kinds))
    promised = suite.suite.rule.promises
    for name in promised:
        planted, hit = found[name]
        assert hit == planted, (name, planted - hit)
    assert {found[way.name][1] for way in WAYS if way.decoy} == {0}
