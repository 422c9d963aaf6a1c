"use strict";
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const tables = all("table.data");

  // Sorting: a button in each header; the third click gives the order of the report again.
  const value = (row, column) => row.cells[column].textContent.trim();
  const number = (text) => parseFloat(text.replace(/,/g, ""));
  const compare = (a, b) => {
    const [x, y] = [number(a), number(b)];
    return Number.isNaN(x) || Number.isNaN(y) ? a.localeCompare(b) : x - y;
  };
  for (const table of tables) {
    const body = table.tBodies[0];
    const original = [...body.rows];
    const headers = [...table.tHead.rows[0].cells];
    headers.forEach((header, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "sort";
      button.append(...header.childNodes);
      header.append(button);
      button.addEventListener("click", () => {
        const before = header.getAttribute("aria-sort");
        headers.forEach((other) => other.removeAttribute("aria-sort"));
        const rows = [...original];
        if (before !== "descending") {
          const down = before === "ascending";
          header.setAttribute("aria-sort", down ? "descending" : "ascending");
          rows.sort((a, b) => {
            const [x, y] = [value(a, column), value(b, column)];
            if (!x || !y) return (x ? 0 : 1) - (y ? 0 : 1); // empty cells last
            return down ? compare(y, x) : compare(x, y);
          });
        }
        body.append(...rows);
      });
    });
  }

  // Filter: rows of all tables that contain every word.
  const filter = document.getElementById("filter");
  filter.addEventListener("input", () => {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of all("table.data tbody tr")) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
      shown += !row.hidden;
    }
    for (const table of tables) {
      table.closest(".table").hidden = [...table.tBodies[0].rows].every((row) => row.hidden) && words.length > 0;
    }
    document.getElementById("count").textContent = words.length ? `${shown} rows` : "";
  });

  // Highlight one model in all tables, cards and figures.
  const highlight = document.getElementById("highlight");
  const apply = () => {
    const chosen = highlight.value;
    const name = chosen && highlight.selectedOptions[0].textContent;
    for (const element of all("[data-m]")) {
      element.classList.toggle("on", chosen !== "" && element.dataset.m === chosen);
    }
    for (const svg of all(".drawing svg")) {
      const marks = all("[data-name]", svg);
      const its = marks.filter((mark) => mark.dataset.name === name);
      marks.forEach((mark) => mark.classList.toggle("dim", its.length > 0 && !its.includes(mark)));
    }
  };
  highlight.addEventListener("change", apply);
  const tools = document.getElementById("tools");
  tools.addEventListener("submit", (event) => event.preventDefault());
  tools.hidden = false;
  apply(); // a browser may restore the choice of an earlier visit

  // The panel of a run says which number opened it.
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button.n");
    const what = button && document.getElementById(button.getAttribute("popovertarget"))?.querySelector(".what");
    if (!what) return;
    what.textContent = button.title;
    what.hidden = !button.title;
  });

  // Folded notes are printed, too.
  let folded = [];
  addEventListener("beforeprint", () => {
    folded = all("details:not([open])");
    folded.forEach((details) => (details.open = true));
  });
  addEventListener("afterprint", () => folded.forEach((details) => (details.open = false)));
})();
