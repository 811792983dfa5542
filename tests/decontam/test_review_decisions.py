"""The decisions file: what is taken, what is refused and how that is told, and what becomes of findings."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.decontam.pages import Case, Found
from tulu_data.decontam.evidence import FINDING
from tulu_data.decontam.review.decisions import Decisions, Place, load_decisions
from tulu_data.errors import UsageError


def entry(
    row_id: str = "chat/aa/0", item: str = "gsm8k/1", decision: Any = "keep", **more: Any
) -> dict[str, Any]:
    name, _, item_id = item.partition("/")
    return {"row_id": row_id, "eval": name, "item_id": item_id, "decision": decision, **more}


def saved(path: Path, *decisions: Any, **head: Any) -> Path:
    told = {"tulu_data": "0.1.0", "suite": "mine", "run": "ab12", "decisions": list(decisions)} | head
    path.write_text(json.dumps({key: value for key, value in told.items() if value is not ...}))
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "decisions.json"


def found(row: str, item: str, action: str = "drop") -> Found:
    return Found(row, ["user: [[ab]]"], item, {"q": "[[ab]]"}, action=action)


def findings(*rows: list[Found] | None) -> tuple[pa.Array, pa.Array]:
    """Ids and findings of rows, those without a finding included."""
    lists, ids = [], []
    for number, own in enumerate(rows):
        ids.append(own[0].row_id if own else f"none/{number}/0")
        lists.append(Case(Path(), own).batches()[0][3].to_pylist()[0] if own else None)
    return pa.array(ids), pa.array(lists, pa.list_(FINDING))


def actions(array: pa.Array) -> list[list[str] | None]:
    return [row and [one["action"] for one in row] for row in array.to_pylist()]


ONE_FINDING = findings([found("chat/aa", "e/1")])[1].to_pylist()[0][0]


# -- what becomes of findings -------------------------------------------------------------------------------


def test_a_decision_sets_the_action_of_its_finding_and_of_no_other(file: Path) -> None:
    decisions = load_decisions(
        saved(file, entry("chat/aa/0", "gsm8k/1", "keep"), entry("chat/cc/0", "math/7", "drop")), suite="mine"
    )
    ids, given_ = findings(
        [found("chat/aa", "gsm8k/1"), found("chat/aa", "gsm8k/2"), found("chat/aa", "math/1")],
        None,
        [found("chat/bb", "gsm8k/1")],
        [found("chat/cc", "math/7", "review")],
    )
    after = decisions.apply(ids, given_)
    assert actions(after) == [["keep", "drop", "drop"], None, ["drop"], ["drop"]]
    assert after.type == given_.type
    as_before = [[{**one, "action": ""} for one in row or []] for row in given_.to_pylist()]
    assert [[{**one, "action": ""} for one in row or []] for row in after.to_pylist()] == as_before


def test_findings_in_a_slice_of_a_batch_are_met(file: Path) -> None:
    decisions = load_decisions(saved(file, entry("chat/bb/0", "gsm8k/1")), suite="mine")
    ids, given_ = findings([found("chat/aa", "gsm8k/1")], None, [found("chat/bb", "gsm8k/1")])
    assert actions(decisions.apply(ids[1:], given_[1:])) == [None, ["keep"]]
    assert actions(decisions.apply(ids[:2], given_[:2])) == [["drop"], None]


def test_where_nothing_is_decided_findings_stay_the_same_object(file: Path) -> None:
    ids, given_ = findings([found("chat/aa", "gsm8k/1")], None)
    assert load_decisions(saved(file), suite="mine").apply(ids, given_) is given_


@given(
    st.lists(st.tuples(*[st.text("a\0/1", min_size=1, max_size=3)] * 2), min_size=2, max_size=6, unique=True)
)
def test_no_two_places_are_taken_for_one(places: list[tuple[str, str]]) -> None:
    first, *others = places
    decisions = Decisions(Path("d.json"), "", {Place(first[0], "e", first[1]): "keep"})
    array = pa.array([[{**ONE_FINDING, "item_id": item}] for _, item in places], pa.list_(FINDING))
    after = decisions.apply(pa.array([row for row, _ in places]), array)
    assert actions(after) == [["keep"], *([["drop"]] * len(others))]


def test_what_was_used_is_known_after_many_batches_in_many_threads(file: Path) -> None:
    rows = [f"chat/{number:03}" for number in range(200)]
    entries = [entry(f"{row}/0", "gsm8k/1") for row in rows] + [entry("gone/00/0", "gsm8k/1", "drop")]
    decisions = load_decisions(saved(file, *entries), suite="mine")
    batches = [findings([found(row, "gsm8k/1")]) for row in rows]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda batch: decisions.apply(*batch), batches))
    assert decisions.unused == [Place("gone/00/0", "gsm8k", "1")]
    assert decisions.told("ab12") == {
        "file": str(file), "decisions": 201, "keep": 200, "drop": 1, "without_finding": 1, "same_run": True,
    }  # fmt: skip


# -- a file from another run --------------------------------------------------------------------------------


def test_a_file_from_another_run_holds_where_the_same_is_found_again(file: Path) -> None:
    decisions = load_decisions(saved(file, entry(), entry("chat/zz/0"), run="another"), suite="mine")
    ids, given_ = findings([found("chat/aa", "gsm8k/1")])
    assert actions(decisions.apply(ids, given_)) == [["keep"]]
    told = decisions.told("ab12")
    assert (told["without_finding"], told["same_run"]) == (1, False)


def test_a_file_of_which_no_decision_fits_is_refused_at_the_end(file: Path) -> None:
    decisions = load_decisions(saved(file, entry("chat/zz/0"), entry("chat/yy/0")), suite="mine")
    decisions.apply(*findings([found("chat/aa", "gsm8k/1")]))
    with pytest.raises(UsageError) as caught:
        decisions.told("ab12")
    assert str(caught.value) == (
        f"{file}, decisions[0]: none of its 2 decisions is about a finding of this run; expected decisions "
        "about these rows and this suite. It names row 'chat/zz/0' and item '1' of 'gsm8k'"
    )


def test_an_empty_file_decides_nothing_and_is_no_error(file: Path) -> None:
    assert load_decisions(saved(file), suite="mine").told("ab12")["decisions"] == 0


def test_a_file_about_another_suite_is_refused(file: Path) -> None:
    with pytest.raises(UsageError, match="decisions about the suite 'theirs'; expected a file about 'mine'"):
        load_decisions(saved(file, entry(), suite="theirs"), suite="mine")


# -- bad files ----------------------------------------------------------------------------------------------


ONE = "one decision about a finding"
KEYS = "expected only row_id, eval, item_id, decision"


@pytest.mark.parametrize(
    ("decisions", "message"),
    [
        (
            [entry(decision="kep")],
            "decisions[0]: no decision is called 'kep'; expected 'keep' or 'drop'. Did you mean 'keep'?",
        ),
        (
            [entry(), entry(decision=["keep"])],
            "decisions[1]: no decision is called ['keep']; expected 'keep' or 'drop'",
        ),
        ([entry(note="x")], f"decisions[0]: unknown key 'note'; {KEYS}"),
        ([entry(item_ids="x")], f"decisions[0]: unknown key 'item_ids'; {KEYS}. Did you mean 'item_id'?"),
        (
            [{"row_id": "a", "eval": "b", "decision": "keep"}],
            "decisions[0]: the key 'item_id' is missing",
        ),
        ([entry() | {"item_id": 1}], "decisions[0]: 'item_id' is no text but 1"),
        (["keep"], f"decisions[0]: is not an object; {KEYS.replace('only', 'the keys')}"),
        (
            [entry(), entry(item="gsm8k/2"), entry(decision="drop")],
            "decisions[2]: says 'drop' where decisions[0] says 'keep' of the same finding; expected " + ONE,
        ),
    ],
)
def test_a_wrong_entry_is_told_with_its_place(file: Path, decisions: list[Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        load_decisions(saved(file, *decisions), suite="mine")
    assert str(caught.value) == f"{file}, {message}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            b"{\n  nonsense",
            ", line 2, column 3: is not JSON: Expecting property name enclosed in double quotes",
        ),
        (b"\xff\xfe", ": is not UTF-8 at byte 0"),
        (b"[" * 100_000, ": is no decisions file; expected what the review page saves"),
        (b"[]", ": is not an object; expected the keys tulu_data, suite, run, decisions"),
        (b'{"tulu_data": "1", "suite": "mine", "decisions": []}', ": the key 'run' is missing"),
        (b'{"tulu_data": "1", "suite": "mine", "run": 5, "decisions": []}', ": 'run' is no text but 5"),
        (b'{"tulu_data": "1", "suite": "mine", "run": "", "decisions": {}}', ", decisions: is not a list"),
        (
            b'{"tulu_data": "1", "suit": "mine", "run": "", "decisions": []}',
            ": unknown key 'suit'; expected only tulu_data, suite, run, decisions. Did you mean 'suite'?",
        ),
    ],
)
def test_a_file_that_is_no_decisions_file_is_one_message(file: Path, text: bytes, message: str) -> None:
    file.write_bytes(text)
    with pytest.raises(UsageError) as caught:
        load_decisions(file, suite="mine")
    assert str(caught.value) == f"{file}{message}"


def test_a_missing_file_and_a_folder_are_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"gone\.json: the file does not exist"):
        load_decisions(tmp_path / "gone.json", suite="mine")
    with pytest.raises(UsageError, match="cannot be read: Is a directory"):
        load_decisions(tmp_path, suite="mine")


def test_the_same_decision_twice_and_a_byte_order_mark_do_no_harm(file: Path) -> None:
    saved(file, entry(), entry())
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert len(load_decisions(file, suite="mine")) == 1


# -- fingerprints -------------------------------------------------------------------------------------------


def test_the_content_hash_is_about_what_is_decided_only(file: Path) -> None:
    def content(*decisions: Any, **head: Any) -> str:
        return load_decisions(saved(file, *decisions, **head), suite="mine").content()

    one, two = entry(), entry(item="gsm8k/2", decision="drop")
    assert content(one, two) == content(two, one, run="another", tulu_data="9")
    assert (
        len({content(one, two), content(one), content(two), content(), content(entry(decision="drop"), two)})
        == 5
    )
