"""Where recipes are found: in the user's workspace, else among the shipped ones.

A workspace is any folder; its recipes lie in `mixtures/`, `decontam/` and `synth/`, as in this repository,
which is itself one. The shipped recipes lie inside the wheel, or at the repository's root when the package is
installed editable.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tulu_data.errors import UsageError, nearest

FOLDERS = ("mixtures", "decontam", "synth")
PARTS = "parts"
"""The sub-folder of recipes that are no whole ones: others include them."""


def shipped() -> Path:
    """The folder that holds the shipped `mixtures/`, `decontam/` and `synth/`."""
    package = Path(__file__).resolve().parent
    inside = package / "_recipes"
    return inside if inside.is_dir() else package.parent


@dataclass(frozen=True)
class Workspace:
    """A user's folder of recipes, with the shipped ones behind it."""

    root: Path

    @classmethod
    def here(cls) -> Workspace:
        """The current directory as a workspace."""
        return cls(Path.cwd())

    def roots(self) -> list[Path]:
        """Where names are looked up, first hit wins."""
        return [self.root] if self.root.resolve() == shipped().resolve() else [self.root, shipped()]

    def names(self, folder: str) -> list[str]:
        """Every whole recipe of `folder`, by the name that finds it (`tulu2/sft` for one in a sub-folder)."""
        found: set[str] = set()
        for root in self.roots():
            base = root / folder
            files = (path for path in base.rglob("*.yaml") if _is_inside(path, base))
            places = (path.relative_to(base).with_suffix("") for path in files)
            found |= {place.as_posix() for place in places if PARTS not in place.parts[:-1]}
        return sorted(found)

    def find(self, folder: str, name: str, *, base: Path | None = None, where: str | None = None) -> Path:
        """The file that `name` stands for: a path (from `base`, else the workspace), or the name of a recipe.

        Raises:
            UsageError: nothing has that name; says the nearest that exists.
        """
        if name.endswith((".yaml", ".yml")):
            path = (base or self.root) / name
            if path.is_file():
                return path
            beside = [p.name for p in path.parent.glob("*.y*ml")]
            near = nearest(path.name, beside)
            raise UsageError(
                f"the file {name} does not exist",
                where=where,
                expected=f"a recipe file or one of the names in {folder}/",
                nearest=str(Path(name).with_name(near)) if near else None,
            )
        for root in self.roots():
            path = root / folder / f"{name}.yaml"
            if _is_inside(path, root / folder):
                return path
        names = self.names(folder)
        kind = {"mixtures": "mixture", "decontam": "suite", "synth": "synth recipe"}[folder]
        raise UsageError(
            f"no {kind} is named {name!r}",
            where=where,
            expected=f"one of: {', '.join(names)}, or a .yaml file" if names else "a .yaml file",
            nearest=nearest(name, names),
        )


def _is_inside(path: Path, folder: Path) -> bool:
    """Whether `path` is a file that lies in `folder`, wherever `..` and links in it lead."""
    return path.is_file() and path.resolve().is_relative_to(folder.resolve())
