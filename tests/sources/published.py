"""A row or a few of every published source of Tülu 3, 2.5 and 2, in its native columns."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.sources import files
from tests.sources.shapes import HI, talk, turns
from tulu_data.record import Kind
from tulu_data.sources import BadRow, SetAside, SourceSpec, open_source
from tulu_data.sources.adapters import adapt, detect
from tulu_data.sources.gather import gathered

NO = talk("Hi", "No.")
PAIR = {"chosen": HI, "rejected": NO}
ASK = "\n\nHuman: Hi\n\nAssistant:"
Row = dict[str, Any]


@dataclass(frozen=True)
class Published:
    """What a recipe reads of one data set, and what its rows become."""

    name: str
    kind: Kind
    adapter: str
    native: list[Row]
    gives: list[Any]
    """Per row: the messages; for rlvr the ground truth; of pairs both sides; of completions the answers, each
    with its model and its ratings (the note where the rating is no number)."""
    ending: str = "jsonl"


def load(path: Path, kind: Kind) -> tuple[str, list[Row], list[BadRow]]:
    """The rows of a file as a recipe reads them: detected, gathered where that is the shape, adapted."""
    batches = list(open_source(SourceSpec(from_=path.name), base=path.parent).batches())
    adapter, bad = detect(batches[0].table, kind=kind), SetAside()
    if key := adapter.gathers:
        batches = [*gathered(batches, key, adapter.columns, on_bad=bad, batch_bytes=1 << 24)]
    tables = [adapt(batch, adapter, kind, on_bad=bad).rows for batch in batches]
    return adapter.name, pa.concat_tables(tables).to_pylist(), bad.rows


def write(folder: Path, native: list[Row], ending: str) -> Path:
    """A file in one of the formats that data sets are published in."""
    path = folder / f"rows.{ending}"
    if ending == "parquet":
        pq.write_table(pa.Table.from_pylist(native), path)
    elif ending == "jsonl":
        files.write(path, native)
    else:
        with path.open("w", newline="") as out:
            writer = csv.DictWriter(out, list(native[0]), delimiter="\t" if ending == "tsv" else ",")
            writer.writeheader()
            writer.writerows(native)
    return path


def brief(row: Row, kind: Kind) -> Any:
    """What a row became, as `gives` tells it."""
    if kind == "rlvr":
        return row["ground_truth"]
    if kind != "preference":
        return row["messages"]
    if row["completions"] is None:
        return {side: row[side] for side in ("chosen", "rejected")}
    assert (row["chosen"], row["rejected"]) == (None, None)
    return [answer(one) for one in row["completions"]]


def answer(completion: Row) -> tuple[str, str | None, dict[str, Any]]:
    """A completion in brief; the turns before the answer are looked at elsewhere."""
    said = {r["aspect"]: r["note"] if r["rating"] is None else r["rating"] for r in completion["ratings"]}
    return completion["messages"][-1]["content"], completion["model"], said


def sided(conversation: Any) -> Any:
    return turns(*((turn["role"], turn["content"]) for turn in conversation))


# -- preferences ---------------------------------------------------------------------------------------------


def rated(response: str, model: str, scores: tuple[str, str, str, str], overall: float, **more: Any) -> Row:
    """A completion of UltraFeedback."""
    following, honesty, truthfulness, helpfulness = scores
    reason = {"Rationale": "ok", "Rationale For Rating": "ok"}
    return {
        "model": model,
        "principle": "helpfulness",
        "custom_system_prompt": "Be helpful.",
        "response": response,
        "critique": "Fine.",
        "overall_score": overall,
        "fine-grained_score": 4.75,
        "annotations": {
            "instruction_following": {"Rating": following, "Rationale": "ok"},
            "honesty": {"Rating": honesty, "Rationale": "no claims"},
            "truthfulness": {"Type": more.get("type", "None"), "Rating": truthfulness, **reason},
            "helpfulness": {"Type": ["1"], "Rating": helpfulness, **reason},
        },
    }


def ultrafeedback(*completions: Row) -> Row:
    return {
        "source": "ultrachat",
        "instruction": "Hi",
        "models": [one["model"] for one in completions],
        "correct_answers": ["None"],
        "incorrect_answers": ["None"],
        "completions": list(completions),
    }


def scores(*values: float | str | None) -> dict[str, Any]:
    names = ("instruction_following", "honesty", "truthfulness", "helpfulness", "overall", "fine_grained")
    return dict(zip(names, values, strict=True))


RATED = [
    ultrafeedback(
        rated("Hello!", "gpt-4", ("5", "N/A", "5", "4"), 8.0),
        rated("No.", "mpt", ("0", "3", "2", "see above"), 1.5),
    ),
    ultrafeedback(rated("Yo", "gpt-4", ("5", "5", "5", "5"), 10.0)),
]
RATINGS = [
    [
        ("Hello!", "gpt-4", scores(5.0, "N/A", 5.0, 4.0, 8.0, 4.75)),
        ("No.", "mpt", scores(0.0, 3.0, 2.0, "see above", 1.5, 4.75)),
    ],
    [("Yo", "gpt-4", scores(5.0, 5.0, 5.0, 5.0, 10.0, 4.75))],
]


def typed(row: Row) -> Row:
    """As parquet holds it: one type for every `Type`."""
    for one in (completions := [{**c} for c in row["completions"]]):
        truthfulness = {**one["annotations"]["truthfulness"], "Type": ["None"]}
        one["annotations"] = {**one["annotations"], "truthfulness": truthfulness}
    return {**row, "completions": completions}


def nectar(prompt: str, *answers: tuple[str, str, float]) -> Row:
    keys = ("answer", "model", "rank")
    return {
        "prompt": prompt,
        "answers": [dict(zip(keys, given, strict=True)) for given in answers],
        "turns": prompt.count("Human:"),
        "num_response": len(answers),
        "source": ["lmsys-chat-1m"],
        "good_natured": True,
    }


def shp(labels: int) -> Row:
    return {
        "post_id": "x1",
        "domain": "askculinary_train",
        "upvote_ratio": 0.9,
        "history": "Hi",
        "c_root_id_A": "a",
        "c_root_id_B": "b",
        "created_at_utc_A": 2,
        "created_at_utc_B": 1,
        "score_A": 9,
        "score_B": 3,
        "human_ref_A": "Hello!",
        "human_ref_B": "No.",
        "labels": labels,
        "seconds_difference": 1.0,
        "score_ratio": 3.0,
    }


def steered(prompt: str, response: str, helpfulness: int) -> Row:
    rest = {"correctness": 4, "coherence": 4, "complexity": 2, "verbosity": 1}
    return {"prompt": prompt, "response": response, "helpfulness": helpfulness, **rest}


def helped(response: str, helpfulness: float) -> tuple[str, None, dict[str, float]]:
    rest = {"correctness": 4.0, "coherence": 4.0, "complexity": 2.0, "verbosity": 1.0}
    return response, None, {"helpfulness": helpfulness, **rest}


def labelled(
    problem: str,
    steps: list[str],
    ratings: list[int | None],
    end: str,
    truth: str | None = "It is 2.",
    **flags: bool,
) -> Row:
    """A generation of PRM800K's second phase."""
    seen = [
        {
            "completions": None if r is None else [{"text": step, "rating": r, "flagged": None}],
            "human_completion": None,
            "chosen_completion": None,
        }
        for step, r in zip(steps, ratings, strict=False)
    ]
    return {
        "labeler": "u1",
        "timestamp": "2023-01-01T00:00:00",
        "generation": 9,
        "is_quality_control_question": flags.get("control", False),
        "is_initial_screening_question": flags.get("screening", False),
        "question": {
            "problem": problem,
            "ground_truth_solution": truth,
            "ground_truth_answer": "2",
            "pre_generated_steps": steps,
            "pre_generated_answer": "3",
            "pre_generated_verifier_score": 0.1,
        },
        "label": {"steps": seen, "total_time": 1000, "finish_reason": end},
    }


MODERATION = {
    "categories": {"hate/threatening": False, "self-harm": False},
    "category_scores": {"hate/threatening": 0.1, "self-harm": 0.2},
    "flagged": False,
}


def arena(winner: str) -> Row:
    return {
        "question_id": "q1",
        "model_a": "m1",
        "model_b": "m2",
        "winner": winner,
        "judge": "arena_user_1",
        "conversation_a": HI,
        "conversation_b": NO,
        "turn": 1,
        "anony": True,
        "language": "English",
        "tstamp": 1682351591.1,
        "openai_moderation": MODERATION,
        "toxic_chat_tag": {"roberta-large": {"flagged": False, "probability": 0.1}},
    }


def voted(first: float) -> list[tuple[str, str, dict[str, float]]]:
    return [("Hello!", "m1", {"vote": first}), ("No.", "m2", {"vote": 1 - first})]


def arena_55k(winners: tuple[int, int, int], asked: str = '["Hi"]', b: str = '["No."]') -> Row:
    a = '["Hello!"]' if asked == '["Hi"]' else '["Hello","Bye"]'
    names = ("winner_model_a", "winner_model_b", "winner_tie")
    row = {"id": "30192", "model_a": "m1", "model_b": "m2", "prompt": asked, "response_a": a, "response_b": b}
    return row | dict(zip(names, winners, strict=True))


FARM = {"instruction": "Name a colour.", "input": "", "output_1": "Blue", "output_2": "Dog"}
ANNOTATED = {**FARM, "generator_1": "m", "generator_2": "n", "dataset": "koala", "annotator": "gpt4"}
CAPYBARA = {
    "source": "Airoboros",
    "conversation": [{"input": "Hi", "output": "Hello!"}],
    "original_response": "Hello!",
    "generation_prompt": [],
    "raw_generation_responses": [],
    "new_generations": [],
    "prompt": "Hi",
    **PAIR,
    "rating_chosen": 5,
    "rating_rejected": 3,
    "chosen_model": "",
    "rejected_model": "m",
}
PLAIN = {"chosen": "Hello!", "rejected": "No."}
ORCA = [turns(("system", "You are helpful.")) + HI, turns(("system", "You are helpful.")) + NO]

PREFERENCES = [
    Published(
        "argilla/ultrafeedback-binarized-preferences-cleaned",
        "preference",
        "preference",
        [
            {
                "source": "sharegpt",
                "prompt": "Hi",
                **PAIR,
                "chosen-rating": 5.0,
                "chosen-model": "gpt-4",
                "rejected-rating": 2.5,
                "rejected-model": "alpaca-7b",
            }
        ],
        [PAIR],
    ),
    Published("openbmb/UltraFeedback", "preference", "ultrafeedback", RATED, RATINGS),
    Published(
        "openbmb/UltraFeedback, one type",
        "preference",
        "ultrafeedback",
        [typed(row) for row in RATED],
        RATINGS,
        "parquet",
    ),
    Published(
        "HuggingFaceH4/ultrafeedback_binarized",
        "preference",
        "preference",
        [
            {
                "prompt": "Hi",
                "prompt_id": "ab",
                **PAIR,
                "messages": HI,
                "score_chosen": 8.0,
                "score_rejected": 3.0,
            }
        ],
        [PAIR],
    ),
    Published(
        "Anthropic/hh-rlhf",
        "preference",
        "hh",
        [{"chosen": f"{ASK} Hello!", "rejected": f"{ASK} No."}],
        [PAIR],
    ),
    Published(
        "berkeley-nest/Nectar",
        "preference",
        "nectar",
        [
            nectar("\n\nHuman: Hi \n\nAssistant: ", ("No.", "llama", 2.0), ("Hello!", "gpt-4", 1.0)),
            nectar(f"{ASK} Hello!\n\nHuman: Bye\n\nAssistant:", ("So long, Human: friend.", "gpt-4", 1.0)),
            nectar(ASK, ("Hello!\n\nHuman: And?\n\nAssistant: No.", "llama", 1.0), ("Yo", "gpt-4", 2.0)),
        ],
        [
            [("No.", "llama", {"rank": 2.0}), ("Hello!", "gpt-4", {"rank": 1.0})],
            [("So long, Human: friend.", "gpt-4", {"rank": 1.0})],
            [("Yo", "gpt-4", {"rank": 2.0})],
        ],
        "parquet",
    ),
    Published(
        "lvwerra/stack-exchange-paired",
        "preference",
        "stack_exchange",
        [
            {
                "qid": 1,
                "question": "Hi",
                "date": "2020/01/01",
                "metadata": ["…"],
                "response_j": "Hello!",
                "response_k": "No.",
            }
        ],
        [PAIR],
    ),
    Published(
        "stanfordnlp/SHP-2",
        "preference",
        "shp",
        [shp(1), shp(0)],
        [
            [("Hello!", None, {"vote": a, "score": 9.0}), ("No.", None, {"vote": b, "score": 3.0})]
            for a, b in ((1.0, 0.0), (0.0, 1.0))
        ],
    ),
    Published(
        "nvidia/HelpSteer2",
        "preference",
        "helpsteer",
        [steered("Hi", "Hello!", 4), steered("Bye", "So long.", 3), steered("Hi", "No.", 0)],
        [[helped("Hello!", 4.0), helped("No.", 0.0)], [helped("So long.", 3.0)]],
    ),
    Published(
        "openai/prm800k, phase 2",
        "preference",
        "prm800k",
        [
            labelled("1+1?", ["One and one.", "So 3.", "3"], [1, -1], "found_error"),
            labelled("Odd?", ["What?"], [0], "bad_problem", truth=None),
            labelled("1+1?", ["So 2."], [1], "solution"),
            labelled("1+1?", ["So 9."], [-1], "found_error", control=True),
            labelled("1+1?", ["So 8."], [-1], "found_error", screening=True),
            labelled("Odd?", ["So 7."], [None], "found_error", truth=None),
        ],
        [
            [
                ("It is 2.", None, {"correct": 1.0}),
                ("One and one.\nSo 3.\n3", None, {"correct": 0.0, "no_error": 0.0, "good_steps": 0.5}),
                ("So 2.", None, {"no_error": 1.0, "good_steps": 1.0}),
            ],
            [("So 7.", None, {"correct": 0.0, "no_error": 0.0})],
        ],
    ),
    Published(
        "lmsys/chatbot_arena_conversations",
        "preference",
        "arena",
        [arena(winner) for winner in ("model_a", "model_b", "tie", "tie (bothbad)")],
        [voted(share) for share in (1.0, 0.0, 0.5, 0.5)],
        "parquet",
    ),
    Published(
        "lmsys/lmsys-arena-human-preference-55k",
        "preference",
        "arena_55k",
        [
            arena_55k((1, 0, 0)),
            arena_55k((0, 1, 0)),
            arena_55k((0, 0, 1)),
            arena_55k((1, 0, 0), '["Hi","And now?"]', '["Yo",null]'),
        ],
        [
            *(voted(share) for share in (1.0, 0.0, 0.5)),
            [("Bye", "m1", {"vote": 1.0}), ("", "m2", {"vote": 0.0})],
        ],
        "csv",
    ),
    Published(
        "tatsu-lab/alpaca_farm",
        "preference",
        "alpaca_farm",
        [{**FARM, "preference": 1}, {**FARM, "preference": 2}],
        [[("Blue", None, {"vote": a}), ("Dog", None, {"vote": b})] for a, b in ((1.0, 0.0), (0.0, 1.0))],
    ),
    Published(
        "AlpacaEval's annotations",
        "preference",
        "alpaca_farm",
        [{**ANNOTATED, "preference": preference} for preference in (1.0, 1.25, 0.0, None)],
        [
            [("Blue", "m", {"vote": 1.0}), ("Dog", "n", {"vote": 0.0})],
            [("Blue", "m", {"vote": 0.75}), ("Dog", "n", {"vote": 0.25})],
            [("Blue", "m", {"vote": 0.5}), ("Dog", "n", {"vote": 0.5})],
            [("Blue", "m", {}), ("Dog", "n", {})],
        ],
    ),
    Published(
        "LLMBar",
        "preference",
        "alpaca_farm",
        [{"input": "Name a colour.", "output_1": "Blue", "output_2": "Dog", "label": 2}],
        [[("Blue", None, {"vote": 0.0}), ("Dog", None, {"vote": 1.0})]],
    ),
    Published("argilla/distilabel-capybara-dpo-7k-binarized", "preference", "preference", [CAPYBARA], [PAIR]),
    Published(
        "Intel/orca_dpo_pairs",
        "preference",
        "preference_text",
        [
            {"system": "You are helpful.", "question": "Hi", **PLAIN},
            {"system": "", "question": "Hi", **PLAIN},
        ],
        [dict(zip(PAIR, ORCA, strict=True)), PAIR],
    ),
    Published(
        "argilla/distilabel-intel-orca-dpo-pairs",
        "preference",
        "preference_text",
        [
            {
                "system": "",
                "input": "Hi",
                **PLAIN,
                "generations": ["Hello!", "No."],
                "order": ["chosen", "rejected"],
                "rating": [9.0, 2.0],
                "rationale": "…",
                "status": "unchanged",
                "original_chosen": "Hello!",
                "original_rejected": "No.",
                "chosen_score": 9.0,
                "in_gsm8k_train": False,
            }
        ],
        [PAIR],
    ),
    Published(
        "allenai/tulu-2.5-preference-data",
        "preference",
        "preference",
        [{**PAIR, "source": "nectar"}, {**PAIR, "source": "argilla-ultrafeedback", "margin": 0.5}],
        [PAIR] * 2,
    ),
    Published(
        "allenai/llama-3.1-tulu-3-8b-preference-mixture",
        "preference",
        "preference",
        [{"id": "a", "prompt": "Hi", **PAIR, "source": "x"}],
        [PAIR],
    ),
    Published(
        "allenai/llama-3.1-tulu-3-405b-preference-mixture",
        "preference",
        "preference",
        [
            {
                "prompt": "Hi",
                **PAIR,
                "chosen_rating": 4.5,
                "rejected_rating": None,
                "chosen_model": "m",
                "rejected_model": "n",
                "source": "x",
                "id": "a",
            }
        ],
        [PAIR],
    ),
    Published(
        "allenai/tulu-3-pref-personas-instruction-following",
        "preference",
        "preference",
        [
            {
                "id": "personahub_0a",
                "prompt": "Hi",
                "constraints": ["change case"],
                **PAIR,
                "chonsen_model": "m",
                "rejected_model": "m",
            }
        ],
        [PAIR],
    ),
    Published(
        "allenai/coconot, pref",
        "preference",
        "preference_text",
        [
            {
                "id": "c1",
                "category": "x",
                "subcategory": "y",
                "prompt": "Hi",
                **PLAIN,
                "chosen_model": "m",
                "rejected_model": "n",
            }
        ],
        [PAIR],
    ),
]


# -- conversations -------------------------------------------------------------------------------------------


def message(number: str, parent: str | None, text: str, quality: float | None = None, **more: Any) -> Row:
    """A row of oasst1."""
    labels = {"name": ["spam"], "value": [0.0], "count": [3]}
    if quality is not None:
        labels = {"name": ["spam", "quality"], "value": [0.0, quality], "count": [3, 3]}
    return {
        "message_id": number,
        "parent_id": parent,
        "user_id": "u",
        "created_date": "2023-02-05T14:23:50",
        "text": text,
        "role": "prompter" if number.endswith("p") else "assistant",
        "lang": "en",
        "review_count": 3,
        "review_result": True,
        "deleted": False,
        "rank": None,
        "synthetic": False,
        "model_name": None,
        "detoxify": {"toxicity": 0.1},
        "message_tree_id": number[0],
        "tree_state": "ready_for_export",
        "emojis": {"name": ["+1"], "count": [1]},
        "labels": labels,
        **more,
    }


TREES = [
    message("a1p", None, "Hi"),
    message("b1p", None, "Bye", deleted=True),
    message("a2", "a1p", "No.", 0.25),
    message("a3", "a1p", "Hello!", 0.75),
    message("a4", "a1p", "Spam", 0.99, deleted=True),
    message("b2", "b1p", "So long.", 0.5),
    message("a5p", "a3", "And now?"),
    message("a6", "a5p", "Nothing."),
    message("a7", "a5p", "Later.", 0.0),
    message("c1p", None, "Hi"),
]


def nested(role: str, text: str, quality: float | None, *replies: Row, deleted: bool = False) -> Row:
    """A message of oasst's file of trees."""
    labels = {} if quality is None else {"quality": {"value": quality, "count": 3}}
    named = {"role": role, "text": text, "deleted": deleted, "labels": labels}
    return {**named, "replies": list(replies)}


TREE = nested(
    "prompter",
    "Hi",
    None,
    nested("assistant", "No.", 0.25, nested("prompter", "Why?", 0.9)),
    nested(
        "assistant",
        "Hello!",
        0.75,
        nested("prompter", "And now?", None, nested("assistant", "Nothing.", None)),
    ),
    nested("assistant", "Spam", 0.99, deleted=True),
)
LONG = talk("Hi", "Hello!", "And now?", "Nothing.")
WILDCHAT = {
    "conversation_hash": "h",
    "model": "gpt-4-0314",
    "timestamp": "2023-04-09T00:02:53",
    "conversation": [
        {
            "content": turn["content"],
            "country": "US" if turn["role"] == "user" else None,
            "hashed_ip": "x" if turn["role"] == "user" else None,
            "header": {"accept-language": "en", "user-agent": "y"} if turn["role"] == "user" else None,
            "language": "English",
            "redacted": False,
            "role": turn["role"],
            "state": None,
            "timestamp": None,
            "toxic": False,
            "turn_identifier": 1,
        }
        for turn in HI
    ],
    "turn": 1,
    "language": "English",
    "openai_moderation": [{"categories": {"self-harm": False, "self_harm": False}, "flagged": False}] * 2,
    "detoxify_moderation": [{"toxicity": 0.1}] * 2,
    "toxic": False,
    "redacted": False,
}
SAID = [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello!"}]
GUARDED = {
    "prompt": "Hi",
    "adversarial": False,
    "prompt_harm_label": "unharmful",
    "response_refusal_label": None,
    "response_harm_label": None,
    "subcategory": "benign",
}


def sft(name: str, adapter: str, native: Row, gives: Any = HI, ending: str = "jsonl") -> Published:
    return Published(name, "sft", adapter, [native], [gives], ending)


CONVERSATIONS = [
    sft("allenai/tulu-3-sft-mixture", "messages", {"id": "oasst1_1", "messages": HI, "source": "x"}),
    sft("Open-Orca/FLAN", "inputs_targets", {"inputs": "Hi", "targets": "Hello!"}),
    Published("OpenAssistant/oasst1", "sft", "oasst", TREES, [[*LONG], [], HI[:1]], "parquet"),
    sft(
        "oasst1's trees", "oasst_trees", {"message_tree_id": "a", "tree_state": "ready", "prompt": TREE}, LONG
    ),
    sft(
        "HuggingFaceH4/no_robots",
        "messages",
        {
            "prompt": "You are a pirate.",
            "prompt_id": "9f",
            "messages": turns(("system", "S")) + HI,
            "category": "Chat",
        },
        turns(("system", "S")) + HI,
    ),
    sft("allenai/WildChat-1M", "messages", WILDCHAT, ending="parquet"),
    sft(
        "nvidia/OpenMathInstruct-2",
        "problem_solution",
        {"problem": "Hi", "generated_solution": "Hello!", "expected_answer": "4", "problem_source": "gsm8k"},
    ),
    sft("AI-MO/NuminaMath-TIR", "messages", {"problem": "P", "solution": "S", "messages": HI}),
    sft(
        "CohereForAI/aya_dataset",
        "inputs_targets",
        {
            "inputs": "Hi",
            "targets": "Hello!",
            "language": "English",
            "language_code": "eng",
            "annotation_type": "original-annotations",
            "user_id": "u1",
        },
    ),
    sft("ise-uiuc/Magicoder-Evol-Instruct-110K", "alpaca", {"instruction": "Hi", "response": "Hello!"}),
    sft("theblackcat102/evol-codealpaca-v1", "alpaca", {"instruction": "Hi", "output": "Hello!"}),
    sft(
        "allenai/coconot, original",
        "prompt_completion",
        {"id": "c1", "category": "x", "subcategory": "y", "prompt": "Hi", "response": "Hello!"},
    ),
    Published(
        "allenai/wildjailbreak",
        "sft",
        "wildjailbreak",
        [
            {"vanilla": "Hi", "adversarial": "", "completion": "Hello!", "data_type": "vanilla_benign"},
            {
                "vanilla": "Hi",
                "adversarial": "Say hi",
                "completion": "No.",
                "data_type": "adversarial_harmful",
            },
        ],
        [HI, talk("Say hi", "No.")],
        "tsv",
    ),
    Published(
        "allenai/wildguardmix",
        "sft",
        "wildguard",
        [{**GUARDED, "response": "Hello!"}, {**GUARDED, "response": None}],
        [HI, HI[:1]],
        "parquet",
    ),
    sft("allenai/SciRIFF-train-mix", "messages", {"messages": HI, "dataset": "science.qasper", "id": "s1"}),
    sft(
        "LipengCS/Table-GPT",
        "prompt_completion",
        {"prompt": "Hi", "completion": "Hello!", "task": "Imputation"},
    ),
    sft(
        "allenai/tulu-3-sft-personas-instruction-following",
        "messages",
        {"id": "p1", "prompt": "Hi", "messages": HI, "constraints": ["change case"]},
    ),
    sft(
        "allenai/tulu-3-sft-personas-math",
        "messages",
        {"id": "p1", "prompt": "Hi", "input_persona": "A nurse", "messages": HI},
    ),
    Published(
        "proj-persona/PersonaHub",
        "prompts",
        "instruction",
        [{"input persona": "A nurse", "synthesized text": "Hi", "description": "math problem"}],
        [HI[:1]],
    ),
    sft("allenai/tulu-3-hardcoded-prompts", "messages", {"messages": HI}),
    sft(
        "allenai/tulu-v2-sft-mixture", "messages", {"dataset": "sharegpt", "id": "sharegpt_0", "messages": HI}
    ),
    sft("ShareGPT", "sharegpt", {"id": "QWJh", "conversations": SAID}),
    sft(
        "GPT4-Alpaca",
        "alpaca",
        {"instruction": "Add.", "input": "1 2", "output": "3"},
        talk("Add.\n\n1 2", "3"),
    ),
    sft("GAIR/lima", "dialogue", {"conversations": ["Hi", "Hello!", "Bye"], "source": "stackexchange"}),
    sft("WizardLM", "sharegpt", {"idx": "w1", "conversations": SAID}),
    sft(
        "Open-Orca/OpenOrca",
        "question_answer",
        {"id": "flan.1", "system_prompt": "", "question": "Hi", "response": "Hello!"},
        ending="parquet",
    ),
    sft("Tülu 2's science", "task", {"dataset": "scifact_json", "input": "Hi", "output": "Hello!"}),
    sft("Tülu 2's hard-coded rows", "hard_coded", {"Prompt": "Hi", "Output": "Hello!"}, ending="csv"),
]


# -- verifiable answers --------------------------------------------------------------------------------------

ASKED = turns(("user", "Question: …\nAnswer:…\n\nQuestion: 2+2?"))
NO_COMMAS = '{"func_name": "validate_no_commas", "N": null}'
VERIFIABLE = [
    Published(
        "allenai/RLVR-GSM-MATH-IF-Mixed-Constraints",
        "rlvr",
        "rlvr",
        [
            {
                "messages": ASKED,
                "ground_truth": "4",
                "dataset": "gsm8k",
                "constraint_type": "",
                "constraint": None,
            },
            {
                "messages": ASKED,
                "ground_truth": NO_COMMAS,
                "dataset": "ifeval",
                "constraint_type": "No Commas",
                "constraint": "Do not use commas.",
            },
        ],
        ["4", NO_COMMAS],
    ),
    Published(
        "allenai/RLVR-GSM",
        "rlvr",
        "rlvr",
        [{"messages": ASKED, "ground_truth": "1,004", "dataset": "gsm8k"}],
        ["1,004"],
    ),
    Published(
        "openai/gsm8k",
        "rlvr",
        "question_answer",
        [{"question": "Ann has 2 pens…", "answer": "2+2=<<2+2=4>>4 #### no\n#### 1,004 "}],
        ["1,004"],
        "parquet",
    ),
    Published(
        "EleutherAI/hendrycks_math",
        "rlvr",
        "problem_solution",
        [
            {
                "problem": "Find $x$…",
                "level": "Level 3",
                "type": "Algebra",
                "solution": r"Not $\boxed{1}$: $\boxed{\frac{1}{2}}$.",
            }
        ],
        [r"\frac{1}{2}"],
    ),
]

ALL = [*PREFERENCES, *CONVERSATIONS, *VERIFIABLE]
