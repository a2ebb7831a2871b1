"use strict";
// Just enough of a document for the page's script: tables with cells, checkboxes, clicks and changes.
const fs = require("fs");
const [, , scriptFile, tablesFile, stepsFile] = process.argv;
const listeners = () => {
  const kept = {};
  return {
    addEventListener: (kind, act) => { kept[kind] = act; },
    fire: (kind) => kept[kind](),
  };
};
const element = (given) => {
  const attributes = { "aria-sort": given.sort };
  let text = given.text;
  let notes = [];
  return {
    dataset: given.dataset,
    get textContent() { return text + notes.map((note) => note.textContent).join(""); },
    set textContent(value) { [text, notes] = [value, []]; },
    append: (note) => { notes.push(note); },
    getAttribute: (name) => attributes[name],
    setAttribute: (name, value) => { attributes[name] = value; },
    button: listeners(),
    querySelector() { return this.button; },
  };
};
const table = (given) => {
  const body = { rows: given.rows.map((row) => ({ cells: row.map(element) })) };
  body.append = (...rows) => { body.rows = rows; };
  return { id: given.id, tHead: { rows: [{ cells: given.head.map(element) }] }, tBodies: [body] };
};
const content = JSON.parse(fs.readFileSync(tablesFile, "utf-8"));
const tables = content.tables.map(table);
const pick = ([id, boxes]) => {
  const found = {
    input: boxes.map((box) => ({ value: box.value, dataset: { name: box.name }, checked: true })),
    button: ["all", "none"].map((value) => ({ value, ...listeners() })),
  };
  const count = { textContent: "" };
  return { id, count, querySelectorAll: (kind) => found[kind], querySelector: () => count, ...listeners() };
};
const picks = Object.entries(content.picks).map(pick);
const elements = { picked: { textContent: "" } };
tables.forEach((one) => { if (one.id) elements[one.id] = one; });
picks.forEach((one) => { elements[one.id] = one; });
global.document = {
  querySelectorAll: () => tables,
  getElementById: (id) => elements[id] || null,
  createElement: () => ({}),
};
eval(fs.readFileSync(scriptFile, "utf-8"));
const shown = [];
for (const [what, where, number] of JSON.parse(fs.readFileSync(stepsFile, "utf-8"))) {
  if (what === "click") tables[where].tHead.rows[0].cells[number].button.fire("click");
  if (what === "box") {
    const box = elements[where].querySelectorAll("input")[number];
    box.checked = !box.checked;
    elements[where].fire("change");
  }
  if (what === "all" || what === "none") {
    elements[where].querySelectorAll("button").find((button) => button.value === what).fire("click");
  }
  shown.push({
    tables: tables.map((one) => one.tBodies[0].rows.map((row) => row.cells.map((cell) => cell.textContent))),
    picked: elements.picked.textContent,
    counts: Object.fromEntries(picks.map((one) => [one.id, one.count.textContent])),
  });
}
process.stdout.write(JSON.stringify(shown));
