"use strict";
// Figures of what a sceptic asks: bound, seeds, validation, deviations; and learning.

function waterfall() {
  const falls = page.data.falls;
  return () => {
    if (!falls.length) return null;
    const names = [...falls[0].steps.map((step) => step.name), "optimum"];
    const many = falls.length > 1;
    const t = theme();
    const traces = falls.map((fall, k) => {
      const costs = fall.steps.map((step) => step.cost);
      const whole = (n) => n === 0 || n === costs.length;
      const low = names.map((_, n) => (n === costs.length ? 0 : n === 0 ? 0 : Math.min(costs[n - 1], costs[n])));
      const size = names.map((_, n) => (n === costs.length ? costs.at(-1) : n === 0 ? costs[0] : Math.abs(costs[n] - costs[n - 1])));
      const change = names.map((_, n) => (whole(n) ? number(costs[Math.min(n, costs.length - 1)]) : signed(costs[n] - costs[n - 1])));
      const fill = names.map((_, n) => (n === 0 ? t.grey : n === costs.length ? t.ink : costs[n] <= costs[n - 1] ? t.green : t.orange));
      return { type: "bar", orientation: "h", name: words(fall.ledger), y: names, x: size, base: low, text: change,
        textposition: "outside", cliponaxis: false, constraintext: "none", textfont: { size: 12, color: t.ink },
        marker: { color: fill, opacity: k % 2 ? 0.6 : 1, line: { color: t.ink, width: k % 2 ? 1 : 0 } },
        hovertemplate: names.map((name, n) => `<b>${name}</b>, ${escaped(words(fall.ledger))} ledger, ${escaped(words(fall.bidder))}<br>${change[n]} ${page.data.unit}<extra></extra>`) };
    });
    const all = falls.flatMap((fall) => fall.steps.map((step) => step.cost));
    const [least, most] = [Math.min(...all), Math.max(...all)];
    const span = most - least || 1;
    return { traces, height: 90 + names.length * (24 + 20 * falls.length), layout: {
      barmode: "group", bargap: 0.3, showlegend: many,
      margin: { l: 20, r: 20, t: many ? 36 : 12, b: 50 },
      xaxis: { title: { text: `${page.data.unit}, not from zero` }, range: [least - 0.35 * span, most + 0.25 * span], zeroline: false },
      yaxis: { autorange: "reversed", showgrid: false, fixedrange: true },
    } };
  };
}

const signed = (value) => (value > 0 ? "+" : "") + number(value);

function seeds() {
  return () => {
    const rows = page.data.rows.filter((row) => row.score && row.score.by_seed.length > 1);
    if (!rows.length) return null;
    const percent = (figure) => ["mean", "low", "high"].map((key) => 100 * figure[key]);
    const order = [...rows].sort((a, b) => b.score.mean.mean - a.score.mean.mean).map((row) => row.title);
    return dots(order, [
      { name: "mean, 95 %", colour: colour("red"), size: 11, points: rows.map((row) => {
        const [mean, low, high] = percent(row.score.mean);
        return { row: row.title, mean, low, high, text: spanText(row.title, [mean, low, high], "%") };
      }) },
      { name: "a training seed", colour: colour("grey"), symbol: "diamond", bare: true, size: 7,
        points: rows.flatMap((row) => row.score.by_seed.map((score, k) => (
          { row: row.title, mean: 100 * score, text: `<b>${escaped(row.title)}</b><br>seed ${row.seeds[k] ?? k}: ${number(100 * score)} %` }))) },
    ], { axis: "score, % of the optimum's savings" });
  };
}

function profile() {
  return () => {
    const found = page.data.rows.filter((row) => row.score && row.kind === "played")
      .sort((a, b) => b.score.mean.mean - a.score.mean.mean).slice(0, 6);
    if (!found.length) return null;
    const x = page.data.levels;
    const traces = found.flatMap((row, k) => {
      const { share, low, high } = row.score.profile;
      const band = { type: "scatter", mode: "lines", x, line: { width: 0 }, hoverinfo: "skip", showlegend: false, legendgroup: row.title };
      return [
        { ...band, y: low },
        { ...band, y: high, fill: "tonexty", fillcolor: faint(turn(k), 0.13) },
        { type: "scatter", mode: "lines", x, y: share, name: row.title, legendgroup: row.title, line: { color: turn(k), width: 2.2, dash: ["solid", "dot", "dash"][k % 3] },
          hovertemplate: `<b>${escaped(row.title)}</b><br>above %{x}: %{y:.0%}<extra></extra>` },
      ];
    });
    return { traces, height: isPhone() ? 480 : 420, layout: {
      margin: { l: 30, r: 16, t: 20, b: isPhone() ? 60 + 21 * found.length : 60 + 22 * Math.ceil(found.length / 2) },
      legend: { orientation: isPhone() ? "v" : "h", x: 0, yref: "container", y: 0, yanchor: "bottom", font: { size: 12 } },
      xaxis: { title: { text: "score of a day: 0 grid alone, 1 optimum" } },
      yaxis: { title: { text: "share of days and seeds above" }, tickformat: ".0%", range: [-0.02, 1.04] },
    } };
  };
}

function validation() {
  return () => {
    const found = page.data.validation;
    if (!found.length) return null;
    const of = (key) => found.map((row) => {
      const figure = ["mean", "low", "high"].map((name) => row[key][name]);
      return { row: row.bidder, mean: figure[0], low: figure[1], high: figure[2], text: spanText(words(row.bidder), figure, "%") };
    });
    return dots(found.map((row) => row.bidder), [
      { name: "validation days", colour: colour("sky"), symbol: "diamond", points: of("validation") },
      { name: "days of this report", colour: colour("red"), points: of("judged") },
    ], { axis: "% of the optimum's savings" });
  };
}

function deviations() {
  return () => {
    const rows = page.data.rows.filter((row) => row.deviations);
    if (!rows.length) return null;
    const kinds = [["exploitability", "one seat", "red", "circle"], ["coalition_gain", "all of a role", "blue", "diamond"]];
    const series = kinds.map(([kind, name, hue, symbol]) => ({ name, colour: colour(hue), symbol,
      points: rows.filter((row) => row.deviations[kind]).map((row) => {
        const one = row.deviations[kind];
        const figure = [one.mean, one.low, one.high];
        const how = one.who ? `<br>${escaped(one.who)}: ${escaped(words(one.response))}` : "<br>nothing found";
        return { row: row.title, mean: one.mean, low: one.low, high: one.high, text: spanText(row.title, figure, page.data.unit) + how };
      }) }));
    const order = unique(rows.map((row) => row.title));
    return dots(order, series, { axis: `gain of who plays otherwise, ${page.data.unit}, at least`, lines: [{ x: 0, name: "", dash: "solid" }] });
  };
}

function learning() {
  return () => {
    const curves = Object.entries(page.data.curves);
    if (!curves.length) return null;
    const traces = curves.flatMap(([name, curve], k) => {
      const million = (steps) => steps.map((step) => step / 1e6);
      const line = { type: "scatter", mode: "lines" };
      const found = [];
      if (curves.length === 1) {
        found.push({ ...line, x: million(curve.steps), y: curve.trained, name: "training, exploring", line: { color: theme().grey, width: 1 }, visible: "legendonly",
          hovertemplate: "%{x:.2f} million: %{y:.2f}<extra>training</extra>" });
      }
      if (curve.seeds > 1) {
        const band = { ...line, x: million(curve.at), line: { width: 0 }, hoverinfo: "skip", showlegend: false };
        found.push({ ...band, y: curve.low }, { ...band, y: curve.high, fill: "tonexty", fillcolor: faint(turn(k), 0.2) });
      }
      const again = curve.seeds > 1 ? `, mean of ${curve.seeds} seeds` : "";
      found.push({ ...line, mode: "lines+markers", x: million(curve.at), y: curve.validated, name: `${name}, validation${again}`,
        line: { color: turn(k), width: 2 }, marker: { size: 5 }, hovertemplate: `%{x:.2f} million: %{y:.2f}<extra>${escaped(name)}</extra>` });
      return found;
    });
    return { traces, height: 380, layout: {
      margin: { l: 30, r: 16, t: 36, b: 50 },
      xaxis: { title: { text: "million agent steps, of each seed" } },
      yaxis: { title: { text: `community cost, ${page.data.unit}` } },
    } };
  };
}
