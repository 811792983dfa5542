"""`mixtures`, `show`, `diff`, `trace`, `verify`, `gc`: finished versions, and what a store holds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

import tulu_data
from tulu_data.verbs.options import (
    FILE,
    FOLDER,
    Verb,
    bundle,
    debug_option,
    example,
    json_option,
    print_json,
    workspace_of,
)

store_options = bundle(
    click.option("--store", type=FOLDER, help="Where versions are kept.  [default: store/ in the workspace]"),
    click.option("--workspace", type=FOLDER, help="Folder with your recipes.  [default: the current one]"),
)


def _examples(what: str) -> Callable[[Verb], Verb]:
    count = click.IntRange(0, 1000)
    return click.option("--examples", type=count, default=2, show_default=True, help=what)


@click.command(epilog=example("tulu-data mixtures"))
@store_options
@json_option
@debug_option
def mixtures(workspace: Path | None, as_json: bool, **settings: Any) -> None:
    """List the recipes that can be built, and every version in the store."""
    from tulu_data.verbs.versions_tables import print_catalog

    listed = tulu_data.catalog(workspace=workspace_of(workspace), **settings)
    print_json(listed) if as_json else print_catalog(listed)


@click.command(epilog=example("tulu-data show sft_mini", "tulu-data show sft_mini@v1 --examples 5"))
@click.argument("name")
@_examples("Rows to print.")
@store_options
@json_option
@debug_option
def show(name: str, workspace: Path | None, as_json: bool, **settings: Any) -> None:
    """Show what a version is made of, and some of its rows.

    NAME is a mixture (its latest version), NAME@v2, NAME@preview, or a version's folder. Of a mixture that
    was never built, its recipe is shown.
    """
    from tulu_data.verbs.versions_tables import print_details

    told = tulu_data.details(name, workspace=workspace_of(workspace), **settings)
    print_json(told) if as_json else print_details(told)


@click.command(
    epilog=example(
        "tulu-data diff sft_mini@v1 sft_mini",
        "tulu-data diff sft_mini@v1 sft_mini --examples 5 --rows differing.parquet",
    )
)
@click.argument("before")
@click.argument("after")
@click.option("--rows", type=FILE, help="New Parquet file for the id of every row that differs, and why.")
@_examples("Rows to print of each kind of change.")
@store_options
@json_option
@debug_option
def diff(
    before: str, after: str, rows: Path | None, workspace: Path | None, as_json: bool, **settings: Any
) -> None:
    """Compare two versions row by row.

    Rows added, removed, changed, moved between data and test, and reweighted: by source, and by what is
    responsible (a step, a selection, the source itself), with --examples rows of each kind.
    """
    from tulu_data.mixtures.diff import write_changes
    from tulu_data.verbs.versions_tables import print_diff

    found = tulu_data.diff(before, after, workspace=workspace_of(workspace), **settings)
    if rows is not None:
        write_changes(found, rows)
    print_json(found.summary) if as_json else print_diff(found.summary)


@click.command(epilog=example("tulu-data trace sft_mini chat-012", "tulu-data trace sft_mini@v1 chat/0fbf"))
@click.argument("version")
@click.argument("row", metavar="ID")
@store_options
@json_option
@debug_option
def trace(version: str, row: str, workspace: Path | None, as_json: bool, **settings: Any) -> None:
    """Follow one row from its source to where it lies, or to why it was dropped.

    ID is the row's id, its id in the source, or the beginning of its hash, also behind SOURCE/.
    """
    from tulu_data.verbs.versions_tables import print_trace

    found = tulu_data.trace(version, row, workspace=workspace_of(workspace), **settings)
    print_json(found.summary) if as_json else print_trace(found)


@click.command(epilog=example("tulu-data verify", "tulu-data verify sft_mini@v1"))
@click.argument("versions", nargs=-1)
@store_options
@json_option
@debug_option
def verify(versions: tuple[str, ...], workspace: Path | None, as_json: bool, **settings: Any) -> int:
    """Check that versions are still what was built: files, rows and hashes.

    All of the store, previews too, unless VERSIONS are named.

    Exit status: 1 where there is a fault.
    """
    from tulu_data.progress import for_terminal
    from tulu_data.verbs.versions_tables import print_verified

    result = tulu_data.verify(
        *versions, workspace=workspace_of(workspace), progress=for_terminal(), **settings
    )
    if as_json:
        print_json({**vars(result), "faults": [vars(fault) for fault in result.faults]})
    else:
        print_verified(result)
    return 1 if result.faults else 0


@click.command(epilog=example("tulu-data gc --keep 3 --previews", "tulu-data gc --keep 3 --delete"))
@click.option(
    "--keep", type=click.IntRange(min=1), metavar="N",
    help="Also all but the latest N versions of each mixture, if nothing reads them.",
)  # fmt: skip
@click.option("--previews", is_flag=True, help="Also the previews that --limit made.")
@click.option("--delete", is_flag=True, help="Delete what is listed.")
@store_options
@json_option
@debug_option
def gc(workspace: Path | None, as_json: bool, **settings: Any) -> None:
    """List what the store no longer needs, and delete it.

    Folders of builds that died, always. A version that a recipe or the lock of another version reads stays.
    """
    from tulu_data.verbs.versions_tables import print_collected

    result = tulu_data.gc(workspace=workspace_of(workspace), **settings)
    if as_json:
        told = {"garbage": [vars(g) for g in result.garbage], "kept": [vars(k) for k in result.kept]}
        print_json(told | {"deleted": result.deleted})
    else:
        print_collected(result)


VERBS: list[click.Command] = [mixtures, show, diff, trace, verify, gc]
