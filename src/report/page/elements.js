// Elements, made of text alone: no name from the tree is ever read as markup.

const byId = (id) => document.getElementById(id);

function make(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name === "class") element.className = value;
    else if (name in element && typeof value !== "string") element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

function fill(id, ...children) {
  byId(id).replaceChildren(...children);
}

function say(id, text) {
  const element = byId(id);
  if (element.textContent !== text) element.textContent = text;
}
