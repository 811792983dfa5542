// The certificate's main table: of what was planted, how much this run found.

function certificate(told) {
  const [plants, decoys] = [false, true].map((decoy) => told.kinds.filter((kind) => kind.decoy === decoy));
  const heads = (...names) => el("thead", {}, el("tr", {}, names.map((name) => header(name))));
  return [section("Positive control", "",
    el("p", { class: told.status === "pass" ? "status" : "status bad" }, told.status),
    el("p", { class: "about" }, told.statement),
    el("table", { class: "plain numbers" },
      heads("planted", "eligible items", "not checkable", "planted", "found", "recall"),
      el("tbody", {}, plants.map((kind) => el("tr", { class: kind.promised && kind.found < kind.planted ? "bad" : "" },
        kindHead(kind, kind.promised ? "" : "not promised by the rule"),
        el("td", {}, number(kind.eligible)),
        el("td", {}, number(kind.not_checkable)),
        el("td", {}, number(kind.planted)),
        el("td", {}, number(kind.found)),
        el("td", {}, kind.planted ? floored(share(kind.found, kind.planted)) : "not measured"))))),
    el("table", { class: "plain numbers decoys" },
      heads("decoy", "eligible items", "planted", "flagged"),
      el("tbody", {}, decoys.map((kind) => el("tr", { class: kind.found ? "bad" : "" },
        kindHead(kind, ""), el("td", {}, number(kind.eligible)), el("td", {}, number(kind.planted)), el("td", {}, number(kind.found)))))))];
}

function kindHead(kind, remark) {
  return el("th", { scope: "row" }, words(kind.kind), el("small", {}, [kind.about, remark].filter(Boolean).join("; ")));
}

// Never rounded up: 98.96 % is not 99 %.
const floored = (value) => `${Math.floor(value * 10) / 10} %`;
