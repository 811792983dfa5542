// Marks on both sides: which of them say the same, and which words differ where they almost do.

// Scripts without spaces between words are compared letter by letter.
const TOKEN = /[\p{scx=Han}\p{scx=Hira}\p{scx=Kana}\p{scx=Thai}\p{scx=Laoo}\p{scx=Khmr}\p{scx=Mymr}]|[\p{L}\p{M}\p{N}_]+/gu;
const MOST_PAIRS = 40_000; // of marks compared with each other
const MOST_TOKENS = 500; // of a mark whose words are compared one by one

const tokensOf = (text) =>
  Array.from(text.matchAll(TOKEN), (found) => ({
    word: found[0].normalize("NFKC").toLowerCase(),
    start: found.index,
    end: found.index + found[0].length,
  }));

// The parts of a text that spans mark, `[{start, end, text}]` in the text's order; what overlaps is one mark.
function marksIn(own, spans) {
  const found = [];
  for (const { start, end } of [...spans].sort((a, b) => a.start - b.start)) {
    const last = found[found.length - 1];
    if (last && start < last.end) last.end = Math.max(last.end, end);
    else if (end > start) found.push({ start, end });
  }
  for (const mark of found) {
    mark.text = own.pieces
      .filter((p) => p.start < mark.end && p.end > mark.start)
      .map((p) => between(p, Math.max(p.start, mark.start), Math.min(p.end, mark.end)))
      .join("");
    mark.tokens = tokensOf(mark.text);
    mark.words = ` ${mark.tokens.map((token) => token.word).join(" ")} `;
    mark.link = 0;
    mark.odd = [];
  }
  return found.filter((mark) => mark.text); // of a long text the page may not hold every mark
}

// Numbers the marks that belong together, from 1 in the order of the item's text: equal ones, else those of which
// one holds the other, else the most alike.
function link(left, right) {
  const parent = new Map([...left, ...right].map((mark) => [mark, mark]));
  const root = (mark) => {
    while (parent.get(mark) !== mark) mark = parent.get(mark);
    return mark;
  };
  const joined = new Set();
  const join = (a, b) => {
    parent.set(root(a), root(b));
    joined.add(a).add(b);
  };
  if (left.length * right.length <= MOST_PAIRS) {
    for (const same of [(a, b) => a === b, (a, b) => a.includes(b) || b.includes(a)]) {
      const pairs = left.flatMap((a) => right.map((b) => [a, b]));
      const free = pairs.filter(([a, b]) => !joined.has(a) || !joined.has(b));
      for (const [a, b] of free) if (same(a.words, b.words)) join(a, b);
    }
    for (const a of left.filter((mark) => !joined.has(mark))) {
      const best = right.map((b) => [alike(a, b), b]).sort((x, y) => y[0] - x[0])[0];
      if (best && (best[0] >= 0.5 || (left.length === 1 && right.length === 1))) join(a, best[1]);
    }
  }
  const numbers = new Map();
  for (const mark of [...right, ...left]) {
    if (!joined.has(mark)) continue;
    if (!numbers.has(root(mark))) numbers.set(root(mark), numbers.size + 1);
    mark.link = numbers.get(root(mark));
  }
  for (const number of numbers.values()) {
    const [ours, theirs] = [left, right].map((side) => side.filter((mark) => mark.link === number));
    if (ours.length === 1 && theirs.length === 1) differ(ours[0], theirs[0]);
  }
}

// The share of words that two marks have in common.
function alike(a, b) {
  const words = new Set(a.tokens.map((token) => token.word));
  const others = new Set(b.tokens.map((token) => token.word));
  const common = [...words].filter((word) => others.has(word)).length;
  return common / Math.max(1, words.size + others.size - common);
}

// Sets `odd`: the words of two marks that are no part of their longest common sequence.
function differ(a, b) {
  const [x, y] = [a.tokens, b.tokens];
  if (a.words === b.words || x.length > MOST_TOKENS || y.length > MOST_TOKENS) return;
  const width = y.length + 1;
  const longest = new Uint16Array((x.length + 1) * width);
  for (let i = x.length - 1; i >= 0; i--) {
    for (let j = y.length - 1; j >= 0; j--) {
      longest[i * width + j] = x[i].word === y[j].word
        ? longest[(i + 1) * width + j + 1] + 1
        : Math.max(longest[(i + 1) * width + j], longest[i * width + j + 1]);
    }
  }
  let [i, j] = [0, 0];
  while (i < x.length || j < y.length) {
    if (i < x.length && j < y.length && x[i].word === y[j].word) {
      i++;
      j++;
    } else if (j === y.length || (i < x.length && longest[(i + 1) * width + j] >= longest[i * width + j + 1])) {
      a.odd.push(x[i++]);
    } else {
      b.odd.push(y[j++]);
    }
  }
}
