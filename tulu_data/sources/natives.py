"""The native columns of a source, as its first rows show them, for steps that ask for one of them."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from tulu_data.sources.adapters import Adapted
from tulu_data.sources.batch import Batch
from tulu_data.sources.files import FileSource
from tulu_data.sources.parquet import footer
from tulu_data.sources.source import Source

_WORDS = {bool: "booleans", int: "numbers", float: "numbers", str: "text"}


@dataclass(frozen=True)
class Natives:
    """What a source's native columns hold, and which of them travel beside its rows as `native`."""

    source: str
    columns: Mapping[str, str]
    """Every column and its Arrow type as text."""
    kept: Mapping[str, frozenset[str]]
    """Those that `native` has, and what they hold there, in the words of `word`."""
    left_out: frozenset[str]
    """Those that it lacks because they hold lists, objects or long texts."""
    unseen: frozenset[str]
    """Those of which the first rows show no value."""
    complete: bool
    """Whether no further column can come."""


def natives_of(source: str, opened: Source, sample: Batch, adapted: Adapted, columns: pa.Schema) -> Natives:
    """What the sample shows.

    Args:
        source: the name of the source.
        opened: where the sample is from.
        sample: the first rows, as the adapter had them.
        adapted: what it made of them.
        columns: the native columns before rows were gathered, if they were.

    Raises:
        SourceError: one of several Parquet files is cut short or corrupt.
    """
    table = sample.table
    unseen = {name for name in table.column_names if table[name].null_count == table.num_rows}
    files = opened.files if isinstance(opened, FileSource) else ()
    formats = {file.format for file in files}
    if formats == {".parquet"}:  # further files may have further columns
        named = {name for file in files[1:] for name in footer(file).schema.to_arrow_schema().names}
        unseen |= named - set(columns.names)
    fixed = formats <= {".parquet"} or (len(files) == 1 and formats <= {".csv", ".tsv"})
    return Natives(
        source,
        {field.name: str(field.type) for field in columns},
        _kept(adapted.rows["native"]),
        frozenset(adapted.left_out),
        frozenset(unseen if adapted.rows.num_rows else columns.names),
        fixed or sample.position >= (opened.nbytes or 0),
    )


def _kept(native: pa.ChunkedArray) -> dict[str, frozenset[str]]:
    found: defaultdict[str, set[str]] = defaultdict(set)
    for text in pc.drop_null(native).to_pylist():
        for name, value in json.loads(text).items():
            found[name].add(word(value))
    return {name: frozenset(words) for name, words in found.items()}


def word(value: object) -> str:
    """What a single value is called.

    >>> word(True), word(1), word("1")
    ('booleans', 'numbers', 'text')
    """
    return _WORDS[type(value)]
