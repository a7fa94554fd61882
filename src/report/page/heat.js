// The heat map: large above, cold at the right, so that what goes first is in the corner.

const heatCells = [];

function between(stops, index, unit) {
  return index + 1 < stops.length ? `${stops[index]} to ${stops[index + 1]}${unit}` : `${stops[index]}${unit} and more`;
}

function buildHeat() {
  const idle = D.idle_days.map((stop) => (stop === 0 ? "0" : stop + "d"));
  fill("heat-head", make("tr", null, make("th", { scope: "col" }, "size \\ idle"), ...idle.map((word) => make("th", { scope: "col" }, word))));
  const rows = [];
  for (let at = SIZE_STOPS - 1; at >= 0; at -= 1) {
    const word = D.sizes[at].word.replace("iB", "");
    const cells = idle.map((_, column) => {
      const cell = make("td", null);
      cell.addEventListener("click", () => {
        choice.size = at;
        choice.idle = column;
        update();
      });
      heatCells.push({ cell, size: at, idle: column });
      return cell;
    });
    rows.push(make("tr", null, make("th", { scope: "row" }, word), ...cells));
  }
  fill("heat", ...rows);
}

function describe(place) {
  const sizes = between(D.sizes.map((stop) => stop.word), place.size, "");
  return `${sizes}, idle ${between(D.idle_days, place.idle, " days")}`;
}

function drawHeat() {
  const sums = new Map();
  for (const [at, idle, number, bytes] of shown()) {
    const sum = sums.get(at * 100 + idle) || [0, 0];
    sums.set(at * 100 + idle, [sum[0] + number, sum[1] + bytes]);
  }
  const of = choice.count === "files" ? 0 : 1;
  const most = Math.max(1, ...[...sums.values()].map((sum) => sum[of]));
  for (const place of heatCells) {
    const sum = sums.get(place.size * 100 + place.idle) || [0, 0];
    const value = sum[of];
    // Four decades of shade: what is a ten-thousandth of the largest is still seen.
    const shade = value === 0 ? 0 : Math.max(6, 100 * (1 + Math.log10(value / most) / 4));
    const inside = place.size >= choice.size && place.idle >= choice.idle;
    const { cell } = place;
    const seen = inside ? shade : shade * 0.3;
    cell.style.setProperty("--t", seen.toFixed(0));
    cell.textContent = value === 0 ? "" : of === 0 ? shortCount(value) : shortSize(value);
    cell.title = `${describe(place)}: ${files(sum[0])}, ${size(sum[1])}`;
    cell.className = [
      inside ? "in" : "out",
      inside && place.idle === choice.idle ? "edge-left" : "",
      inside && place.size === choice.size ? "edge-down" : "",
    ].join(" ").trim();
  }
  const measure = choice.count === "files" ? "Number of files" : choice.view === "candidates" ? "Bytes that stubs would free" : "Sizes in bytes";
  const view = byId("view");
  say("heat-caption", `${measure} by size and days idle: ${view.options[view.selectedIndex].textContent}. The stronger the colour the more, in steps of ten.`);
}
