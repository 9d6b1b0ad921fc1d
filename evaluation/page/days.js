"use strict";
// Figures of days: key figures from day to day, and one day interval by interval.

const chosenDay = { day: 0, row: null };
const dayOf = (slot) => Math.floor((slot * page.data.slot_h) / 24);

// The rows whose days are in the page, those of the cheapest learned bidder first.
function rowsWithDays() {
  const { rows, daily, learned } = page.data;
  const numbers = Object.keys(daily.rows).map(Number);
  const cost = (k) => rows[k].kpis.community_cost[0];
  // what the operator subsidises (*) comes later
  const rank = (k) => (rows[k].title.endsWith("*") ? 0.5 : 0) + (learned.includes(rows[k].bidder) ? 0 : rows[k].kind === "played" ? 1 : rows[k].kind === "alone" ? 2 : 3);
  return numbers.sort((a, b) => rank(a) - rank(b) || cost(a) - cost(b));
}

function daily() {
  const { daily: found, rows, days } = page.data;
  const numbers = rowsWithDays();
  if (numbers.length < 1) return () => null;
  const alone = numbers.find((k) => rows[k].kind === "alone");
  const state = { figure: "community_cost", one: numbers[0], other: alone ?? "" };
  const again = (key) => (value) => { state[key] = value; draw("daily"); };
  const options = numbers.map((k) => [k, rows[k].title]);
  const known = found.figures.filter((name) => numbers.some((k) => found.rows[k][name].some((v) => v !== null)));
  choose("daily", "key figure", known.map((name) => [name, named(name)]), state.figure, again("figure"));
  choose("daily", "of", options, state.one, again("one"));
  choose("daily", "beside", [["", "nothing"], ...options], state.other, again("other"));
  const x = found.first_slot.map(dayOf);
  const kept = days.first_slot.map(dayOf);
  return () => {
    const beside = state.other !== "" && String(state.other) !== String(state.one);
    const values = (k) => found.rows[k][state.figure];
    const shown = [[state.one, "red", "circle"], ...(beside ? [[state.other, "grey", "diamond"]] : [])];
    const unit = unitOf(state.figure);
    const traces = shown.map(([k, hue, symbol]) => ({
      type: "scatter", mode: "lines+markers", x, y: values(k), name: rows[k].title, connectgaps: false,
      line: { color: faint(colour(hue), 0.35), width: 1 },
      marker: { color: colour(hue), symbol, size: 7, line: { color: theme().ink, width: x.map((day) => (kept.includes(day) ? 2.2 : 0)) } },
      hovertemplate: `<b>day %{x}</b><br>${escaped(rows[k].title)}<br>%{y:.4~g} ${unit}<extra></extra>`,
    }));
    if (beside) {
      const less = values(state.one).map((v, n) => (v === null || values(state.other)[n] === null ? null : v - values(state.other)[n]));
      traces.push({ type: "bar", x, y: less, yaxis: "y2", name: "difference", width: barWidth(x), showlegend: false,
        marker: { color: less.map((v) => (v > 0 ? colour("orange") : colour("blue"))) },
        hovertemplate: `day %{x}: %{y:+.4~g} ${unit}<extra>difference</extra>` });
    }
    return { traces, height: beside ? 520 : 380, layout: {
      margin: { l: 30, r: 16, t: 60, b: 50 }, bargap: 0.3,
      xaxis: { title: { text: "day of the data" }, zeroline: false, anchor: beside ? "y2" : "y" },
      yaxis: { domain: [beside ? 0.38 : 0, 1], title: { text: named(state.figure) } },
      yaxis2: { domain: [0, 0.28], title: { text: "difference" }, visible: beside },
    }, click: (point) => {
      const k = kept.indexOf(point.x);
      if (k >= 0) showDay(k);
    } };
  };
}

const barWidth = (x) => 0.75 * Math.max(1, Math.min(...x.slice(1).map((day, k) => day - x[k])));

function showDay(k) {
  chosenDay.day = k;
  document.querySelector('[data-for="day"] select').value = k;
  draw("day");
  document.getElementById("day").scrollIntoView({ behavior: "smooth" });
}

const POTENTIAL = ["middling", "low", "high"];

function day() {
  const { days, rows } = page.data;
  const numbers = rowsWithDays().filter((k) => days.rows[k]);
  if (!numbers.length) return () => null;
  chosenDay.row = numbers[0];
  choose("day", "day", days.first_slot.map((slot, k) => [k, `day ${dayOf(slot)}, ${POTENTIAL[k]} potential`]), 0,
    (value) => { chosenDay.day = Number(value); draw("day"); });
  choose("day", "of", numbers.map((k) => [k, rows[k].title]), numbers[0],
    (value) => { chosenDay.row = value; draw("day"); });
  return () => dayFigure(days.shared, days.rows[chosenDay.row], chosenDay.day, days.slot_h);
}

// Panels below each other with one time axis; own: [K, T] series of a combination.
function dayFigure(shared, own, k, slot_h) {
  const hours = own.price[k].map((_, n) => n * slot_h);
  const clock = hours.map((h) => `${String(Math.floor(h)).padStart(2, "0")}:${String(Math.round((h % 1) * 60)).padStart(2, "0")}`);
  const t = theme();
  const ledger = own.finality[k].some((v) => v > 0) || own.missed[k].some((v) => v > 0);
  const panels = [`price, ${page.data.currency}/kWh`, "power, kW", ...(own.stored.length ? ["stored, % of all batteries"] : []),
    "voltage, p.u.", ...(ledger ? ["orders too late"] : [])];
  const share = 1 / panels.length;
  const axes = {}, notes = [], traces = [];
  const y = (name) => { const n = panels.findIndex((panel) => panel.startsWith(name)); return n ? `y${n + 1}` : "y"; };
  panels.forEach((panel, n) => {
    axes[n ? `yaxis${n + 1}` : "yaxis"] = { domain: [1 - (n + 1) * share + (n < panels.length - 1 ? 0.045 : 0), 1 - n * share - 0.035], fixedrange: true, nticks: 5 };
    notes.push({ text: `<b>${panel}</b>`, xref: "paper", x: 0, xanchor: "left", yref: "paper", y: 1 - n * share - 0.033, yanchor: "bottom", showarrow: false, font: { size: 12 } });
  });
  const line = (panel, name, values, hue, more = {}) => traces.push({ type: "scatter", mode: "lines", x: hours, y: values, yaxis: y(panel), name,
    text: clock, line: { color: hue, width: 1.8, shape: "hv", ...more.line }, hovertemplate: `%{text} ${name}: %{y:.4~g}<extra></extra>`, ...more.trace });
  line("price", "retail", shared.retail[k], t.red);
  line("price", "feed-in", shared.feed_in[k], t.grey);
  line("price", "local market", own.price[k], t.blue, { trace: { mode: "markers", marker: { size: 5, color: t.blue } } });
  const area = (group, name, values, hue) => line("power", name, values, hue, { line: { width: 0.5 }, trace: { stackgroup: group, fillcolor: faint(hue, 0.75) } });
  area("up", "PV", own.pv[k], t.orange);
  area("up", "batteries", own.given[k], t.green);
  area("down", "loads", shared.load[k].map((v) => -v), t.blue);
  area("down", "batteries charge", own.taken[k], t.green);
  area("down", "cars and others", own.devices[k], t.pink);
  line("power", "traded locally", own.traded[k], t.ink, { line: { dash: "dot", width: 1.6 } });
  if (own.stored.length) line("stored", "stored", own.stored[k], t.green, { trace: { showlegend: false } });
  line("voltage", "highest bus", own.high[k], t.blue, { trace: { showlegend: false } });
  line("voltage", "lowest bus", own.low[k], t.sky, { trace: { showlegend: false, fill: "tonexty", fillcolor: faint(t.blue, 0.15) } });
  if (ledger) traces.push({ type: "bar", x: hours, y: own.missed[k], yaxis: y("orders"), marker: { color: t.orange }, showlegend: false,
    text: clock, textposition: "none", hovertemplate: "%{text}: %{y} orders<extra></extra>" });
  return { traces, height: (isPhone() ? 175 : 160) * panels.length + 70, layout: {
    ...axes, annotations: notes, margin: { l: 34, r: 14, t: isPhone() ? 120 : 60, b: 44 }, hovermode: "closest",
    xaxis: { range: [0, 24], tickvals: [0, 4, 8, 12, 16, 20, 24], title: { text: "hour of the day" }, anchor: panels.length > 1 ? `y${panels.length}` : "y", zeroline: false },
  } };
}

start(() => [
  ["compare", compare()], ["waterfall", waterfall()], ["seeds", seeds()], ["profile", profile()],
  ["validation", validation()], ["deviations", deviations()], ["daily", daily()], ["day", day()],
  ["roles", roles()], ["voltages", voltages()], ["learning", learning()],
]);
