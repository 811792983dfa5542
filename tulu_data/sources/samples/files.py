"""The files of a made-up dataset: in the formats that datasets are published in, with a card."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from tulu_data.sources.mirror import SAMPLE
from tulu_data.sources.samples.case import Part, Row

TRUTH = "truth.jsonl"
"""At the root of a sample mirror: what must become of each case."""

_CARD = """
# A made-up sample of {dataset}

{rows:,} synthetic rows in the native schema of `{dataset}`, written by `tulu-data mirror sample` to try
recipes without a network. Nothing in it comes from that dataset, and nothing is to be learned from it.
"""


def write_rows(path: Path, rows: Sequence[Row], schema: pa.Schema) -> None:
    """The rows as a file of the format that the path's ending tells; the same rows give the same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    ending = "".join(PurePosixPath(path.name).suffixes)
    if ending.endswith(".parquet"):
        pq.write_table(pa.Table.from_pylist(list(rows), schema), path, compression="zstd")
    elif ending.endswith(".jsonl.gz"):
        path.write_bytes(gzip.compress(_lines(rows).encode(), compresslevel=3, mtime=0))
    elif ending.endswith(".jsonl"):
        path.write_text(_lines(rows), encoding="utf-8")
    elif ending.endswith(".json"):
        path.write_text("[" + ",\n".join(map(_json, rows)) + "]\n", encoding="utf-8")
    else:
        path.write_text(_delimited(rows, schema.names, "\t" if ending.endswith(".tsv") else ","), "utf-8")


def write_card(folder: Path, dataset: str, parts: Sequence[Part], rows: int) -> None:
    """The README.md whose `configs:` tell which files belong to which config and split, and `sample.json`."""
    front = yaml.safe_dump({"configs": list(_configs(parts))}, sort_keys=False)
    text = f"---\n{front}---\n{_CARD.format(dataset=dataset, rows=rows)}"
    (folder / "README.md").write_text(text, encoding="utf-8")
    (folder / SAMPLE).write_text(_json({"synthetic": True, "rows": rows}) + "\n", encoding="utf-8")


def write_truth(path: Path, truths: Iterable[Mapping[str, Any]]) -> None:
    """One line for each case."""
    path.write_text(_lines(truths), encoding="utf-8")


def _configs(parts: Sequence[Part]) -> Iterable[dict[str, Any]]:
    for name in dict.fromkeys(part.config for part in parts):
        paths: dict[str, list[str]] = {}
        for part in parts:
            if part.config == name:
                paths.setdefault(part.split, []).append(part.path)
        files = [{"split": split, "path": listed} for split, listed in paths.items()]
        tabs = (
            {"sep": "\t"}
            if all(path.endswith(".tsv") for listed in paths.values() for path in listed)
            else {}
        )
        yield {"config_name": name, "data_files": files, **tabs}


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _lines(rows: Iterable[Mapping[str, Any]]) -> str:
    return "".join(f"{_json(row)}\n" for row in rows)


def _delimited(rows: Sequence[Row], columns: Sequence[str], delimiter: str) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, delimiter=delimiter, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()
