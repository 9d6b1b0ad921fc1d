"use strict";
// Figures that compare combinations: any key figure, roles, voltages.

const UNCOMPARED = ["played", "bound"]; // kinds of rows that stand in lists; the grid alone is a line

// Ways to look at a comparison: the bidders under a market, or the markets with a bidder.
function views() {
  const rows = page.data.rows.filter((row) => UNCOMPARED.includes(row.kind) && row.bidder !== "optimum");
  const own = rows.filter((row) => row.kind === "played");
  const found = [];
  const learned = page.data.learned;
  const markets = unique(own.map((row) => row.market));
  const bidders = unique(own.map((row) => row.bidder)).sort((a, b) => learned.includes(b) - learned.includes(a));
  for (const market of markets) {
    const mine = rows.filter((row) => row.market === market);
    if (mine.length) found.push({ words: `bidders under ${words(market)}`, rows: mine, label: "bidder" });
  }
  if (markets.length > 1) {
    for (const bidder of bidders) {
      const mine = own.filter((row) => row.bidder === bidder);
      found.push({ words: `markets with ${words(bidder)}`, rows: mine, label: "market" });
    }
  }
  return found;
}

function sorted(rows, label, value, better) {
  const best = new Map();
  for (const row of rows) {
    const found = value(row);
    if (!found) continue;
    const key = better === "higher" ? -found[0] : found[0];
    if (!best.has(row[label]) || key < best.get(row[label])) best.set(row[label], key);
  }
  return [...best.keys()].sort((a, b) => best.get(a) - best.get(b));
}

function compare() {
  const { data } = page;
  const all = views();
  if (!all.length) return () => null;
  const state = { figure: "community_cost", view: 0, what: "kpis" };
  const again = (key) => (value) => { state[key] = value; draw("compare"); };
  const known = Object.keys(data.kpis).filter((name) => data.rows.some((row) => row.kpis[name]));
  choose("compare", "key figure", known.map((name) => [name, named(name), data.kpis[name].group]), state.figure, again("figure"));
  choose("compare", "compare", all.map((view, k) => [k, view.words]), 0, again("view"));
  const kinds = [["kpis", "value"]];
  if (data.reference) kinds.push(["more", `more than ${words(data.reference)}, same day, market and ledger`]);
  if (data.reference_market) kinds.push(["market_more", `more than ${words(data.reference_market)}, same day, bidder and ledger`]);
  choose("compare", "show", kinds, "kpis", again("what"));
  return () => {
    const { figure, what } = state;
    const view = all[state.view];
    const value = (row) => row[what]?.[figure];
    const better = data.kpis[figure].better;
    const rows = sorted(view.rows, view.label, value, better);
    if (!rows.length) return nothing("These rows have no such figure.");
    const ledgers = unique(view.rows.map((row) => row.ledger));
    const series = ledgers.map((ledger, k) => ({
      name: words(ledger), colour: turn(k), symbol: SYMBOLS[k % SYMBOLS.length],
      points: view.rows.filter((row) => row.ledger === ledger && value(row)).map((row) => {
        const [mean, low, high] = value(row);
        return { row: row[view.label], mean, low, high, text: spanText(row.title, value(row), unitOf(figure)) };
      }),
    }));
    const side = better === "-" ? "" : ` (${better} is better)`;
    return dots(rows, series, { axis: what === "kpis" ? named(figure) + side : `${named(figure)}, more on the same day`,
      lines: what === "kpis" ? bounds(figure) : [{ x: 0, name: "", dash: "solid" }] });
  };
}

// The grid alone and the optimum, where they have the figure.
function bounds(figure) {
  const lines = [];
  for (const row of page.data.rows) {
    const mine = row.kpis[figure];
    if (!mine) continue;
    if (row.kind === "alone" && figure !== "savings") lines.push({ x: mine[0], name: "grid alone" });
    if (row.bidder === "optimum") lines.push({ x: mine[0], name: "optimum", dash: "dot" });
  }
  return lines;
}

function nothing(text) {
  return { traces: [], height: 120, layout: { xaxis: { visible: false }, yaxis: { visible: false },
    annotations: [{ text, xref: "paper", yref: "paper", x: 0.5, y: 0.5, showarrow: false }] } };
}

// A choice of market and ledger, where there are several, for a figure that shows one of them.
function placed(name) {
  const rows = page.data.rows.filter((row) => UNCOMPARED.includes(row.kind) && row.bidder !== "optimum");
  const places = unique(rows.filter((row) => row.kind === "played").map((row) => `${row.market} · ${row.ledger}`));
  const state = { place: places[0] };
  if (places.length) {
    choose(name, "market and ledger", places.map((place) => [place, words(place)]), state.place,
      (value) => { state.place = value; draw(name); });
  }
  const alone = page.data.rows.filter((row) => row.kind === "alone");
  return () => [...rows.filter((row) => `${row.market} · ${row.ledger}` === state.place), ...alone]
    .map((row) => ({ ...row, name: row.kind === "alone" ? "grid alone" : row.bidder }));
}

function roles() {
  const rowsOf = placed("roles");
  return () => {
    const rows = rowsOf();
    const present = Object.keys(page.data.kpis).filter((name) => name.startsWith("cost_") && rows.some((row) => row.kpis[name]));
    if (!present.length) return null;
    const series = present.map((name, k) => {
      const role = name.slice(5);
      return { name: words(role), colour: colour(ROLE[role] || TURN[k % TURN.length]), symbol: SYMBOLS[k % SYMBOLS.length],
        points: rows.filter((row) => row.kpis[name]).map((row) => {
          const [mean, low, high] = row.kpis[name];
          return { row: row.name, mean, low, high, text: spanText(`${words(row.name)}: all ${role} seats`, row.kpis[name], unitOf(name)) };
        }) };
    });
    const order = sorted(rows, "name", (row) => row.kpis.community_cost, "lower");
    return dots(order, series, { axis: `${page.data.unit}, all seats of the role`, lines: [{ x: 0, name: "", dash: "solid" }], gap: 6 });
  };
}

function voltages() {
  const rowsOf = placed("voltages");
  return () => {
    const rows = rowsOf().filter((row) => row.voltages && row.voltages.every((v) => v !== null));
    if (!rows.length) return null;
    const order = sorted(rows, "name", (row) => row.kpis.community_cost, "lower");
    const series = [{ name: "median", colour: colour("blue"), bare: true, points: rows.map((row) => {
      const q = row.voltages.map((v) => v.toFixed(4));
      return { row: row.name, mean: row.voltages[3],
        text: `<b>${escaped(words(row.name))}</b>, p.u.<br>median ${q[3]}<br>middle half ${q[2]} to ${q[4]}<br>1 to 99 % ${q[1]} to ${q[5]}<br>extremes ${q[0]} and ${q[6]}` };
    }) }];
    const figure = dots(order, series, { axis: "voltage, p.u.", lines: limits(rows) });
    const at = figure.traces[0].y;
    const bars = [[0, 6, 1.5, 0.9], [1, 5, 7, 0.3], [2, 4, 11, 0.75]];
    for (const [from, to, width, share] of bars) {
      figure.traces.unshift({ type: "scatter", mode: "lines", hoverinfo: "skip", showlegend: false,
        line: { color: faint(colour("blue"), share), width },
        x: rows.flatMap((row) => [row.voltages[from], row.voltages[to], null]),
        y: at.flatMap((y) => [y, y, null]) });
    }
    figure.traces.at(-1).marker = { color: colour("paper"), size: 7, line: { color: colour("blue"), width: 2 } };
    return figure;
  };
}

// The permitted voltages that lie near those that there were.
function limits(rows) {
  const low = Math.min(...rows.map((row) => row.voltages[0]));
  const high = Math.max(...rows.map((row) => row.voltages[6]));
  const near = 0.6 * (high - low);
  return page.data.band.filter((v) => v > low - near && v < high + near).map((v) => ({ x: v, name: `limit ${v}` }));
}
