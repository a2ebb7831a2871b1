"use strict";
// Sorting: a click on a column's title sorts by it, best or alphabetical first; a second click turns it round.
for (const table of document.querySelectorAll("table.board")) {
  const heads = [...table.tHead.rows[0].cells];
  const body = table.tBodies[0];
  const key = (row, column) => row.cells[column].dataset.value;
  heads.forEach((head, column) => {
    head.querySelector("button").addEventListener("click", () => {
      const first = head.dataset.first;
      const turned = first === "ascending" ? "descending" : "ascending";
      const direction = head.getAttribute("aria-sort") === first ? turned : first;
      const sign = direction === "ascending" ? 1 : -1;
      const rows = [...body.rows];
      rows.sort((a, b) => {
        const [x, y] = [key(a, column), key(b, column)];
        if (head.dataset.kind === "text") return sign * x.localeCompare(y);
        if (x === "" || y === "") return (x === "") - (y === "");  // no number: last, either way
        return sign * (Number(x) - Number(y));
      });
      heads.forEach((other) => other.setAttribute("aria-sort", other === head ? direction : "none"));
      body.append(...rows);
    });
  });
}

// A closer look: the means over the picked case and label, from the values that each cell carries.
const closer = document.getElementById("closer");
if (closer) {
  const picks = ["case", "label"].map((name) => document.getElementById(name));
  const text = (value) => {
    if (value === null) return "–";
    const size = Math.abs(value);
    return value.toFixed(size < 10 ? 3 : size < 100 ? 2 : 1);
  };
  const mean = (values) => {
    const known = values.filter((value) => value !== null && value !== undefined);
    return known.length ? known.reduce((sum, value) => sum + value, 0) / known.length : null;
  };
  const parsed = new Map();  // the values of a cell are read once
  const values = (cell, name) => {
    const key = cell.dataset[name];
    if (!parsed.has(key)) parsed.set(key, JSON.parse(key));
    return parsed.get(key);
  };
  const pick = () => {
    const [chosen, label] = picks.map((select) => (select ? select.value : ""));
    const heads = [...closer.tHead.rows[0].cells];
    for (const row of closer.tBodies[0].rows) {
      [...row.cells].slice(1).forEach((cell, column) => {
        let all = values(cell, "cases");
        if (label !== "") {
          const place = JSON.parse(heads[column + 1].dataset.labels).indexOf(label);
          const has = place >= 0 && cell.dataset.byLabel !== undefined;
          all = has ? values(cell, "byLabel").map((one) => one[place]) : [];
        }
        const value = mean(chosen === "" ? all : [all[Number(chosen)]]);
        cell.textContent = text(value);
        cell.dataset.value = value === null ? "" : String(value);
      });
    }
    heads.forEach((head) => head.setAttribute("aria-sort", "none"));
    const said = picks.filter((select) => select && select.value !== "");
    document.getElementById("picked").textContent =
      said.map((select) => `${select.id} ${select.selectedOptions[0].textContent}`).join(", ");
  };
  picks.forEach((select) => select && select.addEventListener("change", pick));
}
