"""The dataset card of a version, written from its manifest alone: `load_dataset(path)` and people read it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

UNKNOWN = "not stated"

TRL_COLUMNS = ["chosen", "rejected", "source"]
"""TRL's trainers refuse a string `prompt` beside full conversations, and find the prompt in `chosen`."""

_LICENSES = {
    "apache-2.0",
    "mit",
    "cc-by-4.0",
    "cc-by-sa-4.0",
    "cc-by-nc-4.0",
    "cc-by-nc-sa-4.0",
    "cc0-1.0",
    "odc-by",
    "bsd-3-clause",
}
"""Those of the identifiers that the Hub knows which instruction data come under."""


def card(manifest: Mapping[str, Any]) -> str:
    """The card as Markdown with YAML front matter."""
    parts = [
        f"---\n{yaml.safe_dump(_front_matter(manifest), sort_keys=False, allow_unicode=True)}---",
        f"# {manifest['mixture']} {manifest['version']}",
        _introduction(manifest),
        "## How to load it",
        _how_to_load(manifest),
        "## Sources",
        _sources(manifest),
        "## Steps",
        _steps(manifest),
        *_certified(manifest),
        "## Files",
        _FILES,
    ]
    return "\n\n".join(parts) + "\n"


def _front_matter(manifest: Mapping[str, Any]) -> dict[str, Any]:
    files = [{"split": "train", "path": "data/*.parquet"}]
    configs: list[dict[str, Any]] = [{"config_name": "default", "data_files": files, "default": True}]
    if manifest["kind"] == "preference":
        configs.append({"config_name": "trl", "data_files": [dict(files[0])], "columns": TRL_COLUMNS})
    return {"license": _license(manifest), "configs": configs, "tags": ["tulu-data", manifest["kind"]]}


def _license(manifest: Mapping[str, Any]) -> str:
    """One identifier where every source has the same, and the Hub knows it."""
    named = {(source["license"] or "").lower() for source in manifest["sources"] if source["rows"]["kept"]}
    return named.pop() if len(named) == 1 and named <= _LICENSES else "other"


def _introduction(manifest: Mapping[str, Any]) -> str:
    rows, sources = manifest["rows"], len(manifest["sources"])
    text = (
        f"{rows:,} {manifest['kind']} rows from {sources} source{'s' * (sources != 1)}, built by tulu-data."
    )
    if manifest["preview"]:
        text += f"\n\n**A preview**: only the first {manifest['limit']:,} rows of each source were read."
    return f"{text} Logical hash of the rows: `{manifest['logical_hash']}`."


def _how_to_load(manifest: Mapping[str, Any]) -> str:
    code = 'from datasets import load_dataset\n\nrows = load_dataset("PATH_OF_THIS_FOLDER", split="train")'
    if manifest["kind"] == "preference":
        code += "\n# only the columns that TRL takes"
        code += '\npairs = load_dataset("PATH_OF_THIS_FOLDER", "trl", split="train")'
    return f"```python\n{code}\n```"


def _sources(manifest: Mapping[str, Any]) -> str:
    rows = [
        (
            source["name"],
            source["from"],
            source["lock"].get("revision") or "",
            source["license"] or UNKNOWN,
            *(f"{source['rows'][key]:,}" for key in ("read", "selected", "kept")),
            f"{source['share_of_rows']:.1%}",
            f"{source['share_of_tokens']:.1%}",
        )
        for source in manifest["sources"]
    ]
    heads = (
        "source",
        "from",
        "revision",
        "licence",
        "read",
        "selected",
        "kept",
        "of rows",
        "of tokens (estimated)",
    )
    note = "Licences are those that the recipe states; `lineage.parquet` has that of each row."
    return f"{_table(heads, rows, 4)}\n\n{note}"


def _steps(manifest: Mapping[str, Any]) -> str:
    if not manifest["steps"]:
        return "None."
    rows = [
        (
            str(step["step"]),
            step["op"],
            json.dumps(step["settings"], ensure_ascii=False, default=str),
            f"{step['rows_in']:,}",
            f"{step['rows_out']:,}",
            ", ".join(f"{reason} {n:,}" for reason, n in step["dropped"].items()),
        )
        for step in manifest["steps"]
    ]
    return _table(("step", "operator", "settings", "rows in", "rows out", "dropped"), rows, 6)


def _certified(manifest: Mapping[str, Any]) -> list[str]:
    """What the steps certify of the rows."""
    found = [
        step["data"]["certificate"] for step in manifest["steps"] if "certificate" in step.get("data", {})
    ]
    return ["## What was checked", *("\n".join(told["card"]) for told in found)] if found else []


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], words: int) -> str:
    """A Markdown table; the columns after the first `words` are numbers."""
    lines = [heads, ["---" if i < words else "---:" for i in range(len(heads))], *rows]
    return "\n".join("| " + " | ".join(_cell(text) for text in line) + " |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")


_FILES = """\
- `data/`: the rows, in the order to train on.
- `lineage.parquet`: by `id`, which row of which source each row was, its licence, and its other columns.
- `dropped/`: every rejected row, its verdict and the evidence, a file per step.
- `matches.parquet`: what decontamination found, where the recipe asks for it; `report.html` shows it.
- `certificate.json`, `certificate.html`: what was checked against which suite, and what a control found.
- `manifest.json`: the resolved recipe, locked sources, counts, hashes; `lock.json`: what pins the sources."""
