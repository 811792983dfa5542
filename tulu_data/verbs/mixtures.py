"""`build-mixture`, `check`, `operators`: recipes and what they make."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import tulu_data
from tulu_data.errors import RecipeError
from tulu_data.verbs.options import (
    FILE,
    FOLDER,
    debug_option,
    example,
    json_option,
    operators_option,
    place_options,
    print_json,
    registry_of,
    work_options,
    workspace_of,
)

if TYPE_CHECKING:
    from tulu_data.errors import Problem


@click.command(
    "build-mixture",
    epilog=example(
        "tulu-data build-mixture sft_mini", "tulu-data build-mixture sft_mini --limit 100 --store look/"
    ),
)
@click.argument("name")
@click.option("--store", type=FOLDER, help="Where versions are kept.  [default: store/ in the workspace]")
@click.option(
    "--licenses",
    type=click.Choice(["commercial"]),
    help="Take only rows whose licence allows this use; rows without a licence are left out too.",
)
@click.option("--lock", type=FILE, help="A lock.json: read the sources exactly as that build did.")
@click.option(
    "--limit", type=click.IntRange(min=1), help="Use at most N rows of every source, for a quick look."
)
@click.option("--no-cache", is_flag=True, help="Use nothing of earlier runs, and keep nothing of this one.")
@place_options
@work_options
@operators_option
@json_option
@debug_option
def build_mixture(
    name: str,
    as_json: bool,
    no_cache: bool,
    workspace: Path | None,
    operators: Path | None,
    **settings: Any,
) -> None:
    """Build a mixture into a version in the store.

    NAME is a recipe of `mixtures/`, in the workspace or shipped, or a YAML file. Building again from the same
    sources gives the same version.
    """
    from tulu_data.cli_tables import print_build
    from tulu_data.progress import for_terminal

    result = tulu_data.build(
        name,
        cache=not no_cache,
        workspace=workspace_of(workspace),
        registry=registry_of(operators),
        progress=for_terminal(),
        **settings,
    )
    if as_json:
        print_json(result.summary)
    else:
        print_build(result)


@click.command(epilog=example("tulu-data rebuild sft_mini", "tulu-data rebuild sft_mini@v1 --json"))
@click.argument("version")
@click.option("--store", type=FOLDER, help="Where versions are kept.  [default: store/ in the workspace]")
@click.option("--recipe", type=FILE, help="The recipe's file, if it does not lie in the workspace.")
@click.option("--no-cache", is_flag=True, help="Use nothing of earlier runs, and keep nothing of this one.")
@click.option("--threads", type=click.IntRange(min=1), help="Threads to use.  [default: one per core]")
@place_options
@operators_option
@json_option
@debug_option
def rebuild(
    version: str,
    as_json: bool,
    no_cache: bool,
    workspace: Path | None,
    operators: Path | None,
    **settings: Any,
) -> int:
    """Make a version again from its lock, and tell whether it is the same.

    VERSION is NAME (its latest version), NAME@vK, or a version's folder. Sources are read at the commits of
    the lock; where one is not what it was, it is named, with how many rows differ. The store stays as it is.

    Exit status: 0 the same rows in the same bytes, 1 not so.
    """
    from tulu_data.cli_tables import print_rebuilt
    from tulu_data.progress import for_terminal

    result = tulu_data.rebuild(
        version,
        cache=not no_cache,
        workspace=workspace_of(workspace),
        registry=registry_of(operators),
        progress=for_terminal(),
        **settings,
    )
    if as_json:
        print_json(result.summary)
    else:
        print_rebuilt(result)
    return 0 if result.same_rows and result.same_bytes else 1


@click.command(epilog=example("tulu-data check sft_mini"))
@click.argument("name")
@click.option(
    "--store", type=FOLDER, help="Where store: sources are found.  [default: store/ in the workspace]"
)
@place_options
@operators_option
@json_option
@debug_option
def check(name: str, as_json: bool, workspace: Path | None, operators: Path | None, **settings: Any) -> int:
    """List what is wrong with a recipe or a suite, and how to mend it.

    NAME is a recipe of `mixtures/` or a suite of `decontam/`, in the workspace or shipped, or a YAML file.
    Nothing is built.

    Exit status: 0 nothing wrong, or warnings alone; 2 at least one error.
    """
    from tulu_data.cli_tables import print_problems
    from tulu_data.progress import for_terminal

    problems: list[Problem] = tulu_data.check(
        name,
        workspace=workspace_of(workspace),
        registry=registry_of(operators),
        progress=for_terminal(),
        **settings,
    )
    if as_json:
        print_json([vars(problem) for problem in problems])
    else:
        print_problems(name, problems)
    return RecipeError.exit_status if any(p.level == "error" for p in problems) else 0


@click.command(epilog=example("tulu-data operators"))
@operators_option
@json_option
@debug_option
def operators(operators: Path | None, as_json: bool) -> None:
    """List the operators that a recipe can name.

    They are the words for `steps:`; with --operators, those of your own file too.
    """
    from tulu_data.cli_tables import operator_rows
    from tulu_data.show import table

    rows = operator_rows(registry_of(operators))
    if as_json:
        print_json(rows)
    else:
        table(("operator", "what it does", "settings"), [tuple(row.values()) for row in rows])


VERBS: list[click.Command] = [build_mixture, check, rebuild, operators]
