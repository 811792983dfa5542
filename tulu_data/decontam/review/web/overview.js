// Small helpers, then the overview: what was found of each evaluation in each dataset, by kind, and how it was looked for.

// An element; whatever text it gets is text, never markup.
function el(tag, settings = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(settings)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== ""));
  return made;
}

const number = (value) => value.toLocaleString("en-US");
const count = (value, what) => `${number(value)} ${what}${value === 1 ? "" : "s"}`;
const share = (part, whole) => (whole ? (100 * part) / whole : 0);

// 0 %, < 0.1 %, 3.4 %, 56 %: never rounded down to nothing or up to all.
function percent(value) {
  if (value > 0 && value < 0.1) return "< 0.1 %";
  if (value > 99 && value < 100) return "> 99 %";
  return `${value < 10 && value % 1 ? value.toFixed(1) : Math.round(value)} %`;
}

const KINDS = {
  copy: "all of the item, word for word",
  short: "a short item, whole",
  options: "a question with its answer options",
  partial: "a large part of the item",
  changed_numbers: "the same text with other numbers or names",
  near_duplicate: "almost the same text",
};

let said = 0;

function say(text) {
  const place = document.getElementById("said");
  place.textContent = text;
  place.hidden = !text;
  clearTimeout(said);
  said = setTimeout(() => { place.hidden = true; }, 12_000);
}

// The step of the colour scale, 0 to 7: finer where little is found, for 2 % is already too much.
const LIMITS = [0, 0.5, 2, 5, 15, 35, 70];
const step = (value) => LIMITS.filter((limit) => value > limit).length;

function overview(open) {
  const scanned = head.datasets.reduce((sum, dataset) => sum + (dataset.rows ?? 0), 0);
  const rows = head.datasets.reduce((sum, dataset) => sum + dataset.found[0] + dataset.found[1], 0);
  const items = head.evals.reduce((sum, evaluation) => sum + evaluation.found[0] + evaluation.found[1], 0);
  const all = head.evals.reduce((sum, evaluation) => sum + evaluation.items, 0);
  document.getElementById("view-overview").replaceChildren(
    el("section", { class: "lead" },
      el("h1", {}, head.total
        ? `Findings in ${number(rows)} of ${count(scanned, "row")}, for ${number(items)} of ${count(all, "evaluation item")}.`
        : `No match in ${count(scanned, "row")} for ${count(all, "evaluation item")}.`),
      el("p", { class: "under" },
        `${count(head.total, "finding")} by the rule and suite below; what the rule cannot see is not in this page.`,
        head.listed < head.total
          ? ` Listed are the first ${number(head.listed)}; the numbers on this page count all, and all lie in matches.parquet.`
          : "")),
    warnings(),
    matrix(open),
    el("div", { class: "two" }, kinds(open), settings()),
    el("div", { class: "two" }, evaluations(open), datasets(open)),
    ...(head.certificate ? certificate(head.certificate) : []),
  );
}

function warnings() {
  if (!head.warnings.length) return "";
  return el("details", { class: "warnings", open: head.warnings.length <= 2 },
    el("summary", {}, count(head.warnings.length, "warning")),
    el("ul", {}, head.warnings.map((warning) => el("li", {}, warning))));
}

function section(title, about, ...content) {
  return el("section", {}, el("h2", {}, title), about ? el("p", { class: "about" }, about) : "", ...content);
}

function header(name, settings = {}) {
  return el("th", { scope: "col", ...settings }, name);
}

function matrix(open) {
  const cells = new Map(head.cells.map((cell) => [`${cell[0]} ${cell[1]}`, cell]));
  const body = head.datasets.map((dataset, d) => el("tr", {},
    el("th", { scope: "row" }, dataset.name),
    head.evals.map((evaluation, e) => heat(cells.get(`${d} ${e}`), dataset, evaluation, open))));
  const wide = head.evals.length > 8;
  return section(
    "Datasets and evaluations",
    "Items of each evaluation that a dataset matches, and their share of the evaluation. Choose a number to see the findings.",
    el("div", { class: "scroll" },
      el("table", { class: wide ? "heat wide" : "heat", "aria-label": "Items that match, by dataset and evaluation" },
        el("thead", {}, el("tr", {}, el("td"),
          head.evals.map((evaluation) => header(el("span", {}, evaluation.name))))),
        el("tbody", {}, body))),
    el("p", { class: "legend" },
      [0, 1, 2, 3, 4, 5, 6, 7].map((level) => el("span", { class: `swatch h${level}` })),
      " none to all of the evaluation",
      el("span", { class: "swatch over" }), ` over ${percent(100 * (head.rule.contaminated ?? 0.02))}: contaminated by the policy`,
      head.cells.some((cell) => cell[3]) ? el("span", {}, "+n: items in findings for review only") : ""),
  );
}

function heat(cell, dataset, evaluation, open) {
  if (!cell) return el("td", { class: "h0" }, el("span", { class: "none", "aria-label": "none" }, "0"));
  const [d, e, items, review, rows, over] = cell;
  const part = share(items, evaluation.items);
  const told = `${dataset.name} matches ${number(items)} of ${count(evaluation.items, "item")} of ${evaluation.name}`
    + ` (${percent(part)}) in ${count(rows, "row")}` + (review ? `, ${number(review)} more for review only` : "") + (over ? "; contaminated" : "");
  return el("td", { class: `h${items ? step(part) : 0}${over ? " over" : ""}` },
    el("button", { title: told, "aria-label": told, onclick: () => open({ dataset: d, eval: e }) },
      el("b", {}, number(items)), review ? el("i", {}, `+${number(review)}`) : "", el("small", {}, percent(part))));
}

function kinds(open) {
  const used = head.kinds.map((kind, k) => [kind, k]).filter(([, k]) => head.counts[k].some(Boolean));
  const rows = used.map(([kind, k]) => el("tr", {},
    el("th", { scope: "row" }, el("span", { class: `kind k-${kind}` }, words(kind)), el("small", {}, KINDS[kind] ?? "")),
    head.actions.map((action, a) => el("td", {}, head.counts[k][a]
      ? el("button", { class: "link", onclick: () => open({ kind: k, action: a }) }, number(head.counts[k][a]))
      : el("span", { class: "none" }, "0")))));
  return section("Findings by kind", "And what happens to the row unless you decide otherwise.",
    el("table", { class: "plain numbers" },
      el("thead", {}, el("tr", {}, header("kind"), head.actions.map((action) => header(action)))),
      el("tbody", {}, rows.length ? rows : el("tr", {}, el("td", { colspan: 4 }, "none")))));
}

const words = (name) => name.replaceAll("_", " ");

function settings() {
  const rule = Object.entries(head.rule).map(([name, value]) => [name, plain(value)]).filter(([, value]) => value)
    .flatMap(([name, value]) => [el("dt", {}, el("code", {}, name)), el("dd", {}, value)]);
  return section("How it was looked for", "",
    el("dl", {},
      el("dt", {}, "suite"), el("dd", {}, head.suite),
      el("dt", {}, "messages of"), el("dd", {}, head.roles ? head.roles.join(", ") : "every role"),
      rule,
      el("dt", {}, "tulu-data"), el("dd", {}, head.version),
      el("dt", {}, "run"), el("dd", {}, el("code", {}, head.run))));
}

function plain(value) {
  if (Array.isArray(value)) return value.map(plain).join(", ");
  if (value && typeof value === "object") {
    return Object.entries(value).map(([name, part]) => `${words(name)}: ${plain(part)}`).join(", ");
  }
  return String(value);
}

function bar(sure, review, whole) {
  const line = el("span", { class: "meter", "aria-hidden": "true" }, el("span"), el("span"));
  line.children[0].style.width = `${share(sure, whole)}%`;
  line.children[1].style.width = `${share(review, whole)}%`;
  return line;
}

function found(sure, review, whole, onclick) {
  const text = `${number(sure)}${review ? ` +${number(review)}` : ""}`;
  return [
    el("td", {}, sure + review ? el("button", { class: "link", onclick }, text) : el("span", { class: "none" }, "0")),
    el("td", {}, whole === null ? "" : percent(share(sure, whole))),
    el("td", { class: "meters" }, whole === null ? "" : bar(sure, review, whole)),
  ];
}

function evaluations(open) {
  const unchecked = head.evals.some((evaluation) => evaluation.unchecked);
  const rows = head.evals.map((evaluation, e) => el("tr", {},
    el("th", { scope: "row" }, evaluation.name, el("small", {}, [evaluation.role, evaluation.split].filter(Boolean).join(", "))),
    el("td", {}, number(evaluation.items)),
    unchecked ? el("td", {}, evaluation.unchecked ? number(evaluation.unchecked) : el("span", { class: "none" }, "0")) : "",
    found(...evaluation.found, evaluation.items, () => open({ eval: e }))));
  return section("How much of each evaluation is found", "In any dataset.",
    el("table", { class: "plain numbers" },
      el("thead", {}, el("tr", {},
        header("evaluation"), header("items"), unchecked ? header("not checkable") : "", header("found"), header(""), header(""))),
      el("tbody", {}, rows)));
}

function datasets(open) {
  const rows = head.datasets.map((dataset, d) => el("tr", {},
    el("th", { scope: "row" }, dataset.name),
    el("td", {}, dataset.rows === null ? "" : number(dataset.rows)),
    found(...dataset.found, dataset.rows, () => open({ dataset: d }))));
  return section("How much of each dataset is touched", "By any evaluation.",
    el("table", { class: "plain numbers" },
      el("thead", {}, el("tr", {}, header("dataset"), header("rows"), header("touched"), header(""), header(""))),
      el("tbody", {}, rows)));
}
