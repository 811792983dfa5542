"""A version as Croissant 1.1 (https://docs.mlcommons.org/croissant/docs/croissant-spec-1.1.html), in JSON-LD.

    distribution         every Parquet file of the rows and their lineage, with its size and SHA-256
    recordSet            `train`, `test` and `lineage`: the columns, messages with their roles and contents
    prov:wasDerivedFrom  every source, at the revision or with the hashes that its rows were read from

Paths are relative to the file itself, so it holds wherever the version lies.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tulu_data.mixtures.facts import Facts
from tulu_data.mixtures.store import VERSION_NAME

PARQUET = "application/x-parquet"
LINEAGE = "lineage"

_CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "arrayShape": "cr:arrayShape",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "containedIn": "cr:containedIn",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "description": {"@container": "@language"},
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isArray": "cr:isArray",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "name": {"@container": "@language"},
    "parentField": "cr:parentField",
    "path": "cr:path",
    "prov": "http://www.w3.org/ns/prov#",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
"""The context that the specification gives for 1.1, with PROV-O."""

_TYPES = (
    (pa.types.is_string, "sc:Text"),
    (pa.types.is_boolean, "sc:Boolean"),
    (pa.types.is_int32, "cr:Int32"),
    (pa.types.is_integer, "cr:Int64"),
    (pa.types.is_floating, "cr:Float64"),
)


def croissant(facts: Facts, folder: Path, url: str | None = None) -> str:
    """The file's text, for the version in `folder`; `url` is its page, where it has one."""
    manifest = facts.manifest
    told = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.1",
        "name": re.sub(r"[^A-Za-z0-9._-]", "-", manifest["mixture"]),
        "description": _description(facts),
        "version": _version(manifest["version"]),
        "datePublished": manifest["built"],
        "license": [name or "not stated" for name, _ in facts.all_licenses().most_common()],
        "keywords": ["tulu-data", manifest["kind"], *(["synthetic-sample"] if facts.synthetic else [])],
        **({"url": url} if url else {}),
        "distribution": [*_files(facts), *_file_sets(facts)],
        "recordSet": list(_record_sets(facts, folder)),
        "prov:wasDerivedFrom": [_entity(source) for source in manifest["sources"]],
    }
    return json.dumps(told, indent=2, ensure_ascii=False) + "\n"


def _description(facts: Facts) -> str:
    manifest = facts.manifest
    text = (
        f"{facts.rows:,} {manifest['kind']} rows, built by tulu-data from its recipe {manifest['mixture']}."
    )
    warning = " A synthetic sample: rows were made up to try the recipe with." if facts.synthetic else ""
    return f"{text}{warning} Logical hash of the rows: {manifest['logical_hash']}."


def _version(name: str) -> str:
    """A version's name as Semantic Versioning has it: `v3-5f26e7a1` is 3.0.0+5f26e7a1."""
    match = VERSION_NAME.fullmatch(name)
    return f"{match[1]}.0.0+{match[2]}" if match else f"0.0.0-{name}"


# -- files ---------------------------------------------------------------------------------------------------


def _files(facts: Facts) -> Iterator[dict[str, Any]]:
    names = [name for split in facts.splits for name in split.files]
    for name in [*names, f"{LINEAGE}.parquet"]:
        told = facts.manifest["files"][name]
        yield {
            "@type": "cr:FileObject",
            "@id": name,
            "name": name,
            "contentUrl": name,
            "contentSize": f"{told['bytes']} B",
            "encodingFormat": PARQUET,
            "sha256": told["sha256"],
        }


def _file_sets(facts: Facts) -> Iterator[dict[str, Any]]:
    patterns = [(split.name, split.pattern) for split in facts.splits]
    for name, pattern in [*patterns, (LINEAGE, f"{LINEAGE}.parquet")]:
        yield {
            "@type": "cr:FileSet",
            "@id": _file_set(name),
            "name": _file_set(name),
            "encodingFormat": PARQUET,
            "includes": pattern,
        }


def _file_set(name: str) -> str:
    return f"{name}-files"


# -- columns -------------------------------------------------------------------------------------------------


def _record_sets(facts: Facts, folder: Path) -> Iterator[dict[str, Any]]:
    for split in facts.splits:
        schema = pq.read_schema(folder / split.files[0])
        what = "The rows to train on" if split.name == "train" else "The rows held out"
        yield _record_set(split.name, f"{what}: {split.rows:,}.", list(schema))
    plain = [f for f in pq.read_schema(folder / f"{LINEAGE}.parquet") if _data_type(f.type)]
    yield _record_set(LINEAGE, "Where each row came from, by its id.", plain)


def _record_set(name: str, description: str, columns: Sequence[pa.Field]) -> dict[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "description": description,
        "key": {"@id": f"{name}/id"},
        "field": [_field(name, column) for column in columns],
    }


def _field(record_set: str, column: pa.Field) -> dict[str, Any]:
    """A column; messages as a list of records with a field for each part of a message."""
    name = f"{record_set}/{column.name}"
    head = {"@type": "cr:Field", "@id": name, "name": name}
    source = {"fileSet": {"@id": _file_set(record_set)}, "extract": {"column": column.name}}
    if not pa.types.is_list(column.type):
        return {**head, "dataType": _data_type(column.type), "source": source}
    parts = [
        {
            "@type": "cr:Field",
            "@id": f"{name}/{part.name}",
            "name": f"{name}/{part.name}",
            "dataType": _data_type(part.type),
            "source": {**source, "transform": {"jsonPath": part.name}},
        }
        for part in column.type.value_type
    ]
    return {**head, "isArray": True, "arrayShape": "-1", "subField": parts}


def _data_type(of: pa.DataType) -> str | None:
    return next((name for fits, name in _TYPES if fits(of)), None)


# -- lineage -------------------------------------------------------------------------------------------------


def _entity(source: Mapping[str, Any]) -> dict[str, Any]:
    """A source as PROV-O has it: an entity that this dataset was derived from."""
    lock = source["lock"]
    revision, scheme = lock.get("revision"), source["from"].partition(":")
    told: dict[str, Any] = {"@type": "prov:Entity", "@id": f"source/{source['name']}", "name": source["name"]}
    if scheme[0] == "hf":
        page = f"https://huggingface.co/datasets/{scheme[2]}"
        told["prov:atLocation"] = f"{page}/tree/{revision}" if revision else page
    else:
        told["prov:atLocation"] = source["from"]
    if revision:
        told["version"] = revision
    if source["license"]:
        told["license"] = source["license"]
    if lock.get("files"):
        told["sha256"] = [file["sha256"] for file in lock["files"]]
    return told
