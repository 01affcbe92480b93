"use strict";
// Without this script the tables are complete and in the order of the run.
for (const table of document.querySelectorAll(".scroll table")) {
  const body = table.tBodies[0];
  const heads = Array.from(table.tHead.rows[0].cells);
  if (body.rows.length < 2) continue;
  heads.forEach((head, place) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const key = (row) => row.cells[place].dataset.value ?? "";
      const text = (row) => row.cells[place].textContent;
      const compare = (a, b) => {
        const first = Number.parseFloat(key(a)), second = Number.parseFloat(key(b));
        if (Number.isNaN(first) && Number.isNaN(second)) {
          const order = text(a).localeCompare(text(b));
          return down ? -order : order;
        }
        // What is missing stays at the end, whichever way the rest is sorted.
        if (Number.isNaN(first)) return 1;
        if (Number.isNaN(second)) return -1;
        if (first === second) return 0;
        return (first < second) !== down ? -1 : 1;
      };
      body.append(...Array.from(body.rows).sort(compare));
    });
  });
}
