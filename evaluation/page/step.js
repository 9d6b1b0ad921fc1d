"use strict";
// One day interval by interval: feeder, seat, book, prices, ledger.

const step = { slot: 0, row: null, day: 0, seat: 0, data: null, playing: null };
const HEIGHT = 230;

const sum = (values) => values.reduce((total, value) => total + (value ?? 0), 0);
const hours = () => step.data.retail.map((_, t) => t * page.data.slot_h);
const clock = (t) => {
  const minutes = Math.round(t * page.data.slot_h * 60);
  return `${String(Math.floor(minutes / 60) % 24).padStart(2, "0")}:${String(minutes % 60).padStart(2, "0")}`;
};
// A seat and the name that the data give its home.
const seatName = (n) => words(page.data.seats[n]) + (page.data.homes[n] ? ` (${page.data.homes[n]})` : "");
const seatNet = (t, n) => {
  const d = step.data;
  return d.pv_kw[t][n] - d.load_kw[t][n] + d.battery_kw[t][n] + d.consumer_kw[t][n];
};
const charge = (t, n) => (page.data.battery_kwh[n] > 0 ? (100 * step.data.stored_kwh[t][n]) / page.data.battery_kwh[n] : null);
const costSoFar = (t, n) => sum(step.data.cost.slice(0, t + 1).map((row) => row[n]));
const now = () => ({ type: "line", yref: "paper", y0: 0, y1: 1, x0: step.slot * page.data.slot_h, x1: step.slot * page.data.slot_h,
  line: { color: theme().ink, width: 1.5 } });

// ---- figures ----------------------------------------------------------------------------------

function feeder() {
  const { plan, seats, band } = page.data;
  const t = step.slot, d = step.data, hue = theme();
  const [x, y] = isPhone() ? [plan.y, plan.x.map((v) => -v)] : [plan.x, plan.y];
  const lines = { type: "scatter", mode: "lines", hoverinfo: "skip", showlegend: false, line: { color: hue.soft, width: 1.4 },
    x: plan.branches.flatMap(([a, b]) => [x[a], x[b], null]), y: plan.branches.flatMap(([a, b]) => [y[a], y[b], null]) };
  const volts = d.voltage_pu[t];
  const outside = (v) => v < band[0] || v > band[1];
  const buses = { type: "scatter", mode: "markers", showlegend: false, x: plan.bus_node.map((n) => x[n]), y: plan.bus_node.map((n) => y[n]),
    marker: { size: 7, color: volts.map((v) => (v === null || outside(v) ? hue.red : hue.grey)) },
    text: volts.map((v) => `voltage ${v === null ? "–" : v.toFixed(4)} p.u.`), hovertemplate: "%{text}<extra></extra>" };
  // Seats of one node stand around it.
  const together = new Map();
  const around = plan.seat_node.map((node) => { const k = together.get(node) || 0; together.set(node, k + 1); return k; });
  const shift = around.map((k, n) => (together.get(plan.seat_node[n]) > 1 ? 0.34 * (k - (together.get(plan.seat_node[n]) - 1) / 2) : 0));
  const net = seats.map((_, n) => seatNet(t, n));
  const most = Math.max(...d.load_kw.flat(), ...d.pv_kw.flat(), 1);
  const places = { type: "scatter", mode: "markers", showlegend: false, customdata: seats.map((_, n) => n),
    x: plan.seat_node.map((node, n) => x[node] + (isPhone() ? shift[n] : 0)), y: plan.seat_node.map((node, n) => y[node] + (isPhone() ? 0 : shift[n])),
    marker: { size: net.map((v) => 9 + 24 * Math.sqrt(Math.min(1, Math.abs(v) / most))), opacity: 0.9,
      color: net.map((v) => (v > 0.005 ? hue.orange : v < -0.005 ? hue.blue : hue.grey)),
      line: { color: hue.ink, width: seats.map((_, n) => (n === step.seat ? 3 : 0.8)) } },
    text: seats.map((seat, n) => `<b>${escaped(seatName(n))}</b><br>${number(Math.abs(net[n]))} kW ${net[n] > 0 ? "exported" : "imported"}` +
      `<br>traded ${number(d.cleared_kw[t][n])} kW${charge(t, n) === null ? "" : `<br>battery ${number(charge(t, n))} %`}<br>paid so far ${number(costSoFar(t, n))} ${page.data.currency}`),
    hovertemplate: "%{text}<extra></extra>" };
  const source = { type: "scatter", mode: "markers", showlegend: false, x: [x[0]], y: [y[0]], hoverinfo: "skip", marker: { opacity: 0 } };
  const hidden = { visible: false, fixedrange: isPhone() };
  const rows = new Set(plan.y).size;
  return { traces: [lines, buses, places, source], height: isPhone() ? 540 : Math.min(640, 160 + 16 * rows), layout: {
    margin: { l: 10, r: 10, t: 10, b: 10 }, xaxis: hidden, yaxis: { ...hidden, autorange: isPhone() ? true : "reversed" },
  }, click: (point) => { if (point.customdata !== undefined) chooseSeat(point.customdata); } };
}

function seatFigure() {
  const d = step.data, n = step.seat, t = theme(), x = hours();
  const text = x.map((_, k) => clock(k));
  const of = (name, values, hue, more = {}) => ({ type: "scatter", mode: "lines", x, y: values, name, text, line: { color: hue, width: 1.8, shape: "hv" },
    hovertemplate: `%{text} ${name}: %{y:.4~g}<extra></extra>`, ...more });
  const has = (values) => values.some((v) => Math.abs(v ?? 0) > 1e-6);
  const lines = [["load", d.load_kw.map((row) => -row[n]), t.blue], ["PV", d.pv_kw.map((row) => row[n]), t.orange],
    ["battery", d.battery_kw.map((row) => row[n]), t.green], ["cars and others", d.consumer_kw.map((row) => row[n]), t.pink],
    ["traded locally", d.cleared_kw.map((row) => row[n]), t.red]].filter(([, values]) => has(values));
  const traces = lines.map(([name, values, hue]) => of(name, values, hue));
  const stored = page.data.battery_kwh[n] > 0;
  if (stored) traces.push(of("stored, %", d.stored_kwh.map((_, k) => charge(k, n)), t.green, { yaxis: "y2", fill: "tozeroy", fillcolor: faint(t.green, 0.2), showlegend: false }));
  return { traces, height: stored ? 400 : 270, layout: { margin: { l: 34, r: 14, t: 58, b: 44 }, shapes: [now()],
    xaxis: dayAxis(stored ? "y2" : "y"), yaxis: { domain: [stored ? 0.36 : 0, 1], title: { text: "kW, positive gives" } },
    yaxis2: { domain: [0, 0.27], range: [0, 105], title: { text: "stored, %" }, visible: stored } } };
}

const dayAxis = (anchor = "y") => ({ range: [0, 24], tickvals: [0, 4, 8, 12, 16, 20, 24], title: { text: "hour of the day" }, anchor, zeroline: false });

function book() {
  const d = step.data, t = step.slot, hue = theme(), owner = page.data.plan.order_seat;
  const orders = d.order_kw[t].map((kw, m) => ({ kw, price: d.limit_price[t][m], filled: Math.abs(d.filled_kw[t][m]), seat: page.data.seats[owner[m]] }))
    .filter((order) => Math.abs(order.kw) > 1e-6 && order.price !== null);
  if (!orders.length) return empty("No order came in time.");
  const side = (mine, name, colour, dash) => {
    const curve = { type: "scatter", mode: "lines", name, x: [], y: [], text: [], line: { color: faint(colour, 0.6), width: 1.6, dash }, hovertemplate: "%{text}<extra></extra>" };
    const filled = { type: "scatter", mode: "lines", x: [], y: [], showlegend: false, hoverinfo: "skip", line: { color: colour, width: 5 } };
    let at = 0;
    for (const order of mine) {
      const kw = Math.abs(order.kw);
      const text = `${escaped(words(order.seat))} ${order.kw > 0 ? "offers" : "bids for"} ${number(kw)} kW at ${number(order.price)}, filled ${number(order.filled)} kW`;
      curve.x.push(at, at + kw); curve.y.push(order.price, order.price); curve.text.push(text, text);
      if (order.filled > 1e-6) { filled.x.push(at, at + order.filled, null); filled.y.push(order.price, order.price, null); }
      at += kw;
    }
    return [curve, filled];
  };
  const offers = orders.filter((order) => order.kw > 0).sort((a, b) => a.price - b.price);
  const bids = orders.filter((order) => order.kw < 0).sort((a, b) => b.price - a.price);
  const price = d.reference_price[t];
  const marks = price === null ? [] : [{ type: "line", xref: "paper", x0: 0, x1: 1, y0: price, y1: price, line: { color: hue.ink, width: 1, dash: "dash" } }];
  return { traces: [...side(bids, "bids", hue.blue, "solid"), ...side(offers, "offers", hue.orange, "solid")], height: 360, layout: {
    margin: { l: 40, r: 14, t: 40, b: 48 }, shapes: marks,
    annotations: price === null ? [] : [{ x: 1, xref: "paper", xanchor: "right", y: price, yanchor: "bottom", showarrow: false, text: `sellers receive ${number(price)}`, font: { size: 12 } }],
    xaxis: { title: { text: "kW" }, rangemode: "tozero" }, yaxis: { title: { text: `${page.data.currency}/kWh` } } } };
}

function prices() {
  const d = step.data, t = theme(), x = hours(), text = x.map((_, k) => clock(k));
  const of = (name, y, hue, more = {}) => ({ type: "scatter", mode: "lines", x, y, name, text, line: { color: hue, width: 1.8, shape: "hv" }, hovertemplate: `%{text} ${name}: %{y:.4~g}<extra></extra>`, ...more });
  return { traces: [of("retail", d.retail, t.red), of("feed-in", d.feed_in, t.grey), of("local market", d.reference_price, t.blue, { mode: "markers", marker: { size: 6 } }),
    of("traded, kW", d.cleared_kw.map((row) => sum(row.map((v) => Math.max(0, v)))), t.green, { yaxis: "y2", fill: "tozeroy", fillcolor: faint(t.green, 0.25), showlegend: false })],
    height: 420, layout: { margin: { l: 40, r: 14, t: 40, b: 44 }, shapes: [now()], xaxis: dayAxis("y2"),
      yaxis: { domain: [0.4, 1], title: { text: `${page.data.currency}/kWh` } }, yaxis2: { domain: [0, 0.3], title: { text: "traded, kW" }, rangemode: "tozero" } } };
}

function ledger() {
  const d = step.data, t = theme(), x = hours(), text = x.map((_, k) => clock(k));
  const bar = (name, y, hue) => ({ type: "bar", name, x, y, text, textposition: "none", marker: { color: hue }, hovertemplate: `%{text} ${name}: %{y}<extra></extra>` });
  return { traces: [bar("in time", d.included, t.blue), bar("too late", d.missed, t.orange),
    { type: "scatter", mode: "markers", name: "lost", x: x.filter((_, k) => d.reverted[k] > 0), y: d.included.filter((_, k) => d.reverted[k] > 0), marker: { symbol: "x", size: 11, color: t.red }, hovertemplate: "settlement lost<extra></extra>" },
    { type: "scatter", mode: "lines", name: "final after, s", x, y: d.finality_s, text, yaxis: "y2", line: { color: t.green, shape: "hv" }, showlegend: false, hovertemplate: "%{text}: final after %{y:.4~g} s<extra></extra>" }],
    height: 400, layout: { barmode: "stack", bargap: 0.15, margin: { l: 40, r: 14, t: 40, b: 44 }, shapes: [now()], xaxis: dayAxis("y2"),
      yaxis: { domain: [0.38, 1], title: { text: "orders" } }, yaxis2: { domain: [0, 0.28], title: { text: "final after, s" }, rangemode: "tozero" } } };
}

const empty = (text) => ({ traces: [], height: HEIGHT, layout: { xaxis: { visible: false }, yaxis: { visible: false },
  annotations: [{ text, xref: "paper", yref: "paper", x: 0.5, y: 0.5, showarrow: false }] } });

// ---- words ------------------------------------------------------------------------------------

function cards(place, entries) {
  const box = document.getElementById(place);
  box.replaceChildren(...entries.map(([value, text]) => {
    const card = document.createElement("div");
    card.append(Object.assign(document.createElement("b"), { textContent: value }), text);
    return card;
  }));
}

function say() {
  const d = step.data, t = step.slot, { currency, seats } = page.data;
  const traded = sum(d.cleared_kw[t].map((v) => Math.max(0, v)));
  const lowest = Math.min(...d.voltage_pu[t].map((v) => v ?? Infinity));
  document.getElementById("clock").textContent = clock(t);
  cards("now", [
    [`${number(d.reference_price[t])} ${currency}/kWh`, d.reference_price[t] === null ? "local market: no trade" : `local market, between feed-in ${number(d.feed_in[t])} and retail ${number(d.retail[t])}`],
    [`${number(traded)} kW`, `traded locally; the feeder ${d.slack_kw[t] < 0 ? "gives" : "takes"} ${number(Math.abs(d.slack_kw[t]))} kW ${d.slack_kw[t] < 0 ? "to" : "from"} outside`],
    [`${number(sum(d.cost[t]))} ${currency}`, "cost of the community in this interval"],
    [`${d.included[t]} in time, ${d.missed[t]} late`, `orders; settlement ${d.reverted[t] > 0 ? "lost" : `final after ${number(d.finality_s[t])} s`}`],
    [`${number(lowest)} p.u.`, `lowest voltage; branches loaded up to ${number(Math.max(d.line_percent[t] ?? 0, d.trafo_percent[t] ?? 0))} %`],
  ]);
  const n = step.seat, net = seatNet(t, n), held = charge(t, n), late = d.latency_s[t][n];
  cards("mine", [
    [`${number(Math.abs(net))} kW`, `${seatName(n)} ${net > 0 ? "exports" : "imports"}: ${number(d.cleared_kw[t][n])} kW of it by the market, ${number(d.grid_kw[t][n])} kW by the supplier`],
    ...(held === null ? [] : [[`${number(held)} %`, "of its batteries' capacity is stored"]]),
    [`${number(costSoFar(t, n))} ${currency}`, "paid since midnight, battery wear and what is left in store counted; negative: earned"],
    [late === null ? "–" : `${number(late)} s`, late === null ? "no order of it came into a block" : "from its order to a block"],
  ]);
}

// ---- stepping ---------------------------------------------------------------------------------

async function load() {
  const answer = await fetch(`/day/${step.row}/${step.day}.json`);
  step.data = await answer.json();
  document.getElementById("slot").max = step.data.retail.length - 1;
}

async function show() {
  say();
  await drawAll();
}

function move(slot) {
  const count = step.data.retail.length;
  step.slot = (slot + count) % count;
  document.getElementById("slot").value = step.slot;
  return show();
}

function chooseSeat(n) {
  step.seat = n;
  document.querySelector('[data-for="seat"] select').value = n;
  show();
}

function play() {
  const button = document.getElementById("play");
  step.playing = !step.playing;
  button.textContent = step.playing ? "Pause" : "Play";
  const on = async () => {
    if (!step.playing) return;
    await move(step.slot + 1);
    setTimeout(on, 350);
  };
  on();
}

function controls() {
  const { rows, first_slot: days, slot_h, seats } = page.data;
  const anew = (key) => async (value) => { step[key] = Number(value); await load(); await show(); };
  choose("step", "day", days.map((slot, k) => [k, `day ${Math.floor((slot * slot_h) / 24)}, ${["middling", "low", "high"][k]} potential`]), 0, anew("day"));
  choose("step", "of", rows.map((row) => [row.number, row.title]), step.row, anew("row"));
  choose("seat", "seat", seats.map((seat, n) => [n, seatName(n), words(seat.replace(/_\d+$/, ""))]), 0, (n) => chooseSeat(Number(n)));
  document.getElementById("slot").addEventListener("input", (event) => move(Number(event.target.value)));
  document.getElementById("back").addEventListener("click", () => move(step.slot - 1));
  document.getElementById("on").addEventListener("click", () => move(step.slot + 1));
  document.getElementById("play").addEventListener("click", play);
  document.addEventListener("keydown", (event) => {
    if (/SELECT|INPUT/.test(event.target.tagName)) return;
    if (event.key === "ArrowLeft") move(step.slot - 1);
    if (event.key === "ArrowRight") move(step.slot + 1);
  });
}

async function begin() {
  step.row = page.data.rows[0].number;
  controls();
  await load();
  step.slot = Math.floor(step.data.retail.length / 2);
  document.getElementById("slot").value = step.slot;
  say();
  return [["feeder", feeder], ["seat", seatFigure], ["book", book], ["prices", prices], ["ledger", ledger]];
}

start(begin);
