"""`init`, `demo`: the first minutes."""

from __future__ import annotations

from pathlib import Path

import click

from tulu_data.verbs.options import FOLDER, debug_option, example


@click.command(epilog=example("tulu-data init my-data"))
@click.argument("folder", metavar="[DIR]", type=FOLDER, default=Path())
@debug_option
def init(folder: Path) -> None:
    """Start a workspace: a suite, a recipe, a few rows.

    DIR is the current folder by default. Everything in it runs as it is, without a network. Files that exist
    are never replaced.
    """
    from tulu_data.init import NEXT, start

    for path in start(folder):
        click.echo(f"  {path}")
    steps = NEXT if folder == Path() else (f"cd {folder}", *NEXT)
    click.echo("\nNow type:\n" + "\n".join(f"  {step}" for step in steps))


@click.command(epilog=example("tulu-data demo"))
@click.option("--dir", "folder", type=FOLDER, default=Path("demo"), show_default=True, help="Where to build.")
@debug_option
def demo(folder: Path) -> None:
    """Run the main job on small sample data.

    Decontaminates data that comes with the program and builds the mixture `sft_mini`; needs no network.
    """
    from tulu_data.demo import run

    run(folder)


VERBS: list[click.Command] = [init, demo]
