"""What the verbs share: options, and the few things that each does with them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from tulu_data.errors import UsageError

if TYPE_CHECKING:
    from tulu_data.op import Registry
    from tulu_data.workspace import Workspace

Verb = TypeVar("Verb", bound=Callable[..., Any])


@dataclass
class Session:
    """What one run of the program knows beside its arguments."""

    debug: bool = False


def bundle(*options: Callable[[Any], Any]) -> Callable[[Verb], Verb]:
    """Several options as one decorator."""

    def decorate(verb: Verb) -> Verb:
        for option in reversed(options):
            verb = option(verb)
        return verb

    return decorate


def _set_debug(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value:
        ctx.ensure_object(Session).debug = True


FILE = click.Path(path_type=Path, dir_okay=False)
FOLDER = click.Path(path_type=Path, file_okay=False)

debug_option = click.option(
    "--debug",
    is_flag=True,
    expose_value=False,
    callback=_set_debug,
    help="Show a traceback when the program fails.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
place_options = bundle(
    click.option("--workspace", type=FOLDER, help="Folder with your recipes.  [default: the current one]"),
    click.option(
        "--mirror", type=FOLDER, envvar="TULU_DATA_MIRROR", show_envvar=True,
        help="Folder ORG/NAME/… that stands in for the Hugging Face Hub.",
    ),
)  # fmt: skip
work_options = bundle(
    click.option("--threads", type=click.IntRange(min=1), help="Threads to use.  [default: one per core]"),
    click.option(
        "--bad-rows", type=click.Choice(["stop", "skip"]), default="stop", show_default=True,
        help="What to do with a row that cannot be used: stop, or set it aside in a file with the reason.",
    ),
)  # fmt: skip
operators_option = click.option(
    "--operators", type=FILE, help="Python file with operators of your own; it is run, so know what is in it."
)


def example(*commands: str) -> str:
    """The end of a verb's help. Backspace, as click has it, keeps the lines that follow as they are."""
    return "\n".join(["\b", "Example:" if len(commands) == 1 else "Examples:", *(f"  {c}" for c in commands)])


def workspace_of(folder: Path | None) -> Workspace:
    """The workspace that `--workspace` names, or the current folder."""
    from tulu_data.workspace import Workspace

    if folder is None:
        return Workspace.here()
    if not folder.is_dir():
        raise UsageError("no such folder", where=str(folder), expected="the folder of your recipes")
    return Workspace(folder)


def registry_of(operators: Path | None) -> Registry:
    """The operators that recipes can name, with those of the file that `--operators` names."""
    from tulu_data.op import Registry, load_operators

    return load_operators(operators) if operators else Registry()


def print_json(value: object) -> None:
    """In ASCII: then nothing in it can act on a terminal."""
    click.echo(json.dumps(value, indent=2, default=str))
