"""The kernels of matching, in Numba; all run without the interpreter's lock. Their plain twin is `plain.py`.

scan      where the suite's n-grams occur in texts            scanning.py
judge     which items that makes, with the evidence           judging.py
compare   what of an item is equal, and what was changed      comparing.py
the rest  makes the tables that these two look into           grams.py
"""

from pathlib import Path

from tulu_data.decontam import rules
from tulu_data.decontam.kernels.comparing import Words, compare, find_whole, options_near
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
from tulu_data.decontam.kernels.scanning import scan
from tulu_data.text import _kernels, _memory
from tulu_data.text.kernel_cache import keep_true

__all__ = [
    "END_BITS",
    "MASKED_MOST",
    "NUMBER",
    "PRIME",
    "SHORT_BITS",
    "SINGLE_BITS",
    "SIZES",
    "Fields",
    "Grams",
    "Words",
    "compare",
    "cut_all",
    "end_bit",
    "end_slot",
    "fill",
    "fill_sample",
    "find_whole",
    "frequencies",
    "gram_keys",
    "judge",
    "masked_keys",
    "one_gram_each",
    "options_near",
    "probe_grams",
    "scan",
    "set_bit",
    "single_bit",
]

keep_true(
    {scan.stats.cache_path, _kernels.locate.stats.cache_path},
    [
        *sorted(Path(__file__).parent.glob("*.py")),
        *(Path(m.__file__ or "") for m in (rules, _kernels, _memory)),
    ],
)
