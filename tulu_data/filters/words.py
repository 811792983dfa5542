"""The named lists of words that `keyword_filter` knows."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class WordList:
    """Words, and how and where their source looks for them; a recipe's own settings come before these."""

    words: tuple[str, ...]
    roles: tuple[str, ...]
    whole_words: bool


_SHARED = (
    *("OpenAI", "Open AI", "ChatGPT", "Chat GPT"),
    *("GPT-3", "GPT3", "GPT 3", "GPT-4", "GPT4", "GPT 4", "GPT-3.5", "GPT3.5", "GPT 3.5"),
    *("BingChat", "Bing Chat", "LAION", "Open Assistant", "OpenAssistant"),
)

LISTS = {
    "provider_names": WordList(_SHARED, roles=("assistant",), whole_words=True),
    "provider_names_tulu2": WordList(
        (*_SHARED, "BARD", "Palm", "Anthropic", "Claude"),
        roles=("system", "user", "assistant", "tool"),
        whole_words=False,
    ),
}
"""Names of model providers and their models.

    provider_names          the 18 strings of Tülu 3, in what the assistant says, as whole words
                            (allenai/open-instruct, scripts/data/sft/utils.py, should_be_filtered_by_keyword)
    provider_names_tulu2    the 22 strings of Tülu 2, in every message, also inside of words
                            (allenai/open-instruct, open_instruct/reformat_datasets.py, should_be_filtered)

Both sources ignore case. A deviation from the first: its `.` stands for any character (`GPT3.5` also finds
`GPT3x5`), ours for a full stop.
"""
