// One finding: the row on the left, the item on the right, what both have in common marked and aligned.

const SHORT = 1_400; // characters of the longest text that is shown whole at first
const NEAR = 320; // characters around a mark that are shown of a longer one
const CODE = /^(def |class |import |from \w+ import|#include|@\w+|\t| {4}\S)/m;
const OPTION = /^options\.\d+$/; // an answer option: short, and one of several

let drawing = 0;

// All findings of a finding's row: they lie together.
function siblings(finding) {
  const row = columns.row[finding];
  let first = finding;
  while (first > 0 && columns.row[first - 1] === row) first--;
  const found = [];
  for (let n = first; n < columns.row.length && columns.row[n] === row; n++) found.push(n);
  return found;
}

async function drawDetail(finding) {
  const own = ++drawing;
  const place = document.getElementById("detail");
  if (finding < 0) {
    place.replaceChildren(el("p", { class: "empty" }, columns.row.length ? "No finding fits the filters." : "Nothing was found."));
    return;
  }
  const [row, item] = [columns.row[finding], columns.item[finding]];
  const [told, texts, fields, ids] = await Promise.all([evidence(finding), rowTexts(row), itemTexts(item), rowIds()]);
  if (own !== drawing) return; // another was chosen meanwhile
  const left = (texts?.texts ?? []).map((text) => ({
    ...text,
    name: text.role === null ? head.names[text.column] : messageName(text, texts.texts),
    marks: marksIn(text, told.train.filter((span) => span.column === text.column && span.message === text.message)),
  })).filter((text) => text.marks.length);
  const right = fields.map((text) => ({
    ...text,
    name: head.names[text.field],
    score: told.scores.find((score) => score.field === text.field)?.score,
    marks: marksIn(text, told.item.filter((span) => span.field === text.field)),
  }));
  link(left.flatMap((text) => text.marks), right.flatMap((text) => text.marks));
  const evaluation = head.evals[columns.eval[item]];
  const dataset = head.datasets[columns.dataset[finding]].name;
  place.replaceChildren(
    heading(finding),
    el("div", { class: "sides" },
      side("Training", [dataset, Number.isInteger(texts?.number) ? `row ${number(texts.number)}` : ""],
        [told.trainId === null ? "" : el("span", {}, "id ", el("code", {}, told.trainId)), el("code", {}, ids[row])],
        left.length ? left : null, "This page does not hold the text of this row."),
      side("Evaluation", [evaluation.name, `item ${columns.itemId[item]}`],
        [evaluation.split ? `${evaluation.split} split` : "", evaluation.role],
        right, "The item has no text.")),
  );
  align(place);
  document.body.dataset.finding = String(finding);
}

// `user message 2`, and which side of a pair of answers it is on.
function messageName(text, all) {
  const column = head.names[text.column];
  const sides = column !== "messages" || all.some((other) => other.column !== text.column);
  return `${sides ? `${column}, ` : ""}${text.role} message ${text.message}`;
}

// -- above both sides -----------------------------------------------------------------------------------------

function heading(finding) {
  const kind = head.kinds[columns.kind[finding]];
  const others = siblings(finding).filter((n) => n !== finding);
  const drops = siblings(finding).filter((n) => actionOf(n) === "drop");
  const decision = decisionOf(finding);
  const button = (word, key) => el("button", {
    class: `decide ${word}`, "aria-pressed": String(decision === word),
    title: `${word} (${key}), for all findings of the row (shift ${key})`,
    onclick: (event) => {
      decideCurrent(word, event.shiftKey);
      document.getElementById("list").focus(); // this button goes with the finding
    },
  }, word === "drop" ? "Drop" : "Keep", el("kbd", {}, key));
  return el("header", { class: "heading" },
    el("div", {},
      el("h2", {}, el("span", { class: `kind k-${kind}` }, words(kind)), ` ${percent(100 * columns.score[finding])}`,
        el("small", {}, KINDS[kind] ?? "")),
      el("p", { class: "outcome" },
        drops.length ? "The row is dropped" : "The row stays",
        drops.length && !drops.includes(finding) ? ` because of ${count(drops.length, "other finding")}.` : ".",
        decision ? ` You decided: ${decision}.` : ` Undecided: ${head.actions[columns.action[finding]]} by the rule.`),
      others.length ? el("p", { class: "others" }, `${count(others.length, "other finding")} of this row: `,
        others.slice(0, 8).map((n) => el("button", { class: "link", onclick: () => goTo(n) },
          `${head.evals[columns.eval[columns.item[n]]].name} ${columns.itemId[columns.item[n]]}`)),
        others.length > 8 ? `and ${number(others.length - 8)} more` : "") : ""),
    el("div", { class: "buttons" }, button("drop", "d"), button("keep", "e")));
}

// -- one side -------------------------------------------------------------------------------------------------

function side(what, names, about, texts, missing) {
  const told = el("span", { class: "about" }, about.filter(Boolean).flatMap((part, n) => (n ? [" · ", part] : [part])));
  return el("section", { class: `side ${what.toLowerCase()}`, "aria-label": `${what}: ${names.filter(Boolean).join(", ")}` },
    el("header", { title: told.textContent },
      el("span", { class: "what" }, what), " ", el("b", {}, names.filter(Boolean).join(", ")), told),
    el("div", { class: "body" }, texts
      ? texts.map(passage)
      : el("p", { class: "missing" }, `${missing} Whole rows lie in ${head.whole_rows}.`)));
}

function passage(text) {
  const body = el("div", { class: text.pieces.some((p) => CODE.test(p.text)) ? "text code" : "text", dir: "auto" });
  const long = text.length > SHORT && text.marks.length > 0;
  const more = long ? el("button", { class: "link all", onclick: () => {
    const whole = more.getAttribute("aria-expanded") !== "true";
    more.setAttribute("aria-expanded", whole);
    more.textContent = whole ? "show less" : "show all";
    write(body, text, whole ? null : NEAR);
  }, "aria-expanded": "false" }, "show all") : "";
  write(body, text, long ? NEAR : null);
  return el("section", { class: OPTION.test(text.name) ? "passage option" : "passage" },
    el("h3", {}, text.name,
      el("small", {}, text.score === undefined ? "" : ` ${percent(100 * text.score)} found`),
      el("small", {}, long ? ` ${number(text.length)} characters` : ""), more),
    body);
}

// Writes a text with its marks; only what is within `near` characters of one, where that is given.
function write(body, text, near) {
  const parts = [];
  let done = 0;
  for (const [start, end] of windows(text, near)) {
    if (start > done) parts.push(...gap(body, text, done, start));
    parts.push(...marked(text, start, end));
    done = end;
  }
  if (done < text.length) parts.push(...gap(body, text, done, text.length));
  body.replaceChildren(...parts);
}

// What of a text is shown: stretches of the pieces that the page holds.
function windows(text, near) {
  const found = [];
  for (const held of text.pieces) {
    const wanted = near === null ? [[held.start, held.end]]
      : text.marks.filter((m) => m.end > held.start && m.start < held.end)
        .map((m) => [wordBefore(held, m.start - near), wordAfter(held, m.end + near)]);
    for (const [start, end] of wanted) {
      const last = found[found.length - 1];
      if (last && start <= last[1]) last[1] = Math.max(last[1], end);
      else found.push([start, end]);
    }
  }
  return found;
}

const WORD = 24; // characters that are looked through for the edge of a word

function wordBefore(held, at) {
  if (at <= held.start) return held.start;
  const before = [...between(held, Math.max(held.start, at - WORD), at)];
  const space = before.findLastIndex((letter) => /\s/.test(letter));
  return space < 0 ? at : at - (before.length - 1 - space);
}

function wordAfter(held, at) {
  if (at >= held.end) return held.end;
  const space = [...between(held, at, Math.min(held.end, at + WORD))].findIndex((letter) => /\s/.test(letter));
  return space < 0 ? at : at + space;
}

// What is left out between two places: a button where the page holds it, else a word of where to find it.
function gap(body, text, start, end) {
  const held = text.pieces.some((p) => p.start < end && p.end > start);
  const size = `${count(end - start, "character")}`;
  if (held) {
    const all = () => body.closest(".passage").querySelector(".all").click();
    return [el("button", { class: "gap", title: "show all", onclick: all }, `… ${size} …`)];
  }
  return [el("span", { class: "gap" }, `… ${size} that this page does not hold …`)];
}

// The nodes of a stretch of text.
function marked(text, start, end) {
  const nodes = [];
  let done = start;
  for (const mark of text.marks.filter((m) => m.end > start && m.start < end)) {
    const [from, to] = [Math.max(start, mark.start), Math.min(end, mark.end)];
    if (from > done) nodes.push(read(text, done, from));
    nodes.push(markOf(mark, read(text, from, to), from === mark.start && to === mark.end));
    done = to;
  }
  if (end > done) nodes.push(read(text, done, end));
  return nodes;
}

const read = (text, start, end) =>
  text.pieces.filter((p) => p.start < end && p.end > start).map((p) => between(p, Math.max(p.start, start), Math.min(p.end, end))).join("");

function markOf(mark, text, whole) {
  const parts = [];
  let done = 0;
  for (const odd of whole ? mark.odd : []) {
    parts.push(text.slice(done, odd.start), el("span", { class: "odd", title: "not on the other side" }, text.slice(odd.start, odd.end)));
    done = odd.end;
  }
  parts.push(text.slice(done));
  if (!mark.link) return el("mark", {}, ...parts);
  return el("mark", {
    tabindex: 0, "data-link": mark.link,
    onmouseenter: () => light(mark.link), onmouseleave: () => light(0),
    onfocus: () => light(mark.link), onblur: () => light(0),
    onclick: (event) => meet(event.currentTarget),
    onkeydown: (event) => { if (event.key === "Enter") meet(event.currentTarget); },
  }, ...parts);
}

// -- both sides together --------------------------------------------------------------------------------------

// Lights the marks of one number on both sides.
function light(linked) {
  for (const mark of document.querySelectorAll("#detail mark")) {
    mark.classList.toggle("on", linked > 0 && mark.dataset.link === String(linked));
  }
}

// How far a side is scrolled when a mark is `top` pixels below its upper edge.
const standing = (body, mark, top) =>
  body.scrollTop + mark.getBoundingClientRect().top - body.getBoundingClientRect().top - top;

// Scrolls both sides so that the first marks that belong together are at one height, with what is before them in
// sight; the side on which less is before moves down to meet the other.
function align(place) {
  const bodies = [...place.querySelectorAll(".side .body")];
  const pair = firstPair(...bodies);
  for (const body of bodies) Object.assign(body.style, { paddingTop: "" });
  const before = bodies.map((body, n) => (pair[n] ? standing(body, pair[n], 0) : 0));
  const top = Math.min(bodies[0].clientHeight / 4, Math.max(...before));
  bodies.forEach((body, n) => {
    if (pair[n] && before[n] < top) body.style.paddingTop = `calc(1rem + ${top - before[n]}px)`;
    body.scrollTop = pair[n] ? Math.max(0, before[n] - top) : 0;
  });
}

function firstPair(left, right) {
  for (const mark of left.querySelectorAll("mark[data-link]")) {
    const other = right.querySelector(`mark[data-link="${mark.dataset.link}"]`);
    if (other) return [mark, other];
  }
  return [left.querySelector("mark"), right.querySelector("mark")];
}

// Brings the counterpart of a mark to the mark's own height.
function meet(mark) {
  const own = mark.closest(".body");
  const other = [...document.querySelectorAll("#detail .side .body")].find((body) => body !== own);
  const all = [...other.querySelectorAll(`mark[data-link="${mark.dataset.link}"]`)];
  if (!all.length) return;
  const top = mark.getBoundingClientRect().top - own.getBoundingClientRect().top;
  other.scrollTop = standing(other, all[0], top);
  light(mark.dataset.link);
}

// Goes from mark to mark of the training side.
function nextMark(by) {
  const marks = [...document.querySelectorAll("#detail .training mark[data-link]")];
  if (!marks.length) return;
  const now = marks.indexOf(document.activeElement);
  const mark = marks[now < 0 ? (by > 0 ? 0 : marks.length - 1) : (now + by + marks.length) % marks.length];
  mark.focus();
  meet(mark);
}
