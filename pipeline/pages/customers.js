const MOST = 9;
const meta = JSON.parse(document.getElementById("meta").textContent);
const at = (id) => document.getElementById(id);
const box = at("q"), found = at("found"), parts = new Map();
let index = null, lower = [], places = new Map(), matches = [], marked = -1, chosen = null, request = 0;

function part(place) {
  if (!parts.has(place)) parts.set(place, unpack("part-" + place));
  return parts.get(place);
}
function title(i) { return index.n[i] || index.id[i]; }
function fill(text, ...values) { return values.reduce((said, value, at) => said.replace(`{${at}}`, value), text); }

/** Customers whose id is what was typed, then those that begin with it, then those that contain it. */
function search(text) {
  const asked = text.trim().toLowerCase(), first = [], rest = [];
  if (!asked) return [];
  let count = 0;
  for (let i = 0; i < lower.length; i++) {
    const where = lower[i].indexOf(asked);
    if (where < 0) continue;
    count++;
    if (where === 0 || index.id[i].toLowerCase().startsWith(asked)) { if (first.length < MOST) first.push(i); }
    else if (rest.length < MOST) rest.push(i);
  }
  const all = [...first, ...rest].slice(0, MOST);
  all.count = count;
  return all;
}

function offer() {
  matches = search(box.value);
  marked = matches.length ? 0 : -1;
  const open = matches.length > 0;
  found.hidden = !open;
  box.setAttribute("aria-expanded", String(open));
  found.replaceChildren(...matches.map((i, place) => make("li", {role: "option", id: "option-" + place, "data-i": i}, make("span", {}, title(i)), make("small", {}, index.id[i]))));
  mark(marked);
  at("q-status").textContent = box.value.trim() && !open ? word("nobody") : matches.count > MOST ? fill(word("many"), number(matches.count)) : "";
}

function mark(place) {
  marked = place;
  [...found.children].forEach((each, at) => each.setAttribute("aria-selected", String(at === place)));
  if (place >= 0) box.setAttribute("aria-activedescendant", "option-" + place); else box.removeAttribute("aria-activedescendant");
}

function close() { found.hidden = true; box.setAttribute("aria-expanded", "false"); }
function choose(i) { close(); box.value = title(i); at("q-status").textContent = ""; if (location.hash === "#" + encodeURIComponent(index.id[i])) show(i); else location.hash = encodeURIComponent(index.id[i]); }

function written(name, value) {
  const kind = (meta.facts[name] || [])[2];
  if (kind === "money") return `${meta.currency} ${number(value)}`;
  if (kind === "count") return number(value);
  if (kind === "number") return number(value, 1);
  if (kind === "share") return percent(value);
  if (kind === "day") return String(value).slice(0, 10);
  if (kind === "word") return pick(meta.values[value]) || value;
  return typeof value === "number" ? number(value, Number.isInteger(value) ? 0 : 2) : String(value);
}

function facts(record) {
  const list = make("dl", {class: "facts"});
  const names = [...Object.keys(meta.facts), ...Object.keys(record).filter((name) => !meta.facts[name])].filter((name) => name in record && name !== "lifecycle");
  for (const name of names) {
    const kind = (meta.facts[name] || [])[2];
    const said = kind === "customer" && places.has(record[name]) ? make("a", {href: "#" + encodeURIComponent(record[name])}, title(places.get(record[name]))) : written(name, record[name]);
    list.append(make("dt", {}, meta.facts[name] ? pick(meta.facts[name]) : name), make("dd", {}, said));
  }
  return list;
}

function panel(heading, ...children) { return make("section", {class: "panel"}, make("h3", {}, heading), ...children); }
function badges(score) {
  const target = meta.targets[score.t], line = make("p");
  if (score.g !== undefined) line.append(make("span", {class: `badge g${score.g}`}, pick(target.grades[score.g])), " ");
  if (score.hand) line.append(make("small", {class: "soft"}, `✎ ${word("by_hand")}`), " ");
  if (score.cg !== undefined && score.cg !== score.g) line.append(make("small", {class: "soft"}, `${word("by_card")} ${pick(target.grades[score.cg])}`), " ");
  for (const flag of score.f || []) line.append(make("span", {class: "badge warn"}, "⚑ " + pick(flag)), " ");
  for (const veto of score.x || []) line.append(make("span", {class: "badge warn"}, `${word("veto")}: ${pick(veto)}`), " ");
  return line;
}

const SVG = "http://www.w3.org/2000/svg";
function shape(tag, attributes) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

/** Likelihood over the months, from 0 to the highest, with the months at both ends. */
function curve(past) {
  const top = Math.max(...past.map((one) => one || 0), 0.05), x = (at) => 8 + (at * 284) / Math.max(1, past.length - 1), y = (one) => 52 - (one / top) * 44;
  const svg = shape("svg", {viewBox: "0 0 300 72", role: "img", "aria-label": word("over_time")});
  svg.append(shape("line", {class: "grid", x1: 8, x2: 292, y1: 52, y2: 52}));
  const known = past.map((one, at) => [at, one]).filter((pair) => pair[1] !== null);
  svg.append(shape("polyline", {class: "curve", points: known.map(([at, one]) => `${x(at).toFixed(1)},${y(one).toFixed(1)}`).join(" ")}));
  for (const [at, one] of known) {
    const dot = shape("circle", {class: "dot", cx: x(at).toFixed(1), cy: y(one).toFixed(1), r: at === past.length - 1 ? 3.5 : 2}), tip = shape("title", {});
    tip.textContent = `${meta.months[at]}: ${percent(one)}`;
    dot.append(tip);
    svg.append(dot);
  }
  for (const [at, anchor] of [[known[0][0], "start"], [past.length - 1, "end"]]) {
    const text = shape("text", {x: x(at).toFixed(1), y: 67, "text-anchor": anchor});
    text.textContent = `${meta.months[at] === "now" ? "" : meta.months[at]} ${percent(past[at])}`;
    svg.append(text);
  }
  return make("figure", {class: "chart"}, make("figcaption", {}, word("over_time")), svg);
}

function bars(rows, most) {
  const list = make("div", {class: "points"});
  for (const [name, value, whole, shown] of rows) list.append(make("span", {}, name), meter(whole ? value / whole : 0), make("span", {class: "number"}, shown));
  return list;
}

function changes(score) {
  const target = meta.targets[score.t], said = [];
  if (score.new) return [make("p", {class: "soft"}, word("fresh"))];
  if (score.b !== undefined && score.b !== score.g) said.push(`${pick(target.grades[score.g])}, ${word("was")} ${pick(target.grades[score.b])}`);
  if (score.bp !== undefined && score.p !== undefined && Math.abs(score.p - score.bp) >= 0.0005) said.push(`${word("likelihood")} ${percent(score.bp)} → ${percent(score.p)}`);
  if (score.bs !== undefined && score.bs !== score.s) said.push(`${word("points")} ${number(score.bs)} → ${number(score.s)}`);
  for (const pair of score.gone || []) said.push(`${pick(pair)}: ${word("no_longer")}`);
  if (score.bp === undefined && score.b === undefined) return [];
  return said.length ? said.map((text) => make("p", {}, text)) : [make("p", {class: "soft"}, word("same"))];
}

function scorePanel(score) {
  const target = meta.targets[score.t], isDeal = target.kind === "conversion";
  const heading = `${word("score_" + target.kind)} ${isDeal ? score.id + " " : ""}`;
  const box = panel(heading, make("p", {class: "soft"}, `${target.name} · ${fill(word("in_days"), target.days)}`), badges(score));
  if (score.p !== undefined) {
    box.append(make("div", {class: "figure"}, percent(score.p)), meter(score.p, target.kind === "churn" ? "risk wide-meter" : "wide-meter"));
    if (score.lo !== undefined) box.append(make("p", {class: "soft"}, fill(word("between"), percent(score.lo), percent(score.hi))));
  }
  const list = make("dl", {class: "facts"}), add = (what, ...how) => list.append(make("dt", {}, what), make("dd", {}, ...how));
  if (score.v !== undefined) add(word(target.kind === "churn" ? "at_risk" : "expected"), `${meta.currency} ${number(score.v)}`, score.m === undefined ? "" : ` / ${number(score.m)}`);
  if (score.s !== undefined) add(word("points"), `${number(score.s)} / 100`, score.k < 1 ? ` (${percent(score.k)} ${word("known")})` : "");
  if (score.why.length) {
    const reasons = make("ul", {class: "plain"});
    for (const [en, zh, adds] of score.why) reasons.append(make("li", {}, make("span", {class: `sign ${adds > 0 ? "plus" : "minus"}`}, adds > 0 ? "+" : "−"), pick([en, zh])));
    add(word("reasons"), reasons);
  }
  if (score.ask) add(word("ask"), make("b", {}, pick(score.ask)));
  const since = changes(score);
  if (since.length) add(word("changed"), ...since);
  box.append(list);
  if (score.past) box.append(curve(score.past));
  if (score.u) box.append(make("h4", {}, word("groups")), bars(score.u.map((value, at) => [pick(target.groups[at].name), value, 100, value === null ? "–" : number(value)])));
  if (score.c) {
    const rows = score.c.map((value, at) => {
      const behind = score.y[at], {name, weight} = target.criteria[at];
      const label = make("span", {}, pick(name), make("small", {class: "soft"}, " " + (behind === null ? word("missing") : typeof behind === "number" ? number(behind, Number.isInteger(behind) ? 0 : 1) : behind)));
      return [label, value, weight, `${number(value, Number.isInteger(value) ? 0 : 1)} / ${number(weight, Number.isInteger(weight) ? 0 : 1)}`];
    }).filter((row) => row[2] > 0);
    box.append(make("details", {open: target.kind !== "conversion" ? "" : null}, make("summary", {}, word("criteria")), bars(rows)));
  }
  return box;
}

async function show(i) {
  const turn = ++request, place = Math.floor(i / meta.part), files = await part(place);
  if (turn !== request) return;
  chosen = i;
  const file = files[i - place * meta.part], head = make("header"), line = make("p", {});
  head.append(make("h2", {}, title(i), " ", make("small", {class: "soft"}, index.id[i])));
  if (file.facts.lifecycle) line.append(make("span", {class: "badge"}, pick(meta.stages[file.facts.lifecycle]) || file.facts.lifecycle), " ");
  for (const name of ["abc_value", "abc_revenue"]) if (file.facts[name]) line.append(make("span", {class: `badge ${file.facts[name] === "A" ? "g0" : ""}`}, `${pick(meta.facts[name])}: ${file.facts[name]}`), " ");
  if (file.facts.strategic === "key") line.append(make("span", {class: "badge g0"}, `${pick(meta.facts.strategic)}: ${pick(meta.values.key)}`));
  head.append(line);
  const about = make("div", {class: "stack"}, panel(word("profile"), facts(file.profile)));
  if (Object.keys(file.facts).length) about.append(panel(word("history"), facts(file.facts)));
  const order = {churn: 0, value: 1, conversion: 2}, scores = [...file.scores].sort((a, b) => order[meta.targets[a.t].kind] - order[meta.targets[b.t].kind] || (b.v || 0) - (a.v || 0));
  const judged = make("div", {class: "stack"}, ...scores.map(scorePanel));
  if (!scores.length) judged.append(panel(word("customer"), make("p", {}, word("unscored"))));
  at("file").replaceChildren(head, make("div", {class: "panels"}, judged, about));
}

function start() {
  const list = make("ul", {class: "plain"});
  for (const id of meta.suggested) if (places.has(id)) list.append(make("li", {}, make("a", {href: "#" + encodeURIComponent(id)}, title(places.get(id))), " ", make("small", {class: "soft"}, id)));
  at("file").replaceChildren(panel(word("start"), list));
}

/** The id behind # in the address; one that somebody cut short is taken as it is. */
function hashed() { try { return decodeURIComponent(location.hash.slice(1)); } catch { return location.hash.slice(1); } }

async function follow(byHand) {
  const id = hashed();
  if (!id || id === "main") { chosen = null; if (!id) start(); return; }
  if (!places.has(id)) { at("file").replaceChildren(make("p", {class: "notice"}, word("unknown") + id)); return; }
  await show(places.get(id));
  if (byHand) at("file").focus({preventScroll: true});
}

box.addEventListener("input", offer);
box.addEventListener("keydown", (event) => {
  if (event.key === "ArrowDown" || event.key === "ArrowUp") {
    event.preventDefault();
    if (found.hidden) offer(); else if (matches.length) mark((marked + (event.key === "ArrowDown" ? 1 : matches.length - 1)) % matches.length);
  } else if (event.key === "Enter" && matches.length && !found.hidden) { event.preventDefault(); choose(matches[Math.max(0, marked)]); }
  else if (event.key === "Escape") close();
});
found.addEventListener("mousedown", (event) => { const line = event.target.closest("li"); if (line) { event.preventDefault(); choose(Number(line.dataset.i)); } });
box.addEventListener("blur", close);
document.addEventListener("keydown", (event) => { if (event.key === "/" && document.activeElement !== box) { event.preventDefault(); box.focus(); } });
addEventListener("hashchange", () => follow(true));
listeners.push(() => { if (index) { if (chosen === null) follow(false); else show(chosen); } });

async function open() {
  index = await unpack("packed-index");
  lower = index.id.map((id, i) => (index.n[i] ? index.n[i] + " " + id : id).toLowerCase());
  places = new Map(index.id.map((id, i) => [id, i]));
  await follow(false);
  begin();
}
if (!isOld) open(); else begin();
