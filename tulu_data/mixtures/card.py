"""The dataset card of a version: its numbers are those of the build, in the text as in the YAML before it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from tulu_data.mixtures.croissant import croissant
from tulu_data.mixtures.facts import Facts, facts_of

CARD, CROISSANT = "README.md", "croissant.json"

HERE = "PATH_OF_THIS_FOLDER"
"""Where a version lies is not written into it: it may be moved."""

UNKNOWN = "not stated"

TRL_COLUMNS = ["chosen", "rejected", "source"]
"""TRL's trainers refuse a string `prompt` beside full conversations, and find the prompt in `chosen`."""

_LICENSES = {
    "apache-2.0",
    "mit",
    "cc-by-3.0",
    "cc-by-4.0",
    "cc-by-sa-3.0",
    "cc-by-sa-4.0",
    "cc-by-nc-4.0",
    "cc-by-nc-sa-4.0",
    "cc-by-nc-nd-4.0",
    "cc0-1.0",
    "odc-by",
    "odbl",
    "bsd-3-clause",
    "cdla-permissive-2.0",
    "gpl-3.0",
}
"""Those of the identifiers that the Hub knows which instruction data come under."""

_SIZES = ("n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "1M<n<10M", "10M<n<100M", "100M<n<1B", "1B<n<10B")
"""The Hub's own classes of size: below a thousand rows, and then each to ten times as many."""


def describe(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Writes the card and the Croissant file of the version in `folder`."""
    facts = facts_of(folder, manifest)
    (folder / CARD).write_text(card(facts), encoding="utf-8")
    (folder / CROISSANT).write_text(croissant(facts, folder), encoding="utf-8")


def card(facts: Facts, at: str = HERE, *, with_dropped: bool = True) -> str:
    """The card as Markdown with YAML front matter.

    Args:
        facts: what is told of the version.
        at: where it lies: a path, or ORG/NAME on the Hub.
        with_dropped: whether the rejected rows lie there too.
    """
    parts = [
        f"---\n{_yaml(front_matter(facts))}---",
        f"# {facts.name}",
        *_introduction(facts),
        "## How to load it",
        *_how_to_load(facts, at),
        "## Sources",
        _sources(facts),
        "## Licences",
        _licenses(facts),
        "## Steps",
        _steps(facts.manifest),
        *_warned(facts.manifest),
        *_certified(facts.manifest),
        "## Recipe",
        _recipe(facts.manifest),
        "## Files",
        _files(facts, with_dropped=with_dropped),
    ]
    return "\n\n".join(parts) + "\n"


def _yaml(data: Any) -> str:
    """YAML without references: by way of JSON, what stands in two places is two things."""
    plain = json.loads(json.dumps(data, default=str))
    return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)


# -- for programs --------------------------------------------------------------------------------------------


def front_matter(facts: Facts) -> dict[str, Any]:
    """What the Hub and `datasets` read: among it how many rows each split has, which the loader verifies."""
    kind = facts.manifest["kind"]
    files = [{"split": split.name, "path": split.pattern} for split in facts.splits]
    sizes = {
        "splits": [
            {"name": split.name, "num_bytes": split.whole, "num_examples": split.rows}
            for split in facts.splits
        ],
        "download_size": sum(split.bytes for split in facts.splits),
        "dataset_size": sum(split.whole for split in facts.splits),
    }
    configs: list[dict[str, Any]] = [{"config_name": "default", "data_files": files, "default": True}]
    if kind == "preference":
        configs.append({"config_name": "trl", "data_files": files, "columns": TRL_COLUMNS})
    return {
        "pretty_name": facts.name,
        "license": _license(facts),
        "size_categories": [size(facts.rows)],
        "task_categories": ["text-generation"],
        "tags": ["tulu-data", kind, *(["synthetic-sample"] if facts.synthetic else [])],
        "configs": configs,
        "dataset_info": [{"config_name": config["config_name"], **sizes} for config in configs],
    }


def _license(facts: Facts) -> str:
    """One identifier where every row has the same, and the Hub knows it."""
    named = {(name or "").lower() for name in facts.all_licenses()}
    return named.pop() if len(named) == 1 and named <= _LICENSES else "other"


def size(rows: int) -> str:
    """The Hub's class of size.

    >>> size(939_344)
    '100K<n<1M'
    """
    return next((name for power, name in enumerate(_SIZES, 3) if rows < 10**power), "10B<n<100B")


# -- for people ----------------------------------------------------------------------------------------------


def _introduction(facts: Facts) -> Iterator[str]:
    manifest, sources = facts.manifest, len(facts.manifest["sources"])
    yield (
        f"{facts.rows:,} {manifest['kind']} rows from {sources} source{'s' * (sources != 1)}, "
        f"built by tulu-data. Logical hash of the rows: `{manifest['logical_hash']}`."
    )
    if facts.synthetic:
        yield (
            "**A synthetic sample**: rows of this version were made up, to try its recipe without the data "
            "that the recipe names. It is not that data: train nothing on it, and cite none of its numbers."
        )
    if manifest["preview"]:
        yield f"**A preview**: only the first {manifest['limit']:,} rows of each source were read."
    rows = [(split.name, f"{split.rows:,}", f"{split.bytes:,}") for split in facts.splits]
    yield _table(("split", "rows", "bytes of Parquet"), rows, 1)


def _how_to_load(facts: Facts, at: str) -> Iterator[str]:
    kind = facts.manifest["kind"]
    loaded = f'from datasets import load_dataset\n\nrows = load_dataset("{at}", split="train")'
    if any(split.name == "test" for split in facts.splits):
        loaded += f'\nheld_out = load_dataset("{at}", split="test")'
    yield f"```python\n{loaded}\n```"
    yield f"For TRL: {_TRL[kind]}\n\n```python\n{_TRL_CODE[kind].format(at=at)}\n```"
    if kind == "prompts":
        return
    local = at == HERE
    first = next((f"{at}/{file}" for split in facts.splits for file in split.files), at) if local else at
    more = ", and so on for every file of `data/`" if local and len(facts.splits[0].files) > 1 else ""
    yield (
        f"For open-instruct, whose transforms read {_OPEN_INSTRUCT[kind]}: "
        f"`--dataset_mixer_list {first} 1.0 --dataset_mixer_list_splits train`{more}. "
        "`1.0`, with the point, is all of it; `1` would be one row."
    )


_TRL = {
    "sft": "`SFTTrainer` reads `messages`, and `tools` where there are some.",
    "preference": "the config `trl` has the columns that `DPOTrainer` and `RewardTrainer` take. They find "
    "the prompt in `chosen` and `rejected`, and refuse a text `prompt` beside them.",
    "rlvr": "`GRPOTrainer` wants the conversation as `prompt`; the other columns reach the reward functions "
    "as lists, under their names.",
    "prompts": "the trainers that generate want the conversation as `prompt`.",
}
_ROWS = 'load_dataset("{at}", split="train")'
_RENAMED = f'prompts = {_ROWS}.rename_column("messages", "prompt")'
_TRL_CODE = {
    "sft": f'from trl import SFTTrainer\n\ntrainer = SFTTrainer("MODEL", train_dataset={_ROWS})',
    "preference": 'from trl import DPOTrainer\n\npairs = load_dataset("{at}", "trl", split="train")\n'
    'trainer = DPOTrainer("MODEL", train_dataset=pairs)',
    "rlvr": f"from trl import GRPOTrainer\n\n{_RENAMED}\n"
    "# your own: reward(completions, ground_truth, dataset, **others), a list of numbers\n"
    'trainer = GRPOTrainer("MODEL", reward_funcs=reward, train_dataset=prompts)',
    "prompts": _RENAMED,
}
_OPEN_INSTRUCT = {
    "sft": "`messages`",
    "preference": "`chosen` and `rejected`",
    "rlvr": "`messages`, `ground_truth` and `dataset`, the name of the verifier",
}


def _sources(facts: Facts) -> str:
    counted = "" if facts.manifest["tokens"]["counted"] == "exact" else " (estimated)"
    rows = [
        (
            source["name"],
            source["from"],
            source["lock"].get("revision") or "",
            _licenses_of(facts, source),
            *(f"{source['rows'][key]:,}" for key in ("read", "selected", "survived", "kept")),
            f"{source['share_of_rows']:.1%}",
            f"{source['tokens']:,}",
            f"{source['share_of_tokens']:.1%}",
        )
        for source in facts.manifest["sources"]
    ]
    heads = ("source", "from", "revision", "licence", "read", "selected", "passed the steps", "kept")
    return _table((*heads, "of rows", f"tokens{counted}", "of tokens"), rows, 4)


def _licenses_of(facts: Facts, source: Mapping[str, Any]) -> str:
    """Those of a source's rows, with numbers where they differ; what the recipe states if none is kept."""
    held = facts.licenses.get(source["name"])
    if not held:
        return source["license"] or UNKNOWN
    if len(held) == 1:
        return next(iter(held)) or UNKNOWN
    return ", ".join(f"{name or UNKNOWN} ({rows:,})" for name, rows in held.most_common())


def _licenses(facts: Facts) -> str:
    """The rows of each licence, and how many have none."""
    counts = facts.all_licenses()
    rows = [
        (name or UNKNOWN, f"{n:,}", f"{n / facts.rows:.1%}")
        for name, n in sorted(counts.items(), key=lambda item: (-item[1], item[0] or ""))
    ]
    told = _table(("licence", "rows", "of rows"), rows, 1)
    note = "As the recipe states them for a source, or else as its own rows do; nobody verified them."
    if counts[None]:
        note += f" {counts[None]:,} of {facts.rows:,} rows have no licence stated."
    return f"{told}\n\n{note} `lineage.parquet` has that of each row."


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


def _warned(manifest: Mapping[str, Any]) -> list[str]:
    """What the steps found amiss with the rows that they let pass."""
    lines = [
        f"- Step {step['step']}, `{step['op']}`: {warning}."
        for step in manifest["steps"]
        for warning in step.get("data", {}).get("warnings", ())
    ]
    return ["## Warnings", "\n".join(lines)] if lines else []


def _certified(manifest: Mapping[str, Any]) -> list[str]:
    """What the steps certify of the rows."""
    found = [
        step["data"]["certificate"] for step in manifest["steps"] if "certificate" in step.get("data", {})
    ]
    return ["## What was checked", *("\n".join(told["card"]) for told in found)] if found else []


def _recipe(manifest: Mapping[str, Any]) -> str:
    """The recipe with what it includes, in a fence that no text of it can end."""
    text = _yaml(manifest["recipe"])
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", text)), default=2))
    note = "Includes merged, defaults filled in; `lock.json` pins what it reads."
    return f"{note}\n\n{fence}yaml\n{text}{fence}"


def _files(facts: Facts, *, with_dropped: bool) -> str:
    certified = bool(_certified(facts.manifest))
    held_out = any(split.name == "test" for split in facts.splits)
    there = {"dropped": with_dropped, "certificate": certified, "test": held_out}
    return "\n".join(f"- {text}" for part, text in _FILES if there.get(part, True))


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], words: int) -> str:
    """A Markdown table; the columns after the first `words` are numbers."""
    lines = [heads, ["---" if i < words else "---:" for i in range(len(heads))], *rows]
    return "\n".join("| " + " | ".join(_cell(text) for text in line) + " |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")


_FILES = (
    ("data", "`data/`: the rows, in the order to train on."),
    ("test", "`test/`: the rows held out."),
    ("lineage", "`lineage.parquet`: which row of which source each row was, its licence, its other columns."),
    ("dropped", "`dropped/`: every rejected row, its verdict and the evidence, a file per step."),
    ("dropped", "`matches.parquet`: what decontamination found, if anything; `report.html` shows it."),
    ("certificate", "`certificate.json`, `certificate.html`: what was checked, and what a control found."),
    ("manifest", "`manifest.json`: the resolved recipe, locked sources, counts, hashes."),
    ("lock", "`lock.json`: what pins the sources."),
    (
        "croissant",
        "`croissant.json`: files, columns and what they were derived from, as Croissant (JSON-LD).",
    ),
)
