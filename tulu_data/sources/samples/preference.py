"""Preference datasets whose rows are pairs: as conversations, as transcripts, or as texts with a vote."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import pyarrow as pa

from tulu_data.sources.samples.case import (
    CONTENT_ROLE,
    NUMBER,
    TEXT,
    WHOLE,
    Case,
    Dataset,
    Expected,
    Made,
    Message,
    Part,
    Row,
    per_split,
    schema,
    turns,
)

_SLIPPED = range(10, 14)
"""Which of 20 rows hold the answers of the row before."""
MODELS = ("llama-2-7b-chat", "falcon-40b-instruct", "mpt-30b-chat", "wizardlm-13b", "alpaca-7b", "vicuna-33b")


def pair(case: Case, rows: list[Row], expected: Expected = "paired", why: str = "") -> Made:
    """A case of one good and one worse answer."""
    if expected != "paired":
        return Made(rows, expected, why)
    return Made(rows, "paired", why, [case.token("best")], [case.token("worse1")])


def sides(
    case: Case, *, system: str = "", multi_turn: bool = False
) -> tuple[str, list[Message], list[Message]]:
    """The prompt, and both conversations; the prompt is the last user turn."""
    before = [case.talk.ask(), case.talk.answer()] if multi_turn else []
    prompt = case.ask()
    chosen = turns(*before, prompt, case.answer("best"), system=system)
    rejected = turns(*before, prompt, case.answer("worse1"), system=system)
    return prompt, chosen, rejected


# -- conversations -------------------------------------------------------------------------------------------


def ultrafeedback_cleaned(case: Case) -> Made:
    """Argilla's binarised UltraFeedback: means of four aspects, none of them equal."""
    prompt, chosen, rejected = sides(case)
    best = 4.0 + case.number % 5 / 4
    row = {
        "source": case.talk.pick(("sharegpt", "evol_instruct", "ultrachat", "flan_v2_niv2", "false_qa")),
        "prompt": prompt,
        "chosen": chosen,
        "chosen-rating": best,
        "chosen-model": case.talk.pick(MODELS),
        "rejected": rejected,
        "rejected-rating": best - 0.25 * (1 + case.number % 8),
        "rejected-model": case.talk.pick(MODELS),
    }
    return pair(case, [row])


def ultrafeedback_h4(case: Case) -> Made:
    """H4's binarised UltraFeedback: overall scores from 1 to 10, some of them equal.

    Its prompts are Argilla's, but for a few that Argilla left out.
    """
    if case.number % 10 == 4:
        case.set_apart()
    prompt, chosen, rejected = sides(case)
    tied = case.quirk("tie") != ""
    score = 7.0 + case.number % 7 / 2
    row = {
        "prompt": prompt,
        "prompt_id": case.id(64),
        "chosen": chosen,
        "rejected": rejected,
        "messages": chosen,
        "score_chosen": score,
        "score_rejected": score if tied else score - 1 - case.number % 5,
    }
    return pair(case, [row], *(("tie", "equal_scores") if tied else ()))


def capybara(case: Case) -> Made:
    """Several turns of which only the last differs; one pair is of equal answers."""
    multi_turn = case.number % 3 != 1
    prompt, chosen, rejected = sides(case, multi_turn=multi_turn)
    same = case.once(7)
    said = [m["content"] for m in chosen]
    row = {
        "source": case.talk.pick(("Airoboros", "Dove", "GOAT", "TaskSource")),
        "conversation": [{"input": i, "output": o} for i, o in zip(said[::2], said[1::2], strict=True)],
        "original_response": said[-1],
        "generation_prompt": [f"<s>[INST] {prompt} [/INST]"] * 2,
        "raw_generation_responses": [rejected[-1]["content"]],
        "new_generations": [rejected[-1]["content"]],
        "prompt": prompt,
        "chosen": chosen,
        "rejected": chosen if same else rejected,
        "rating_chosen": 5,
        "rating_rejected": 5 if same else 1 + case.number % 4,
        "chosen_model": "",
        "rejected_model": case.talk.pick(MODELS),
    }
    return pair(case, [row], *(("dropped", "same_answer") if same else ()))


def tulu_component(case: Case, *, misaligned: bool = False) -> Made:
    """A set of Tülu 3's synthetic preferences; in one that was released, answers slipped by a row."""
    prompt, chosen, rejected = sides(case)
    row: Row = {"id": f"{case.id(8)}_{case.number}", "prompt": prompt, "chosen": chosen, "rejected": rejected}
    row |= {"chosen_rating": 5.0 - case.number % 4 / 4, "rejected_rating": 1.0 + case.number % 8 / 4}
    row |= {"chosen_model": case.talk.pick(MODELS), "rejected_model": case.talk.pick(MODELS)}
    if misaligned and case.number % 20 in _SLIPPED:
        other = case.before()
        _, chosen, rejected = sides(other)
        row |= {
            "chosen": turns(prompt, chosen[-1]["content"]),
            "rejected": turns(prompt, rejected[-1]["content"]),
        }
        return Made([row], "paired", "misaligned", [other.token("best")], [other.token("worse1")])
    return pair(case, [row])


def tulu_mixture(case: Case, *, rated: bool = False) -> Made:
    """A released mixture of Tülu 3; the one of 405B has ratings, which Persona-IF rows lack."""
    made = tulu_component(case)
    persona = case.number % 4 == 3
    source = (
        "persona-if" if persona else case.talk.pick(("sft-reused-on-policy", "wildchat-if", "ultrafeedback"))
    )
    row = dict(made.rows[0], source=f"ai2-adapt-dev/{source}")
    ratings = {"chosen_rating", "rejected_rating"}
    if not rated:
        row = {name: value for name, value in row.items() if not name.endswith(("_rating", "_model"))}
    elif persona:
        row |= dict.fromkeys(ratings)
    return pair(case, [row])


def persona_if(case: Case) -> Made:
    """Tülu 3's Persona-IF pairs, with the misspelt column that was published."""
    prompt, chosen, rejected = sides(case)
    row = {
        "id": f"personahub_{case.id()}",
        "prompt": prompt,
        "constraints": ["change case", "punctuation", "length constraints"][: 1 + case.number % 3],
        "chosen": chosen,
        "rejected": rejected,
        "chonsen_model": "gpt-4o-2024-08-06",
        "rejected_model": case.talk.pick(MODELS),
    }
    return pair(case, [row])


def tulu25(case: Case, *, source: str, margin: bool = False) -> Made:
    """A split of the released Tülu 2.5 preferences: keys of a turn in either order."""
    _, chosen, rejected = sides(case, multi_turn=case.number % 4 == 2)
    if case.number % 2:
        chosen, rejected = (
            [{"role": m["role"], "content": m["content"]} for m in s] for s in (chosen, rejected)
        )
    row: Row = {"chosen": chosen, "rejected": rejected, "source": source}
    return pair(case, [row | ({"margin": 0.25 * (1 + case.number % 6)} if margin else {})])


# -- the catalogue -------------------------------------------------------------------------------------------

_PAIR = {"chosen": CONTENT_ROLE, "rejected": CONTENT_ROLE}
_ARGILLA = schema(
    source=TEXT, prompt=TEXT, chosen=CONTENT_ROLE, chosen__rating=NUMBER, chosen__model=TEXT,
    rejected=CONTENT_ROLE, rejected__rating=NUMBER, rejected__model=TEXT,
)  # fmt: skip
_H4 = schema(
    prompt=TEXT, prompt_id=TEXT, **_PAIR, messages=CONTENT_ROLE, score_chosen=NUMBER, score_rejected=NUMBER
)
_CAPYBARA = schema(
    source=TEXT, conversation=pa.list_(pa.struct([("input", TEXT), ("output", TEXT)])),
    original_response=TEXT, generation_prompt=pa.list_(TEXT), raw_generation_responses=pa.list_(TEXT),
    new_generations=pa.list_(TEXT), prompt=TEXT, **_PAIR, rating_chosen=WHOLE, rating_rejected=WHOLE,
    chosen_model=TEXT, rejected_model=TEXT,
)  # fmt: skip
_RATED = schema(
    id=TEXT, prompt=TEXT, **_PAIR, chosen_rating=NUMBER, rejected_rating=NUMBER, chosen_model=TEXT,
    rejected_model=TEXT,
)  # fmt: skip
_MIXTURE = schema(id=TEXT, prompt=TEXT, **_PAIR, source=TEXT)
_MIXTURE_405B = schema(
    prompt=TEXT, **_PAIR, chosen_rating=NUMBER, rejected_rating=NUMBER, chosen_model=TEXT,
    rejected_model=TEXT, source=TEXT, id=TEXT,
)  # fmt: skip
_PERSONA = schema(
    id=TEXT, prompt=TEXT, constraints=pa.list_(TEXT), **_PAIR, chonsen_model=TEXT, rejected_model=TEXT
)

ULTRAFEEDBACK = "ultrafeedback"
"""The family of the sets that answer UltraFeedback's prompts."""

_ALIGNED = (
    *("allenai/tulu-3-sft-reused-off-policy", "allenai/tulu-3-IF-augmented-on-policy-8b"),
    *("allenai/tulu-3-wildchat-if-on-policy-8b", "allenai/tulu-3-wildchat-reused-on-policy-8b"),
    *("allenai/tulu-3-ultrafeedback-cleaned-on-policy-8b", "allenai/tulu-3-sft-reused-on-policy-70b"),
    *("allenai/tulu-3-IF-augmented-on-policy-70b", "allenai/tulu-3-wildchat-if-on-policy-70b"),
    *("allenai/tulu-3-wildchat-reused-on-policy-70b", "allenai/tulu-3-ultrafeedback-cleaned-on-policy-70b"),
    "allenai/tulu-3-wildchat-unused",
)
_TULU25 = {
    "alpaca_farm_gpt4_pref": "alpaca_farm_gpt4_pref",
    "alpaca_farm_human_pref": "alpaca_farm_human_pref",
    "capybara": "argilla-capybara",
    "chatbot_arena_2023": "chatbot_arena_2023",
    "chatbot_arena_2024": "chatbot_arena_2024",
    "helpsteer": "helpsteer",
    "hh_rlhf": "hh-rlhf",
    "hh_rlhf_60k": "hh-rlhf",
    "nectar": "nectar",
    "nectar_60k": "nectar",
    "orca_dpo_pairs": "orca_dpo_pairs",
    "preference_big_mixture": "shp",
    "prm800k_pairs_phase2": "prm800k_phase2",
    "shp_2": "shp",
    "stack_exchange_60k": "stack-exchange-paired",
    "stack_exchange_paired": "stack-exchange-paired",
    "ultrafeedback_mean_aspects": "argilla-ultrafeedback",
    "ultrafeedback_overall": "h4-ultrafeedback",
}
"""Splits of the released sets, and what their column `source` says."""


def _tulu25_parts() -> list[Part]:
    out = []
    for split, source in _TULU25.items():
        margin = split == "ultrafeedback_mean_aspects"
        columns = schema(**_PAIR, source=TEXT, **({"margin": NUMBER} if margin else {}))
        path = "data/{split}-00000-of-00001.jsonl"
        out += per_split(partial(tulu25, source=source, margin=margin), columns, split, path=path)
    return out


def _h4_parts() -> list[Part]:
    splits = [f"{half}_{use}" for half in ("train", "test") for use in ("prefs", "sft", "gen")]
    return [
        part
        for split in splits
        for part in per_split(ultrafeedback_h4, _H4, split, family=f"{ULTRAFEEDBACK}/{split.split('_')[0]}")
    ]


_CLEANED = per_split(ultrafeedback_cleaned, _ARGILLA, family=f"{ULTRAFEEDBACK}/train")

DATASETS: Mapping[str, Dataset] = {
    "argilla/ultrafeedback-binarized-preferences-cleaned": _CLEANED,
    "HuggingFaceH4/ultrafeedback_binarized": _h4_parts(),
    "argilla/distilabel-capybara-dpo-7k-binarized": per_split(capybara, _CAPYBARA),
    "allenai/tulu-2.5-preference-data": _tulu25_parts(),
    **{name: per_split(tulu_component, _RATED, copies=True) for name in _ALIGNED},
    "allenai/tulu-3-sft-reused-on-policy-8b": per_split(partial(tulu_component, misaligned=True), _RATED),
    "allenai/llama-3.1-tulu-3-8b-preference-mixture": per_split(tulu_mixture, _MIXTURE),
    "allenai/llama-3.1-tulu-3-70b-preference-mixture": per_split(tulu_mixture, _MIXTURE),
    "allenai/llama-3.1-tulu-3-405b-preference-mixture": per_split(
        partial(tulu_mixture, rated=True), _MIXTURE_405B
    ),
    "allenai/tulu-3-pref-personas-instruction-following": per_split(persona_if, _PERSONA),
}
