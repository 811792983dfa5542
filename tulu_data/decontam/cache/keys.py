"""What kept results are found by: hashes of the texts scanned, of an eval, and of the code.

A result may be used again exactly where nothing that it depends on has changed:

batch   the texts of the chosen roles, and which message of which row each is           batches.py
eval    its name, role and split, its items' ids and texts; the rule, but not what it does to rows; the code
code    the source of every module that matching is made of, and the libraries that know Unicode

The findings of one eval do not depend on the other evals of a suite, so each is kept for itself.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tulu_data import record, text, turns
from tulu_data.text.hashing import Texts

if TYPE_CHECKING:
    from tulu_data.decontam.items import EvalItems
    from tulu_data.decontam.rules import Rule

DIGITS = 40
"""Hexadecimal digits of a key: 160 bits of SHA-256."""

NO_MATTER = {"rule", "contaminated", "actions"}
"""A rule's name, and what follows from findings: they change nothing about which there are."""


@cache
def code_key() -> str:
    """A hash of everything but the data that findings depend on."""
    folders = (Path(__file__).parents[1], Path(str(text.__path__[0])))
    sources = [path for folder in folders for path in folder.rglob("*.py")]
    sources += [Path(str(module.__file__)) for module in (record, turns)]
    digest = sha256(f"{sys.version_info[:2]} {np.__version__} {numba.__version__} {pa.__version__}".encode())
    for path in sorted(sources):
        digest.update(sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:DIGITS]


def eval_key(part: EvalItems, rule: Rule) -> str:
    """A hash of an eval's items and of how they are looked for."""
    digest = sha256(code_key().encode())
    entry = part.eval
    names = [entry.name, entry.role, entry.split, part.slots]
    feed(digest, json.dumps([names, rule.model_dump(mode="json", exclude=NO_MATTER)]).encode())
    for texts in (part.ids, *part.texts):
        feed_texts(digest, pa.array(texts, pa.large_string()))
    return digest.hexdigest()[:DIGITS]


def joined_key(keys: Iterable[str]) -> str:
    """A hash of several keys, in their order."""
    return sha256("\n".join(keys).encode()).hexdigest()[:DIGITS]


def feed_texts(digest: Any, column: pa.Array) -> None:
    """Lengths and bytes; where the texts lie in Arrow's buffers does not count."""
    texts = Texts.of(column)
    feed(digest, np.diff(texts.offsets).astype(np.int32))
    feed(digest, texts.data[texts.offsets[0] : texts.offsets[-1]])


def feed(digest: Any, value: bytes | npt.NDArray[Any]) -> None:
    """The value behind its length, so that none runs into the next."""
    size = len(value) if isinstance(value, bytes) else value.nbytes
    digest.update(size.to_bytes(8, "little"))
    digest.update(value)
