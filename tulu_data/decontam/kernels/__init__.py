"""The kernels of matching, in Numba; all run without the interpreter's lock. Their plain twin is `plain.py`.

scan      where the suite's n-grams occur in texts            scanning.py
judge     which items that makes, with the evidence           judging.py
compare   what of an item is equal, and what was changed      comparing.py, placing.py
near      which passages items are like, by MinHash           near*.py, passages.py
the rest  makes the tables that these two look into           grams.py
"""

from pathlib import Path

from tulu_data.decontam import rules
from tulu_data.decontam.kernels.comparing import compare
from tulu_data.decontam.kernels.grams import (
    END_BITS,
    MASKED_MOST,
    NUMBER,
    PRIME,
    SHORT_BITS,
    SINGLE_BITS,
    SIZES,
    Grams,
    cut_all,
    end_bit,
    end_slot,
    fill,
    fill_sample,
    frequencies,
    gram_keys,
    masked_keys,
    one_gram_each,
    set_bit,
    single_bit,
)
from tulu_data.decontam.kernels.judging import Fields, judge, probe_grams
from tulu_data.decontam.kernels.near_evidence import NearItems, near_evidence
from tulu_data.decontam.kernels.near_tables import RAREST, Near, fill_numbers, item_shingles, set_keys
from tulu_data.decontam.kernels.nearing import Marks, near
from tulu_data.decontam.kernels.placing import Words, options_follow, options_near, whole_places
from tulu_data.decontam.kernels.scanning import scan
from tulu_data.text import _kernels, _memory, _minhash_kernels
from tulu_data.text.kernel_cache import keep_true

__all__ = [
    "END_BITS",
    "MASKED_MOST",
    "NUMBER",
    "PRIME",
    "RAREST",
    "SHORT_BITS",
    "SINGLE_BITS",
    "SIZES",
    "Fields",
    "Grams",
    "Marks",
    "Near",
    "NearItems",
    "Words",
    "compare",
    "cut_all",
    "end_bit",
    "end_slot",
    "fill",
    "fill_numbers",
    "fill_sample",
    "frequencies",
    "gram_keys",
    "item_shingles",
    "judge",
    "masked_keys",
    "near",
    "near_evidence",
    "one_gram_each",
    "options_follow",
    "options_near",
    "probe_grams",
    "scan",
    "set_bit",
    "set_keys",
    "single_bit",
    "whole_places",
]

keep_true(
    {scan.stats.cache_path, _kernels.locate.stats.cache_path},
    [
        *sorted(Path(__file__).parent.glob("*.py")),
        *(Path(m.__file__ or "") for m in (rules, _kernels, _memory, _minhash_kernels)),
    ],
)
