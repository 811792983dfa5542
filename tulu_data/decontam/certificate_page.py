"""`certificate.html`: the certificate as one page that opens offline and prints; nothing on it runs.

Everything that comes from data goes through `html.escape`, and the page's own policy forbids scripts, images
and any request.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

Told = Mapping[str, Any]

SHOWN = 12
"""So many missed plants and flagged decoys stand on the page; `certificate.json` has more."""

_STYLE = """
:root { color-scheme: light; --ink: #1d2329; --soft: #5c6670; --line: #d9dee3;
  --good: #17663a; --bad: #a1231d; --wash: #f4f6f8; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 66rem; padding: 2.5rem 1.5rem 4rem; color: var(--ink); background: #fff;
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
h1 { font-size: 1.05rem; font-weight: 600; margin: 0 0 .3rem; color: var(--soft); }
h2 { font-size: 1.05rem; margin: 2.4rem 0 .5rem; }
p { margin: .3rem 0; max-width: 48rem; }
.status { font-size: 1.7rem; line-height: 1.25; font-weight: 650; margin: 0 0 .8rem; max-width: none; }
.good { color: var(--good); } .bad { color: var(--bad); }
.statement { font-size: 1.05rem; padding: .8rem 1rem; background: var(--wash);
  border-left: 3px solid var(--soft); max-width: none; }
.soft, caption, small { color: var(--soft); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; margin: .6rem 0; font-variant-numeric: tabular-nums; font-size: .87rem; }
caption { text-align: left; padding-bottom: .3rem; }
th, td { padding: .28rem .7rem .28rem 0; border-bottom: 1px solid var(--line); text-align: left;
  vertical-align: top; }
th { font-weight: 600; } thead th { color: var(--soft); vertical-align: bottom; }
td.n, th.n { text-align: right; white-space: nowrap; }
td.miss { color: var(--bad); font-weight: 650; }
code { font: .84rem ui-monospace, "SF Mono", Menlo, Consolas, monospace; overflow-wrap: anywhere; }
@media print { body { max-width: none; padding: 0; font-size: 10.5px; } h2 { break-after: avoid; }
  tr { break-inside: avoid; } .scroll { overflow: visible; } }
"""

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def page(told: Told) -> str:
    """The page of what `certificate.json` says."""
    parts = [
        "<h1>Decontamination certificate</h1>",
        f'<p class="status {"good" if told["status"] == "pass" else "bad"}">{_text(told["status"])}</p>',
        f'<p class="statement">{_text(told["statement"])}</p>',
        _section("What was planted and found", _ABOUT, recall_table(told), _kinds(told)),
        _odd("Missed", "Plants that the rule promises to find, and that were not found.", told["missed"]),
        _odd(
            "Flagged decoys",
            "Too little of an item to count, and yet a row would have dropped.",
            told["flagged"],
        ),
        _section("What could not be checked", "", _unchecked(told)),
        _section("Evaluations", "", _evals(told)),
        _section("Data", "", _datasets(told)),
        _section("Rule and roles", "", _rule(told)),
        _section("How it was made", "", _made(told)),
    ]
    title = f"Certificate: {told['suite']}"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{_text(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(part for part in parts if part)
        + "\n</body>\n</html>\n"
    )


def recall_table(told: Told) -> str:
    """The main table: evals by kinds of plants, what share of the planted was found."""
    kinds = [kind for kind in told["kinds"] if kind["eligible"]]
    heads = ["evaluation", *(_kind_head(kind) for kind in kinds)]
    rows = []
    for part in told["evals"]:
        cells = {cell["kind"]: cell for cell in part["cells"]}
        rows.append([_th(part["eval"]), *(_recall(cells[kind["kind"]], kind) for kind in kinds)])
    rows.append([_th("all"), *(_recall(kind, kind) for kind in kinds)])
    caption = "Found of planted; of decoys: flagged of planted. A star marks what the rule promises to find."
    return _table(heads, rows, caption, len(kinds))


_ABOUT = (
    "A sample of each evaluation's items was planted into copies of the run's own rows, and these went the "
    "way of all rows. Which items can be planted in which way is told from the item and the rule alone."
)


def _kind_head(kind: Told) -> str:
    star = "*" if kind["promised"] else ""
    return f"{_text(kind['kind'].replace('_', ' '))}{star}{'<br>(decoy)' if kind['decoy'] else ''}"


def _recall(cell: Told, kind: Told) -> str:
    if not cell["planted"]:
        return '<td class="n soft">-</td>'
    wrong = cell["found"] > 0 if kind["decoy"] else kind["promised"] and cell["found"] < cell["planted"]
    return f'<td class="n{" miss" if wrong else ""}">{cell["found"]:,}/{cell["planted"]:,}</td>'


def _kinds(told: Told) -> str:
    rows = [
        [
            f"<th>{_kind_head(kind)}</th>",
            f"<td>{_text(kind['about'])}<br><small>{_text(kind['eligible_are'])}</small></td>",
            _number(kind["eligible"]),
            _number(kind["planted"]),
            _number(kind["found"]),
            f'<td class="n">{_interval(kind)}</td>',
        ]
        for kind in told["kinds"]
    ]
    heads = [
        "kind",
        "what is planted, and which items are eligible",
        "eligible",
        "planted",
        "found",
        "share (95 %)",
    ]
    return _table(heads, rows, numbers=4)


def _interval(kind: Told) -> str:
    if kind["recall"] is None:
        return '<span class="soft">not measured</span>'
    low, high = _floor(kind["low"]), _floor(kind["high"])
    return f"{_floor(kind['recall'])} % <small>({low} to {high})</small>"


def _floor(share: float) -> str:
    return "100" if share == 1 else f"{math.floor(share * 1000) / 10:.1f}"


def _odd(title: str, about: str, odd: Sequence[Told]) -> str:
    if not odd:
        return ""
    names = ("kind", "eval", "item_id", "data")
    rows = [[f"<td>{_text(one[name])}</td>" for name in names] for one in odd[:SHOWN]]
    return _section(title, about, _table(["kind", "evaluation", "item", "rows of kind"], rows))


def _unchecked(told: Told) -> str:
    whole = [
        [_th(part["eval"]), f"<td>{_text(why)}</td>", _number(count), _number(part["items"])]
        for part in told["evals"]
        for why, count in part["unchecked"].items()
    ]
    by_kind = [
        [_th(kind["kind"].replace("_", " ")), f"<td>{_text(why)}</td>", _number(count)]
        for kind in told["kinds"]
        for why, count in kind["not_checkable"].items()
    ]
    first = (
        _table(["evaluation", "why", "items", "of"], whole, "Items that could not be checked in any way", 2)
        if whole
        else "<p>Every item could be checked in some way.</p>"
    )
    second = _table(["kind", "why", "items"], by_kind, "Items not checkable by a kind of plant", 1)
    return first + (second if by_kind else "")


def _evals(told: Told) -> str:
    rows = [
        [
            _th(part["eval"]),
            _cell(part["role"]),
            f"<td><code>{_text(part['from'])}</code></td>",
            _cell(part["revision"]),
            _cell(part["split"]),
            _number(part["items"]),
            _cell("" if part["expected"] is None else f"{part['expected']:,}"),
            f"<td><code>{_text(part['sha256'][:16])}</code></td>",
        ]
        for part in told["evals"]
    ]
    heads = ["evaluation", "role", "from", "revision", "split", "items", "stated", "SHA-256"]
    return _table(heads, rows)


def _datasets(told: Told) -> str:
    rows = [
        [
            _th(data["dataset"]),
            f"<td><code>{_text(data['from'])}</code></td>",
            _cell(data["kind"]),
            *(_number(data[name]) for name in ("rows", "kept", "dropped", "kept_with_findings", "bad")),
            f"<td><code>{_text(data['sha256'][:16])}</code></td>",
        ]
        for data in told["datasets"]
    ]
    heads = ["dataset", "from", "kind", "rows", "kept", "dropped", "kept with findings", "bad", "SHA-256"]
    return _table(heads, rows)


def _rule(told: Told) -> str:
    roles = "everyone's" if told["roles"] == "all" else ", ".join(told["roles"])
    rows = [["<th>rule</th>", _cell(told["rule"])], ["<th>messages looked at</th>", _cell(roles)]]
    for name, value in told["rule_settings"].items():
        shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        rows.append([_th(name), f"<td><code>{_text(shown)}</code></td>"])
    return _table([], rows)


def _made(told: Told) -> str:
    control = told["control"]
    hosts = ", ".join(
        f"{count} {kind} rows of the run"
        if count
        else f"a {kind} conversation of ours (the run has no row to carry plants)"
        for kind, count in control["hosts"].items()
    )
    rows = [
        ["<th>planted</th>", _cell(f"at most {control['plants']} items of each evaluation in each way")],
        ["<th>carried by</th>", _cell(hosts)],
        ["<th>seed</th>", _cell(str(control["seed"]))],
        *([_th(name), _cell(version)] for name, version in told["made_by"].items()),
        ["<th>SHA-256 of the suite's items</th>", f"<td><code>{_text(told['suite_sha256'])}</code></td>"],
        ["<th>SHA-256 of this certificate</th>", f"<td><code>{_text(told['sha256'])}</code></td>"],
    ]
    return _table([], rows)


# -- pieces --------------------------------------------------------------------------------------------------


def _section(title: str, about: str, *content: str) -> str:
    told = f"<p>{_text(about)}</p>" if about else ""
    return f"<section>\n<h2>{_text(title)}</h2>\n{told}{''.join(content)}\n</section>"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]], caption: str = "", numbers: int = 0) -> str:
    """A table of finished cells; the last `numbers` heads stand over figures."""
    first = len(heads) - numbers
    head = "".join(f"<th{' class=n' if i >= first else ''}>{text}</th>" for i, text in enumerate(heads))
    body = "\n".join(f"<tr>{''.join(row)}</tr>" for row in rows)
    told = f"<caption>{_text(caption)}</caption>" if caption else ""
    top = f"<thead><tr>{head}</tr></thead>" if heads else ""
    return f'<div class="scroll"><table>{told}{top}<tbody>\n{body}\n</tbody></table></div>'


def _th(text: str) -> str:
    return f'<th scope="row">{_text(text)}</th>'


def _cell(text: str | None) -> str:
    return f"<td>{_text(text or '')}</td>"


def _number(value: int) -> str:
    return f'<td class="n">{value:,}</td>'


def _text(text: str) -> str:
    return escape(text)
