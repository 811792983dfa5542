"""`decontaminate`, `dedup`, `index`: rows that should not be there, found and taken out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

import tulu_data
from tulu_data.errors import UsageError
from tulu_data.verbs.options import (
    FILE,
    FOLDER,
    debug_option,
    example,
    json_option,
    place_options,
    print_json,
    work_options,
    workspace_of,
)


@click.command(
    epilog=example(
        "tulu-data decontaminate --against sample",
        "tulu-data decontaminate --against evals.yaml data/*.jsonl.gz --out clean/",
    )
)
@click.argument("data", nargs=-1)
@click.option("--against", required=True, metavar="SUITE", help="A suite: a YAML file, or the name of one.")
@click.option("--out", type=FOLDER, help="New folder for what is written.  [default: decontaminated/SUITE]")
@click.option(
    "--roles",
    default="user",
    show_default=True,
    help="Whose messages are scanned: all, or a list such as user,assistant.",
)
@click.option(
    "--rule",
    metavar="RULE",
    help="How a match is decided, instead of the suite's own rule: tulu-data, tulu3, olmo3, gpt3, exact, "
    "minhash, or a file.",
)
@click.option(
    "--action",
    "actions",
    multiple=True,
    metavar="KIND=ACTION",
    help="What becomes of rows with a kind of finding: drop, review (kept, and listed) or keep. May be given "
    "several times.",
)
@click.option(
    "--decisions", type=FILE, help="Decisions that the review page saved; they win over the actions."
)
@click.option(
    "--plants",
    type=click.IntRange(min=0),
    default=50,
    show_default=True,
    help="Items of each eval to plant in each way, for the certificate; 0 plants none.",
)
@click.option(
    "--seed", type=int, default=42, show_default=True, help="Chooses the items and what carries them."
)
@click.option("--no-cache", is_flag=True, help="Use nothing of earlier runs, and keep nothing of this one.")
@click.option("--adapter", metavar="NAME", help="Shape of all DATA, where the columns do not tell it.")
@click.option("--all-recipes", is_flag=True, help="Scan the sources of every recipe in the workspace.")
@click.option("--force", is_flag=True, help="Replace an existing --out.")
@click.option(
    "--show", type=click.IntRange(0, 1000), default=1, show_default=True, help="Matched rows to print."
)
@place_options
@work_options
@json_option
@debug_option
def decontaminate(
    as_json: bool,
    show: int,
    workspace: Path | None,
    roles: str,
    actions: Sequence[str],
    no_cache: bool,
    **settings: Any,
) -> int:
    """Find training rows that overlap with evaluations.

    DATA are files, globs or hf:ORG/NAME; without DATA, the suite's own `train:` list is scanned. Written are
    the rows that stay, with all their columns, the rows that matched, the evidence, a page to review it, a
    certificate of what was checked, and a summary.

    Exit status: 0 nothing matched, 3 something matched or is to be reviewed.
    """
    from tulu_data.cli_tables import print_decontamination
    from tulu_data.decontam.rules import read_actions
    from tulu_data.progress import for_terminal

    wanted: str | list[str] = roles.split(",") if "," in roles else roles
    result = tulu_data.decontaminate(
        roles=wanted,
        actions=read_actions(actions),
        cache=not no_cache,
        workspace=workspace_of(workspace),
        progress=for_terminal(),
        **settings,
    )
    if as_json:
        print_json(result.summary)
    else:
        print_decontamination(result, show)
    return result.exit_status


@click.command(
    epilog=example(
        "tulu-data dedup data/*.jsonl --out unique/",
        "tulu-data dedup a.parquet b.parquet --by prompt --keep best_source --sources b,a",
    )
)
@click.argument("data", nargs=-1, required=True)
@click.option("--out", type=FOLDER, help="New folder for what is written.  [default: deduplicated]")
@click.option(
    "--method",
    type=click.Choice(["exact", "minhash"]),
    default="minhash",
    show_default=True,
    help="Which rows are duplicates: equal ones, or nearly equal ones too.",
)
@click.option(
    "--by",
    default="conversation",
    show_default=True,
    help="What is compared: conversation, prompt, or a list of columns.",
)
@click.option(
    "--threshold",
    type=click.FloatRange(0.3, 1),
    metavar="JACCARD",
    help="minhash: how much of their shingles rows must share.  [default: 0.8]",
)
@click.option("--ngram", type=click.IntRange(1, 64), help="minhash: tokens in a shingle.  [default: 5]")
@click.option("--normalize", is_flag=True, help="exact: ignore case and the amount of white space.")
@click.option(
    "--keep",
    type=click.Choice(["first", "longest", "best_source", "license"]),
    default="first",
    show_default=True,
    help="Which of several rows stays.",
)
@click.option("--sources", metavar="A,B,…", help="For --keep best_source: data sets, best first.")
@click.option("--licenses", metavar="A,B,…", help="For --keep license: licences, best first.")
@click.option("--adapter", metavar="NAME", help="Shape of all DATA, where the columns do not tell it.")
@click.option("--force", is_flag=True, help="Replace an existing --out.")
@click.option(
    "--mirror",
    type=FOLDER,
    envvar="TULU_DATA_MIRROR",
    show_envvar=True,
    help="Folder ORG/NAME/… that stands in for the Hugging Face Hub.",
)
@work_options
@json_option
@debug_option
def dedup(data: tuple[str, ...], as_json: bool, by: str, **settings: Any) -> None:
    """Find rows that are equal or nearly so, and keep one of them.

    DATA are files, globs or hf:ORG/NAME; they are compared with each other as well. Written are the rows that
    stay, with all their columns, the rows that go, with the row that stays for each, the clusters, and a
    summary. No row goes on an estimate: the likeness of each with its survivor was measured.
    """
    from tulu_data.cli_tables import print_dedup
    from tulu_data.progress import for_terminal

    chosen = {key: value for key, value in settings.items() if value is not None and value is not False}
    for name in ("sources", "licenses"):
        if name in chosen:
            chosen[name] = _listed(chosen[name])
    what = by if by in {"conversation", "prompt"} else _listed(by)
    result = tulu_data.deduplicate(data, by=what, progress=for_terminal(), **chosen)
    if as_json:
        print_json(result.summary)
    else:
        print_dedup(result)


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",")]


@click.command(epilog=example("tulu-data index", "tulu-data index --prune --older-than 30"))
@click.option("--prune", is_flag=True, help="Delete what no run can use any more.")
@click.option(
    "--older-than", type=click.FloatRange(min=0), metavar="DAYS",
    help="With --prune: also what was not used for so long.",
)  # fmt: skip
@click.option(
    "--max-size", type=click.FloatRange(min=0), metavar="GB",
    help="With --prune: also what was not used for longest, until no more remains.",
)  # fmt: skip
@click.option("--all", "everything", is_flag=True, help="With --prune: everything.")
@json_option
@debug_option
def index(
    prune: bool, older_than: float | None, max_size: float | None, everything: bool, as_json: bool
) -> None:
    """Show what is kept between runs, and delete it.

    Evaluation indexes and scan results are kept by the hash of their content, so that `decontaminate` scans
    only what is new. The folder is $TULU_DATA_CACHE, by default ~/.cache/tulu-data. Nothing in it is needed:
    what is missing is made again.
    """
    from tulu_data.cli_tables import print_kept, print_pruned
    from tulu_data.decontam.cache.listing import overview
    from tulu_data.decontam.cache.listing import prune as delete
    from tulu_data.decontam.cache.store import Cache

    cache = Cache.open()
    if not prune:
        given = {
            "--older-than": older_than is not None,
            "--max-size": max_size is not None,
            "--all": everything,
        }
        for name, present in given.items():
            if present:
                raise UsageError(f"{name} says what --prune deletes", expected=f"--prune {name}")
        kept = overview(cache)
        print_json(kept) if as_json else print_kept(kept)
        return
    size = None if max_size is None else int(max_size * 1e9)
    pruned = delete(cache, older_than=older_than, max_bytes=size, everything=everything)
    print_json(vars(pruned)) if as_json else print_pruned(pruned, cache.root)


VERBS: list[click.Command] = [decontaminate, dedup, index]
