// The policy of the choice. What surrounds the rule was written by hsm itself.

function markText() {
  if (!choice.mark) return "";
  const lines = ["[watermark]", `high = "${choice.high}%"`, `low = "${choice.low}%"`];
  if (D.template.order !== null) lines.push(`order = ${JSON.stringify(D.template.order)}`);
  return lines.join("\n") + "\n";
}

function ruleText() {
  const lines = ["[[rule]]", `name = "${D.template.rule_name}"`];
  const classes = [...choice.classes].sort((one, other) => one - other).map((index) => D.classes[index].toml);
  if (classes.length > 0) lines.push(`class = [${classes.join(", ")}]`);
  if (choice.size > 0) lines.push(`min_size = "${D.sizes[choice.size].word}"`);
  if (choice.idle > 0) lines.push(`idle = "${D.idle_days[choice.idle]}d"`);
  lines.push("nlink_max = 1");
  lines.push('action = "tier"');
  if (choice.storageClass) lines.push(`storage_class = "${choice.storageClass}"`);
  return lines.join("\n") + "\n";
}

// Parts with whether they are of the choice.
function policyParts() {
  return [
    [D.template.top, false],
    [markText(), true],
    [choice.mark ? "\n" : "", false],
    [D.template.before, false],
    [ruleText(), true],
    [D.template.after === "" ? "" : "\n" + D.template.after.trimEnd() + "\n", false],
  ].filter(([text]) => text !== "");
}

const policyText = () => policyParts().map(([text]) => text).join("");
