"""The final answer that a worked solution ends in: what a verifier is told."""

from __future__ import annotations

import re

import pyarrow as pa
import pyarrow.compute as pc

HASHES = r"(?s)^.*####\s*(?P<answer>.*?)\s*$"
"""GSM8K: what follows the last `####`, commas of thousands included."""
_BOX = re.compile(r"\\(?:boxed|fbox)")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)


def after_hashes(solutions: pa.Array) -> pa.Array:
    r"""The text behind the last `####`; null where there is none.

    >>> after_hashes(pa.array(["2+2=<<2+2=4>>4\n#### 1,004", "4"])).to_pylist()
    ['1,004', None]
    """
    return pc.struct_field(pc.extract_regex(solutions, HASHES), "answer")


def last_boxed(solution: str | None) -> str | None:
    r"""What the last `\boxed{}` or `\fbox{}` holds, or what follows a `\boxed` without braces; else None.

    >>> print(last_boxed(r"So $\boxed{1}$, no: $\boxed{\frac{1}{2}}$."))
    \frac{1}{2}
    >>> last_boxed(r"$\boxed 4$"), last_boxed(r"$\boxed {4}.$"), last_boxed("4")
    ('4', '4', None)
    """
    found = [*_BOX.finditer(solution or "")]
    if not found or solution is None:
        return None
    rest = solution[found[-1].end() :].lstrip()
    if not rest.startswith("{"):
        return rest.partition("$")[0].strip() or None
    depth = 0
    for brace in _BRACE.finditer(rest):  # an escaped one is a character of the text
        depth += (brace[0] == "{") - (brace[0] == "}")
        if depth == 0:
            return rest[1 : brace.start()]
    return None
