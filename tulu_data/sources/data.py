"""The data that a command names: files, globs and Hub datasets, each under a short name of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tulu_data.errors import UsageError
from tulu_data.sources import Source, SourceSpec, open_source

ENDINGS = (".gz", ".zst", ".parquet", ".jsonl", ".ndjson", ".json", ".csv", ".tsv")


@dataclass(frozen=True)
class Data:
    """One thing to read: its name in reports, where it is, and the adapter that a recipe names for it."""

    name: str
    spec: SourceSpec
    base: Path
    adapter: str | None = None

    def open(self, mirror: Path | None) -> Source:
        """The source, ready to be read."""
        return open_source(self.spec, base=self.base, mirror=mirror)


def named_data(places: Iterable[tuple[str, Path]]) -> list[Data]:
    """Each place under its short name; further ones of one name get a number."""
    seen: set[str] = set()
    counts: Counter[str] = Counter()
    out = []
    for text, base in places:
        place = text if text.startswith("hf:") else str((base / text).resolve())
        if place in seen:
            raise UsageError(f"{text!r} is named twice", remedy="Name each data set once")
        seen.add(place)
        name = short_name(text)
        counts[name] += 1
        while counts[name] > 1 and counts[f"{name}-{counts[name]}"]:
            counts[name] += 1
        unique = name if counts[name] == 1 else f"{name}-{counts[name]}"
        counts[unique] += unique != name
        out.append(Data(unique, SourceSpec.model_validate({"from": text}), base))
    return out


def short_name(text: str) -> str:
    """What a place is called in reports, without folder and endings.

    >>> short_name("data/alpaca.jsonl.gz"), short_name("hf:openai/gsm8k")
    ('alpaca', 'openai_gsm8k')
    """
    if text.startswith("hf:"):
        return text.removeprefix("hf:").replace("/", "_")
    name = PurePosixPath(text).name
    while name.endswith(ENDINGS):
        name = name[: name.rindex(".")]
    return name.replace("*", "all") or "data"
