"""Bad input, through the command line of both verbs: one message, a status, and nothing half-written."""

from __future__ import annotations

import gzip
import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.conftest import ROOT
from tests.rows import conversation
from tulu_data import cli
from tulu_data.engine.spill import Spill
from tulu_data.sources import streams

ITEM = "What is the sum of the first nine prime numbers that are larger than two?"
SUITE = "suite: mine\nevals:\n  - {name: sums, from: evals/items.jsonl, fields: [question], rows: 1}\n"
RECIPE = "mixture: mine\nkind: sft\nsources:\n  - {name: talk, from: ../data/FILE, license: mit}\n"

USAGE, ERROR, MATCHED, STOPPED = 2, 1, 3, 130


def line(row: Any) -> bytes:
    return json.dumps(row).encode() + b"\n"


def messages(*turns: Any) -> bytes:
    return line({"messages": list(turns)})


GOOD = messages(*conversation("user: Good morning", "assistant: Good morning to you"))
HIT = messages(*conversation(f"user: {ITEM}", "assistant: 125"))


def talk(rows: int, size: int = 60) -> bytes:
    """Lines that gzip cannot make much shorter."""
    said = (os.urandom(size).hex() for _ in range(rows))
    return b"".join(messages(*conversation(f"user: {text}", "assistant: yes")) for text in said)


@dataclass
class Told:
    """What one command said, and whether it left anything."""

    status: int
    out: str
    err: str
    left: set[str]

    def message(self) -> str:
        """The one message: everything else on standard error is progress or a warning."""
        assert "Traceback" not in self.err
        assert "fault of ours" not in self.err
        assert self.out == ""
        assert self.left == set()
        head, marker, text = self.err.partition("error: ")
        assert marker
        assert all(said.startswith("reading suite ") for said in head.splitlines())
        assert text.count("error: ") == 0
        return text.strip()


@dataclass
class Desk:
    """A workspace with one suite, one recipe, and the file that both verbs read."""

    root: Path
    capsys: pytest.CaptureFixture[str]

    def put(self, path: str, content: str | bytes) -> Path:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return file

    def data(self, name: str, content: bytes | None = None) -> None:
        """The recipe reads `data/name` from now on; so do the arguments of `decontaminate`."""
        self.name = name
        self.put("mixtures/mine.yaml", RECIPE.replace("FILE", name))
        if content is not None:
            self.put(f"data/{name}", content)

    def tree(self) -> set[str]:
        """All there is; an empty store with its lock is no half-written output."""
        paths = {path.relative_to(self.root).as_posix() for path in self.root.rglob("*")}
        return paths - {"store", "store/.lock"}

    def run(self, *arguments: str) -> Told:
        before = self.tree()
        self.capsys.readouterr()
        status = cli.run(arguments)
        out, err = self.capsys.readouterr()
        return Told(status, out, err, self.tree() - before)

    def decontaminate(self, *options: str) -> Told:
        return self.run(
            "decontaminate", f"data/{self.name}", "--against", "evals.yaml", "--out", "out", *options
        )

    def build(self, *options: str) -> Told:
        return self.run("build-mixture", "mine", *options)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Desk:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TULU_DATA_MIRROR", raising=False)
    made = Desk(tmp_path, capsys)
    made.put("evals/items.jsonl", line({"question": ITEM}))
    made.put("evals.yaml", SUITE)
    made.data("talk.jsonl", HIT + GOOD)
    return made


def test_without_a_fault_both_verbs_run(desk: Desk) -> None:
    assert desk.decontaminate().status == MATCHED
    assert desk.build().status == 0


# -- rows ----------------------------------------------------------------------------------------------------

ROWS: dict[str, tuple[bytes, str, str]] = {
    # what is wrong: the line, its field, what is said of it and was expected
    "invalid UTF-8": (
        b'{"messages": [{"role": "user", "content": "\xff"}]}\n',
        "",
        "invalid UTF-8, at byte 44 of the line (0xff); expected text in UTF-8",
    ),
    "no JSON": (
        b'{"messages": [\n',
        "",
        "invalid JSON: Expecting value at column 15; expected one JSON object per line",
    ),
    "a NUL byte": (
        b'{"messages": [{"role": "user", "content": "a\0b"}]}\n',
        "",
        "a NUL byte, at byte 45 of the line; expected text in UTF-8",
    ),
    "messages is a string": (
        line({"messages": "hi"}),
        "messages",
        "mixed types: the value is a string, but a list on line 1; expected a list",
    ),
    "messages is null": (
        line({"messages": None}),
        "messages",
        "messages is null; expected a list of turns",
    ),
    "messages is missing": (line({}), "messages", "messages is null; expected a list of turns"),
    "content is null": (
        messages({"role": "user", "content": "x"}, {"role": "assistant", "content": None}),
        "messages[1].content",
        "the content is null, not text; expected text",
    ),
    "content is a number": (
        messages({"role": "user", "content": 5}),
        "messages[0].content",
        "not text; expected text",
    ),
    "an unknown role": (
        messages({"role": "usr", "content": "x"}),
        "messages[0].role",
        "unknown role 'usr'; expected one of: system, user, assistant, tool (nearest to user)",
    ),
    "a role that is terminal escapes": (
        messages({"role": "\x1b[31m[/INST]", "content": "x"}),
        "messages[0].role",
        "unknown role '\\x1b[31m[/INST]'",
    ),
}
row_faults = pytest.mark.parametrize(("bad", "field", "said"), ROWS.values(), ids=ROWS)


@row_faults
@pytest.mark.parametrize("verb", [Desk.decontaminate, Desk.build], ids=["decontaminate", "build"])
def test_a_bad_row_stops(desk: Desk, verb: Callable[..., Told], bad: bytes, field: str, said: str) -> None:
    desk.data("talk.jsonl", HIT + bad + GOOD)
    told = verb(desk)
    place = "data/talk.jsonl, line 2, row 1" + (f", field {field}" if field else "")
    assert told.status == ERROR
    assert told.message().removeprefix("../").startswith(f"{place}: ")
    assert said in told.message()
    assert told.message().endswith("`--bad-rows skip` sets such rows aside and goes on")


@row_faults
def test_a_bad_row_is_set_aside_by_decontaminate(desk: Desk, bad: bytes, field: str, said: str) -> None:
    desk.data("talk.jsonl", HIT + bad + GOOD)
    told = desk.decontaminate("--bad-rows", "skip", "--json")
    assert told.status == MATCHED
    (dataset,) = json.loads(told.out)["datasets"]
    assert {key: dataset[key] for key in ("rows", "kept", "dropped", "bad")} == {
        "rows": 2,
        "kept": 1,
        "dropped": 1,
        "bad": 1,
    }
    _is_set_aside(Path("out/bad_rows.parquet"), field, said)
    assert pq.read_table("out/clean/talk.parquet")["messages"].to_pylist() == [json.loads(GOOD)["messages"]]


@row_faults
def test_a_bad_row_is_set_aside_by_a_build(desk: Desk, bad: bytes, field: str, said: str) -> None:
    desk.data("talk.jsonl", HIT + bad + GOOD)
    told = desk.build("--bad-rows", "skip", "--json")
    assert told.status == 0
    assert told.err == ""
    built = json.loads(told.out)
    (source,) = built["sources"]
    assert {key: source[key] for key in ("read", "bad", "kept")} == {"read": 3, "bad": 1, "kept": 2}
    _is_set_aside(Path(built["path"]) / "bad_rows.parquet", field, said)
    assert "1 more could not be used and were set aside" in desk.build("--bad-rows", "skip").out


def _is_set_aside(file: Path, field: str, said: str) -> None:
    (bad,) = pq.read_table(file).to_pylist()
    assert (bad["source"], bad["line"], bad["row"], bad["field"] or "") == ("talk", 2, 1, field)
    assert bad["file"].endswith("data/talk.jsonl")
    assert said in f"{bad['reason']}; expected {bad['expected']}"


@pytest.mark.parametrize("content", [5, [{"type": "text", "text": "hi"}]], ids=["bad", "parts of text"])
def test_kinds_that_mix_far_behind_do_not_part_the_clean_column(
    desk: Desk, content: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "BLOCK", 2048)
    odd = messages({"role": "user", "content": "x"}, {"role": "assistant", "content": content})
    desk.data("talk.jsonl", talk(40) + odd + HIT + talk(40))
    told = desk.decontaminate("--bad-rows", "skip", "--json")
    assert told.status == MATCHED
    (dataset,) = json.loads(told.out)["datasets"]
    assert (dataset["kept"], dataset["bad"]) == ((80, 1) if content == 5 else (81, 0))
    kept = pq.read_table("out/clean/talk.parquet")["messages"]
    assert len(kept) == dataset["kept"]
    assert desk.build("--bad-rows", "skip").status == 0
    desk.put("mixtures/mine.yaml", RECIPE.replace("data/FILE", "out/clean/talk.parquet"))
    assert desk.build().status == 0  # what was cleaned can be built from


def test_check_tells_of_a_bad_row_and_lets_it_pass(desk: Desk) -> None:
    desk.data("talk.jsonl", HIT + line({"messages": None}))
    told = desk.run("check", "mine")
    assert told.status == 0
    assert "line 2, row 1, field messages: messages is null. A build stops there" in told.out


def test_a_file_of_bad_rows_alone_makes_no_version(desk: Desk) -> None:
    desk.data("talk.jsonl", line({"messages": None}) * 3)
    told = desk.build("--bad-rows", "skip")
    assert told.status == ERROR
    assert told.message().startswith("the mixture mine keeps no row: could not be used 3")


def test_empty_content_is_a_row_that_valid_conversation_judges(desk: Desk) -> None:
    desk.data("talk.jsonl", GOOD + messages(*conversation("user: ", "assistant: x")) + line({"messages": []}))
    desk.put("mixtures/mine.yaml", RECIPE.replace("FILE", desk.name) + "steps: [{op: valid_conversation}]\n")
    assert desk.decontaminate().status == 0
    assert pq.read_metadata("out/clean/talk.parquet").num_rows == 3
    told = desk.build("--json")
    assert told.status == 0
    (source,) = json.loads(told.out)["sources"]
    reasons = {"valid_conversation:empty_content": 1, "valid_conversation:no_messages": 1}
    assert (source["kept"], source["dropped"]) == (1, reasons)


@pytest.mark.slow
def test_a_message_of_20_mb_is_a_row(desk: Desk) -> None:
    said = f"{'word ' * 4_000_000}{ITEM}"
    desk.data("talk.jsonl", GOOD + messages(*conversation(f"user: {said}", "assistant: x")))
    told = desk.decontaminate()
    assert told.status == MATCHED
    assert len(told.out) < 5000
    assert desk.build().status == 0


def test_an_escaped_nul_is_text(desk: Desk) -> None:
    desk.data("talk.jsonl", messages(*conversation(f"user: a\0b {ITEM}", "assistant: x")))
    told = desk.decontaminate()
    assert told.status == MATCHED
    assert "a␀b" in told.out
    assert desk.build().status == 0


# -- files ---------------------------------------------------------------------------------------------------


def _parquet(column: pa.Array) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"messages": column}), sink)
    return bytes(sink.getvalue())


PACKED = gzip.compress(talk(400))
FILES: dict[str, tuple[str, bytes | None, str]] = {
    # what is wrong: the file, its bytes (None: it is not there), what is said of it
    "gzip cut short": (
        "a.jsonl.gz",
        PACKED[: len(PACKED) // 2],
        "the file is cut short: its compressed data",
    ),
    "gzip in name alone": (
        "a.jsonl.gz",
        GOOD,
        "the bytes are plain text, but the name says gzip of .jsonl; expected the name a.jsonl",
    ),
    "an empty file": ("a.jsonl", b"", "the file is empty"),
    "an empty gzip": ("a.jsonl.gz", gzip.compress(b""), "the file is empty"),
    "blank lines": ("a.jsonl", b"\n \n", "the file is empty"),
    "a missing file": ("talkk.jsonl", None, "the file does not exist. Did you mean '"),
    "a missing folder": ("none/a.jsonl", None, "the file does not exist, nor does its folder"),
    "a directory": ("sub.jsonl", None, "this is a folder; expected a file or a glob"),
    "an unknown ending": ("a.jsnl", GOOD, "'.jsnl' tells no known format; expected .parquet, .jsonl"),
    "no ending": ("a", GOOD, "the name has no extension"),
    "JSON that ends early": ("a.json", b"[" + GOOD.strip(), "the file is cut short: its JSON ends"),
    "parquet cut short": ("a.parquet", _parquet(pa.array([[1]]))[:-9], "cut short, or is no Parquet file"),
    "numbers for messages": ("a.parquet", _parquet(pa.array([[1, 2]])), "messages"),
    "columns of no known shape": ("a.jsonl", line({"x": 1}), "no adapter"),
}


@pytest.mark.parametrize(("name", "content", "said"), FILES.values(), ids=FILES)
@pytest.mark.parametrize("bad_rows", ["stop", "skip"])
def test_a_file_that_cannot_be_used(
    desk: Desk, name: str, content: bytes | None, said: str, bad_rows: str
) -> None:
    desk.data(name, content)
    if name == "sub.jsonl":
        (desk.root / "data" / name).mkdir()
    told = desk.decontaminate("--bad-rows", bad_rows)
    assert told.status == ERROR
    assert f"data/{name}" in told.message()
    assert said in told.message()
    told = desk.build("--bad-rows", bad_rows)
    assert said in told.message()
    assert told.status == USAGE
    place = f"mixtures/mine.yaml, line 4: source talk: ../data/{name}"
    assert told.message().startswith(f"the recipe mine cannot be built: {place}")


def test_damage_behind_what_check_reads_stops_where_it_is_met(desk: Desk) -> None:
    packed = gzip.compress(talk(40_000), compresslevel=1)
    desk.data("talk.jsonl.gz", packed[: len(packed) * 3 // 4])
    for told in (desk.decontaminate(), desk.build(), desk.build("--bad-rows", "skip")):
        assert told.status == ERROR
        said = told.message().removeprefix("../")
        assert said.startswith(
            "data/talk.jsonl.gz: the file is cut short: its compressed data ends after line "
        )


# -- suites --------------------------------------------------------------------------------------------------

LAUGHS = "a0: &a0 [x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12)
)
TOO_LARGE = "the document expands to more than 100,000 values"
SUITES = {
    "an unknown key": (
        SUITE + "rul: x\n",
        "evals.yaml, line 4, field rul: unknown key 'rul'. Did you mean 'rule'?",
    ),
    "an unknown key of an eval": (
        SUITE.replace("rows", "row"),
        "evals.yaml, line 3, field evals.0.row: unknown key 'row'. Did you mean 'rows'?",
    ),
    "an unknown rule": (SUITE + "rule: tulu4\n", "evals.yaml, line 4, field rule: no rule is named 'tulu4'"),
    "a name that is a path": (SUITE.replace("mine", "../x"), "evals.yaml, line 1, field suite: "),
    "an eval whose name is a path": (SUITE.replace("sums", "/x"), "evals.yaml, line 3, field evals.0.name: "),
    "another number of rows": (SUITE.replace("rows: 1", "rows: 2"), "'sums' has 1 rows; expected 2"),
    "a missing field": (
        SUITE.replace("[question]", "[questoin]"),
        "eval 'sums' has no field 'questoin'; expected one of: question. Did you mean 'question'?",
    ),
    "a missing file": (
        SUITE.replace("items", "itms"),
        "evals/itms.jsonl: the file does not exist. Did you mean",
    ),
    "an alias bomb": (LAUGHS, f"evals.yaml: {TOO_LARGE}"),
    "nothing": ("", "evals.yaml: the file is empty"),
    "a control character": (SUITE + "#\x07\n", "evals.yaml: not valid YAML: unacceptable character"),
}


@pytest.mark.parametrize(("suite", "said"), SUITES.values(), ids=SUITES)
def test_a_suite_that_cannot_be_used(desk: Desk, suite: str, said: str) -> None:
    desk.put("evals.yaml", suite)
    told = desk.decontaminate()
    assert told.status == (ERROR if "evals/" in told.err else USAGE)
    assert said in told.message()
    desk.put("mixtures/mine.yaml", RECIPE.replace("FILE", desk.name) + "decontaminate: ../evals.yaml\n")
    told = desk.build()
    assert told.status == USAGE
    assert said in told.message()


EVALS = {
    "gzip bytes": (PACKED, "the bytes are gzip of text, but the name says plain .jsonl"),
    "an empty file": (b"", "the file is empty"),
    "no JSON": (b"{\n", "line 1, row 0: invalid JSON"),
    "no text": (line({"question": None}), "field 'question' is empty in every row"),
    "a number": (line({"question": 5}), "line 1, row 0, field question: eval 'sums': the field is no text"),
    "invalid UTF-8": (b'{"question": "\xff"}\n', "line 1, row 0: invalid UTF-8"),
}


@pytest.mark.parametrize(("content", "said"), EVALS.values(), ids=EVALS)
@pytest.mark.parametrize("bad_rows", ["stop", "skip"])
def test_an_eval_that_cannot_be_read_stops_whatever_is_skipped(
    desk: Desk, content: bytes, said: str, bad_rows: str
) -> None:
    desk.put("evals/items.jsonl", content)
    told = desk.decontaminate("--bad-rows", bad_rows)
    assert told.status == ERROR
    assert told.message().startswith("evals/items.jsonl")
    assert said in told.message()
    assert "--bad-rows" not in told.message()


# -- recipes -------------------------------------------------------------------------------------------------

PLAIN = RECIPE.replace("FILE", "talk.jsonl")
A_NAME = "a name has letters, digits, '.', '_' and '-' only"
RECIPES = {
    "an unknown key": (PLAIN + "step: []\n", "line 5, field step: unknown key 'step'. Did you mean 'steps'?"),
    "an unknown key of a source": (
        PLAIN.replace("license", "licence"),
        "line 4, field sources.0.licence: unknown key 'licence'. Did you mean 'license'?",
    ),
    "a source without a place": (
        PLAIN.replace("from", "form"),
        "line 4, field sources.0.form: unknown key 'form'. Did you mean 'from'?",
    ),
    "an unknown operator": (
        PLAIN + "steps:\n  - {op: lenght}\n",
        "line 6: no operator is named 'lenght'; expected one of: ",
    ),
    "an unknown setting": (
        PLAIN + "steps:\n  - {op: length, max_char: 9}\n",
        "line 6: unknown key 'max_char'. Did you mean 'max_chars'?",
    ),
    "a key that is a number": (PLAIN + "steps:\n  - {op: length, 3: 9}\n", "line 6, field steps.0.3"),
    "an unknown adapter": (
        PLAIN.replace("license: mit", "adapter: mesages"),
        "line 4: source talk: no adapter is named 'mesages'",
    ),
    "an unknown suite": (
        PLAIN + "decontaminate: tulu4\n",
        "line 5, field decontaminate: no suite is named 'tulu4'",
    ),
    "a suite file that is missing": (
        PLAIN + "decontaminate: ../eval.yaml\n",
        "line 5, field decontaminate: the file ../eval.yaml does not exist",
    ),
    "a cycle of includes": (
        PLAIN + "include: [other.yaml]\n",
        "the includes form a circle: mine.yaml -> other.yaml -> mine.yaml. Remove one of them",
    ),
    "an alias bomb": (LAUGHS, TOO_LARGE),
    "a quota above what exists": (
        PLAIN.replace("mit", "mit, count: 5"),
        "line 4: source talk: count 5 is above the 2 rows that exist. Ask for at most 2",
    ),
    "a fraction above one": (
        PLAIN.replace("license: mit", "fraction: 1.5"),
        "line 4, field sources.0.fraction: ",
    ),
    "a negative count": (PLAIN.replace("license: mit", "count: -1"), "line 4, field sources.0.count: "),
    "a name that leads out": (PLAIN.replace("mine", "../../evil"), f"line 1, field mixture: {A_NAME}"),
    "a name that is absolute": (PLAIN.replace("mine", "/evil"), f"line 1, field mixture: {A_NAME}"),
    "a name of dots": (PLAIN.replace("mine", "a/../../b"), f"line 1, field mixture: {A_NAME}"),
    "a name with a line break": (PLAIN.replace("mine", '"mi\\nne"'), f"line 1, field mixture: {A_NAME}"),
    "a name of a version": (
        PLAIN.replace("mine", "v1-0123abcd"),
        "line 1, field mixture: this is how versions",
    ),
    "a source name that leads out": (
        PLAIN.replace("talk,", "../talk,"),
        f"line 4, field sources.0.name: {A_NAME}",
    ),
    "a store name that leads out": (
        PLAIN.replace("../data/talk.jsonl", "'store:../../etc/passwd'"),
        "line 4: source talk: 'store:../../etc/passwd' names no version",
    ),
    "a dataset name that leads out": (
        PLAIN.replace("../data/talk.jsonl", "'hf:../..'"),
        "line 4: source talk: 'hf:../..' names no dataset; expected hf:ORG/NAME",
    ),
    "a word list that leads out": (
        PLAIN + "steps:\n  - {op: keyword_filter, list: ../../../etc/passwd}\n",
        "line 6: list: no list is named '../../../etc/passwd'",
    ),
}


@pytest.mark.parametrize(("recipe", "said"), RECIPES.values(), ids=RECIPES)
def test_a_recipe_that_cannot_be_used(desk: Desk, recipe: str, said: str) -> None:
    desk.put("mixtures/other.yaml", "include: [mine.yaml]\n")
    desk.put("mixtures/mine.yaml", recipe)
    told = desk.build()
    assert told.status == USAGE
    assert told.message().startswith("the recipe mine cannot be built")
    assert ".yaml" in told.message()
    assert said in told.message()


@pytest.mark.parametrize("name", ["../../evals", "/etc/passwd", "mnie"])
def test_a_name_that_finds_nothing(desk: Desk, name: str) -> None:
    told = desk.run("build-mixture", name)
    assert told.status == USAGE
    assert told.message().startswith(f"no mixture is named '{name}'; expected one of: ")
    assert told.message().endswith("Did you mean 'mine'?") or name != "mnie"


@pytest.mark.parametrize(
    ("link", "options"),
    [
        ("store/mixtures", ()),
        ("store/mixtures/mine", ()),
        ("store/previews", ("--limit", "1")),
        ("store/.lock", ()),
    ],
)
def test_a_link_in_the_store_leads_nowhere(desk: Desk, link: str, options: tuple[str, ...]) -> None:
    (desk.root / "outside").mkdir()
    (desk.root / link).parent.mkdir(parents=True)
    (desk.root / link).symlink_to(
        desk.root / "outside" if link != "store/.lock" else desk.root / "outside/lock"
    )
    told = desk.build(*options)
    assert told.status == ERROR
    assert f"{link}: " in told.message()
    assert list((desk.root / "outside").iterdir()) == []


# -- printing ------------------------------------------------------------------------------------------------

HOSTILE = "[/INST] [bold]\x1b[2J\x1b]0;title\x07\x9b1m\u202e"
SHOWN = "[/INST] [bold]␛[2J␛]0;title␇\\x9b1m\\u202e"


def _hostile(desk: Desk) -> None:
    row = {"id": "\x1b[2J", "messages": conversation(f"user: {HOSTILE} {ITEM}", "assistant: x")}
    desk.data("talk.jsonl", line(row))


def test_row_text_is_printed_literally(desk: Desk) -> None:
    _hostile(desk)
    out = desk.decontaminate().out
    assert SHOWN in " ".join(out.split())
    assert not {"\x1b", "\x9b", "\x07", "\u202e"} & set(out)


def test_names_of_files_are_printed_literally(desk: Desk) -> None:
    told = desk.run("decontaminate", "data/a\x1b[2J.jsonl", "--against", "evals.yaml")
    assert told.message().startswith("data/a␛[2J.jsonl: the glob matches no file")
    desk.put("data/a\x1b[2J.jsonl", HIT)
    told = desk.run("decontaminate", "data/a\x1b[2J.jsonl", "--against", "evals.yaml")
    assert told.status == MATCHED
    assert "a␛[2J row 0" in told.out
    assert "\x1b" not in told.out + told.err


@pytest.mark.slow
def test_row_text_is_printed_literally_on_a_terminal(desk: Desk) -> None:
    _hostile(desk)
    command = ["decontaminate", "data/talk.jsonl", "--against", "evals.yaml", "--out", "out"]
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        program(*command),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment(COLUMNS="120", TERM="xterm"),
    ) as child:
        os.close(theirs)
        shown = b"".join(iter(lambda: _read(ours), b"")).decode()
        assert child.wait(60) == MATCHED
    os.close(ours)
    assert "[/INST]" in shown
    assert "[bold]␛[2J" in shown
    assert not {"\x9b", "\x07", "\u202e"} & set(shown)
    assert "\x1b[2J" not in shown
    assert "\x1b]0;" not in shown


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # Linux says so when the other side is closed
        return b""


# -- the system ----------------------------------------------------------------------------------------------


def program(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "tulu_data", *arguments]


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), **more}


VERBS = {
    "decontaminate": ("decontaminate", "data/talk.jsonl", "--against", "evals.yaml", "--out", "out"),
    "build": ("build-mixture", "mine"),
}
both_verbs = pytest.mark.parametrize("command", VERBS.values(), ids=VERBS)


@pytest.mark.slow
@both_verbs
def test_control_c_in_the_middle_leaves_nothing(desk: Desk, command: tuple[str, ...]) -> None:
    desk.data("talk.jsonl", talk(60_000, 600))
    before = desk.tree()
    with subprocess.Popen(
        program(*command, "--threads", "1"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    ) as child:
        while not _has_begun(desk.root) and child.poll() is None:
            time.sleep(0.005)
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=60)
    assert child.returncode == STOPPED
    assert out == ""
    assert err.splitlines()[-1] == "stopped; nothing half-written remains"
    assert "Traceback" not in err
    assert desk.tree() == before


def _has_begun(root: Path) -> bool:
    """Whether rows lie half-written in the folder aside."""
    files = [*root.glob("store/.tmp-*/scratch/*"), *root.glob(".out.*/clean/.*")]
    return any(file.is_file() and file.stat().st_size for file in files)


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A file system of its own, which only root can make."""
    folder.mkdir()
    mount = shutil.which("mount")
    made = mount and subprocess.run(
        [mount, "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True, check=False
    )
    if not made or made.returncode:
        pytest.skip("a small disk can be mounted by root only")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize(
    ("verb", "size"),
    [("decontaminate", "16k"), ("decontaminate", "1m"), ("build", "16k"), ("build", "3m"), ("build", "6m")],
)
def test_a_full_disk_is_one_message(
    desk: Desk, verb: str, size: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    desk.data("talk.jsonl", talk(4_000, 600))
    with small_disk(tmp_path_factory.mktemp("disk") / "small", size) as disk:
        if verb == "build":
            told = desk.build("--store", str(disk / "store"))
        else:
            told = desk.decontaminate("--out", str(disk / "new" / "out"))
        assert told.status == ERROR
        assert told.message().startswith(str(disk))
        assert "the disk is full. Free some space and run the command again" in told.message()
        assert {path.name for path in disk.rglob("*")} <= {"store", ".lock"}


def test_a_full_disk_without_a_disk(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Spill, "write", full)
    monkeypatch.setattr(pq.ParquetWriter, "write_table", full)
    for told in (desk.build(), desk.decontaminate()):
        assert told.status == ERROR
        assert "the disk is full" in told.message()


AS_NOBODY = """
import encodings.utf_8_sig, importlib, os, sys
for name in ("mixtures.build", "decontam.run", "decontam.step", "sources.jsonl", "cli_tables", "progress"):
    importlib.import_module(f"tulu_data.{name}")  # the next user may not be let to read them
from tulu_data.cli import run
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
sys.exit(run(sys.argv[1:]))
"""


def as_nobody(folder: Path, *arguments: str) -> tuple[int, str]:
    """Runs a command in a folder as a user who may do little: root may read and write everything."""
    command = [sys.executable, "-c", AS_NOBODY, *arguments]
    done = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, check=False)
    assert done.stdout == ""
    return done.returncode, done.stderr


@pytest.mark.slow
def test_no_permission(desk: Desk) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copytree(desk.root, folder, dirs_exist_ok=True)
        folder.chmod(0o755)
        (folder / "free").mkdir()
        (folder / "free").chmod(0o777)
        cases = [
            ("data/talk.jsonl", "build", USAGE, "data/talk.jsonl: no permission to read this file"),
            ("data/talk.jsonl", "decontaminate", ERROR, "data/talk.jsonl: no permission to read this file"),
            ("data", "decontaminate", ERROR, "data/talk.jsonl: no permission to read this file"),
            ("mixtures/mine.yaml", "build", USAGE, "mixtures/mine.yaml: cannot be read: Permission denied"),
            ("evals.yaml", "decontaminate", USAGE, "evals.yaml: cannot be read: Permission denied"),
            ("", "build", ERROR, "store: no permission to write"),
            ("", "decontaminate", ERROR, "out: no permission to write"),
        ]
        before = sorted(folder.rglob("*"))
        for path, verb, status, said in cases:
            mode = (folder / path).stat().st_mode
            if path:
                (folder / path).chmod(0)
            free = ("--out", "free/out") if path and verb == "decontaminate" else ()
            found, err = as_nobody(folder, *VERBS[verb], *free)
            (folder / path).chmod(mode)
            assert (found, said in err, "Traceback" in err) == (status, True, False), err
            assert sorted(folder.rglob("*")) == before
