"use strict";
// Just enough of a document for the page's script: tables with cells, selects, clicks and changes.
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
  return {
    dataset: given.dataset,
    textContent: given.text,
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
const tables = JSON.parse(fs.readFileSync(tablesFile, "utf-8")).map(table);
const select = (id) => ({ id, value: "", selectedOptions: [{ textContent: "" }], ...listeners() });
const elements = { case: select("case"), label: select("label"), picked: { textContent: "" } };
tables.forEach((one) => { if (one.id) elements[one.id] = one; });
global.document = {
  querySelectorAll: () => tables,
  getElementById: (id) => elements[id] || null,
};
eval(fs.readFileSync(scriptFile, "utf-8"));
const shown = [];
for (const [what, where, value] of JSON.parse(fs.readFileSync(stepsFile, "utf-8"))) {
  if (what === "click") tables[where].tHead.rows[0].cells[value].button.fire("click");
  if (what === "pick") {
    elements[where].value = value;
    elements[where].selectedOptions = [{ textContent: value }];
    elements[where].fire("change");
  }
  shown.push({
    tables: tables.map((one) => one.tBodies[0].rows.map((row) => row.cells.map((cell) => cell.textContent))),
    picked: elements.picked.textContent,
  });
}
process.stdout.write(JSON.stringify(shown));
