// What is decided: kept in this browser under the run's fingerprint, saved to a file, and undone step by step.

const STORED = `tulu-data decisions ${head.run}`;
const WORDS = ["keep", "drop"];

const decided = new Map(); // place -> word
const steps = []; // what each step changed: [[place, word before], …]
let strangers = []; // decisions about findings that this page does not have: saved again as they came
const watchers = [];

const placeOf = (finding) => columns.row[finding] * columns.itemId.length + columns.item[finding];
const decisionOf = (finding) => decided.get(placeOf(finding));
const actionOf = (finding) => decisionOf(finding) ?? head.actions[columns.action[finding]];

function set(place, word) {
  if (word) decided.set(place, word);
  else decided.delete(place);
}

function decide(findings, word, about = findings[0]) {
  const changed = [];
  for (const finding of findings) {
    const place = placeOf(finding);
    const before = decided.get(place);
    if (before === word) continue;
    changed.push([place, before]);
    set(place, word);
  }
  if (!changed.length) return 0;
  steps.push({ changed, about });
  changedDecisions();
  return changed.length;
}

// Takes back the last step; returns the finding that it was about, to go there.
function undo() {
  const step = steps.pop();
  if (!step) return null;
  for (const [place, before] of step.changed) set(place, before);
  changedDecisions();
  return step.about;
}

let waiting = 0;

function changedDecisions() {
  clearTimeout(waiting);
  waiting = setTimeout(store, 150);
  for (const watch of watchers) watch();
}

function store() {
  if (!waiting) return;
  clearTimeout(waiting);
  waiting = 0;
  try {
    localStorage.setItem(STORED, JSON.stringify([[...decided], strangers])); // also where all was taken back
  } catch {
    say("This browser keeps nothing for this page: save the decisions to a file before you close it.");
  }
}

addEventListener("pagehide", store);

// The same page in another tab: what was decided there holds here.
addEventListener("storage", (event) => {
  if (event.key !== STORED || !readStored(event.newValue ?? "[[], []]")) return;
  steps.length = 0;
  for (const watch of watchers) watch();
});

function readStored(text) {
  try {
    const [own, others] = JSON.parse(text);
    decided.clear();
    for (const [place, word] of own) if (WORDS.includes(word)) decided.set(place, word);
    strangers = others;
    return true;
  } catch {
    return false; // nothing was kept, or something else wrote there
  }
}

// What this browser has of this run, else what the run was given.
async function restoreDecisions() {
  let stored = null;
  try {
    stored = localStorage.getItem(STORED);
  } catch {
    // a browser that keeps nothing for files
  }
  if (!readStored(stored) && head.decided.length) {
    await takeIn(head.decided.map(([row_id, evaluation, item_id, decision]) => ({
      row_id, eval: evaluation, item_id, decision,
    })));
  }
}

// Sets decisions by the ids of row and item; returns what changed.
async function takeIn(entries) {
  const rows = new Map((await rowIds()).map((id, number) => [id, number]));
  const items = new Map(columns.itemId.map((id, number) => [itemKey(head.evals[columns.eval[number]].name, id), number]));
  const known = new Set();
  for (let finding = 0; finding < columns.row.length; finding++) known.add(placeOf(finding));
  const changed = [];
  const others = [];
  for (const entry of entries) {
    const [row, item] = [rows.get(entry.row_id), items.get(itemKey(entry.eval, entry.item_id))];
    const place = row * columns.itemId.length + item;
    if (!known.has(place)) {
      others.push(entry);
    } else if (decided.get(place) !== entry.decision) {
      changed.push([place, decided.get(place)]);
      decided.set(place, entry.decision);
    }
  }
  const seen = new Set(others.map((entry) => JSON.stringify([entry.row_id, entry.eval, entry.item_id])));
  strangers = strangers.filter((e) => !seen.has(JSON.stringify([e.row_id, e.eval, e.item_id]))).concat(others);
  return { changed, others: others.length };
}

const itemKey = (evaluation, id) => `${evaluation}\0${id}`;

async function fileOfDecisions() {
  const ids = await rowIds();
  const own = [...decided].map(([place, decision]) => {
    const item = place % columns.itemId.length;
    const row_id = ids[(place - item) / columns.itemId.length];
    return { row_id, eval: head.evals[columns.eval[item]].name, item_id: columns.itemId[item], decision };
  });
  const lines = own.concat(strangers).map((entry) => `  ${JSON.stringify(entry)}`);
  const about = ["version", "suite", "run"].map((name) => JSON.stringify(head[name]));
  return `{"tulu_data": ${about[0]}, "suite": ${about[1]}, "run": ${about[2]}, "decisions": [\n${lines.join(",\n")}\n]}\n`;
}

async function saveDecisions() {
  if (!decided.size && !strangers.length) {
    say("Nothing is decided yet: d drops, e keeps the finding that is shown.");
    return;
  }
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([await fileOfDecisions()], { type: "application/json" }));
  link.download = "decisions.json";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  say(`Saved ${count(decided.size, "decision")}. Honour them with: tulu-data decontaminate … --decisions decisions.json`);
}

async function loadDecisions(file) {
  let read;
  try {
    read = JSON.parse(await file.text());
  } catch {
    say(`${file.name} is not JSON.`);
    return;
  }
  const fault = faultOf(read);
  if (fault) {
    say(`${file.name} is not taken: ${fault}.`);
    return;
  }
  const { changed, others } = await takeIn(read.decisions);
  if (changed.length) steps.push({ changed, about: null });
  changedDecisions();
  const strange = others ? ` For ${number(others)} of them this page has no finding; they are saved again with yours.` : "";
  say(`${file.name}: ${count(read.decisions.length, "decision")}, ${number(changed.length)} new here.${strange}`);
}

// What is wrong with a decisions file, in words; nothing if it can be taken in.
function faultOf(read) {
  if (!read || !Array.isArray(read.decisions)) return "it is no decisions file";
  if (read.suite !== head.suite) return `it is about the suite ${JSON.stringify(read.suite)}`;
  const texts = ["row_id", "eval", "item_id"];
  const wrong = read.decisions.findIndex(
    (entry) => !entry || texts.some((name) => typeof entry[name] !== "string") || !WORDS.includes(entry.decision),
  );
  return wrong < 0 ? "" : `decisions[${wrong}] is no decision`;
}
