// What does not move: figures, lists, recalls, prices.

function buildFigures() {
  const all = D.all.sum;
  const stored = D.store.stored.reduce((total, sum) => total + sum.bytes, 0);
  const packs = D.store.stored.reduce((total, sum) => total + sum.packs, 0);
  const figures = [
    ["Files", count(all.files), size(all.size_bytes) + " in all"],
    ["On local disk", size(all.local_bytes), percent(all.size_bytes ? (100 * all.local_bytes) / all.size_bytes : 0) + " of their size"],
    ["Stubs", count(D.stubs.files), size(D.stubs.size_bytes) + " only in the store"],
    ["In the store", size(stored), count(packs) + (packs === 1 ? " pack" : " packs")],
  ];
  fill("figures", ...figures.map(([name, value, beside]) => make("div", null, make("dt", null, name), make("dd", null, value, make("small", null, beside)))));
  const names = D.roots.filter((root) => root.is_there).map((root) => root.name).join(", ");
  say("made", `${names} · as of ${D.made}`);
  say("foot", `Made by hsm ${D.version} from the state DB and the policy. It names roots, classes, owners, extensions and programs, and no files.`);
}

function buildNotes() {
  const notes = [];
  for (const root of D.roots) {
    if (!root.is_there) notes.push(`${root.name} is missing, or is another file system now: nothing of it is counted.`);
    else if (!root.scanned) notes.push(`${root.name} was never scanned to the end: what is here is a part of it.`);
  }
  if (D.candidates.unsorted[0] > 0) {
    notes.push(`${files(D.candidates.unsorted[0])} are in rare combinations of classes and are left out of the workbench.`);
  }
  fill("notes", ...notes.map((text) => make("p", { class: "note" }, text)));
}

const KINDS = [["state", "State"], ["class", "Class"], ["owner", "Owner"], ["extension", "Extension"]];

function buildLists() {
  const panels = KINDS.filter(([kind]) => D.by[kind].length > 0).map(([kind, title]) => {
    const most = Math.max(1, ...D.by[kind].map((grid) => grid.sum.size_bytes));
    const ranked = D.by[kind].map((grid, index) => ({ grid, index }));
    ranked.sort((one, other) => (one.grid.is_rest ? 1 : 0) - (other.grid.is_rest ? 1 : 0) || other.grid.sum.size_bytes - one.grid.sum.size_bytes);
    const items = ranked.map(({ grid, index }) => {
      const fraction = make("span", null);
      fraction.style.setProperty("width", (100 * grid.sum.size_bytes) / most + "%");
      const name = grid.is_rough ? grid.name + " (about)" : grid.name;
      const bar = make("button", { type: "button", class: "bar", "aria-pressed": "false", "data-view": `${kind}:${index}` },
        make("b", null, name), make("i", null, `${size(grid.sum.size_bytes)} · ${files(grid.sum.files)}`), make("em", { "aria-hidden": "true" }, fraction));
      bar.addEventListener("click", () => {
        const view = `${kind}:${index}`;
        choice.view = choice.view === view ? "candidates" : view;
        update();
      });
      return make("li", null, bar);
    });
    return make("div", { class: "panel" }, make("h3", null, title), make("ul", { class: "bars" }, ...items));
  });
  fill("lists", ...panels);
  const views = KINDS.filter(([kind]) => D.by[kind].length > 0).map(([kind, title]) => make("optgroup", { label: title },
    ...D.by[kind].map((grid, index) => make("option", { value: `${kind}:${index}` }, `${title.toLowerCase()} ${grid.name}`))));
  fill("view", make("option", { value: "candidates" }, "what could go"), make("option", { value: "all:0" }, "all files"), ...views);
}

function buildRecalls() {
  const { recalls } = D;
  if (recalls.days.length === 0) {
    fill("recalls", make("p", { class: "quiet" }, `No program has had a stub recalled in the last ${days(recalls.span_days)}.`));
    return;
  }
  const found = new Map(recalls.days.map((day) => [day.day, day]));
  const last = Date.parse(recalls.until + "T00:00:00Z");
  const most = Math.max(1, ...recalls.days.map((day) => day.bytes));
  const columns = [];
  for (let back = recalls.span_days - 1; back >= 0; back -= 1) {
    const name = new Date(last - back * 864e5).toISOString().slice(0, 10);
    const day = found.get(name) || { bytes: 0, files: 0, denied: 0 };
    const column = make("span", { title: `${name}: ${files(day.files)}, ${size(day.bytes)}` + (day.denied ? `, ${count(day.denied)} refused` : "") });
    const height = make("b", null);
    height.style.setProperty("height", (day.bytes > 0 ? Math.max(1.5, (96 * day.bytes) / most) : 0) + "%");
    column.append(height);
    if (day.denied > 0) column.append(make("u", null));
    columns.push(column);
  }
  const total = recalls.days.reduce((sum, day) => [sum[0] + day.files, sum[1] + day.bytes, sum[2] + day.denied], [0, 0, 0]);
  const label = `${files(total[0])}, ${size(total[1])} in ${days(recalls.span_days)}, at most ${size(most)} on one day` + (total[2] ? `; ${count(total[2])} opens were refused` : "");
  const rows = recalls.top.map((one) => make("tr", null, make("td", null, one.who), make("td", null, one.user), make("td", null, count(one.files)), make("td", null, size(one.bytes)), make("td", null, count(one.denied))));
  fill("recalls",
    make("p", { class: "quiet" }, label + "."),
    make("div", { class: "days", role: "img", "aria-label": "Recalled bytes per day: " + label }, ...columns),
    make("p", { class: "axis", "aria-hidden": "true" }, make("span", null, new Date(last - (recalls.span_days - 1) * 864e5).toISOString().slice(0, 10)), make("span", null, recalls.until)),
    make("div", { class: "scroll", role: "region", "aria-label": "Programs that had most recalled", tabindex: "0" },
      make("table", { class: "plain-table" },
        make("thead", null, make("tr", null, ...["Program", "User", "Files", "Bytes", "Refused"].map((name) => make("th", { scope: "col" }, name)))),
        make("tbody", null, ...rows))));
}

function buildPrices() {
  say("price-source", D.prices_source + ".");
  const rows = [...prices.values()].map((price) => {
    const cells = [["storage", "a GB a month"], ["put", "1000 PUTs"], ["get", "1000 GETs"], ["retrieval", "a GB retrieved"], ["least_days", "least days"]].map(([key, label]) => {
      if (price[key] === undefined) return make("td", null);
      const input = make("input", { type: "number", min: "0", step: "any", inputmode: "decimal", "aria-label": `${price.class}, ${label}`, "data-price": `${price.class} ${key}` });
      input.value = price[key];
      input.addEventListener("input", () => {
        price[key] = Math.max(0, Number(input.value) || 0);
        update();
      });
      return make("td", null, input);
    });
    return make("tr", null, make("th", { scope: "row" }, price.class), ...cells);
  });
  fill("prices", ...rows);
}
