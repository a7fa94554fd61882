// From the controls to the choice, and from the choice to everything that follows it.

function buildControls() {
  byId("idle").max = IDLE_STOPS - 1;
  byId("size").max = SIZE_STOPS - 1;
  const grids = D.by.class;
  const boxes = D.classes.map((one, index) => {
    const box = make("input", { type: "checkbox", "data-class": String(index) });
    box.addEventListener("change", () => {
      if (box.checked) choice.classes.add(index);
      else choice.classes.delete(index);
      update();
    });
    return make("label", { class: "check" }, box, make("span", null, one.name), make("small", null, size(grids[index].sum.size_bytes)));
  });
  fill("classes", ...boxes);
  say("classes-hint", boxes.length === 0 ? "The policy has none; [class.NAME] defines one." : "None chosen is every file.");
  const options = D.prices.map((price) => make("option", { value: price.class }, price.class));
  fill("class", make("option", { value: "" }, `as configured (${defaultClass})`), ...options);
  // What was measured, where there is something to measure.
  const month = D.recalls.days.filter((day) => Date.parse(D.recalls.until) - Date.parse(day.day) < 30 * 864e5);
  const recalled = month.reduce((sum, day) => sum + day.bytes, 0);
  if (D.stubs.size_bytes > 0) choice.share = Math.min(100, Number(((100 * recalled) / (D.stubs.size_bytes + recalled)).toPrecision(2)));
  byId("share").value = choice.share;
  byId("packed").value = choice.packed;
}

function listen() {
  const on = (id, set) => byId(id).addEventListener("input", (event) => {
    set(event.target);
    update();
  });
  const number = (element, least, most) => Math.min(most, Math.max(least, Number(element.value) || 0));
  on("idle", (slider) => { choice.idle = Number(slider.value); });
  on("size", (slider) => { choice.size = Number(slider.value); });
  on("mark", (box) => { choice.mark = box.checked; });
  on("high", (slider) => { choice.high = Number(slider.value); choice.low = Math.min(choice.low, choice.high - 1); });
  on("low", (slider) => { choice.low = Number(slider.value); choice.high = Math.max(choice.high, choice.low + 1); });
  on("class", (select) => { choice.storageClass = select.value; });
  on("share", (input) => { choice.share = number(input, 0, 100); });
  on("packed", (input) => { choice.packed = number(input, 0, 100); });
  on("view", (select) => { choice.view = select.value; });
  document.getElementsByName("count").forEach((radio) => radio.addEventListener("change", () => {
    choice.count = radio.value;
    update();
  }));
  byId("controls").addEventListener("submit", (event) => event.preventDefault());
  byId("copy").addEventListener("click", copy);
}

async function copy() {
  try {
    await navigator.clipboard.writeText(policyText());
    say("copied", "Copied");
  } catch {
    // Without a clipboard it is selected, for the keyboard to copy.
    getSelection().selectAllChildren(byId("toml"));
    say("copied", "Selected: copy it now");
  }
  setTimeout(() => say("copied", ""), 4000);
}

function drawControls() {
  const idle = choice.idle === 0 ? "any age" : days(D.idle_days[choice.idle]);
  const least = choice.size === 0 ? "any size" : size(D.sizes[choice.size].bytes);
  for (const [id, value, text] of [["idle", choice.idle, idle], ["size", choice.size, least], ["high", choice.high, choice.high + " %"], ["low", choice.low, choice.low + " %"]]) {
    byId(id).value = value;
    byId(id).setAttribute("aria-valuetext", text);
    say(id + "-value", text);
  }
  byId("mark").checked = choice.mark;
  byId("mark-fields").hidden = !choice.mark;
  byId("view").value = choice.view;
  document.querySelectorAll(".bar").forEach((bar) => bar.setAttribute("aria-pressed", String(bar.dataset.view === choice.view)));
}

function drawAnswer(sum) {
  say("go-files", count(sum.files));
  say("go-files-word", sum.files === 1 ? "file" : "files");
  say("go-bytes", size(sum.local));
  byId("go-bytes").title = count(sum.local) + " bytes";
  const local = D.all.sum.local_bytes;
  const share = local > 0 ? (100 * sum.local) / local : 0;
  byId("go-meter").firstElementChild.style.setProperty("width", share + "%");
  const { present } = D;
  const upload = sum.uploadFiles > 0 ? `${files(sum.uploadFiles)} of them, ${size(sum.uploadBytes)}, are sent first. ` : "";
  say("go-beside", `${percent(share)} of what is on local disk. ${upload}By the present policy ${files(present.stub_files)} would go now and free ${size(present.stub_bytes)}.`);
  drawMark();
}

function drawMark() {
  const lines = [];
  const systems = choice.mark ? [...new Set(D.roots.filter((root) => root.is_there).map((root) => root.file_system))] : [];
  for (const system of systems) {
    const roots = D.roots.filter((root) => root.file_system === system);
    const names = roots.map((root) => root.name).join(", ");
    const used = `${names}: ${percent(roots[0].used_pct || 0)} used`;
    const found = underPressure(system);
    if (found === null) lines.push(`${used}. Below ${choice.high} % nothing goes for space.`);
    else lines.push(`${used}. ${pressed(found)}`);
  }
  fill("mark-result", ...lines.map((line) => make("p", null, line)));
}

function pressed({ wanted, taken, from, axis, isRanked, enough }) {
  const goal = `To reach ${choice.low} % the next run frees ${size(wanted)}, whatever the idle age`;
  if (!enough) return `${goal}; but only ${size(taken.local)} in ${files(taken.files)} could go.`;
  if (!isRanked) return `${goal}, in the order of the weight.`;
  const where = axis === 3 ? `idle for at least ${days(D.idle_days[from])}` : `of at least ${size(D.sizes[from].bytes)}`;
  return `${goal}, ${axis === 3 ? "coldest" : "largest"} first: all of it among the ${files(taken.files)} ${where}.`;
}

function drawCost(sum) {
  const { rows, once, sent, leastDays, unknown } = costs(sum);
  const total = rows.reduce((all, row) => ["together", all[1] + row[1], all[2] + row[2]], ["together", 0, 0]);
  const line = (row, kind) => {
    const change = row[2] - row[1];
    const word = Math.abs(change) < 0.00005 ? "·" : (change > 0 ? "+" : "−") + money(Math.abs(change));
    const side = word === "·" ? "" : change > 0 ? "more" : "less";
    const isUnknown = row[0] === LOCAL && prices.get(LOCAL).storage === 0;
    if (isUnknown) return make("tr", null, make("th", { scope: "row" }, row[0]), ...["–", "–", ""].map((text) => make("td", null, text)));
    return make("tr", { class: kind }, make("th", { scope: "row" }, row[0]), make("td", null, money(row[1])), make("td", null, money(row[2])), make("td", { class: side }, word));
  };
  fill("cost", ...rows.map((row) => line(row, "")), line(total, "total"));
  const hints = [`To send ${size(sent)} once costs ${money(once)} in PUTs. No chunk counts as known already, so it is at most that.`];
  if (leastDays > 0) hints.push(`${classOf(choice.storageClass)} is paid for at least ${days(leastDays)}, also for what goes earlier.`);
  if (prices.get(LOCAL).storage === 0) hints.push("What local disk costs you is not known here: see the last line of the prices.");
  if (unknown.length > 0) hints.push(`There is no price of ${unknown.join(", ")}: it is left out.`);
  say("cost-hint", hints.join(" "));
}

function drawPolicy() {
  fill("toml", ...policyParts().map(([text, isNew]) => (isNew ? make("span", { class: "new" }, text) : text)));
}

function update() {
  const sum = chosen();
  drawControls();
  drawAnswer(sum);
  drawCost(sum);
  drawHeat();
  drawPolicy();
}

buildFigures();
buildNotes();
buildControls();
buildLists();
buildRecalls();
buildPrices();
buildHeat();
listen();
update();
// The rule is what a reader looks for in a long policy.
const rule = byId("toml").querySelector(".new:last-of-type");
const box = byId("toml").parentElement;
box.scrollTop = rule.offsetTop - box.offsetTop - box.clientHeight / 2;
