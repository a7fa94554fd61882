// What is chosen, and what of the cells it takes. A cell counts exactly the files
// that a policy with the sliders' values would match: sliders stop at borders only.

const D = JSON.parse(byId("data").textContent);
const IDLE_STOPS = D.idle_days.length;
const SIZE_STOPS = D.sizes.length;

const choice = {
  idle: Math.max(D.idle_days.indexOf(90), 0),
  size: Math.max(D.sizes.findIndex((stop) => stop.word === "1MiB"), 0),
  classes: new Set(),
  mark: D.watermark !== null,
  high: D.watermark ? D.watermark.high : 85,
  low: D.watermark ? D.watermark.low : 75,
  storageClass: "",
  share: 2,
  packed: 100,
  view: "candidates",
  count: "bytes",
};

const NOTHING = () => ({ files: 0, size: 0, local: 0, uploadFiles: 0, uploadBytes: 0 });

function add(sum, cell) {
  sum.files += cell[4];
  sum.size += cell[5];
  sum.local += cell[6];
  sum.uploadFiles += cell[7];
  sum.uploadBytes += cell[8];
}

// Whether a combination of classes has one that is chosen; without a choice all do.
function inClasses(set) {
  return choice.classes.size === 0 || D.candidates.sets[set].some((index) => choice.classes.has(index));
}

// Cells of candidates in the chosen classes: [root, set, size, idle, five sums].
function candidates() {
  return D.candidates.cells.filter((cell) => inClasses(cell[1]));
}

function chosen() {
  const sum = NOTHING();
  for (const cell of candidates()) {
    if (cell[2] >= choice.size && cell[3] >= choice.idle) add(sum, cell);
  }
  return sum;
}

// Above the high watermark the idle age is waived, and files go in their order
// until the low one is reached: whole buckets here, so what is told is a bound.
function underPressure(file_system) {
  const members = D.roots.flatMap((root, index) => (root.file_system === file_system ? [index] : []));
  const { used_bytes: used, usable_bytes: usable } = D.roots[members[0]];
  if (!usable || (used / usable) * 100 < choice.high) return null;
  const wanted = used - (usable * choice.low) / 100;
  const axis = D.template.order === "largest" ? 2 : 3;
  const cells = candidates().filter((cell) => members.includes(cell[0]) && cell[2] >= choice.size);
  const taken = NOTHING();
  const stops = axis === 2 ? SIZE_STOPS : IDLE_STOPS;
  let from = stops;
  while (from > 0 && taken.local < wanted) {
    from -= 1;
    cells.filter((cell) => cell[axis] === from).forEach((cell) => add(taken, cell));
  }
  const isRanked = D.template.order === null || ["coldest", "largest"].includes(D.template.order);
  return { wanted, taken, from, axis, isRanked, enough: taken.local >= wanted };
}

// The cells of the heat map: from a word of the view to [size, idle, files, bytes].
function shown() {
  if (choice.view === "candidates") {
    return candidates().map((cell) => [cell[2], cell[3], cell[4], cell[6]]);
  }
  const [kind, index] = choice.view.split(":");
  const grid = kind === "all" ? D.all : D.by[kind][Number(index)];
  return grid.cells;
}
