// Numbers as hsm writes them.

const UNITS = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

// The same text as hsm's own lines: one decimal, powers of 1024.
function size(bytes) {
  if (bytes < 1024) return bytes + " B";
  let unit = 0;
  let scaled = bytes / 1024;
  while (scaled >= 1023.95 && unit + 1 < UNITS.length) {
    scaled /= 1024;
    unit += 1;
  }
  return scaled.toFixed(1).replace(/\.0$/, "") + " " + UNITS[unit];
}

// For a cell: 12K, 3.4G.
function shortSize(bytes) {
  const text = size(bytes);
  const [number, unit] = text.split(" ");
  const short = number.length > 4 ? String(Math.round(Number(number))) : number;
  return short + (unit === "B" ? "" : unit[0]);
}

const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
const count = (number) => whole.format(number);

function shortCount(number) {
  if (number < 10000) return String(number);
  if (number < 1e6) return Math.round(number / 1e3) + "k";
  return (number / 1e6).toFixed(number < 1e7 ? 1 : 0) + "M";
}

const dollars = new Intl.NumberFormat("en-US", { style: "currency", currency: "USD" });
const cents = new Intl.NumberFormat("en-US", { style: "currency", currency: "USD", maximumFractionDigits: 4 });
function money(amount) {
  const small = amount !== 0 && Math.abs(amount) < 0.1;
  return (small ? cents : dollars).format(amount === 0 ? 0 : amount);
}

const percent = (share) => (share >= 10 ? share.toFixed(0) : share.toFixed(1).replace(/\.0$/, "")) + " %";
const days = (number) => count(number) + (number === 1 ? " day" : " days");
const files = (number) => count(number) + (number === 1 ? " file" : " files");
