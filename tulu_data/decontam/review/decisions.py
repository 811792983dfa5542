"""The decisions file: what a person who looked at findings wants done with them.

```json
{"tulu_data": "0.2.0", "suite": "mine", "run": "5f26e7a1…", "decisions": [
  {"row_id": "chat/9f2c…/0", "eval": "gsm8k", "item_id": "17", "decision": "keep"}]}
```

Row ids and item ids come from content, so a decision outlives the run it was made in: it holds wherever the
same row is found to repeat the same item of the same suite.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from threading import Lock
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tulu_data.decontam.certificate import DecisionsTold
from tulu_data.decontam.evidence import FINDING
from tulu_data.errors import UsageError, nearest

Word = Literal["keep", "drop"]
WORDS: tuple[Word, ...] = get_args(Word)

FILE_KEYS = ("tulu_data", "suite", "run", "decisions")
ENTRY_KEYS = ("row_id", "eval", "item_id", "decision")


class Place(NamedTuple):
    """What a decision is about: a row that repeats an item."""

    row_id: str
    eval: str
    item_id: str


class Decisions:
    """The decisions of a file, ready to be applied to findings, from any number of threads."""

    def __init__(self, file: Path, run: str, words: Mapping[Place, Word]) -> None:
        self.file, self.run = file, run
        self.words = dict(words)
        names = [pa.array(column, pa.string()) for column in zip(*self.words, strict=True)]
        self._rows = pc.unique(_content(names[0])) if names else pa.array([], pa.string())
        self._keys = _keys(*names) if names else self._rows
        self._actions = pa.array(self.words.values(), pa.string())
        self._used: npt.NDArray[np.bool_] = np.zeros(len(self.words), np.bool_)
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self.words)

    def certified(self) -> DecisionsTold:
        """What a certificate tells of them."""
        words = list(self.words.values())
        return DecisionsTold(sha256=self.content(), drop=words.count("drop"), keep=words.count("keep"))

    def content(self) -> str:
        """A hash of what is decided, in whichever order, for fingerprints."""
        listed = sorted([*place, word] for place, word in self.words.items())
        return sha256(json.dumps(listed, ensure_ascii=False).encode()).hexdigest()

    def apply(self, row_ids: pa.Array, findings: pa.Array) -> pa.Array:
        """The findings of some rows, with `action` as decided; what nobody decided stays as it is.

        Args:
            row_ids: our ids of the rows.
            findings: for each row the list of its findings (`list<FINDING>`); null lists stay null.
        """
        if not pc.any(pc.is_in(_content(row_ids), self._rows)).as_py():
            return findings
        flat = findings.flatten()
        owners = row_ids.take(pc.list_parent_indices(findings))
        found = pc.index_in(
            _keys(owners, *(pc.struct_field(flat, name) for name in ("eval", "item_id"))), self._keys
        )
        with self._lock:
            self._used[found.drop_null().to_numpy()] = True
        actions = pc.coalesce(self._actions.take(found), pc.struct_field(flat, "action"))
        columns = [actions if f.name == "action" else pc.struct_field(flat, f.name) for f in FINDING]
        changed = pa.StructArray.from_arrays(columns, fields=list(FINDING))
        sizes = pc.fill_null(pc.list_value_length(findings), 0).to_numpy(zero_copy_only=False)
        offsets = np.concatenate([[0], np.cumsum(sizes)])
        return pa.ListArray.from_arrays(
            pa.array(offsets, pa.int32()), changed, type=findings.type, mask=findings.is_null()
        )

    @property
    def unused(self) -> list[Place]:
        """The decisions that no finding given to `apply` was about, in the file's order."""
        return [place for place, used in zip(self.words, self._used, strict=True) if not used]

    def told(self, run: str) -> dict[str, Any]:
        """What became of the file, for a summary; to be asked when all findings went through `apply`.

        Args:
            run: the fingerprint of the run, as `write_report` returns it.

        Raises:
            UsageError: none of its decisions is about a finding of this run.
        """
        left = self.unused
        if left and len(left) == len(self):
            raise UsageError(
                f"none of its {len(self):,} decisions is about a finding of this run",
                where=f"{self.file}, decisions[0]",
                expected="decisions about these rows and this suite",
                remedy=f"It names row {left[0].row_id!r} and item {left[0].item_id!r} of {left[0].eval!r}",
            )
        words = list(self.words.values())
        return {
            "file": str(self.file),
            "decisions": len(self),
            "keep": words.count("keep"),
            "drop": words.count("drop"),
            "without_finding": len(left),
            "same_run": run == self.run,
        }


_CONTENT = r"^.*/([0-9a-f]{32}/[0-9]+)$"
"""The part of a row's id that tells its content: a decision holds under whatever name its dataset goes."""


def _content(row_ids: pa.Array) -> pa.Array:
    return pc.replace_substring_regex(row_ids, _CONTENT, r"\1")


def _keys(row_ids: pa.Array, evals: pa.Array, item_ids: pa.Array) -> pa.Array:
    """One text for each place. The length tells where the row's id ends, and names of evals hold no NUL."""
    row_ids = _content(row_ids)
    lengths = pc.cast(pc.binary_length(row_ids), pa.string())
    return pc.binary_join_element_wise(lengths, row_ids, evals, item_ids, "\0")


@dataclass(frozen=True)
class _File:
    """Where in a decisions file something is wrong."""

    path: Path

    def error(self, what: str, place: str = "", **more: Any) -> UsageError:
        where = f"{self.path}, {place}" if place else str(self.path)
        return UsageError(what, where=where, **more)

    def mapping(self, value: object, keys: tuple[str, ...], place: str = "") -> dict[str, Any]:
        """`value`, if it is an object with exactly these keys."""
        if not isinstance(value, dict):
            raise self.error("is not an object", place, expected=f"the keys {', '.join(keys)}")
        for key in value:
            if key not in keys:
                near = nearest(key, keys)
                raise self.error(
                    f"unknown key {key!r}", place, expected=f"only {', '.join(keys)}", nearest=near
                )
        for key in keys:
            if key not in value:
                raise self.error(f"the key {key!r} is missing", place)
        return value

    def text(self, value: object, name: str, place: str = "") -> str:
        """`value`, if it is text."""
        if not isinstance(value, str):
            raise self.error(f"{name!r} is no text but {value!r:.80}", place)
        return value


def load_decisions(path: Path, *, suite: str) -> Decisions:
    """The decisions of a file that the review page saved.

    A file from another run is taken: its decisions hold where this run finds the same again, and `unused`
    tells the rest.

    Args:
        path: of the file.
        suite: the name of the suite that the run is held against.

    Raises:
        UsageError: there is no such file, it is no decisions file, it decides one finding in two ways, or it
            is about another suite.
    """
    file = _File(path)
    head = file.mapping(_read(file), FILE_KEYS)
    named = file.text(head["suite"], "suite")
    if named != suite:
        raise file.error(
            f"holds decisions about the suite {named!r}",
            expected=f"a file about {suite!r}, which this run is held against",
        )
    file.text(head["tulu_data"], "tulu_data")
    if not isinstance(head["decisions"], list):
        raise file.error("is not a list", "decisions")
    words: dict[Place, Word] = {}
    first: dict[Place, int] = {}
    for number, value in enumerate(head["decisions"]):
        place, word = _entry(file, value, f"decisions[{number}]")
        if words.setdefault(place, word) != word:
            raise file.error(
                f"says {word!r} where decisions[{first[place]}] says {words[place]!r} of the same finding",
                f"decisions[{number}]",
                expected="one decision about a finding",
            )
        first.setdefault(place, number)
    return Decisions(path, file.text(head["run"], "run"), words)


def _read(file: _File) -> object:
    try:
        return json.loads(file.path.read_bytes().decode("utf-8-sig"))
    except FileNotFoundError:
        raise file.error("the file does not exist") from None
    except OSError as error:
        raise file.error(f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise file.error(f"is not UTF-8 at byte {error.start:,}") from None
    except json.JSONDecodeError as error:
        raise file.error(f"is not JSON: {error.msg}", f"line {error.lineno}, column {error.colno}") from None
    except (RecursionError, ValueError):  # nested without end; a number of thousands of digits
        raise file.error("is no decisions file", expected="what the review page saves") from None


def _entry(file: _File, value: object, place: str) -> tuple[Place, Word]:
    entry = file.mapping(value, ENTRY_KEYS, place)
    word = entry["decision"]
    if word not in WORDS:
        raise file.error(
            f"no decision is called {word!r:.80}",
            place,
            expected=" or ".join(map(repr, WORDS)),
            nearest=nearest(word, WORDS) if isinstance(word, str) else None,
        )
    return Place(*(file.text(entry[name], name, place) for name in Place._fields)), word
