"""`push`: a finished version, for others."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

import tulu_data
from tulu_data.verbs.options import FOLDER, debug_option, example, json_option, print_json

if TYPE_CHECKING:
    from tulu_data.mixtures.push import Pushed


@click.command(
    epilog=example(
        "tulu-data push sft_mini my-org/sft-mini --dry-run",
        "tulu-data push sft_mini@v2 my-org/sft-mini --public",
    )
)
@click.argument("version")
@click.argument("repo", metavar="ORG/NAME")
@click.option("--public", is_flag=True, help="Everybody may see it.  [default: private]")
@click.option("--revision", metavar="BRANCH", help="Branch of the repository.  [default: main]")
@click.option("--message", metavar="TEXT", help="Message of the commit.  [default: the version's name]")
@click.option(
    "--with-dropped",
    is_flag=True,
    help="Push what steps rejected as well; it may be contaminated, or under other licences.",
)
@click.option("--dry-run", is_flag=True, help="Show what would go, and send nothing.")
@click.option(
    "--yes", is_flag=True, help="Publish rows although their licence is not known to let everybody use them."
)
@click.option("--force", is_flag=True, help="Replace data that no version of this mixture put there.")
@click.option(
    "--store", type=FOLDER, help="Where versions are kept.  [default: store/ in the current folder]"
)
@json_option
@debug_option
def push(version: str, repo: str, as_json: bool, dry_run: bool, **settings: Any) -> None:
    """Put a version onto the Hugging Face Hub.

    VERSION is NAME, NAME@vK or a folder. The repository is made if it does not exist, private unless you say
    otherwise. One commit sends the files that differ and takes away those of an earlier version; a tag keeps
    the version's name. Log in first, with `hf auth login` or HF_TOKEN.
    """
    if not sys.stderr.isatty():
        from huggingface_hub.utils.tqdm import disable_progress_bars

        disable_progress_bars()
    done = tulu_data.push(version, repo, dry_run=dry_run, **settings)
    if as_json:
        print_json(done.summary)
    else:
        _print(done, dry_run=dry_run)


def _print(done: Pushed, *, dry_run: bool) -> None:
    from tulu_data.show import table

    rows = [(change.action, change.path, change.bytes) for change in done.changes]
    table(("what", "file", "bytes"), rows)
    if not done.private:
        click.echo()
        table(("licence", "rows"), list(done.licenses.items()))
    for note in done.notes:
        click.echo(f"note: {note}", err=True)
    click.echo(_outcome(done, dry_run=dry_run))


def _outcome(done: Pushed, *, dry_run: bool) -> str:
    sent = sum(change.action in ("add", "change") for change in done.changes)
    removed = sum(change.action == "remove" for change in done.changes)
    kept = sum(change.action == "same" for change in done.changes)
    counts = f"{sent} files ({done.bytes:,} bytes), {kept} as they are, {removed} taken away"
    place = f"{'private' if done.private else 'public'} {done.url} ({done.branch})"
    was = f", where {done.replaces} lies" if done.replaces else ", which is new" if done.created else ""
    if dry_run:
        return f"would send {counts}\nto {place}{was}; nothing was sent"
    if done.commit is None:
        return f"{done.version} lies at {place} already; nothing was sent"
    return f"sent {counts}\nto {place}, commit {done.commit}"


VERBS: list[click.Command] = [push]
