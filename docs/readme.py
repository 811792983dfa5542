"""Runs the commands that README.md shows and puts what they print below them.

`make docs` writes the page again; `tests/test_readme.py` fails when it is not what this would write.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
SHOWN = re.compile(r"```console\n(\$ .*\n)(?:.*\n)*?```\n")
STATUS = {"decontaminate": 3}
UNWANTED = {"FORCE_COLOR", "TTY_COMPATIBLE", "TULU_DATA_MIRROR"}
"""Settings of a person's own that would change what is printed."""


def page(folder: Path) -> str:
    """README.md with its commands run in `folder`, which should be empty, one after the other."""
    text = README.read_text(encoding="utf-8")
    return SHOWN.sub(lambda block: f"```console\n{block[1]}{output(block[1], folder)}```\n", text)


def output(line: str, folder: Path) -> str:
    """What `$ tulu-data …` prints on standard output, without the places that differ between machines."""
    program, *arguments = shlex.split(line.removeprefix("$ "))
    assert program == "tulu-data", line
    kept = {name: value for name, value in os.environ.items() if name not in UNWANTED}
    environment = {**kept, "COLUMNS": "100", "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"}
    command = [sys.executable, "-m", "tulu_data", *arguments]
    done = subprocess.run(  # noqa: S603  the commands are our own page's
        command, cwd=folder, env=environment, capture_output=True, encoding="utf-8", check=False
    )
    assert done.returncode == STATUS.get(arguments[0], 0), done.stdout + done.stderr
    return done.stdout.replace(f"{folder.resolve()}{os.sep}", "")
