"""The command line: each verb parses, calls the function of the same name, and prints.

Exit status: 0; 3 when `decontaminate` found matches; 2 usage; 1 error; 130 stopped by Ctrl-C. Results go to
standard output, everything else to standard error. Libraries are imported inside the verbs, so that `--help`
answers at once.
"""

from __future__ import annotations

import errno
import io
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

import tulu_data
from tulu_data.errors import RecipeError, TuluDataError, UsageError

if TYPE_CHECKING:
    from tulu_data.errors import Problem
    from tulu_data.op import Registry
    from tulu_data.workspace import Workspace

STOPPED = 130
"""128 + SIGINT, as shells count."""
TERMINATED = 143
"""128 + SIGTERM."""

REPORT = f"Please open an issue with the command and this text (tulu-data {tulu_data.__version__})."

Verb = TypeVar("Verb", bound=Callable[..., Any])


@dataclass
class Session:
    """What one run of the program knows beside its arguments."""

    debug: bool = False


class VerbGroup(click.Group):
    """Keeps the verbs in the order in which they are used, not in that of the alphabet."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """The verbs as they are defined below."""
        return list(self.commands)


# -- options that several verbs share ------------------------------------------------------------------------


def _bundle(*options: Callable[[Any], Any]) -> Callable[[Verb], Verb]:
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
place_options = _bundle(
    click.option("--workspace", type=FOLDER, help="Folder with your recipes.  [default: the current one]"),
    click.option(
        "--mirror", type=FOLDER, envvar="TULU_DATA_MIRROR", show_envvar=True,
        help="Folder ORG/NAME/… that stands in for the Hugging Face Hub.",
    ),
)  # fmt: skip
work_options = _bundle(
    click.option("--threads", type=click.IntRange(min=1), help="Threads to use.  [default: one per core]"),
    click.option(
        "--bad-rows", type=click.Choice(["stop", "skip"]), default="stop", show_default=True,
        help="What to do with a row that cannot be used: stop, or set it aside in a file with the reason.",
    ),
)  # fmt: skip
operators_option = click.option(
    "--operators", type=FILE, help="Python file with operators of your own; it is run, so know what is in it."
)


def _example(*commands: str) -> str:
    """The end of a verb's help. Backspace, as click has it, keeps the lines that follow as they are."""
    return "\n".join(["\b", "Example:" if len(commands) == 1 else "Examples:", *(f"  {c}" for c in commands)])


def _workspace(folder: Path | None) -> Workspace:
    from tulu_data.workspace import Workspace

    if folder is None:
        return Workspace.here()
    if not folder.is_dir():
        raise UsageError("no such folder", where=str(folder), expected="the folder of your recipes")
    return Workspace(folder)


def _registry(operators: Path | None) -> Registry:
    from tulu_data.op import Registry, load_operators

    return load_operators(operators) if operators else Registry()


def _print_json(value: object) -> None:
    """In ASCII: then nothing in it can act on a terminal."""
    click.echo(json.dumps(value, indent=2, default=str))


# -- the verbs -----------------------------------------------------------------------------------------------


@click.group(
    cls=VerbGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(tulu_data.__version__, message="%(prog)s %(version)s")
@debug_option
def cli() -> None:
    """Source, clean, decontaminate, mix and version instruction data, by the Tülu recipe.

    Start with `tulu-data demo`, which needs no network, or with `tulu-data init` in an empty folder.
    """


@cli.command(
    epilog=_example(
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
        workspace=_workspace(workspace),
        progress=for_terminal(),
        **settings,
    )
    if as_json:
        _print_json(result.summary)
    else:
        print_decontamination(result, show)
    return result.exit_status


@cli.command(
    epilog=_example(
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
        _print_json(result.summary)
    else:
        print_dedup(result)


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",")]


@cli.command(
    "build-mixture",
    epilog=_example(
        "tulu-data build-mixture sft_mini", "tulu-data build-mixture sft_mini --limit 100 --store /tmp/look"
    ),
)
@click.argument("name")
@click.option("--store", type=FOLDER, help="Where versions are kept.  [default: store/ in the workspace]")
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
        workspace=_workspace(workspace),
        registry=_registry(operators),
        progress=for_terminal(),
        **settings,
    )
    if as_json:
        _print_json(result.summary)
    else:
        print_build(result)


@cli.command(epilog=_example("tulu-data check sft_mini"))
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
        workspace=_workspace(workspace),
        registry=_registry(operators),
        progress=for_terminal(),
        **settings,
    )
    if as_json:
        _print_json([vars(problem) for problem in problems])
    else:
        print_problems(name, problems)
    return RecipeError.exit_status if any(p.level == "error" for p in problems) else 0


@cli.command(epilog=_example("tulu-data index", "tulu-data index --prune --older-than 30"))
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
        _print_json(kept) if as_json else print_kept(kept)
        return
    size = None if max_size is None else int(max_size * 1e9)
    pruned = delete(cache, older_than=older_than, max_bytes=size, everything=everything)
    _print_json(vars(pruned)) if as_json else print_pruned(pruned, cache.root)


@cli.command(epilog=_example("tulu-data init my-data"))
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


@cli.command(epilog=_example("tulu-data demo"))
@click.option("--dir", "folder", type=FOLDER, default=Path("demo"), show_default=True, help="Where to build.")
@debug_option
def demo(folder: Path) -> None:
    """Run the main job on small sample data.

    Decontaminates data that comes with the program and builds the mixture `sft_mini`; needs no network.
    """
    from tulu_data.demo import run

    run(folder)


@cli.command(epilog=_example("tulu-data operators"))
@operators_option
@json_option
@debug_option
def operators(operators: Path | None, as_json: bool) -> None:
    """List the operators that a recipe can name.

    They are the words for `steps:`; with --operators, those of your own file too.
    """
    from tulu_data.cli_tables import operator_rows
    from tulu_data.show import table

    rows = operator_rows(_registry(operators))
    if as_json:
        _print_json(rows)
    else:
        table(("operator", "what it does", "settings"), [tuple(row.values()) for row in rows])


# -- the program ---------------------------------------------------------------------------------------------


def run(arguments: Sequence[str]) -> int:
    """Runs one command line and returns its exit status; what goes wrong is one message on standard error."""
    session = Session()
    try:
        status = cli.main(list(arguments), "tulu-data", standalone_mode=False, obj=session)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt) as stop:  # click makes its own of what it catches
        ended = isinstance(stop, Terminated) or isinstance(stop.__cause__, Terminated)
        return _fail("stopped; nothing half-written remains", TERMINATED if ended else STOPPED)
    except Exception as error:  # noqa: BLE001  told, not dumped
        if session.debug:
            traceback.print_exc()
        return _fail(_message(error, session), getattr(error, "exit_status", 1))
    return status if isinstance(status, int) else 0


def _fail(message: str, status: int) -> int:
    from tulu_data.show import visible

    print("\n".join([visible(line) for line in message.splitlines()]), file=sys.stderr)
    return status


def _message(error: Exception, session: Session) -> str:
    match error:
        case TuluDataError():
            return f"error: {error}"
        case OSError():
            return f"error: {_system_message(error)}"
        case MemoryError():
            return "error: memory is full; fewer --threads need less of it"
        case _:
            more = "" if session.debug else "; --debug shows where"
            return f"error: {type(error).__name__}: {error}\nThis is a fault of ours{more}. {REPORT}"


def _system_message(error: OSError) -> str:
    reasons = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the disk quota is used up"}
    code = error.errno or 0
    reason = reasons.get(code) or (os.strerror(code).lower() if code else str(error))
    return f"{error.filename}: {reason}" if error.filename else reason


class Terminated(KeyboardInterrupt):
    """The process was asked to end: by `timeout`, a container, a job scheduler."""


def _terminated(_number: int, _frame: object) -> None:
    raise Terminated


def main() -> None:
    """The entry point of the `tulu-data` program."""
    signal.signal(signal.SIGTERM, _terminated)  # ends as Ctrl-C does: cleaned up, with one message
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # where the locale cannot write a character
    sys.exit(run(sys.argv[1:]))
