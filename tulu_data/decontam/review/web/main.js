// Views, keys, and the beginning.

const KEYS = [
  [["j", "↓"], "next finding", () => move(1)],
  [["k", "↑"], "finding before", () => move(-1)],
  [["d"], "drop, and on to the next", () => decideCurrent("drop")],
  [["e"], "keep, and on to the next", () => decideCurrent("keep")],
  [["D", "E"], "drop or keep for all findings of the row", null],
  [["c"], "clear the decision", () => { if (current >= 0) decide([current], undefined); }],
  [["u"], "undo", () => takeBack()],
  [["n", "p"], "next mark, mark before; Enter brings its counterpart to its height", null],
  [["x"], "show all of long texts, or less", () => document.querySelectorAll("#detail .all").forEach((button) => button.click())],
  [["Esc"], "from a filter back to the list", null],
  [["/"], "search", () => document.querySelector("#filters [name=query]").focus()],
  [["o"], "overview", () => show("overview")],
  [["f"], "findings", () => show("findings")],
  [["s"], "save decisions", saveDecisions],
  [["?"], "these keys", () => document.getElementById("keys").showModal()],
];
const PRESSED = new Map(KEYS.filter((key) => key[2]).flatMap(([names, , act]) => names.map((name) => [name, act])));
PRESSED.set("ArrowDown", () => move(1)).set("ArrowUp", () => move(-1));
PRESSED.set("D", () => decideCurrent("drop", true)).set("E", () => decideCurrent("keep", true));
PRESSED.set("n", () => nextMark(1)).set("p", () => nextMark(-1));
PRESSED.set("PageDown", () => move(pageful())).set("PageUp", () => move(-pageful()));
PRESSED.set("Home", () => select(0)).set("End", () => select(shown.length - 1));
const ANYWHERE = ["o", "f", "s", "u", "?", "/"];

const pageful = () => Math.max(1, Math.floor(document.getElementById("list").clientHeight / ROW_HEIGHT) - 1);

function pressed(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || document.getElementById("keys").open) return;
  const writing = event.target.matches("input, select, textarea");
  if (writing && event.key === "Escape") {
    event.preventDefault(); // which would empty the search
    document.getElementById("list").focus();
  }
  const act = PRESSED.get(event.key);
  if (writing || !act) return;
  if (document.getElementById("view-findings").hidden && !ANYWHERE.includes(event.key)) return;
  if (event.key === "/") show("findings");
  event.preventDefault();
  act();
}

function show(view) {
  for (const name of ["overview", "findings"]) {
    document.getElementById(`view-${name}`).hidden = name !== view;
    document.getElementById(`tab-${name}`).setAttribute("aria-selected", name === view);
  }
  if (location.hash !== `#${view}`) history.replaceState(null, "", `#${view}`);
  if (view === "findings") {
    drawList();
    const sides = document.querySelectorAll("#detail .side");
    if (sides.length) align(document.getElementById("detail")); // it had no height while it was hidden
  }
}

function takeBack() {
  const finding = undo();
  if (finding === null) say(steps.length ? "" : "Nothing left to undo.");
  else goTo(finding);
}

function drawDecided() {
  const kept = [...decided.values()].filter((word) => word === "keep").length;
  document.getElementById("decided").textContent = decided.size ? `${number(decided.size - kept)} drop, ${number(kept)} keep` : "nothing decided";
  document.getElementById("undo").disabled = !steps.length;
  drawList();
  const above = document.querySelector("#detail .heading");
  if (above && current >= 0) above.replaceWith(heading(current));
}

function drawKeys() {
  document.getElementById("keys").append(
    el("h2", {}, "Keys"),
    el("dl", {}, KEYS.flatMap(([names, what]) => [
      el("dt", {}, names.flatMap((name, n) => (n ? [" ", el("kbd", {}, name)] : [el("kbd", {}, name)]))), el("dd", {}, what)])),
    el("p", { class: "about" }, "Decisions stay in this browser until you save them. The file is honoured by ",
      el("code", {}, "tulu-data decontaminate --decisions decisions.json"), " and by ", el("code", {}, "decisions:"), " in a recipe."),
    el("form", { method: "dialog" }, el("button", { class: "main" }, "Close")));
}

function wire() {
  const on = (id, event, act) => document.getElementById(id).addEventListener(event, act);
  on("tab-overview", "click", () => show("overview"));
  on("tab-findings", "click", () => show("findings"));
  on("undo", "click", takeBack);
  on("save", "click", saveDecisions);
  on("load", "click", () => document.getElementById("file").click());
  on("file", "change", async ({ target }) => {
    if (target.files.length) await loadDecisions(target.files[0]);
    target.value = "";
  });
  on("help", "click", () => document.getElementById("keys").showModal());
  on("list", "scroll", () => requestAnimationFrame(drawList));
  addEventListener("resize", () => requestAnimationFrame(drawList));
  addEventListener("keydown", pressed);
  watchers.push(drawDecided);
}

async function begin() {
  document.title = `${head.title}: decontamination report`;
  document.getElementById("title").textContent = head.title;
  document.getElementById("tab-count").textContent = number(head.listed);
  overview((chosen) => {
    filterBy(chosen);
    show("findings");
  });
  show(location.hash === "#findings" ? "findings" : "overview");
  await readColumns();
  await restoreDecisions();
  drawFilters();
  drawKeys();
  wire();
  drawDecided();
  await list();
}

begin().catch((error) => {
  document.getElementById("said").textContent = `This page cannot be shown here (${error}); matches.parquet has the same findings.`;
  document.getElementById("said").hidden = false;
});
