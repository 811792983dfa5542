"""Writes the pages that are made from the program: `cli.md`, `catalogue.md` and `adapters.md`.

`make docs` runs it; `tests/test_docs.py` fails when a page is not what this would write.
"""

from __future__ import annotations

import inspect
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import click
import yaml
from pydantic.fields import FieldInfo

from tulu_data.cli import cli
from tulu_data.op import Registry, Step
from tulu_data.sources import adapters

HERE = Path(__file__).resolve().parent
WIDTH = 96


def cli_page() -> str:
    """The help of the program and of every verb."""
    parts = ["# The command line\n", "Made by `make docs` from the program's own help.\n"]
    for name, command in {"": cli, **commands()}.items():
        title = f"tulu-data {name}".strip()
        parts.append(f"## {title}\n\n```text\n$ {title} --help\n{help_text(name, command)}\n```\n")
    return "\n".join(parts)


def commands() -> dict[str, click.Command]:
    """The verbs, each group of them followed by the commands in it."""
    found: dict[str, click.Command] = {}
    for name, command in cli.commands.items():
        found[name] = command
        if isinstance(command, click.Group):
            found |= {f"{name} {below}": inside for below, inside in command.commands.items()}
    return found


def help_text(name: str, command: click.Command) -> str:
    """What `--help` prints on a terminal of `WIDTH` columns."""
    top = click.Context(cli, info_name="tulu-data", terminal_width=WIDTH, help_option_names=["-h", "--help"])
    with click.Context(command, info_name=name, parent=top) if name else top as context:
        return command.get_help(context).rstrip()


def catalogue_page() -> str:
    """Every operator that comes with the program: what it does, its settings, an example."""
    parts = [
        "# The operators\n",
        "The words for `steps:` in a recipe. Made by `make docs` from the operators' own documentation;",
        "`tulu-data operators` prints the short list. [How to add one](operators.md).\n",
    ]
    registry = Registry()
    parts += [entry(registry.find(name)) for name in registry.names()]
    return "\n".join(parts)


def entry(step: type[Step]) -> str:
    """The section of one operator."""
    lines = [f"## {step.name}\n", (inspect.getdoc(step) or "").strip(), ""]
    if step.model_fields:
        lines += ["| setting | meaning | type | default |", "|---|---|---|---|"]
        lines += [setting(field.alias or key, field) for key, field in step.model_fields.items()]
        lines.append("")
    example = step.example().model_dump(mode="json", by_alias=True, exclude_defaults=True)
    settings = {"op": step.name, **example}
    shown = yaml.safe_dump(settings, default_flow_style=True, sort_keys=False, allow_unicode=True, width=9999)
    lines += ["```yaml", f"- {shown.strip()}", "```", ""]
    return "\n".join(lines)


def setting(name: str, field: FieldInfo) -> str:
    """One row of the table of settings."""
    default = "required" if field.is_required() else written(field.get_default(call_default_factory=True))
    return f"| `{name}` | {field.description or ''} | {kind_of(field.annotation)} | {default} |"


def written(value: object) -> str:
    """A value as a recipe writes it."""
    plain = list(value) if isinstance(value, tuple) else dict(value) if isinstance(value, Mapping) else value
    shown = yaml.safe_dump(plain, default_flow_style=True)
    return "" if value is None else f"`{shown.removesuffix('...' + chr(10)).strip()}`"


def kind_of(annotation: Any) -> str:
    """A type in words."""
    origin, inside = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return kind_of(inside[0])
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in inside)
    if origin in {dict, Mapping}:
        return f"mapping of {kind_of(inside[0])} to {kind_of(inside[1])}"
    if origin is tuple:
        return f"list of {kind_of(inside[0])}"
    if origin in (Union, UnionType):
        return ", or ".join(kind_of(part) for part in inside if part is not type(None))
    return {str: "text", bool: "`true`, `false`", int: "whole number", float: "number"}[annotation]


def adapters_page() -> str:
    """Every adapter: the columns that it is known by, the rows it gives, an example."""
    parts = [
        "# The adapters\n",
        "The words for `adapter:` in a recipe and `--adapter`, needed only where the columns of the data do",
        "not tell the shape. Made by `make docs` from the adapters' own documentation. What all have in",
        "common is told in [the formats](formats.md#adapters).\n",
    ]
    return "\n".join(parts + [adapter_entry(adapters.get(name)) for name in adapters.names()])


def adapter_entry(adapter: adapters.Adapter) -> str:
    """The section of one adapter."""
    told, mark, example = (inspect.getdoc(adapter) or "").partition(">>> ")
    rows = f"Columns: `{adapter.needs}`\\\nGives: {', '.join(f'`{kind}`' for kind in adapter.kinds)}"
    if adapter.gathers:
        rows += f"\\\nGathers: the rows that are equal in `{adapter.gathers}`"
    parts = [f"## {adapter.name}", told.strip(), rows, f"```python\n{mark}{example.strip()}\n```"]
    return "\n\n".join(parts) + "\n"


PAGES = {"cli.md": cli_page, "catalogue.md": catalogue_page, "adapters.md": adapters_page}


def main() -> None:
    """Writes every page, and what README.md shows of the program."""
    import readme  # lies beside this file

    for name, page in PAGES.items():
        (HERE / name).write_text(page(), encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        readme.README.write_text(readme.page(Path(folder)), encoding="utf-8")


if __name__ == "__main__":
    main()
