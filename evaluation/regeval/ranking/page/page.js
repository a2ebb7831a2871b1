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
