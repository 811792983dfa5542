"""The certificate: it says what was measured and no more, and the same run gives the same bytes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.rows import rows_of
from tulu_data.decontam.certificate import Certificate, DatasetTold, certify, percent, wilson
from tulu_data.decontam.certificate_step import GatherHosts, GatherScanned, certificate_of
from tulu_data.decontam.evidence import MATCHES, findings_of
from tulu_data.decontam.items import SuiteItems, read_items
from tulu_data.decontam.planting import Cell, Hosts, Measured, measure, row_keys
from tulu_data.decontam.scan_digest import ScanDigest
from tulu_data.decontam.suite import load_suite
from tulu_data.op import Context
from tulu_data.record import MESSAGES, Kind
from tulu_data.workspace import Workspace, shipped

control = import_module("tulu_data.decontam.planting.measure")

DATA = DatasetTold(
    dataset="chat", source="chat.jsonl", kind="sft", rows=1200, kept=1100, dropped=100, bad=3, sha256="0" * 64
)


@pytest.fixture(scope="module")
def sample() -> SuiteItems:
    return read_items(load_suite("sample", Workspace(shipped()), rule="tulu3"))


def rows(count: int) -> pa.Table:
    said = [
        [{"role": "user", "content": f"Tell me of {n}"}, {"role": "assistant", "content": "I shall."}]
        for n in range(count)
    ]
    return pa.table({"messages": pa.array(said, MESSAGES)})


def hosts() -> Hosts:
    found = Hosts()
    found.add("sft", rows(40), row_keys(42, "chat", np.arange(40)))
    return found


@pytest.fixture(scope="module")
def measured(sample: SuiteItems) -> Measured:
    return measure(sample, ("user",), hosts(), plants=10)


@pytest.fixture(scope="module")
def certificate(sample: SuiteItems, measured: Measured) -> Certificate:
    return certify(sample, measured, [DATA], ("user",))


def worsened(measured: Measured, kind: str, missed: int, eval_: str | None = None) -> Measured:
    """The same with some plants of a kind not found."""
    cells = []
    for cell in measured.cells:
        lost = min(missed, cell.found) if cell.kind == kind and eval_ in {None, cell.eval} else 0
        missed -= lost
        cells.append(replace(cell, found=cell.found - lost))
    return replace(measured, cells=cells)


# -- the verdict -----------------------------------------------------------------------------------------


def test_it_passes_where_all_that_is_promised_was_found(certificate: Certificate) -> None:
    assert certificate.passed
    assert certificate.status == "pass"
    assert certificate.statement == (
        "No match under rule tulu3 at suite sample in the 1,100 of 1,200 rows that are kept; planted recall "
        "by kind: exact 100 %, inside 100 %, case_and_spacing 100 %, unicode 100 %, later_turn 100 %, "
        "part_60 100 %; every item could be checked."
    )


def test_a_promised_kind_under_99_percent_fails_by_name(sample: SuiteItems, measured: Measured) -> None:
    told = certify(sample, worsened(measured, "unicode", 1), [DATA], ("user",))
    assert told.status.startswith("fail: planted recall is under 99% for unicode 96.6 %")
    assert not told.passed
    assert "this run misses what it should find" in told.statement


def test_what_the_rule_does_not_promise_does_not_fail(sample: SuiteItems, measured: Measured) -> None:
    lost = worsened(measured, "split_turns", 30)
    told = certify(sample, lost, [DATA], ("user",))
    assert told.status == "pass"
    (split,) = [kind for kind in told.kinds if kind.kind == "split_turns"]
    assert (split.promised, split.found) == (False, 0)


def test_one_eval_among_many_is_not_outvoted(sample: SuiteItems, measured: Measured) -> None:
    """A tenth of one eval is lost, but less than a hundredth of every kind."""
    many = [replace(cell, planted=cell.planted * 100, found=cell.found * 100) for cell in measured.cells]
    lost = worsened(replace(measured, cells=many), "exact", 20, "sample_code")
    told = certify(sample, lost, [DATA], ("user",))
    assert re.fullmatch(r"pass", told.status)
    for kind in ("inside", "unicode", "later_turn", "case_and_spacing"):
        lost = worsened(lost, kind, 20, "sample_code")
    told = certify(sample, lost, [DATA], ("user",))
    assert re.fullmatch(r"fail: planted recall is under 99% for eval sample_code 98\.\d %", told.status)


def test_nothing_planted_is_not_measured(sample: SuiteItems) -> None:
    told = certify(sample, measure(sample, ("user",), hosts(), plants=0), [DATA], ("user",))
    assert told.status == "not measured"
    assert "planted recall was not measured" in told.statement
    assert all(kind.recall is None and kind.low is None for kind in told.kinds)


def test_an_eval_of_which_nothing_can_be_planted_is_not_measured(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("q\n" + "\n".join(["Who wrote the play of Faust?"] * 3) + "\n")
    (tmp_path / "b.csv").write_text("q\n🙂\n？！\n")
    (tmp_path / "s.yaml").write_text(
        "suite: s\nrule: tulu3\nevals:\n"
        "  - {name: a, from: a.csv, fields: [q]}\n  - {name: b, from: b.csv, fields: [q]}\n"
    )
    suite = read_items(load_suite("s.yaml", Workspace(tmp_path)))
    told = certify(suite, measure(suite, ("user",), hosts()), [DATA], ("user",))
    assert told.status == "not measured: nothing could be planted of eval b"
    assert told.statement.endswith("these 2 items could not be checked: 2 of b.")
    assert told.evals[1].unchecked == {"no token in any field": 2}


def test_a_matcher_that_finds_nothing_fails(sample: SuiteItems, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = pa.nulls(10_000, pa.list_(findings_of(rows(1), "sft", None, sample).type.value_type))
    monkeypatch.setattr(control, "findings_of", lambda batch, *_: nothing.slice(0, batch.num_rows))
    told = certify(sample, measure(sample, ("user",), hosts(), plants=5), [DATA], ("user",))
    assert told.status.startswith("fail: planted recall is under 99% for exact 0.0 %, inside 0.0 %")
    assert "eval sample_math 0.0 %" in told.status
    assert told.missed[0].item_id


def test_flagged_decoys_are_told(sample: SuiteItems, measured: Measured) -> None:
    cells = [replace(cell, found=2) if cell.kind == "part_40" else cell for cell in measured.cells]
    told = certify(sample, replace(measured, cells=cells), [DATA], ("user",))
    assert "Decoys flagged: 6 of 30" in "\n".join(told.card_lines())


# -- its words -------------------------------------------------------------------------------------------


@pytest.fixture(params=["pass", "fail", "not measured"])
def any_status(request: pytest.FixtureRequest, sample: SuiteItems, measured: Measured) -> Certificate:
    empty: list[Cell] = []
    given = {
        "pass": measured,
        "fail": worsened(measured, "exact", 9),
        "not measured": replace(measured, cells=empty),
    }
    told = certify(sample, given[request.param], [DATA], ("user",))
    assert told.status.startswith(request.param)
    return told


def test_it_never_claims_more_than_was_checked(any_status: Certificate, tmp_path: Path) -> None:
    any_status.write(tmp_path)
    said = [
        (tmp_path / name).read_text(encoding="utf-8") for name in ("certificate.json", "certificate.html")
    ]
    for text in ("\n".join(any_status.card_lines()), *said):
        text = re.sub(r"<style>.*?</style>", "", text, flags=re.DOTALL).lower()  # noqa: PLW2901
        assert not re.search(r"\bclean\b|no contamination|uncontaminated|contamination-free", text)
        if not any_status.passed:
            assert not re.search(r"\bpass(ed|es)?\b", text)


def test_rows_that_are_kept_with_findings_are_told(sample: SuiteItems, measured: Measured) -> None:
    data = DATA.model_copy(update={"kept_with_findings": 7})
    told = certify(sample, measured, [data], ("user",))
    assert told.statement.startswith("No match that drops a row (7 rows are kept with findings) under rule")


# -- its bytes -------------------------------------------------------------------------------------------


def test_the_same_run_gives_the_same_bytes(sample: SuiteItems, tmp_path: Path) -> None:
    written = []
    for number, cuts in enumerate(([40], [7, 21, 40])):
        found, digest, first = Hosts(), ScanDigest("sft"), 0
        for last in cuts:
            piece = rows(40).slice(first, last - first)
            found.add("sft", piece, row_keys(42, "chat", np.arange(first, last)))
            digest.add(piece)
            first = last
        data = DATA.model_copy(update={"sha256": digest.hexdigest()})
        told = certify(sample, measure(sample, None, found, plants=5), [data], None)
        folder = tmp_path / str(number)
        folder.mkdir()
        told.write(folder)
        written.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert written[0] == written[1]
    assert set(written[0]) == {"certificate.json", "certificate.html"}


def test_it_can_be_read_again(certificate: Certificate) -> None:
    told = certificate.told()
    digest = told.pop("sha256")
    assert Certificate.model_validate(json.loads(json.dumps(told))) == certificate
    assert len(digest) == 64
    other = certificate.model_copy(update={"statement": "other"})
    assert other.told()["sha256"] != digest


def test_it_names_its_inputs(certificate: Certificate, sample: SuiteItems) -> None:
    told = certificate.told()
    assert [
        (e["eval"], e["role"], e["from"], e["split"], e["items"], e["expected"]) for e in told["evals"]
    ] == [
        ("sample_math", "development", "../mixtures/sample/sample_math.jsonl", "test", 24, 24),
        ("sample_facts", "unseen", "../mixtures/sample/sample_facts.csv", "test", 24, 24),
        ("sample_code", "development", "../mixtures/sample/sample_code.jsonl", "test", 12, 12),
    ]
    assert len({e["sha256"] for e in told["evals"]}) == 3
    assert told["rule"] == "tulu3"
    assert told["rule_settings"]["ngram"] == 8
    assert told["roles"] == ["user"]
    assert told["control"] == {"seed": 42, "plants": 10, "hosts": {"sft": 32}}
    assert {"tulu_data", "python", "unicode", "pyarrow", "numpy", "numba"} == set(told["made_by"])


@settings(max_examples=25, deadline=None)
@given(rows_of("sft"), rows_of("preference"), st.integers(0, 6))
def test_a_scan_digest_knows_no_batches(sft: pa.Table, pairs: pa.Table, cut: int) -> None:
    kinds: tuple[tuple[Kind, pa.Table], ...] = (("sft", sft), ("preference", pairs))
    for kind, table in kinds:
        once, pieces = ScanDigest(kind), ScanDigest(kind)
        once.add(table)
        pieces.add(table.slice(0, cut))
        pieces.add(table.slice(cut))
        assert once.hexdigest() == pieces.hexdigest()


def test_a_scan_digest_sees_every_change() -> None:
    base = [[("user", "ab"), ("assistant", "c")], [("user", "d")]]
    changed = [
        [[("user", "a"), ("assistant", "bc")], [("user", "d")]],
        [[("assistant", "ab"), ("user", "c")], [("user", "d")]],
        [[("user", "ab")], [("assistant", "c"), ("user", "d")]],
        [[("user", "d")], [("user", "ab"), ("assistant", "c")]],
    ]
    seen = set()
    for case in (base, *changed):
        said = [[{"role": role, "content": text} for role, text in turns] for turns in case]
        digest = ScanDigest("sft")
        digest.add(pa.table({"messages": pa.array(said, MESSAGES)}))
        seen.add(digest.hexdigest())
    assert len(seen) == len(changed) + 1


@pytest.mark.parametrize(
    ("found", "planted", "low", "high"), [(0, 10, 0, 0.2775), (10, 10, 0.7225, 1), (1, 2, 0.0945, 0.9055)]
)
def test_wilson_as_tables_have_it(found: int, planted: int, low: float, high: float) -> None:
    assert list(wilson(found, planted)) == pytest.approx([low, high], abs=1e-4)


@given(st.integers(1, 10**6).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_the_share(pair: tuple[int, int]) -> None:
    found, planted = pair
    low, high = wilson(found, planted)
    assert 0 <= low <= found / planted + 1e-6
    assert found / planted - 1e-6 <= high <= 1


def test_a_share_is_never_rounded_up_to_all() -> None:
    assert percent(99_999 / 100_000) == "99.9 %"


# -- its page --------------------------------------------------------------------------------------------

EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&"


class Page(HTMLParser):
    """Notes what is on a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}


def test_the_page_is_inert_and_alone(sample: SuiteItems, measured: Measured, tmp_path: Path) -> None:
    data = DATA.model_copy(update={"dataset": EVIL, "source": EVIL})
    odd = [replace(odd, item_id=EVIL) for odd in measured.missed]
    missed = [replace(odd[0], kind="exact")] if odd else []
    told = certify(sample, replace(measured, missed=missed), [data], ("user",))
    told.write(tmp_path)
    text = (tmp_path / "certificate.html").read_text(encoding="utf-8")
    page = Page()
    page.feed(text)
    assert not page.tags & {"script", "img", "link", "iframe", "object", "form", "a", "svg"}
    assert not {name for name in page.attributes if name.startswith("on") or name in {"src", "href"}}
    assert "default-src 'none'" in text
    assert "&lt;script&gt;alert(1)" in text


def test_the_page_tells_what_the_certificate_tells(certificate: Certificate, tmp_path: Path) -> None:
    certificate.write(tmp_path)
    text = (tmp_path / "certificate.html").read_text(encoding="utf-8")
    for said in ("sample_math", "case and spacing*", "10/10", "chat.jsonl", "1,200", "holds no 8-gram"):
        assert said in text, said
    for kind in certificate.kinds:
        assert kind.eligible_are.split(":")[0] in text.replace("&#x27;", "'")


# -- in a build ------------------------------------------------------------------------------------------


def artifacts(tmp_path: Path, tables: dict[str, pa.Table]) -> dict[str, Path]:
    out = {}
    for name, table in tables.items():
        out[name] = tmp_path / f"{name}.parquet"
        pq.write_table(table, out[name])
    return out


def folded(fold: GatherHosts | GatherScanned, table: pa.Table, cuts: list[int], context: Context) -> pa.Table:
    state: Any = fold.setup(context)
    pieces = [table.slice(a, b - a) for a, b in zip([0, *cuts], [*cuts, table.num_rows], strict=True)]
    return fold.finish(pa.concat_tables([fold.nothing(), *(fold.partial(piece, state) for piece in pieces)]))


def batch() -> Iterator[pa.Table]:
    ids = [f"{source}/{number:032x}/0" for source in ("chat", "web") for number in range(40)]
    said = pa.concat_tables([rows(40), rows(40)])
    yield said.append_column("id", pa.array(ids)).append_column(
        "source", pa.array([i[: i.index("/")] for i in ids])
    )


def test_a_build_gathers_hosts_and_what_was_scanned(sample: SuiteItems, tmp_path: Path) -> None:
    (table,) = batch()
    context = Context(kind="sft", seed=3)
    for fold in (GatherHosts(), GatherScanned()):
        assert folded(fold, table, [], context).equals(folded(fold, table, [1, 30, 55], context))
    scanned = folded(GatherScanned(), table, [], context)
    assert scanned.select(["source", "rows"]).to_pylist() == [
        {"source": "chat", "rows": 40},
        {"source": "web", "rows": 40},
    ]
    assert len(set(scanned["sha256"].to_pylist())) == 2

    actions = [
        ("chat", "r1", "drop"),
        ("chat", "r1", "review"),
        ("chat", "r2", "review"),
        ("web", "r3", "drop"),
    ]
    found = [{"dataset": d, "row_id": r, "action": a, "eval": "sample_math"} for d, r, a in actions]
    tables = {
        "hosts": folded(GatherHosts(), table, [], context),
        "scanned": scanned,
        "matches": pa.Table.from_pylist(found, schema=MATCHES),
    }
    ready = Context(kind="sft", seed=3, artifacts=artifacts(tmp_path, tables))
    told = certificate_of(
        sample, ("user",), ready, matches="matches", plants=4, dropped=["web"], places={"chat": "hf:a/b"}
    )
    assert told.passed
    assert [
        (d.dataset, d.source, d.rows, d.kept, d.dropped, d.kept_with_findings) for d in told.datasets
    ] == [
        ("chat", "hf:a/b", 40, 39, 1, 1),
        ("web", "web", 40, 0, 40, 0),
    ]
    assert told.control.seed == 3
    assert told.control.hosts == {"sft": 32}
