// Draws the charts, and sorts and filters the table of trials. It asks nobody for anything.
"use strict";

const root = document.documentElement;
const figures = JSON.parse(document.getElementById("figures").textContent);
const places = [...document.querySelectorAll("[data-chart]")];
const chosen = {};

// Plotly is in this page deflated; as a script element it is covered by the page's policy.
async function loadPlotly() {
  const packed = atob(document.getElementById("plotly").textContent.trim());
  const bytes = Uint8Array.from(packed, (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const script = document.createElement("script");
  script.textContent = await new Response(stream).text();
  document.head.append(script);
}

// A copy of a figure in which "var(--name)" under any key is the colour it is now.
function coloured(value, style) {
  if (Array.isArray(value)) return value.map((item) => coloured(item, style));
  if (value && typeof value === "object") {
    return Object.fromEntries(
      Object.entries(value).map(([key, item]) => [key, coloured(item, style)]));
  }
  const name = typeof value === "string" && /^var\((--[a-z0-9]+)\)$/.exec(value);
  return name ? style.getPropertyValue(name[1]).trim() : value;
}

// Without the button that opens Plotly's cloud and uploads the chart: no policy forbids a new window.
const OPTIONS = { displaylogo: false, showSendToCloud: false, plotlyServerURL: "",
  modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"] };
const FITTINGS = 5;  // the first of them brings the legend
const LEGEND_LINE_PIXELS = 26;  // at most, with the space between two names
const SETTLED_MS = 100;  // without another width: a window that is dragged has many

const turns = new Map();  // of a place: how often it was begun to be drawn, the last of which counts
const widths = new Map();  // that it was drawn for

async function draw(place) {
  const key = place.dataset.chart;
  const figure = coloured(figures[key][chosen[key] || 0], getComputedStyle(root));
  const { plot, narrowest } = figure.layout.meta;
  const turn = (turns.get(place) || 0) + 1;
  turns.set(place, turn);
  delete place.dataset.drawn;
  forgive(place);
  place.style.zoom = "";
  place.style.minWidth = `${narrowest}px`;
  widths.set(place, place.clientWidth);
  const bare = { ...touched(figure.layout), showlegend: false };
  await Plotly.react(place, figure.data, bare, OPTIONS);
  for (let count = 0; count < FITTINGS && turns.get(place) === turn; count++) {
    const change = count ? fitting(place, plot) : legendary(place);
    if (!change) break;
    await Plotly.relayout(place, change);
  }
  if (turns.get(place) !== turn) return;
  thin(place);
  scrollable(place.parentElement);
  if (printing()) place.style.zoom = place.parentElement.clientWidth / place.clientWidth;
  place.removeAllListeners("plotly_afterplot");
  place.on("plotly_afterplot", () => thin(place));
  place.dataset.drawn = "";
}

// Draws a chart, or says in its place why there is none.
function show(place) {
  return draw(place).catch((error) => refuse(place, error));
}

function printing() {
  return "print" in root.dataset;
}

// On a touch screen a finger scrolls the page and does not zoom the chart that it comes across.
function touched(layout) {
  if (!matchMedia("(hover: none)").matches) return layout;
  const axes = Object.keys(layout).filter((name) => /^[xy]axis/.test(name));
  return { ...layout, dragmode: false,
    ...Object.fromEntries(axes.map((name) => [name, { ...layout[name], fixedrange: true }])) };
}

// A legend from the chart's edge on, as wide and high as it must be. Left to itself it begins where
// the plot does, which a legend that is wider than the plot makes narrower still. There is room for
// one name beneath another at first: of a plot without height nobody knows how much it lacks.
function legendary(place) {
  const { l, w } = place._fullLayout._size;
  const lines = place.data.reduce((sum, { name }) => sum + (name || "").split("<br>").length, 1);
  return { showlegend: null, "legend.x": -l / w, "legend.maxheight": 1,
    height: place.layout.height + LEGEND_LINE_PIXELS * lines };
}

// What to change so that the plot keeps its height however high the legend is; nothing once it does.
function fitting(place, plot) {
  const missing = Math.round(plot - place._fullLayout._size.h);
  return missing ? { height: place.layout.height + missing } : null;
}

// Of the texts at points, hides those that would lie over an earlier one or be cut.
function thin(place) {
  const frame = place.getBoundingClientRect();
  const kept = [];
  for (const text of place.querySelectorAll(".textpoint text")) {
    const box = text.getBoundingClientRect();
    const fits = box.left >= frame.left && box.right <= frame.right && !kept.some((other) =>
      box.left < other.right && other.left < box.right
      && box.top < other.bottom && other.top < box.bottom);
    text.style.visibility = fits ? "" : "hidden";
    if (fits) kept.push(box);
  }
}

// What is scrolled to the side is scrolled by the keyboard too.
function scrollable(frame) {
  const wide = frame.scrollWidth > frame.clientWidth;
  if (wide) {
    frame.tabIndex = 0;
    frame.setAttribute("role", "region");
    frame.setAttribute("aria-label", frame.dataset.name);
  } else {
    ["tabindex", "role", "aria-label"].forEach((name) => frame.removeAttribute(name));
  }
}

// Each chart is drawn anew when the page gives it another width.
const changed = new Set();
let settled;
const resized = new ResizeObserver((entries) => {
  entries.forEach(({ target }) => changed.add(target));
  clearTimeout(settled);
  settled = setTimeout(redraw, SETTLED_MS);
});

function redraw() {
  for (const place of changed) {
    const failed = place.classList.contains("failed");
    if (!printing() && !failed && widths.get(place) !== place.clientWidth) show(place);
  }
  changed.clear();
}

// All are begun at once: the browser prints what is there when the handlers of its event return.
function drawAll() {
  return Promise.all(places.map(show));
}

// Takes back what `refuse` did, before another try.
function forgive(place) {
  if (!place.classList.contains("failed")) return;
  place.classList.remove("failed");
  place.setAttribute("role", "img");
  place.textContent = "";
}

function refuse(place, error) {
  if (place._fullLayout) Plotly.purge(place);  // what is left of an earlier figure
  place.classList.add("failed");
  place.style.minWidth = "";
  place.removeAttribute("role");  // an image's text is not read out
  place.textContent = `Not drawn (${error.message}). The figures are in the table below.`;
  scrollable(place.parentElement);
}

function choose(event) {
  const key = event.target.dataset.for;
  chosen[key] = event.target.selectedIndex;
  show(places.find((place) => place.dataset.chart === key));
}

async function startCharts() {
  try {
    await loadPlotly();
  } catch (error) {
    places.forEach((place) => refuse(place, error));
    return;
  }
  await drawAll();
  places.forEach((place) => resized.observe(place));
  document.querySelectorAll("select[data-for]").forEach((one) => (one.onchange = choose));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  addEventListener("beforeprint", () => { root.dataset.print = ""; drawAll(); });
  addEventListener("afterprint", () => { delete root.dataset.print; drawAll(); });
}

// What can be opened in the head is open on paper, where nobody can open it.
function startPrinting() {
  const closed = () => [...document.querySelectorAll("header details:not([open])")];
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = opened.concat(closed());
    opened.forEach((one) => (one.open = true));
  });
  addEventListener("afterprint", () => {
    opened.forEach((one) => (one.open = false));
    opened = [];
  });
}

function startTable() {
  const body = document.querySelector("#all tbody");
  const heads = [...document.querySelectorAll("#all th")];
  const [filter, purpose, shown] = ["filter", "purpose", "shown"].map(
    (id) => document.getElementById(id));
  const rows = [...body.rows].map((row) => ({ row, text: row.textContent.toLowerCase() }));

  function select() {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const { row, text } of rows) {
      const fits = (!purpose.value || row.dataset.purpose === purpose.value)
        && words.every((word) => text.includes(word));
      row.hidden = !fits;
      count += fits;
    }
    shown.textContent = `${count} of ${rows.length} trials`;
  }

  function sort(index) {
    const up = heads[index].getAttribute("aria-sort") !== "ascending";
    heads.forEach((head) => head.removeAttribute("aria-sort"));
    heads[index].setAttribute("aria-sort", up ? "ascending" : "descending");
    const numeric = heads[index].classList.contains("number");
    const key = ({ row }) => {
      const cell = row.cells[index];
      if (!numeric) return cell.textContent;
      return "key" in cell.dataset ? Number(cell.dataset.key) : null;
    };
    const sign = up ? 1 : -1;
    const compare = (a, b) => {
      const [first, second] = [key(a), key(b)];
      const [none, noneToo] = [first, second].map((one) => one === null || one === "");
      if (none || noneToo) return none - noneToo;  // what has none is last either way
      if (numeric) return sign * (first - second);
      return sign * first.localeCompare(second, undefined, { numeric: true });
    };
    body.append(...[...rows].sort(compare).map(({ row }) => row));
  }

  heads.forEach((head, index) => (head.querySelector("button").onclick = () => sort(index)));
  filter.oninput = select;
  purpose.onchange = select;
  if ([...purpose.options].some((one) => one.value === "race")) purpose.value = "race";
  select();
}

startTable();
startPrinting();
startCharts();
