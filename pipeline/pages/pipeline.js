const STEP = 60, APART = 20;
const meta = JSON.parse(document.getElementById("meta").textContent);
const at = (id) => document.getElementById(id);
const filters = {text: at("f-text"), target: at("f-target"), grade: at("f-grade"), owner: at("f-owner"), region: at("f-region")};
let data = null, reasons = null, hay = [], order = [], shown = 0, view = "priority", sort = null;
const opened = new Set();

const kind = (i) => meta.targets[data.t[i]].kind;
const moved = (i) => (data.b[i] < 0 || data.g[i] < 0 ? 0 : data.b[i] - data.g[i]);
const worst = (value) => (value === null ? -Infinity : value);
const hasKind = (name) => meta.targets.some((one) => one.kind === name);
const wished = hasKind("conversion") ? "conversion" : hasKind("value") ? "value" : "churn";

/** Lists that can be asked for: who is in it, and how it is sorted at first (columns; a minus sorts down). */
const VIEWS = {
  priority: {has: (i) => kind(i) === wished, by: [["g", 1], ["v", -1], ["p", -1]]},
  risk: {has: (i) => kind(i) === "churn", by: [["v", -1], ["p", -1]]},
  warnings: {has: (i) => data.f[i].length > 0, by: [["v", -1], ["p", -1]]},
  disagree: {has: (i) => data.d[i] !== null && Math.abs(data.d[i]) >= APART, by: [["gap", -1]]},
  changed: {has: (i) => moved(i) !== 0 || data.new[i] === 1, by: [["move", -1], ["p", -1]]},
  all: {has: () => true, by: [["n", 1]]},
};
const HEADS = [["name", "n", 1, ""], ["grade", "g", 1, ""], ["p", "p", -1, "number"], ["stake", "v", -1, "number"],
  ["points", "s", -1, "number"], ["owner", "o", 1, ""], ["region", "r", 1, ""], ["why", null, 0, ""]];

/** A key to sort by: a number, or a text in lower case. */
function key(column) {
  if (column === "n") return (i) => (data.n[i] || data.id[i]).toLowerCase();
  if (column === "o") return (i) => data.owners[data.o[i]] || "\uffff";
  if (column === "r") return (i) => data.regions[data.r[i]] || "\uffff";
  if (column === "g") return (i) => (data.g[i] < 0 ? 99 : data.g[i]);
  if (column === "gap") return (i) => Math.abs(data.d[i] || 0);
  if (column === "move") return (i) => Math.abs(moved(i)) * 10 + data.new[i];
  return (i) => worst(data[column][i]);
}

function filled(select) { return select.value === "" ? null : Number(select.value); }

function apply() {
  const text = filters.text.value.trim().toLowerCase();
  const [target, owner, region] = [filled(filters.target), filled(filters.owner), filled(filters.region)];
  const grade = filters.grade.value;
  const inView = VIEWS[view].has;
  order = [];
  for (let i = 0; i < data.id.length; i++) {
    if (target !== null && data.t[i] !== target) continue;
    if (owner !== null && data.o[i] !== owner) continue;
    if (region !== null && data.r[i] !== region) continue;
    if (grade !== "" && (data.g[i] < 0 || meta.targets[data.t[i]].grades[data.g[i]] !== grade)) continue;
    if (text && !hay[i].includes(text)) continue;
    if (inView(i)) order.push(i);
  }
  const keys = (sort ? [sort] : VIEWS[view].by).map(([column, direction]) => {
    const value = key(column), values = new Map();
    for (const i of order) values.set(i, value(i));
    return [values, direction];
  });
  order.sort((a, b) => {
    for (const [values, direction] of keys) {
      const x = values.get(a), y = values.get(b);
      if (x < y) return -direction;
      if (x > y) return direction;
    }
    return a - b;
  });
  shown = 0;
  at("rows").replaceChildren();
  show(STEP);
}

/** Add rows at the end of the list: never more than can be looked at. */
function show(count) {
  const end = Math.min(order.length, shown + count), part = document.createDocumentFragment();
  for (; shown < end; shown++) {
    part.append(row(order[shown]));
    if (opened.has(order[shown])) part.append(detail(order[shown]));
  }
  at("rows").append(part);
  at("more").hidden = shown >= order.length;
  const said = word("shown").replace("{0}", number(shown)).replace("{1}", number(order.length));
  at("status").textContent = order.length ? said : word("nobody");
}

function badge(i) {
  const target = meta.targets[data.t[i]], cell = make("div");
  if (data.g[i] < 0) { cell.append("–"); return cell; }
  cell.append(make("span", {class: `badge g${data.g[i]}`}, pick(target.names[data.g[i]])));
  const step = moved(i);
  if (data.hand[i]) cell.append(make("small", {}, `✎ ${word("by_hand")}`));
  if (data.cg[i] >= 0 && data.cg[i] !== data.g[i]) cell.append(make("small", {}, `${word("by_card")} ${pick(target.names[data.cg[i]])}`));
  if (data.new[i]) cell.append(" ", make("span", {class: "badge"}, word("is_new")));
  if (step) cell.append(make("small", {class: step > 0 ? "up" : "down"}, `${step > 0 ? "▲" : "▼"} ${word("was")} ${pick(target.names[data.b[i]])}`));
  return cell;
}

function likelihood(i) {
  const p = data.p[i], cell = make("div");
  if (p === null) { cell.append("–"); return cell; }
  cell.append(percent(p));
  const change = data.bp[i] === null ? 0 : Math.round(100 * (p - data.bp[i]));
  cell.append(meter(p, kind(i) === "churn" ? "risk" : ""));
  if (change) cell.append(make("small", {}, `${change > 0 ? "+" : "−"}${Math.abs(change)} ${word("pp")}`));
  return cell;
}

function reasonList(i, most) {
  const list = make("ul");
  for (const [place, adds] of reasons ? reasons.why[i].slice(0, most) : []) {
    list.append(make("li", {}, make("span", {class: `sign ${adds > 0 ? "plus" : "minus"}`}, adds > 0 ? "+" : "−"), pick(reasons.words[place])));
  }
  return list;
}

function apart(i) { return word(data.d[i] > 0 ? "model_higher" : "card_higher").replace("{0}", number(Math.abs(data.d[i]))); }

function why(i) {
  const cell = make("div");
  for (const place of data.f[i]) cell.append(make("span", {class: "badge warn"}, "⚑ " + pick(data.marks[place])), " ");
  for (const place of data.x[i]) cell.append(make("span", {class: "badge warn"}, `${word("veto")}: ${pick(data.marks[place])}`), " ");
  if (view === "disagree" && data.d[i] !== null) {
    cell.append(make("div", {class: "note"}, apart(i)));
  }
  cell.append(reasonList(i, 2));
  cell.append(make("button", {class: "open", type: "button", "aria-expanded": String(opened.has(i)), "aria-label": `${word(opened.has(i) ? "less" : "details")}: ${data.n[i] || data.id[i]}`},
    word(opened.has(i) ? "less" : "details")));
  return cell;
}

function row(i) {
  const name = data.n[i] || data.id[i], target = meta.targets[data.t[i]];
  const who = make("div", {}, make("b", {}, name), make("small", {}, `${data.id[i]} · ${target.name}`));
  const stake = make("div", {}, number(data.v[i]));
  if (data.m[i] !== null) stake.append(make("small", {}, `${word("of")} ${number(data.m[i])}`));
  const points = make("div", {}, data.s[i] === null ? "–" : number(data.s[i]));
  if (data.k[i] !== null && data.k[i] < 1) points.append(make("small", {}, `${percent(data.k[i])} ${word("known")}`));
  const cells = [who, badge(i), likelihood(i), stake, points, data.owners[data.o[i]] || "–", data.regions[data.r[i]] || "–", why(i)];
  const line = make("tr", {class: "row", "data-i": i});
  cells.forEach((cell, place) => {
    const [head, , , align] = HEADS[place];
    line.append(make("td", {class: head === "name" ? "who" : head === "why" ? "why" : align, "data-label": word("h_" + head)}, cell));
  });
  return line;
}

function detail(i) {
  const list = make("dl"), id = data.c[i];
  const add = (what, ...said) => list.append(make("dt", {}, what), make("dd", {}, ...said));
  add(word("reasons"), reasons && reasons.why[i].length ? reasonList(i, 99) : word("no_reasons"));
  if (reasons && reasons.ask[i] !== null) add(word("ask"), pick(reasons.words[reasons.ask[i]]));
  if (data.d[i] !== null && Math.abs(data.d[i]) >= APART) add(word("view_disagree"), apart(i));
  if (id) add(word("file"), make("a", {href: `customers.html?${link()}#${encodeURIComponent(id)}`}, data.n[i] ? `${data.n[i]} (${id})` : id));
  return make("tr", {class: "detail", "data-of": i}, make("td", {colspan: HEADS.length}, list));
}

function toggle(i) {
  const line = at("rows").querySelector(`tr.row[data-i="${i}"]`);
  if (opened.delete(i)) line.nextElementSibling.remove(); else { opened.add(i); line.after(detail(i)); }
  line.lastElementChild.replaceChildren(why(i));
  line.querySelector("button.open").focus();
}

function heads() {
  at("heads").replaceChildren(...HEADS.map(([name, column, first, align]) => {
    const by = sort || VIEWS[view].by[0];
    const direction = column && by[0] === column ? (by[1] > 0 ? "ascending" : "descending") : null;
    const label = word("h_" + name) + (name === "stake" ? ` (${meta.currency})` : "");
    const head = column ? make("button", {type: "button", "data-column": column, "data-first": first}, label) : label;
    return make("th", {scope: "col", class: align, "aria-sort": direction}, head);
  }));
}

function options(select, texts) {
  const before = select.value;
  select.replaceChildren(make("option", {value: ""}, word("any")), ...texts.map(([value, text]) => make("option", {value}, text)));
  select.value = before;
}

function controls() {
  const names = new Map();
  for (const target of meta.targets) target.grades.forEach((grade, place) => names.set(grade, pick(target.names[place])));
  const sorted = (texts) => texts.map((text, place) => [place, text || word("none")]).sort((a, b) => (a[1] < b[1] ? -1 : 1));
  options(filters.target, meta.targets.map((target, place) => [place, target.name]));
  options(filters.grade, [...names]);
  options(filters.owner, sorted(data.owners));
  options(filters.region, sorted(data.regions));
  at("views").replaceChildren(...Object.keys(VIEWS).filter(isThere).map((name) => {
    let count = 0;
    for (let i = 0; i < data.id.length; i++) if (VIEWS[name].has(i)) count++;
    return make("button", {type: "button", "data-view": name, "aria-pressed": String(name === view)}, word("view_" + name), make("span", {class: "count"}, number(count)));
  }));
  at("view-note").textContent = word("note_" + view);
}

function isThere(name) {
  if (name === "risk") return hasKind("churn");
  if (name === "changed") return meta.has_before;
  if (name === "warnings") return data.f.some((some) => some.length);
  return name !== "disagree" || data.d.some((gap) => gap !== null);
}

function draw() { controls(); heads(); apply(); }
function choose(name) { view = name; sort = null; draw(); at("views").querySelector("[aria-pressed=true]").focus({preventScroll: true}); }

at("views").addEventListener("click", (event) => { const button = event.target.closest("button"); if (button) choose(button.dataset.view); });
at("heads").addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  const {column, first} = button.dataset, by = sort || VIEWS[view].by[0];
  sort = [column, by[0] === column ? -by[1] : Number(first)];
  heads();
  apply();
  at("heads").querySelector(`[data-column="${column}"]`).focus();
});
at("filters").addEventListener("input", () => { if (data) apply(); });
at("f-clear").addEventListener("click", () => { for (const one of Object.values(filters)) one.value = ""; apply(); filters.text.focus(); });
at("more").addEventListener("click", () => show(STEP));
at("rows").addEventListener("click", (event) => {
  if (event.target.closest("a") || String(getSelection())) return;
  const line = event.target.closest("tr.row");
  if (line) toggle(Number(line.dataset.i));
});
at("rows").addEventListener("keydown", (event) => {
  const step = {ArrowDown: 1, ArrowUp: -1}[event.key];
  if (!step) return;
  const buttons = [...at("rows").querySelectorAll("button.open")], next = buttons[buttons.indexOf(document.activeElement) + step];
  if (next) { event.preventDefault(); next.focus(); }
});
document.addEventListener("keydown", (event) => {
  if (event.key === "/" && !/^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement.tagName)) { event.preventDefault(); filters.text.focus(); }
});
document.querySelector(".panels").addEventListener("click", (event) => {
  const button = event.target.closest("button[data-grade]");
  if (!button) return;
  for (const one of Object.values(filters)) one.value = "";
  filters.target.value = String(meta.targets.findIndex((target) => target.name === button.dataset.target));
  filters.grade.value = button.dataset.grade;
  const chosen = meta.targets[Number(filters.target.value)].kind;
  choose(chosen === "churn" ? "risk" : chosen === wished ? "priority" : "all");
  at("list-title").scrollIntoView();
});
addEventListener("beforeprint", () => { if (data && shown < 100) show(Math.max(0, 40 - shown)); });
if ("IntersectionObserver" in window) {
  new IntersectionObserver((seen) => { if (data && shown && seen[0].isIntersecting && shown < order.length) show(STEP); }, {rootMargin: "600px"}).observe(at("more"));
}
listeners.push(() => { if (data) draw(); });

async function start() {
  data = await unpack("packed-rows");
  hay = data.id.map((id, i) => [data.n[i], id, data.c[i], data.owners[data.o[i]]].join(" ").toLowerCase());
  if (!hasKind("conversion")) view = hasKind("churn") ? "risk" : "all";
  reasons = await unpack("packed-reasons");
  begin();
}
if (!isOld) start(); else begin();
