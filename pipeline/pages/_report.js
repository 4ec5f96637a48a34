"use strict";
const root = document.documentElement;
const asked = new URLSearchParams(location.search);
const words = JSON.parse(document.getElementById("words").textContent);
const listeners = [];
let lang = "en";

function kept(key) { try { return localStorage.getItem("leadsieve-" + key); } catch { return null; } }
function keep(key, value) { try { localStorage.setItem("leadsieve-" + key, value); } catch { /* a browser may forbid it */ } }
function pick(pair) { return pair ? pair[lang === "zh" ? 1 : 0] : ""; }
function word(key) { return pick(words[key]); }
function number(value, digits = 0) {
  if (value === null || value === undefined) return "–";
  return value.toLocaleString(lang === "zh" ? "zh-CN" : "en-US", {minimumFractionDigits: digits, maximumFractionDigits: digits});
}
function percent(value) { return value === null ? "–" : number(100 * value, value < 0.0995 ? 1 : 0) + "%"; }

/** An element with attributes and children; a child that is a text becomes text, never HTML. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) if (value !== null && value !== false) element.setAttribute(name, value);
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

function meter(share, kind = "") {
  const fill = make("i");
  fill.style.width = Math.round(100 * Math.max(0, Math.min(1, share))) + "%";
  return make("span", {class: "meter " + kind, "aria-hidden": "true"}, fill);
}

/** Data that was packed into the page: base64 of zlib of JSON. */
async function unpack(id) {
  const bytes = Uint8Array.from(atob(document.getElementById(id).textContent.trim()), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return JSON.parse(await new Response(stream).text());
}

function speak(language) {
  lang = language === "zh" ? "zh" : "en";
  root.lang = lang === "zh" ? "zh-CN" : "en";
  root.dataset.lang = lang;
  for (const [attribute, target] of [["", null], ["label-", "aria-label"], ["hint-", "placeholder"]]) {
    for (const element of document.querySelectorAll(`[data-${attribute}en]`)) {
      const text = element.getAttribute(`data-${attribute}${lang}`);
      if (target) element.setAttribute(target, text); else element.textContent = text;
    }
  }
  for (const listener of listeners) listener();
}

function isDark() { return root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches; }
function link() {
  const query = new URLSearchParams({lang});
  if (root.dataset.theme) query.set("theme", root.dataset.theme);
  for (const each of document.querySelectorAll(".top nav a")) each.href = each.getAttribute("href").split("?")[0] + "?" + query;
  return query;
}

document.getElementById("language").addEventListener("click", () => { speak(lang === "zh" ? "en" : "zh"); keep("language", lang); link(); });
document.getElementById("theme").addEventListener("click", () => { root.dataset.theme = isDark() ? "light" : "dark"; keep("theme", root.dataset.theme); link(); });
const theme = asked.get("theme") || kept("theme");
if (theme === "dark" || theme === "light") root.dataset.theme = theme;
const isOld = typeof DecompressionStream === "undefined";
document.getElementById("too-old").hidden = !isOld;
function begin() {
  speak(asked.get("lang") || kept("language") || (/^zh/i.test(navigator.language) ? "zh" : "en"));
  link();
  root.dataset.ready = "yes";
}
