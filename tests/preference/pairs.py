"""Pairs whose sides begin alike, for Hypothesis: few texts and roles, so that all that can happen does."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import strategies as st

from tests.rows import table_of

turns = st.fixed_dictionaries(
    {
        "role": st.sampled_from(["user", "assistant", "user", "assistant", "system"]),
        "content": st.sampled_from(["a", "b", " a\n", "ab", ""]),
    }
)
some = st.lists(turns, max_size=2)
answers = some | st.just([{"role": "user", "content": "b"}, {"role": "assistant", "content": "a"}])
ratings = st.sampled_from([None, 1.0, 2.0])


def alike(max_size: int = 5) -> st.SearchStrategy[pa.Table]:
    """Tables of preference rows; both sides of a row begin with the same turns, or none."""
    rows = st.builds(
        lambda head, chosen, rejected, prompt, ratings: {
            "prompt": prompt,
            "chosen": head + chosen,
            "rejected": head + rejected,
            "chosen_rating": ratings[0],
            "rejected_rating": ratings[1],
        },
        st.lists(turns, max_size=3), answers, answers,
        st.sampled_from([None, "a", "b", "user: b"]), st.tuples(ratings, ratings),
    )  # fmt: skip
    return st.lists(rows, max_size=max_size).map(lambda made: table_of("preference", made))
