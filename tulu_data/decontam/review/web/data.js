// What lies in the page: one block of plain JSON, and numbered blocks of deflated JSON in base64, of which only
// those that are looked at are unpacked.

const head = JSON.parse(document.getElementById("head").textContent);

const SORTS = ["findings", "texts", "items"];
const FIRST_BLOCK = {};
let blocks = 0;
for (const sort of SORTS) {
  FIRST_BLOCK[sort] = blocks;
  blocks += head.blocks[sort].length;
}
const COLUMNS_BLOCK = blocks;
const ROW_IDS_BLOCK = blocks + 1;

const BLOCKS_KEPT = 64; // unpacked, some 10 MB; a screen of the list needs about 30

function bytesOf(base64) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(base64);
  const letters = atob(base64);
  const bytes = new Uint8Array(letters.length);
  for (let i = 0; i < letters.length; i++) bytes[i] = letters.charCodeAt(i);
  return bytes;
}

async function unpack(number) {
  const packed = document.getElementById(`b${number}`).textContent;
  const stream = new Blob([bytesOf(packed)]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  return new Response(stream).json();
}

const unpacked = new Map(); // of promises, the least used first

function block(number) {
  const known = unpacked.get(number) ?? unpack(number);
  unpacked.delete(number);
  unpacked.set(number, known);
  if (unpacked.size > BLOCKS_KEPT) unpacked.delete(unpacked.keys().next().value);
  return known;
}

// The block of a finding, text or item, and which of the block's it is.
async function place(sort, number) {
  const starts = head.blocks[sort];
  let low = 0;
  let high = starts.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (starts[middle] <= number) low = middle;
    else high = middle - 1;
  }
  return [await block(FIRST_BLOCK[sort] + low), number - starts[low]];
}

// -- the columns ----------------------------------------------------------------------------------------------

const columns = {};

function summed(steps) {
  const values = Int32Array.from(steps);
  for (let i = 1; i < values.length; i++) values[i] += values[i - 1];
  return values;
}

async function readColumns() {
  const read = await unpack(COLUMNS_BLOCK);
  columns.row = summed(read.row);
  columns.text = summed(read.text); // by row: its first text, or -1
  columns.eval = Uint16Array.from(read.eval); // by item
  columns.itemId = read.id; // by item
  columns.dataset = Uint16Array.from(read.dataset);
  columns.item = Int32Array.from(read.item);
  columns.kind = Uint8Array.from(read.kind);
  columns.action = Uint8Array.from(read.action);
  columns.score = Float32Array.from(read.score);
}

let idsOfRows = null;

function rowIds() {
  idsOfRows ??= unpack(ROW_IDS_BLOCK);
  return idsOfRows;
}

// -- a finding's parts ----------------------------------------------------------------------------------------

function slice(list, number, names) {
  list.ends ??= summed(list.n);
  const found = [];
  for (let i = number ? list.ends[number - 1] : 0; i < list.ends[number]; i++) {
    found.push(Object.fromEntries(names.map((name) => [name, list[name][i]])));
  }
  return found;
}

async function evidence(finding) {
  const [read, number] = await place("findings", finding);
  return {
    trainId: read.train_id[number],
    train: slice(read.train_spans, number, ["column", "message", "start", "end"]),
    item: slice(read.item_spans, number, ["field", "start", "end"]),
    scores: slice(read.field_scores, number, ["field", "score"]),
  };
}

// A text as the pieces of it that the page holds: `[{start, end, text}]`, in characters (not UTF-16 units).
function pieces(text, cuts, length) {
  if (!cuts) return { length: [...text].length, pieces: [piece(0, text)] };
  const letters = [...text];
  let from = 0;
  const found = cuts.map(([start, end]) => {
    const own = letters.slice(from, from + end - start).join("");
    from += end - start;
    return piece(start, own);
  });
  return { length, pieces: found };
}

const PAIRS = /[\ud800-\udfff]/;

function piece(start, text) {
  if (!PAIRS.test(text)) return { start, end: start + text.length, text, units: null };
  const units = [0]; // where each character begins
  for (const letter of text) units.push(units[units.length - 1] + letter.length);
  return { start, end: start + units.length - 1, text, units };
}

function between(own, start, end) {
  const [from, to] = [start - own.start, end - own.start];
  return own.units ? own.text.slice(own.units[from], own.units[to]) : own.text.slice(from, to);
}

async function rowTexts(row) {
  const first = columns.text[row];
  if (first < 0) return null;
  const [read, number] = await place("texts", first);
  const found = [];
  for (let i = number; read.owner[i] === row; i++) {
    const [column, message, role] = [read.column[i], read.message[i], read.role[i]];
    found.push({ column, message, role, ...pieces(read.text[i], read.cuts[i], read.length[i]) });
  }
  return { number: read.row[number], texts: found };
}

async function itemTexts(item) {
  const [read, number] = await place("items", item);
  const own = read[number];
  return own.field.map((field, i) => ({ field, ...pieces(own.text[i], own.cuts[i], own.length[i]) }));
}
