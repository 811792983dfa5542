"""The rules that say when an evaluation item counts as found in a training row.

    tulu-data   ours, the default: distinctive n-grams, short items, options, changed numbers   Distinctive
    tulu3       Tülu 3: more than half of an item's tokens lie in shared 8-grams                 Coverage
    olmo3       Olmo 3: tulu3, less generic phrases and formulas of one-character tokens         Coverage
    gpt3        GPT-3: one shared 13-gram                                                        Coverage
    exact       the whole item, word for word                                                    Exact
    minhash     near-duplicates of whole items and of passages as long as they                   MinHash

A rule of one's own is a YAML file, `{rule: NAME, like: PRESET, …settings}`, or such a mapping in the suite.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, cast, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from tulu_data.document import read_document
from tulu_data.errors import Problem, RecipeError, UsageError, unknown
from tulu_data.op import settings_problems
from tulu_data.text.tokens import Token, tokens
from tulu_data.workspace import Workspace

EPSILON = 1e-12
"""By so much a score must be above the threshold: in floats, 5/6, 1/2 and 1/6 have a mean above a half."""

Kind = Literal["copy", "partial", "short", "options", "changed_numbers", "near_duplicate"]
Action = Literal["drop", "review", "keep"]


class _Actions(dict[Kind, Action]):
    """Actions by kind. Steps that hold them are hashed."""

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(frozenset(self.items()))


Actions = Annotated[dict[Kind, Action], AfterValidator(_Actions)]
NO_ACTIONS = _Actions()

ACTIONS: dict[Kind, Action] = {
    "copy": "drop",
    "partial": "drop",
    "short": "drop",
    "options": "drop",
    "changed_numbers": "review",
    "near_duplicate": "review",
}
"""What becomes of a row, by the kind of its findings. To review: it stays, and is listed."""


WHOLE = ("exact", "inside", "case_and_spacing", "unicode", "later_turn", "assistant_turn")
"""The ways of planting all of an item."""
PART, PART_SHARE = ("part_60",), 0.6
"""The way of planting a part of it, and how much that is."""


class Rule(BaseModel):
    """What all rules have."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rule: str
    """Its name."""
    contaminated: float = Field(default=0.02, ge=0, le=1)
    """A dataset that matches more than this share of an eval's items is contaminated: "more than 2 %"
    (Tülu 3, arXiv 2411.15124, section 3.2)."""
    actions: Actions = NO_ACTIONS
    """What becomes of rows, where it is not as in ACTIONS."""

    kinds: ClassVar[tuple[Kind, ...]]
    """The kinds of findings that the rule makes."""
    characters: ClassVar[bool] = False
    """Whether scripts without spaces are cut into characters."""
    independent: ClassVar[bool] = True
    """Whether what is found of an eval never hangs on the suite's other evals."""

    @property
    def promises(self) -> tuple[str, ...]:
        """The ways of planting an item (`planting/kinds.py`) in which every one that is eligible is found."""
        return WHOLE

    def action(self, kind: str) -> Action:
        """What becomes of a row with such a finding."""
        return {**ACTIONS, **self.actions}[kind]  # type: ignore[index]

    def tokens(self, text: str) -> list[Token]:
        """A text as the rule sees it."""
        return tokens(text, characters=self.characters)


class Coverage(Rule):
    """The rule of Tülu 3 (arXiv 2411.15124, section 3.2), and what may be set otherwise.

    A token of an evaluation field is covered if it lies in an n-gram of that field which occurs inside one
    message of the training row. A field's score is covered / tokens; a field with fewer than n tokens scores
    1 if it occurs whole in one message, else 0. An item's score is the mean over its fields; it is matched
    above the threshold. What is ignored covers nothing, and still counts among the tokens.

    `tulu3` has these settings. It finds parts of an item, and what is as common as a phrase:

    >>> from tulu_data.decontam.matchers import tried
    >>> item = "Natalia sold clips to 48 of her friends in April, and then half as many clips in May."
    >>> tried(PRESETS["tulu3"], item, "natalia sold clips to 48 of her friends in april AND THEN? Go on!")
    'partial 0.67'
    >>> tried(PRESETS["tulu3"], "Who wrote Faust?", "He knew who wrote Faust.")
    'short 1.00'

    `olmo3` (Olmo 3, arXiv 2512.13961, section 4.2.1) ignores generic phrases, and n-grams "mostly length 1":

    >>> formula, text = "a + b + c = x and y = z. What is it?", "a + b + c = x and y = z. What then?"
    >>> tried(PRESETS["tulu3"], formula, text), tried(PRESETS["olmo3"], formula, text)
    ('partial 0.80', 'no match')

    `gpt3` (GPT-3, arXiv 2005.14165, appendix C) asks for one shared n-gram of 13 tokens:

    >>> tried(PRESETS["gpt3"], item, "Ann sold clips to 48 of her friends in April, and then half of May.")
    'no match'
    >>> tried(PRESETS["gpt3"], item, item.replace("Natalia", "Ann"))
    'partial 0.94'
    """

    kinds = ("copy", "partial", "short")

    method: Literal["coverage"] = "coverage"
    ngram: int = Field(default=8, ge=1, le=64)
    """Tokens in an n-gram; the Tülu 3 paper found 8 to work best."""
    threshold: float = Field(default=0.5, ge=0, lt=1)
    """"More than 50 %" of an item's tokens must match, in one training row."""
    generic: tuple[str, ...] = ()
    """Phrases that say nothing of a task: n-grams that lie inside one of them, or hold one, are ignored."""
    single: float | None = Field(default=None, gt=0, le=1)
    """n-grams are ignored of whose tokens more than this share has one character ("mostly length 1")."""

    @property
    def promises(self) -> tuple[str, ...]:
        """All of an item, and the larger part of it."""
        return WHOLE + (PART if self.threshold < PART_SHARE else ())


class Exact(Rule):
    """The whole item, token for token, inside one message: what a plain search for its text would find.

    Case, spaces, punctuation and Unicode variants do not matter, since tokens are compared. Of an item with
    several fields each must be there. No paper's rule: it is the least that any of them must find.

    >>> from tulu_data.decontam.matchers import tried
    >>> tried(PRESETS["exact"], "Who wrote Faust, and when?", "Say: WHO WROTE FAUST — AND WHEN")
    'short 1.00'
    >>> tried(PRESETS["exact"], "Who wrote Faust, and when?", "Who wrote Faust, and where?")
    'no match'
    """

    kinds = ("copy", "short")

    method: Literal["exact"] = "exact"


class MinHash(Rule):
    """Near-duplicates: how like an item a passage of a message is, as the Jaccard of their sets of n-grams.

    The fields of an item are taken together, in their order; of one shorter than n, all is one n-gram. A
    passage is any run of tokens of one message that is, in n-grams, at least `shortest` and at most
    1 / `threshold` times as long as the item; of a shorter message it is all. The score is that of the
    passage most like the item, measured exactly, and a finding if it is at least `threshold`: `copy` at 1,
    else `near_duplicate`. Items with fewer than `at_least` tokens must be there whole.

    The longer ones are found by MinHash and banding (Broder 1997; Leskovec et al., Mining of Massive
    Datasets, chapter 3). Messages are cut into windows half an item apart and as long as an item and a half,
    or a little more; of a window, the n-grams that any item of about that length has are signed. Bands are
    chosen as datasketch chooses them, a missed pair weighing 99 times one in vain: 42 of 3 rows with these
    settings. So a near-duplicate can be missed, if hardly ever: of 23,751 copies of items with up to 30 % of
    their words replaced, inserted or deleted and a Jaccard of 0.6 or more, alone, inside messages and between
    other items, all but 2 were found.

    >>> from tulu_data.decontam.matchers import tried
    >>> item = "Natalia sold clips to 48 of her friends in April, and then half as many clips in May."
    >>> tried(PRESETS["minhash"], item, "Here it is. " + item.upper())
    'copy 1.00'
    >>> tried(PRESETS["minhash"], item, "Here it is. " + item.replace("48", "seven"))
    'near_duplicate 0.68'
    >>> tried(PRESETS["minhash"], "What is the capital of Peru?", "What is the capital of Chad?")
    'no match'
    """

    kinds = ("copy", "near_duplicate")
    independent = False  # which pairs MinHash proposes hangs on the lengths of all items
    characters = True

    method: Literal["minhash"] = "minhash"
    ngram: int = Field(default=3, ge=1, le=64)
    """Tokens in an n-gram: short ones, because an edit in the middle of an item spoils n of them."""
    threshold: float = Field(default=0.6, gt=0, le=1)
    """The Jaccard similarity from which on two texts are near-duplicates."""
    shortest: float = Field(default=0.8, gt=0, le=1)
    """The least length of a passage, in items. Were it less, any 60 % of an item were its near-duplicate."""
    at_least: int = Field(default=16, ge=1)
    """Items with fewer tokens must be there whole: in a short question one word makes it another. Where
    we looked, all else that was found of such items in 300 MB of chats was questions of the same form."""
    permutations: int = Field(default=128, ge=16, le=1024)
    """Length of a signature; bands are chosen from it as datasketch chooses them."""
    actions: Actions = _Actions({"near_duplicate": "drop"})
    """The rule makes no other kind but whole copies, so near-duplicates drop."""


class Distinctive(Rule):
    """Our rule: coverage by n-grams as in Tülu 3, but only what is distinctive counts, and changes are seen.

    *Boilerplate.* An n-gram that `boilerplate` or more texts of an eval share (numbers not looked at) is that
    eval's boilerplate; tokens in no other n-gram do not count. *Candidates* are the items of which more than
    `threshold` of the counted tokens are covered by n-grams of the row, where up to three numbers of an
    n-gram may be others. A row's messages of one role are one text: an item split over turns is found.

    A candidate is laid beside the row, and becomes a finding of the first kind that fits:

        copy             all of it stands there, token for token
        short            the same, no field is as long as an n-gram, and each is a sentence of its own
        options          the same of a question that says little by itself, and most of its options follow
        changed_numbers  where item and row differ, numbers, number words or single letters were replaced
        partial          at least `at_least` counted tokens are covered, and few words were replaced
        near_duplicate   most of it is there, but other words were replaced, or fewer tokens are covered

    A candidate is, too, an item of which all tokens that lie in no boilerplate (`phrase` of them or more)
    stand in the row unchanged; it is a `partial`.

    A question says little by itself if it has fewer than `phrase` tokens, if it is a phrase of other items of
    its eval, if several items with options ask it, or if it is nothing but boilerplate. It needs its options
    close behind it (shuffled, with any letters); without options, one shorter than an n-gram must be all that
    a message says. Numbers with numbers as options must be nearly all that it says. Another short question
    with options, found without them, is a `near_duplicate`. The last two kinds need half of `at_least`
    covered tokens, else.

    >>> from tulu_data.decontam.matchers import tried
    >>> ours = PRESETS["tulu-data"]
    >>> item = "Natalia sold clips to 48 of her friends in April, and then half as many clips in May."
    >>> tried(ours, item, f"Solve this. {item}"), tried(ours, item, item.replace("48", "52"))
    ('copy 1.00', 'changed_numbers 1.00')
    >>> tried(ours, item, item.replace("Natalia", "Ann"))
    'near_duplicate 0.94'

    A template that three items share is no match, and a few words need their options:

    >>> task = "Read the sentence and say who of them told the truth: "
    >>> others = [task + "Ann says that Bob lies.", task + "Eve never met Kim."]
    >>> tried(ours, task + "Lou said that it rains.", task + "It was Max.", others=others)
    'no match'
    >>> tried(ours, "Who wrote Faust?", "He knew who wrote Faust.", options=["Goethe", "Heine"])
    'no match'
    >>> tried(ours, "Who wrote Faust?", "Who wrote Faust? (1) Heine (2) Goethe", options=["Goethe", "Heine"])
    'options 1.00'
    """

    kinds = ("copy", "partial", "short", "options", "changed_numbers", "near_duplicate")
    characters = True

    method: Literal["distinctive"] = "distinctive"
    ngram: int = Field(default=8, ge=2, le=64)
    """Tokens in an n-gram, as in Tülu 3."""
    threshold: float = Field(default=0.5, ge=0, lt=1)
    """More than this share of an item's counted tokens must be covered, as in Tülu 3."""
    boilerplate: int = Field(default=3, ge=2)
    """So many texts of an eval make an n-gram boilerplate. Two may be a problem and its variant."""
    at_least: int = Field(default=20, ge=1)
    """Fewer covered tokens are a phrase, not a part of an item: of the MATH training problems that share half
    of a test problem's tokens, nearly all with fewer were others. decon wants all of an item below 20."""
    replaced: float = Field(default=0.1, ge=0, le=1)
    """The most words that may be replaced in a `partial`, as a share of the item's tokens."""
    similar: float = Field(default=0.8, gt=0, le=1)
    """The least share of equal tokens in a `near_duplicate` with fewer covered tokens."""
    phrase: int = Field(default=4, ge=1)
    """Tokens that a question needs to say something by itself."""
    options: float = Field(default=0.75, gt=0, le=1)
    """The share of its options that a question which says little needs, and two at least."""

    @property
    def promises(self) -> tuple[str, ...]:
        """All of an item, the larger part of it, parts of it in several turns, and what was changed in it."""
        part = PART if self.threshold < PART_SHARE else ()
        return (*WHOLE, *part, "split_turns", "shuffled_options", "changed_numbers")


OLMO3_GENERIC = (
    "What is the best answer to the following question",
    "Which of the following is the correct answer to the question",
    "Choose the correct answer from the following options",
    "Answer the following multiple choice question",
    "The following are multiple choice questions with answers about",
    "Express your answer as a common fraction in simplest form",
    "Express your answer in simplest radical form",
    "Round your answer to the nearest hundredth",
    "Please reason step by step and put your final answer within boxed",
    "Write a function that takes in a list of integers and returns",
    "Your entire response should be in English and should not contain",
    "Read the passage and answer the following question",
)
"""Olmo 3 (arXiv 2512.13961, section 4.2.1) ignores "generic phrases" that its authors found by hand; we have
not seen their list. These are ours, chosen by reading."""

PRESETS: dict[str, Rule] = {
    "tulu-data": Distinctive(rule="tulu-data"),
    "tulu3": Coverage(rule="tulu3"),
    "olmo3": Coverage(rule="olmo3", generic=OLMO3_GENERIC, single=0.5),
    "gpt3": Coverage(rule="gpt3", ngram=13, threshold=0),
    "exact": Exact(rule="exact"),
    "minhash": MinHash(rule="minhash"),
}
DEFAULT = "tulu-data"


def read_actions(given: Sequence[str]) -> dict[Kind, Action]:
    """Actions by kind, from texts such as `changed_numbers=drop`.

    >>> read_actions(["partial=review", "changed_numbers=drop"])
    {'partial': 'review', 'changed_numbers': 'drop'}
    """
    found: dict[Kind, Action] = {}
    for text in given:
        kind, sign, action = text.partition("=")
        if not sign:
            raise UsageError(f"{text!r} is no action", expected="KIND=ACTION, such as changed_numbers=drop")
        if kind not in get_args(Kind):
            raise unknown("kind of finding", kind, get_args(Kind))
        if action not in get_args(Action):
            raise unknown("action", action, get_args(Action))
        found[cast("Kind", kind)] = cast("Action", action)
    return found


def rule_of(given: str | Mapping[str, Any], *, where: str = "") -> Rule:
    """The rule of a preset's name, or of a mapping: `rule` (its name), `like` (a preset), and settings.

    >>> rule_of("tulu3").ngram, rule_of({"like": "tulu3", "ngram": 13}).threshold
    (8, 0.5)
    """
    if isinstance(given, str):
        if given not in PRESETS:
            raise unknown("rule", given, PRESETS, where=where)
        return PRESETS[given]
    settings = dict(given)
    preset = settings.pop("like", DEFAULT)
    if preset not in PRESETS:
        raise unknown("rule", str(preset), PRESETS, where=where)
    start = PRESETS[preset]
    if isinstance(settings.get("actions"), Mapping):
        settings["actions"] = {**start.actions, **settings["actions"]}
    try:
        return type(start).model_validate({**start.model_dump(), "rule": f"like {preset}", **settings})
    except ValidationError as error:
        raise RecipeError("the rule is wrong", settings_problems(error, type(start), where)) from None


def load_rule(name: str, workspace: Workspace, *, base: Path | None = None, where: str = "") -> Rule:
    """The rule that `name` stands for: a preset, or a file of `decontam/` or at a path that ends in .yaml.

    Raises:
        UsageError: nothing has that name.
        RecipeError: the file is wrong.
    """
    if not name.endswith((".yaml", ".yml")):
        return rule_of(name, where=where)
    path = workspace.find("decontam", name, base=base)
    document = read_document(path)
    if "rule" not in document.data:
        expected = "rule: NAME, then like: PRESET and the settings that differ"
        raise RecipeError(
            f"{path.name} is no rule", [Problem("the key 'rule' is missing", str(path), expected)]
        )
    return rule_of(document.data, where=str(path))
