// The findings that the filters let through, of which only those in sight are in the document.

const ROW_HEIGHT = 58; // as in the style
const MORE = 6; // rows above and below what is in sight
const SNIPPET = 160;

const filters = { eval: "", dataset: "", kind: "", action: "", decision: "", min: 0, query: "", order: "high" };
let shown = new Int32Array(0);
let current = -1; // the finding on the right

const placeInList = (finding) => shown.indexOf(finding);

// -- order ----------------------------------------------------------------------------------------------------

// Numbers sorted by a small whole key, in linear time and stable.
function sortedBy(numbers, key, size) {
  const starts = new Int32Array(size + 1);
  for (const n of numbers) starts[key(n) + 1]++;
  for (let i = 0; i < size; i++) starts[i + 1] += starts[i];
  const sorted = new Int32Array(numbers.length);
  for (const n of numbers) sorted[starts[key(n)]++] = n;
  return sorted;
}

const FINE = 10_000;
const ORDERS = {
  high: ["highest score", (all) => sortedBy(all, (n) => FINE - Math.round(columns.score[n] * FINE), FINE + 1)],
  low: ["lowest score", (all) => sortedBy(all, (n) => Math.round(columns.score[n] * FINE), FINE + 1)],
  row: ["training row", (all) => all],
  item: ["evaluation item", (all) => sortedBy(ORDERS.high[1](all), (n) => columns.item[n], columns.itemId.length)],
};

// -- filters --------------------------------------------------------------------------------------------------

function options(names) {
  return [el("option", { value: "" }, "all"), ...names.map((name, n) => el("option", { value: n }, name))];
}

function drawFilters() {
  const choice = (name, label, names) =>
    el("label", {}, label, el("select", { name, onchange: filtersChanged }, names));
  document.getElementById("filters").replaceChildren(
    el("label", { class: "search" }, "Text",
      el("input", {
        name: "query", type: "search", placeholder: "in the row, the item, the ids", title: "/", oninput: queryChanged,
      })),
    choice("eval", "Evaluation", options(head.evals.map((evaluation) => evaluation.name))),
    choice("dataset", "Dataset", options(head.datasets.map((dataset) => dataset.name))),
    choice("kind", "Kind", options(head.kinds.map(words))),
    choice("action", "Action", options(head.actions)),
    choice("decision", "Decision", [["", "any"], ["no", "undecided"], ["keep", "keep"], ["drop", "drop"]]
      .map(([value, name]) => el("option", { value }, name))),
    el("label", {}, "Score from",
      el("input", { name: "min", type: "number", min: 0, max: 100, step: 5, value: 0, oninput: filtersChanged })),
    choice("order", "First", Object.entries(ORDERS).map(([value, [name]]) => el("option", { value }, name))),
    el("div", { class: "outcome" },
      el("span", { id: "matching", role: "status" }),
      el("button", { type: "button", class: "link", id: "clear", onclick: () => filterBy({}) }, "Clear"),
      el("span", { class: "grow" }),
      el("button", { type: "button", class: "quiet", onclick: () => decideShown("drop") }, "Drop all listed"),
      el("button", { type: "button", class: "quiet", onclick: () => decideShown("keep") }, "Keep all listed")),
  );
  document.getElementById("filters").addEventListener("submit", (event) => event.preventDefault());
}

// Sets the filters; those that are not named are off.
function filterBy(chosen) {
  const form = document.getElementById("filters").elements;
  for (const name of Object.keys(filters)) {
    if (name !== "order") form[name].value = chosen[name] ?? (name === "min" ? 0 : "");
  }
  filtersChanged();
}

function filtersChanged() {
  const form = document.getElementById("filters").elements;
  if (filters.order !== form.order.value) current = -1; // another order begins at its beginning
  for (const name of Object.keys(filters)) filters[name] = form[name].value;
  return list();
}

let typing = 0;

function queryChanged() {
  clearTimeout(typing);
  typing = setTimeout(filtersChanged, 250);
}

let listing = 0;

async function list() {
  const own = ++listing; // a later change of the filters makes this one void
  const all = new Int32Array(columns.row.length).map((_, n) => n);
  const like = (name) => (filters[name] === "" ? -1 : Number(filters[name]));
  const [evaluation, dataset, kind, action] = ["eval", "dataset", "kind", "action"].map(like);
  const least = Number(filters.min) / 100 - 1e-6;
  let found = all.filter((n) =>
    (evaluation < 0 || columns.eval[columns.item[n]] === evaluation)
    && (dataset < 0 || columns.dataset[n] === dataset)
    && (kind < 0 || columns.kind[n] === kind)
    && (action < 0 || columns.action[n] === action)
    && columns.score[n] >= least
    && (!filters.decision || (decisionOf(n) ?? "no") === filters.decision));
  if (filters.query.trim()) {
    found = await searched(found, filters.query.trim().toLowerCase(), () => own === listing);
    if (own !== listing) return;
  }
  shown = ORDERS[filters.order][1](found);
  drawMatching();
  const again = placeInList(current);
  select(again < 0 ? 0 : again, { align: again < 0 ? "top" : "near" });
}

function drawMatching() {
  const all = columns.row.length;
  const part = shown.length === all ? "" : `${number(shown.length)} of `;
  document.getElementById("matching").textContent = part + count(all, "finding");
  document.getElementById("clear").hidden = shown.length === all;
}

// The findings whose row, item or ids hold a text; every block is unpacked once, none is kept.
async function searched(findings, query, wanted) {
  const holds = (text) => text !== null && text.toLowerCase().includes(query);
  const own = new Uint8Array(columns.row.length);
  const rows = new Uint8Array(columns.text.length);
  const items = new Uint8Array(columns.itemId.length);
  (await rowIds()).forEach((id, n) => { rows[n] = holds(id); });
  columns.itemId.forEach((id, n) => { items[n] = holds(id); });
  const look = {
    findings: (read, first) => read.train_id.forEach((id, n) => { own[first + n] = holds(id); }),
    texts: (read) => read.text.forEach((text, n) => { rows[read.owner[n]] ||= holds(text); }),
    items: (read, first) => read.forEach((item, n) => { items[first + n] ||= item.text.some(holds); }),
  };
  for (const sort of SORTS) {
    for (const [n, first] of head.blocks[sort].entries()) {
      if (!wanted()) return findings;
      const part = FIRST_BLOCK[sort] + n;
      document.getElementById("matching").textContent = `searching … ${percent(share(part, COLUMNS_BLOCK))}`;
      look[sort](await unpack(part), first);
    }
  }
  return findings.filter((n) => own[n] || rows[columns.row[n]] || items[columns.item[n]]);
}

function decideShown(word) {
  const changed = decide([...shown], word, current);
  say(changed ? `${count(changed, "finding")}: ${word}. Undo takes all of them back.` : `All listed are decided so already.`);
}

// -- the rows in sight ----------------------------------------------------------------------------------------

const drawn = new Map(); // place in the list -> its element

function drawList() {
  const box = document.getElementById("list");
  const space = document.getElementById("space");
  space.style.height = `${shown.length * ROW_HEIGHT}px`;
  const first = Math.max(0, Math.floor(box.scrollTop / ROW_HEIGHT) - MORE);
  const last = Math.min(shown.length, Math.ceil((box.scrollTop + box.clientHeight) / ROW_HEIGHT) + MORE);
  for (const [place, row] of drawn) {
    if (place < first || place >= last || row.finding !== shown[place]) {
      row.element.remove();
      drawn.delete(place);
    }
  }
  const rows = Array.from({ length: Math.max(0, last - first) }, (_, n) => drawn.get(first + n) ?? drawRow(first + n));
  if (rows.some((row) => !row.element.isConnected)) space.replaceChildren(...rows.map((row) => row.element));
  rows.forEach(dress);
  const own = drawn.get(placeInList(current));
  if (own) box.setAttribute("aria-activedescendant", own.element.id);
  else box.removeAttribute("aria-activedescendant");
}

function drawRow(place) {
  const finding = shown[place];
  const [item, kind] = [columns.item[finding], head.kinds[columns.kind[finding]]];
  const dataset = head.datasets[columns.dataset[finding]].name;
  const row = {
    finding,
    tag: el("span", { class: "tag" }),
    text: el("bdi"),
  };
  row.element = el("div", {
    role: "option", id: `f${place}`, class: "row", "aria-posinset": place + 1, "aria-setsize": shown.length,
    onclick: () => select(place),
  },
    el("span", { class: "score" }, percent(100 * columns.score[finding])),
    el("span", { class: "what" }, `${head.evals[columns.eval[item]].name} ${columns.itemId[item]}`),
    row.tag,
    el("span", { class: "snippet" },
      el("b", { class: `kind k-${kind}` }, words(kind)), head.datasets.length > 1 ? ` in ${dataset}: ` : ": ", row.text));
  row.element.style.transform = `translateY(${place * ROW_HEIGHT}px)`;
  drawn.set(place, row);
  snippet(row);
  return row;
}

// What changes while a row stays: whether it is selected, and what is decided.
function dress(row) {
  const [word, action] = [decisionOf(row.finding), head.actions[columns.action[row.finding]]];
  row.element.setAttribute("aria-selected", row.finding === current);
  row.tag.textContent = word ?? action;
  row.tag.className = word ? `tag decided ${word}` : `tag ${action}`;
  row.tag.title = word ? "decided" : "undecided";
}

// The row's text from its first mark on.
async function snippet(row) {
  await new Promise((resolve) => { setTimeout(resolve, 40); }); // not for rows that are only scrolled past
  if (!row.element.isConnected) return;
  const [told, texts] = await Promise.all([evidence(row.finding), rowTexts(columns.row[row.finding])]);
  const span = told.train[0];
  const own = span && texts?.texts.find((text) => text.column === span.column && text.message === span.message);
  const held = own?.pieces.find((part) => part.start <= span.start && part.end > span.start);
  row.text.textContent = held ? between(held, span.start, Math.min(held.end, span.start + SNIPPET)).replace(/\s+/g, " ") : "";
}

// -- moving ---------------------------------------------------------------------------------------------------

// Shows the finding at a place of the list.
function select(place, { align = "near" } = {}) {
  const box = document.getElementById("list");
  if (!shown.length) {
    current = -1;
    box.scrollTop = 0;
    drawList();
    return drawDetail(-1);
  }
  const at = Math.min(Math.max(place, 0), shown.length - 1);
  current = shown[at];
  const [top, bottom] = [at * ROW_HEIGHT, (at + 1) * ROW_HEIGHT];
  document.getElementById("space").style.height = `${shown.length * ROW_HEIGHT}px`;
  if (align === "top") box.scrollTop = Math.max(0, top - ROW_HEIGHT);
  else if (top < box.scrollTop) box.scrollTop = top;
  else if (bottom > box.scrollTop + box.clientHeight) box.scrollTop = bottom - box.clientHeight;
  drawList();
  return drawDetail(current);
}

const move = (by) => select(placeInList(current) + by);

// Goes to a finding, whatever the filters are.
async function goTo(finding) {
  if (placeInList(finding) < 0) {
    current = finding;
    filterBy({});
  } else {
    await select(placeInList(finding));
  }
}

// Decides the finding that is shown (or all of its row), and goes on to the next.
function decideCurrent(word, whole = false) {
  if (current < 0) return;
  const own = current;
  decide(whole ? siblings(own) : [own], word, own);
  if (placeInList(own) + 1 < shown.length) move(1);
  else drawDetail(own);
}
