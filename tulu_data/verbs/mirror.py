"""`mirror`: folders that stand in for the Hugging Face Hub."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

import tulu_data
from tulu_data.verbs.options import FOLDER, debug_option, example, json_option, print_json, workspace_of

if TYPE_CHECKING:
    from tulu_data.sources.samples import SampleMirror


@click.group()
def mirror() -> None:
    """Folders ORG/NAME/… that stand in for the Hugging Face Hub."""


@mirror.command(
    epilog=example(
        "tulu-data mirror sample --recipe sft_8b --rows 100 --out mirror",
        "tulu-data build-mixture sft_8b --mirror mirror",
    )
)
@click.option(
    "--recipe",
    "recipes",
    metavar="NAME",
    required=True,
    multiple=True,
    help="A recipe of `mixtures/`, or a YAML file; several can share a mirror.",
)
@click.option(
    "--rows",
    type=click.IntRange(min=1),
    default=100,
    show_default=True,
    help="Rows of each source; what is odd about a dataset shows from about 40 on.",
)
@click.option("--out", type=FOLDER, required=True, help="Folder to write; it must be new or empty.")
@click.option("--seed", type=int, default=42, show_default=True, help="Another seed makes up other rows.")
@click.option("--force", is_flag=True, help="Replace an earlier sample in that folder.")
@click.option("--skip-unknown", is_flag=True, help="Leave out datasets whose shape is not known.")
@click.option("--workspace", type=FOLDER, help="Folder with your recipes.  [default: the current one]")
@json_option
@debug_option
def sample(
    recipes: tuple[str, ...],
    rows: int,
    out: Path,
    seed: int,
    force: bool,
    skip_unknown: bool,
    workspace: Path | None,
    as_json: bool,
) -> None:
    """Make up rows for the sources of a recipe, to try it without a network.

    Each dataset has its native columns, files and oddities, and so has each evaluation that the recipe is
    decontaminated against. Nothing in it comes from the datasets themselves. OUT/truth.jsonl tells what must
    become of the rows.
    """
    made = tulu_data.sample_mirror(
        recipes,
        rows,
        out,
        seed=seed,
        force=force,
        skip_unknown=skip_unknown,
        workspace=workspace_of(workspace),
    )
    if as_json:
        print_json(asdict(made))
    else:
        _print(made, recipes)


def _print(made: SampleMirror, recipes: tuple[str, ...]) -> None:
    from tulu_data.show import table, visible

    table(("dataset", "rows", "files"), [(d.name, d.rows, len(d.files)) for d in made.datasets])
    for name in made.left_out:
        click.echo(f"left out, since its shape is not known: {visible(name)}", err=True)
    folder = shlex.quote(str(made.folder))
    click.echo(f"\nwritten to {visible(str(made.folder))}; every row is made up\n\nNow type:")
    for name in recipes:
        click.echo(visible(f"  tulu-data build-mixture {shlex.quote(name)} --mirror {folder}"))


VERBS: list[click.Command] = [mirror]
