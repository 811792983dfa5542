"""The review page: what lies in the file."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.decontam.pages import (
    ALL,
    BOXES,
    CHINESE,
    HOSTILE,
    LONG,
    NUMBERS,
    PAIR,
    ROWS,
    YARD,
    Case,
    Found,
    blocks,
    head_of,
    unmarked,
)  # fmt: skip
from tulu_data.decontam.review import page, texts
from tulu_data.decontam.review.page import Head, write_report
from tulu_data.decontam.review.texts import RowTexts
from tulu_data.errors import StoreError


def places(tables: Iterator[pa.Table]) -> list[dict[str, Any]]:
    return [row for table in tables for row in table.to_pylist()]


# -- the file -----------------------------------------------------------------------------------------------


def test_the_page_is_one_file_that_asks_for_nothing_and_runs_only_its_own_script(tmp_path: Path) -> None:
    text = Case(tmp_path, ALL).write().read_text()
    markup = re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)
    assert not re.search(r"\bsrc\s*=|\bhref\s*=|\bon\w+\s*=|@import|url\(", markup)
    assert not re.search(r"https?://|\bfetch\b|XMLHttpRequest|WebSocket|\bimport\s*[({]", text)
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
    assert policy
    for tag, rule in (("script", "script-src"), ("style", "style-src")):
        (content,) = re.findall(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        digest = b64encode(sha256(content.encode()).digest()).decode()
        assert f"{rule} 'sha256-{digest}';" in policy[1]
    assert policy[1].startswith("default-src 'none'; ")
    assert "unsafe" not in policy[1]
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\s*\(|new Function", text
    )


def test_no_row_or_item_reaches_the_markup(tmp_path: Path) -> None:
    found = Found(
        f"chat {HOSTILE}/1",
        [f"user: {HOSTILE} [[x]]"],
        f"gsm8k/{HOSTILE}",
        {"q": f"{HOSTILE} [[x]]"},
        train_id=HOSTILE,
    )
    given = {"title": HOSTILE, "warnings": [HOSTILE]}
    path = Case(tmp_path, [found]).write(head=given)
    text = path.read_text()
    assert "pwned" not in re.sub(r"<script type.*?</script>", "", text)
    assert text.count("</script") == len(blocks(path)) + 2
    assert text.isascii() or "pwned" not in text.split('id="head"')[0]
    assert head_of(path)["title"] == HOSTILE
    assert any(HOSTILE in json.dumps(block, ensure_ascii=False).replace("\\", "") for block in blocks(path))


def test_every_text_lies_in_the_file_once_however_many_findings_name_it(tmp_path: Path) -> None:
    many = [
        Found("chat/0", [f"user: {BOXES}"], f"gsm8k/{n}", {"question": f"{BOXES} {n}"}) for n in range(50)
    ] + [
        Found(f"chat/{n}", [f"user: {BOXES} {n}"], "gsm8k/0", {"question": f"{BOXES} 0"})
        for n in range(1, 50)
    ]
    text = json.dumps(blocks(Case(tmp_path, many).write()))
    assert text.count(unmarked(BOXES)[0]) == 100


def test_the_same_findings_give_the_same_bytes_whichever_order_their_texts_came_in(tmp_path: Path) -> None:
    case = Case(tmp_path, ALL)
    first = case.write().read_bytes()
    assert case.write().read_bytes() == first
    suite, path = case.suite(), tmp_path / "other.html"
    with RowTexts(tmp_path / "t.arrow") as kept:
        for row_ids, _, rows, findings in reversed(case.batches()):
            kept.append(row_ids, rows, findings)
        pq.write_table(case.matches(), tmp_path / "matches.parquet")
        given = Head("a test", {"chat": 1}, ["user"])
        write_report(path, head=given, matches=tmp_path / "matches.parquet", texts=kept, suite=suite)
    told = blocks(path)
    columns, ids, rows = told[-2], told[-1], told[1]
    assert [ids[owner] for owner in rows["owner"]] == [
        found.row_id for found in (PAIR, PAIR, PAIR, NUMBERS, CHINESE, LONG, YARD)
    ]
    assert len(columns["row"]) == len(ALL)


def test_the_fingerprint_is_about_what_is_found_and_not_about_what_happens_to_it(tmp_path: Path) -> None:
    def run(*found: Found) -> str:
        return str(head_of(Case(tmp_path, found).write())["run"])

    kept = Found(YARD.row, YARD.messages, YARD.item, YARD.fields, action="keep")
    assert run(YARD) == run(kept)
    assert len({run(YARD), run(YARD, LONG), run(LONG, YARD), run(LONG)}) == 4


def test_the_fingerprint_is_the_same_however_the_findings_are_batched(tmp_path: Path) -> None:
    case = Case(tmp_path, ALL)
    matches, runs = case.matches(), set()
    for size in (1, 2, 6):
        tables = [matches.slice(start, size) for start in range(0, 6, size)]
        with RowTexts(tmp_path / "t.arrow") as kept:
            given = {"head": Head("t", {}, None), "matches": tables, "texts": kept, "suite": case.suite()}
            runs.add(write_report(tmp_path / "p.html", **given))  # type: ignore[arg-type]
            assert head_of(tmp_path / "p.html")["rows"] == 5
    assert len(runs) == 1


def test_findings_of_another_suite_are_left_out(tmp_path: Path) -> None:
    case = Case(tmp_path, [YARD, LONG])
    matches = case.matches()
    other = matches.slice(1).set_column(4, "eval", pa.array(["theirs"]))
    with RowTexts(tmp_path / "t.arrow") as kept:
        given = Head("a test", {"chat": 1}, None)
        both = [other, matches.slice(0, 1), other]
        write_report(tmp_path / "p.html", head=given, matches=both, texts=kept, suite=case.suite())
    told = head_of(tmp_path / "p.html")
    assert (told["total"], told["rows"]) == (1, 1)


def test_the_overview_counts_all_findings_where_not_all_are_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "MOST_FINDINGS", 2)
    path = Case(tmp_path, ALL).write()
    told = head_of(path)
    assert (told["total"], told["listed"], told["rows"]) == (6, 2, 5)
    assert [len(blocks(path)[-2][name]) for name in ("row", "item", "score")] == [2, 2, 2]
    assert blocks(path)[-1] == [YARD.row_id]
    assert sum(map(sum, told["counts"])) == 6


def test_counts_tell_items_to_drop_by_from_items_for_review_only(tmp_path: Path) -> None:
    kept = Found("tasks/kk", ["user: [[a b]]"], "gsm8k/20", {"question": "[[a b]]"}, action="keep")
    told = head_of(Case(tmp_path, [*ALL, kept], ROWS).write(head={"contaminated": [("zh", "cmath")]}))
    assert [d["name"] for d in told["datasets"]] == ["chat", "tasks", "zh", "pref"]
    assert [e["name"] for e in told["evals"]] == ["gsm8k", "mmlu", "cmath"]
    assert told["cells"] == [
        [0, 0, 1, 0, 1, False], [0, 1, 0, 1, 1, False], [1, 0, 1, 1, 2, False], [2, 2, 1, 0, 1, True],
        [3, 1, 1, 0, 1, False],
    ]  # fmt: skip
    assert [e["found"] for e in told["evals"]] == [[2, 1], [1, 1], [1, 0]]
    assert [d["found"] for d in told["datasets"]] == [[1, 0], [1, 1], [1, 0], [1, 0]]
    of = dict(zip(told["kinds"], told["counts"], strict=True))
    assert (of["partial"], of["changed_numbers"]) == ([2, 0, 1], [0, 1, 0])


def test_a_page_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    case = Case(tmp_path, ALL)
    before = case.write().read_bytes()

    def broken() -> Iterator[pa.Table]:
        yield case.matches()
        raise OSError(28, "No space left on device")

    with RowTexts(tmp_path / "t.arrow") as kept, pytest.raises(StoreError, match="the disk is full"):
        write_report(
            tmp_path / "report.html",
            head=Head("t", {}, None),
            matches=broken(),
            texts=kept,
            suite=case.suite(),
        )
    assert (tmp_path / "report.html").read_bytes() == before
    assert not list(tmp_path.glob(".report*"))


# -- the texts of rows --------------------------------------------------------------------------------------


def test_only_marked_messages_are_kept_with_their_place(tmp_path: Path) -> None:
    with RowTexts(tmp_path / "t.arrow") as kept:
        for row_ids, _, rows, findings in Case(tmp_path, [YARD, PAIR]).batches():
            kept.append(row_ids, rows, findings)
        told = [
            (p["row_id"], p["row"], p["column"], p["message"], p["role"], p["text"][:8])
            for p in places(kept.read())
        ]
    assert told == [
        ("chat/0a/0", 0, "messages", 1, "user", "My yard "),
        ("pref/66/0", 1, "prompt", 0, None, "The cell"),
        ("pref/66/0", 1, "chosen", 0, "user", "The cell"),
        ("pref/66/0", 1, "chosen", 1, "assistant", "mitochon"),
    ]
    assert not (tmp_path / "t.arrow").exists()


def test_of_a_long_text_what_lies_around_its_marks_is_kept(tmp_path: Path) -> None:
    text = f"user: {'é🙂' * 10_000}[[here]]{'b' * 50_000}[[there]]{'c' * 10}"
    found = Found("chat/1", [text], "gsm8k/1", {"question": "[[here]] [[there]]"})
    with RowTexts(tmp_path / "t.arrow") as kept:
        ((row_ids, _, rows, findings),) = Case(tmp_path, [found]).batches()
        kept.append(row_ids, rows, findings)
        (place,) = places(kept.read())
    whole = unmarked(text.removeprefix("user: "))[0]
    assert place["length"] == len(whole) == 70_019
    pieces = list(zip(place["starts"], place["ends"], strict=True))
    assert pieces == [(20_000 - 600, 20_004 + 600), (70_004 - 600, 70_019)]
    assert place["text"] == "".join(whole[start:end] for start, end in pieces)


@pytest.mark.parametrize(
    ("length", "marks", "pieces"),
    [
        (6_000, [], [(0, 6_000)]),
        (6_001, [], [(0, 600)]),
        (50_000, [(0, 40_000)], [(0, 16_000)]),
        (50_000, [(40_000, 40_001), (700, 701), (1_900, 1_901)], [(100, 2_501), (39_400, 40_601)]),
        (
            90_000,
            [(n * 2_000, n * 2_000 + 400) for n in range(40)],
            [(0, 1_000), *((n * 2_000 - 600, n * 2_000 + 1_000) for n in range(1, 10)), (19_400, 20_000)],
        ),
    ],
)  # fmt: skip
def test_long_texts_are_cut_around_marks_to_a_limit(
    length: int, marks: list[tuple[int, int]], pieces: list[tuple[int, int]]
) -> None:
    assert texts.cut(length, marks) == pieces
    assert sum(end - start for start, end in pieces) <= texts.MOST


def test_texts_may_come_from_many_threads_and_end_at_a_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(texts, "BATCH_BYTES", 100)
    found = [
        Found(f"chat/{n:03}", [f"user: [[{n:03}]] and more"], "gsm8k/1", {"q": "[[x]]"}) for n in range(100)
    ]
    batches = Case(tmp_path, found).batches()
    with RowTexts(tmp_path / "t.arrow") as kept, ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda batch: kept.append(batch[0], batch[2], batch[3]), batches))
        told = places(kept.read())
    assert sorted(p["row_id"] for p in told) == [one.row_id for one in found]
    assert all(p["text"] == f"{p['row_id'][5:8]} and more" for p in told)
    monkeypatch.setattr(texts, "TEXT_BYTES", 50)
    with RowTexts(tmp_path / "t.arrow") as kept:
        for row_ids, _, rows, findings in batches:
            kept.append(row_ids, rows, findings)
        assert len(places(kept.read())) == 5
