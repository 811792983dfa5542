"""A suite: the evaluations that training data is held against, and the rule.

suite: mine
rule: tulu-data                 # a preset, a rule's file, or a mapping: {like: tulu3, ngram: 13}
evals:
  - {name: gsm8k, role: development, from: "hf:openai/gsm8k", split: test, fields: [question], rows: 1319}
train: [data/alpaca.json.gz]    # scanned when the command names no data
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from tulu_data.decontam.rules import DEFAULT, Action, Kind, Rule, load_rule, rule_of
from tulu_data.document import Document, read_document
from tulu_data.errors import Problem, RecipeError
from tulu_data.op import document_problem
from tulu_data.sources import SourceSpec
from tulu_data.workspace import Workspace

Role = Literal["development", "unseen"]
"""Development evals steer the recipe; unseen ones only measure it at the end (Tülu 3, section 2.2)."""

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"


class FieldSpec(BaseModel):
    """One text of an item: a column, a dotted path into one, or what a pattern's group takes from it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    column: str
    pattern: str | None = None

    @field_validator("pattern")
    @classmethod
    def _one_group(cls, pattern: str | None) -> str | None:
        import re

        if pattern is not None:
            try:
                groups = re.compile(pattern).groups
            except re.error as error:
                raise ValueError(f"not a regular expression: {error}") from None
            if groups != 1:
                raise ValueError(f"the pattern has {groups} groups, it needs exactly one")
        return pattern


class Eval(SourceSpec):
    """One evaluation: where its items are, which of their fields are looked for, how many there must be."""

    name: str = Field(pattern=NAME)
    role: Role = "development"
    fields: tuple[FieldSpec, ...] = Field(min_length=1)
    options: tuple[str, ...] = ()
    """The columns of a multiple-choice item's answer options: of text each, or one with a list of texts."""
    id: str | None = None
    """The column that names an item; its row number otherwise."""
    rows: int | None = Field(default=None, ge=1)
    """How many items there must be; another number stops the run."""
    first: int | None = Field(default=None, ge=1)
    """Only so many items of each config (or file) are taken, from its beginning."""

    @field_validator("options", mode="before")
    @classmethod
    def _listed(cls, options: Any) -> Any:
        return [options] if isinstance(options, str) else options

    @field_validator("fields", mode="before")
    @classmethod
    def _named(cls, fields: Any) -> Any:
        if not isinstance(fields, (list, tuple)):
            return fields
        return [{"name": f, "column": f} if isinstance(f, str) else f for f in fields]

    @field_validator("fields")
    @classmethod
    def _unlike(cls, fields: tuple[FieldSpec, ...]) -> tuple[FieldSpec, ...]:
        names = [field.name for field in fields]
        if len(set(names)) < len(names):
            raise ValueError(f"two fields are named {max(names, key=names.count)!r}")
        return fields

    def spec(self) -> SourceSpec:
        """The reading half, without what belongs to an eval."""
        return SourceSpec.model_validate({name: getattr(self, name) for name in SourceSpec.model_fields})


class SuiteModel(BaseModel):
    """What a suite's file says."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    suite: str = Field(pattern=NAME)
    rule: str | Mapping[str, Any] = DEFAULT
    evals: tuple[Eval, ...] = Field(min_length=1)
    train: tuple[str, ...] = ()


@dataclass(frozen=True)
class Suite:
    """A suite, read and checked; its relative paths count from `base`."""

    name: str
    rule: Rule
    evals: tuple[Eval, ...]
    train: tuple[str, ...]
    base: Path
    document: Document


def load_suite(
    name: str | Path,
    workspace: Workspace,
    *,
    base: Path | None = None,
    rule: str | None = None,
    actions: Mapping[Kind, Action] | None = None,
) -> Suite:
    """The suite that `name` stands for: a file, or a name in `decontam/`, the workspace's or the shipped one.

    Args:
        name: a path that ends in .yaml, or a name.
        workspace: where names are looked up.
        base: what a relative path counts from (a recipe's folder); the workspace otherwise.
        rule: a preset, or a rule's file, that wins over the suite's own rule.
        actions: what becomes of rows by the kind of a finding, where it is not as the rule says.

    Raises:
        UsageError: nothing has that name.
        RecipeError: the file is wrong; every problem it has.
    """
    path = workspace.find("decontam", str(name), base=base)
    document = read_document(path)
    try:
        model = SuiteModel.model_validate(document.data)
    except ValidationError as error:
        raise RecipeError(f"the suite {path.name} is wrong", _problems(error, document)) from None
    names = [e.name for e in model.evals]
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice:
        place = str(document.where("evals", len(names) - 1 - names[::-1].index(twice[0]), "name"))
        raise RecipeError(
            f"the suite {path.name} is wrong", [Problem(f"two evals are named {twice[0]!r}", place)]
        )
    if rule is not None:
        chosen = load_rule(rule, workspace, base=base)
    elif isinstance(model.rule, str):
        chosen = load_rule(model.rule, workspace, base=path.parent, where=str(document.where("rule")))
    else:
        chosen = rule_of(model.rule, where=str(document.where("rule")))
    if actions:
        chosen = chosen.model_copy(update={"actions": {**chosen.actions, **actions}})
    return Suite(model.suite, chosen, model.evals, model.train, path.parent, document)


def _problems(error: ValidationError, document: Document) -> list[Problem]:
    every = error.errors(include_url=False)
    inner = {found["loc"][:size] for found in every for size in range(1, len(found["loc"]))}
    # A list whose entries are wrong counts as empty too; only the entries' faults are worth telling.
    return [document_problem(f, _model_at(f["loc"]), document) for f in every if f["loc"] not in inner]


def _model_at(place: Sequence[str | int]) -> type[BaseModel]:
    """Whose key the last part of a place is."""
    if place[0] != "evals" or len(place) < 3:
        return SuiteModel
    return FieldSpec if place[2] == "fields" and len(place) > 4 else Eval
