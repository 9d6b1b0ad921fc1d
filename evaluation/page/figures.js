"use strict";
// Figures of a page: its data, its theme, and what the other scripts draw with.
// A figure is a function that returns { traces, layout, height }, or null where there is nothing to draw.

const PHONE = 640; // px; below it labels stand above their rows
const THEMES = {
  light: {
    ink: "#20262e", soft: "#5d6673", grid: "#e6e9ee", paper: "#ffffff", hover: "#ffffff",
    blue: "#0072b2", orange: "#d98e00", green: "#009e73", red: "#d55e00", pink: "#b8608f", sky: "#3a9bd6", grey: "#7b828c",
  },
  dark: {
    ink: "#e6e9ee", soft: "#a3acb9", grid: "#2a313a", paper: "#14181d", hover: "#262d36",
    blue: "#4fa8e0", orange: "#f0b429", green: "#2fc79b", red: "#ff8a4c", pink: "#e39ac4", sky: "#8fd0f7", grey: "#9aa2ae",
  },
};
const TURN = ["blue", "red", "green", "pink", "orange", "sky"];
const SYMBOLS = ["circle", "diamond", "square", "triangle-up", "x", "star"];
const ROLE = { prosumer: "orange", storage: "green", ev: "pink", consumer: "blue" };

const page = { data: null, width: 0, choice: "auto", printing: false, figures: new Map() };
const system = window.matchMedia("(prefers-color-scheme: dark)");

const isDark = () => !page.printing && (page.choice === "dark" || (page.choice === "auto" && system.matches));
const theme = () => THEMES[isDark() ? "dark" : "light"];
const isPhone = () => page.width < PHONE;
const colour = (name) => theme()[name];
const turn = (k) => colour(TURN[k % TURN.length]);
const faint = (hex, share = 0.25) =>
  `rgba(${[1, 3, 5].map((k) => parseInt(hex.slice(k, k + 2), 16)).join(",")},${share})`;
const words = (name) => String(name).replaceAll("_", " ");
const unique = (values) => [...new Set(values)];
const escaped = (text) => String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;");

function number(value) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  const digits = size >= 1000 ? 0 : size >= 100 ? 1 : size >= 10 ? 2 : 3;
  const shown = Number(value.toFixed(digits)) + 0; // without a minus before zero
  return shown.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

const unitOf = (name) => (page.data.kpis[name].unit === "1" ? "" : page.data.kpis[name].unit);
const named = (name) => words(name) + (unitOf(name) ? `, ${unitOf(name)}` : "");

// ---- drawing ----------------------------------------------------------------------------------

function layoutOf(own, height) {
  const t = theme();
  const axis = { gridcolor: t.grid, zerolinecolor: t.soft, linecolor: t.grid, automargin: true, tickfont: { size: 12 } };
  const base = {
    height, width: page.width,
    font: { family: "system-ui, -apple-system, 'Segoe UI', Roboto, Arial, sans-serif", size: 12.5, color: t.ink },
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    margin: { l: isPhone() ? 12 : 20, r: 16, t: 12, b: 46 },
    hoverlabel: { bgcolor: t.hover, bordercolor: t.soft, font: { size: 13, color: t.ink }, align: "left" },
    legend: { orientation: "h", x: 0, y: 1, yanchor: "bottom", font: { size: 12.5 }, itemwidth: 30, traceorder: "normal" },
    dragmode: isPhone() ? false : "zoom",
    hovermode: "closest",
  };
  const layout = { ...base, ...own };
  for (const name of new Set(["xaxis", "yaxis", ...Object.keys(own)])) {
    if (!/^[xy]axis\d*$/.test(name)) continue;
    const title = { standoff: 8, ...own[name]?.title, font: { size: 12.5 } };
    layout[name] = { ...axis, ...own[name], title };
  }
  return layout;
}

async function draw(name) {
  const place = document.getElementById(`fig-${name}`);
  const figure = page.figures.get(name)();
  const controls = document.querySelector(`[data-for="${name}"]`);
  place.closest("figure").hidden = !figure;
  if (controls) controls.hidden = !figure;
  if (!figure) return;
  const config = { displaylogo: false, displayModeBar: isPhone() ? false : "hover",
    modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"], responsive: false, showTips: false };
  await Plotly.react(place, figure.traces, layoutOf(figure.layout, figure.height), config);
  place.dataset.drawn = "yes";
  if (figure.click && !place.dataset.listens) {
    place.dataset.listens = "yes";
    place.on("plotly_click", (event) => page.figures.get(name)().click(event.points[0]));
  }
}

async function drawAll() {
  for (const name of page.figures.keys()) await draw(name);
}

function measure() {
  const first = document.querySelector("figure:not([hidden]) .plot") || document.body;
  page.width = page.printing ? 690 : Math.floor(first.getBoundingClientRect().width || document.body.clientWidth - 32);
}

function setTheme() {
  document.documentElement.toggleAttribute("data-dark", isDark());
  document.getElementById("theme").textContent = `Theme: ${page.choice}`;
}

// ---- rows of dots with intervals --------------------------------------------------------------

// rows: names from top to bottom; series: [{ name, colour, symbol, points: [{ row, mean, low, high, text }] }];
// lines: [{ x, name }] across all rows.
function dots(rows, series, { axis, lines = [], gap = 13 }) {
  const spread = Math.min(isPhone() ? 0.44 : 0.66, 0.2 * (series.length - 1));
  const below = isPhone() ? 0.2 : 0; // labels stand above
  const offset = (k) => below + (series.length > 1 ? spread * (k / (series.length - 1) - 0.5) : 0);
  const place = new Map(rows.map((row, k) => [row, k]));
  const traces = series.map((one, k) => ({
    type: "scatter", mode: "markers", name: one.name,
    x: one.points.map((p) => p.mean),
    y: one.points.map((p) => place.get(p.row) + offset(k)),
    text: one.points.map((p) => p.text),
    hovertemplate: "%{text}<extra></extra>",
    marker: { color: one.colour, size: one.size || 9, symbol: one.symbol || "circle" },
    error_x: one.bare ? undefined : {
      type: "data", symmetric: false, thickness: 3, width: 0, color: faint(one.colour, 0.5),
      array: one.points.map((p) => (p.high ?? p.mean) - p.mean),
      arrayminus: one.points.map((p) => p.mean - (p.low ?? p.mean)),
    },
    showlegend: series.length > 1,
  }));
  const step = (isPhone() ? 42 : 24) + gap * (series.length - 1);
  const top = 28 + (series.length > 1 ? 22 : 0);
  const t = theme();
  const labels = isPhone()
    ? rows.map((row, k) => ({ x: 0, xref: "paper", xanchor: "left", y: k - 0.5, yanchor: "top", showarrow: false,
        text: escaped(words(row)), align: "left", font: { size: 12, color: t.soft } }))
    : [];
  // Names of two lines stand apart, however near these are.
  const anchor = (line) => (lines.length < 2 ? "center" : lines.some((other) => other.x > line.x) ? "right" : "left");
  const marks = lines.map((line) => ({ x: line.x, xanchor: anchor(line), y: 1, yref: "paper", yanchor: "bottom", showarrow: false,
    text: escaped(line.name), font: { size: 11.5, color: t.soft } }));
  return {
    traces,
    height: top + 52 + step * rows.length,
    layout: {
      margin: { l: isPhone() ? 8 : 20, r: 18, t: top + (lines.length ? 18 : 0), b: 50 },
      xaxis: { title: { text: axis }, zeroline: false },
      yaxis: { range: [rows.length - 0.45, -0.55], showgrid: false, zeroline: false, fixedrange: true,
        tickvals: rows.map((_, k) => k), ticktext: rows.map((row) => escaped(words(row))), showticklabels: !isPhone(),
        tickfont: { size: 12.5 } },
      annotations: [...labels, ...marks],
      shapes: [
        ...rows.map((_, k) => ({ type: "line", layer: "below", xref: "paper", x0: 0, x1: 1, y0: k + 0.5, y1: k + 0.5,
          line: { color: t.grid, width: 1 } })),
        ...lines.map((line) => ({ type: "line", yref: "paper", x0: line.x, x1: line.x, y0: 0, y1: 1,
          line: { color: t.ink, width: 1.2, dash: line.dash || "dash" } })),
      ],
      legend: { orientation: "h", x: 0, xref: "container", y: 1, yref: "container", yanchor: "top", font: { size: 12.5 } },
    },
  };
}

const spanText = (title, [mean, low, high], unit) =>
  `<b>${escaped(title)}</b><br>${number(mean)} ${unit}` +
  (low === null || low === high ? "" : `<br>95 %: ${number(low)} to ${number(high)}`);

// ---- controls ---------------------------------------------------------------------------------

// options: [[value, words, group]]; returns the select, which calls back when it changes.
function choose(name, label, options, chosen, changed) {
  const box = document.querySelector(`[data-for="${name}"]`);
  const select = document.createElement("select");
  select.name = label;
  for (const group of unique(options.map((option) => option[2] || ""))) {
    const parent = group ? select.appendChild(Object.assign(document.createElement("optgroup"), { label: group })) : select;
    for (const [value, text, of] of options) {
      if ((of || "") === group) parent.append(new Option(text, value, false, String(value) === String(chosen)));
    }
  }
  const wrapper = document.createElement("label");
  wrapper.append(label, select);
  if (options.length < 2) wrapper.hidden = true;
  box.append(wrapper);
  select.addEventListener("change", () => changed(select.value));
  return select;
}

// ---- beginning --------------------------------------------------------------------------------

async function unpack() {
  const text = document.getElementById("data").textContent;
  const bytes = Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(stream).json();
}

function contents() {
  const list = document.querySelector("nav.toc");
  if (!list) return;
  for (const head of document.querySelectorAll("h2[id]")) {
    list.append(Object.assign(document.createElement("a"), { href: `#${head.id}`, textContent: head.textContent }));
  }
}

async function start(figures) {
  page.data = await unpack();
  contents();
  if (location.protocol.startsWith("http")) document.querySelectorAll(".served").forEach((link) => (link.hidden = false));
  document.getElementById("theme").addEventListener("click", () => {
    page.choice = { auto: "light", light: "dark", dark: "auto" }[page.choice];
    setTheme();
    drawAll();
  });
  system.addEventListener("change", () => { setTheme(); drawAll(); });
  setTheme();
  measure();
  if (isPhone()) document.querySelectorAll("details.figures[open]").forEach((part) => (part.open = false));
  for (const [name, make] of await figures()) {
    if (document.getElementById(`fig-${name}`)) page.figures.set(name, make);
  }
  await drawAll();
  let waiting = null;
  window.addEventListener("resize", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => {
      const before = page.width;
      measure();
      if (page.width !== before) drawAll();
    }, 120);
  });
  window.addEventListener("beforeprint", () => print(true));
  window.addEventListener("afterprint", () => print(false));
  document.documentElement.dataset.drawn = "yes";
}

// On paper everything is light, as wide as a sheet, and folded tables are open.
function print(on) {
  page.printing = on;
  document.querySelectorAll("details.figures").forEach((part) => {
    if (on) part.dataset.before = part.open ? "open" : "";
    part.open = on || part.dataset.before === "open";
  });
  setTheme();
  measure();
  drawAll();
}
