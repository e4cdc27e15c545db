"use strict";
const root = document.documentElement;
const read = (id) => JSON.parse(document.getElementById(id).textContent);

// ---- light and dark ----
const LOOKS = read("looks");
async function draw() {
  const theme = root.dataset.theme;
  for (const place of document.querySelectorAll(".figure[data-spec]")) {
    let text = document.getElementById(place.dataset.spec).textContent;
    if (theme === "dark") text = text.replaceAll("#000000", "#f2f2f2"); // black lines on a dark ground
    const options = { renderer: "svg", config: LOOKS[theme], actions: { export: true, source: false, compiled: false, editor: false }, downloadFileName: place.dataset.name };
    await vegaEmbed(place, JSON.parse(text), options);
    place.dataset.drawn = theme;
  }
  root.dataset.ready = theme;
}
function setTheme(theme) { root.dataset.theme = theme; return draw(); }
document.getElementById("theme").addEventListener("click", () => setTheme(root.dataset.theme === "dark" ? "light" : "dark"));

// ---- tables: sort by a heading, what was not run always last ----
function sortBy(table, column, descending) {
  const body = table.tBodies[0];
  const key = (row) => row.cells[column].dataset.key;
  const rows = [...body.rows].sort((a, b) => {
    const [x, y] = [key(a), key(b)];
    if (x === undefined || y === undefined) return (x === undefined) - (y === undefined);
    const [p, q] = [Number(x), Number(y)];
    const order = Number.isNaN(p) || Number.isNaN(q) ? x.localeCompare(y) : p - q;
    return descending ? -order : order;
  });
  body.append(...rows);
  for (const th of table.tHead.rows[0].cells) th.removeAttribute("aria-sort");
  table.tHead.rows[0].cells[column].setAttribute("aria-sort", descending ? "descending" : "ascending");
}
for (const table of document.querySelectorAll("table")) {
  [...table.tHead.rows[0].cells].forEach((th, column) => {
    th.querySelector("button").addEventListener("click", () => sortBy(table, column, th.getAttribute("aria-sort") === "ascending"));
  });
}

// ---- CSV ----
for (const button of document.querySelectorAll("button[data-csv]")) {
  button.addEventListener("click", () => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([read(button.dataset.csv)], { type: "text/csv" }));
    link.download = button.dataset.file;
    link.click();
    URL.revokeObjectURL(link.href);
  });
}

setTheme(matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
