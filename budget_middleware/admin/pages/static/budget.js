// What the pages do besides showing what the server rendered: live parts, the dialog that releases, the colours.
// The server renders every part, escaped, so that nothing is composed of data here.
"use strict";

const NEWEST_SHOWN = 12; // As CHANGES_MAX of the server.

const one = (selector, within = document) => within.querySelector(selector);
const all = (selector, within = document) => [...within.querySelectorAll(selector)];

// Parts of a page that arrive as text. A row is parsed within a table, or the parser would drop it.
function parsed(html) {
  const template = document.createElement("template");
  template.innerHTML = html;
  return template.content.firstElementChild;
}

function banner(text) {
  const shown = one("[data-banner]");
  shown.textContent = text;
  shown.hidden = text === "";
}

// A row that somebody stands on with the keyboard keeps the focus when it is renewed.
function replace(old, made) {
  const focused = old.contains(document.activeElement) ? all("a, button", old).indexOf(document.activeElement) : -1;
  old.replaceWith(made);
  if (focused >= 0) all("a, button", made)[focused]?.focus();
}

const on = {
  counter({ key, html }) {
    const old = all("[data-counters] > tr").find((row) => row.dataset.key === key);
    if (!old) return;
    const made = parsed(html);
    made.classList.add("changed");
    replace(old, made);
  },
  entry({ key, html }) {
    const body = one("[data-entries]");
    if (!body || [...body.rows].some((row) => row.dataset.key === key)) return;
    one("[data-entries-holder]").hidden = false;
    one("[data-waiting]").hidden = true;
    const made = parsed(html);
    made.classList.add("changed");
    body.prepend(made);
    while (body.rows.length > NEWEST_SHOWN) body.lastElementChild.remove();
  },
  holds: part,
  refusals: part,
  away() { banner("The store does not answer: what you see is what it said last."); },
  back() { banner(""); },
  reload() { location.reload(); },
  "signed-out"() { location.reload(); },
};

function part({ key, html }) {
  const place = one(`[data-part="${key}"]`);
  if (!place) return;
  const focused = place.contains(document.activeElement) ? document.activeElement.dataset.release : null;
  place.innerHTML = html;
  if (focused) all("[data-release]", place).find((button) => button.dataset.release === focused)?.focus();
}

function listen(address) {
  let source = null;
  const open = () => {
    source = new EventSource(address);
    source.addEventListener("open", () => { document.body.dataset.connected = "yes"; banner(""); });
    source.addEventListener("error", () => {
      delete document.body.dataset.connected;
      // A session that is over is answered 401, and a browser does not try again then.
      banner(source.readyState === EventSource.CLOSED
        ? "You are signed out, or the gateway is gone: load the page again."
        : "The connection is lost; trying again.");
    });
    for (const [name, handle] of Object.entries(on)) {
      source.addEventListener(name, (event) => handle(JSON.parse(event.data)));
    }
  };
  const pause = one("[data-pause]");
  pause?.addEventListener("click", () => {
    const pauses = pause.getAttribute("aria-pressed") !== "true";
    pause.setAttribute("aria-pressed", String(pauses));
    pause.textContent = pauses ? "Go on" : "Pause";
    if (pauses) { source.close(); delete document.body.dataset.connected; } else { location.reload(); }
  });
  open();
  addEventListener("pagehide", () => source.close());
}

// Ages and leases of reservations go on between what the server says.
function span(seconds) {
  const whole = Math.floor(seconds);
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  if (whole < 86400) return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
  return `${Math.floor(whole / 86400)} d ${Math.floor((whole % 86400) / 3600)} h`;
}

function tick() {
  if (one("[data-pause]")?.getAttribute("aria-pressed") === "true") return;
  for (const cell of all("[data-age]")) {
    cell.dataset.age = Number(cell.dataset.age) + 1;
    cell.textContent = span(Number(cell.dataset.age));
  }
}

function releases() {
  const dialog = one("[data-release-dialog]");
  if (!dialog) return;
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-release]");
    if (!button) return;
    one("[data-release-id]", dialog).textContent = button.dataset.release;
    one("[name=id]", dialog).value = button.dataset.release;
    dialog.showModal();
    one("[name=reason]", dialog).focus();
  });
  one("[data-close]", dialog).addEventListener("click", () => dialog.close());
}

function colours() {
  const button = one("[data-theme-switch]");
  const names = { "": "as the system has them", light: "light", dark: "dark" };
  const order = ["", "light", "dark"];
  const show = () => {
    const now = document.documentElement.dataset.theme || "";
    button.setAttribute("aria-label", `Colours: ${names[now]}`);
    button.title = `Colours: ${names[now]}`;
  };
  button?.addEventListener("click", () => {
    const next = order[(order.indexOf(document.documentElement.dataset.theme || "") + 1) % order.length];
    if (next) { document.documentElement.dataset.theme = next; localStorage.setItem("budget-theme", next); }
    else { delete document.documentElement.dataset.theme; localStorage.removeItem("budget-theme"); }
    show();
  });
  if (button) show();
}

function keys() {
  document.addEventListener("keydown", (event) => {
    const search = one("[data-search]");
    if (event.key !== "/" || !search || event.ctrlKey || event.metaKey || event.altKey) return;
    if (/^(INPUT|TEXTAREA|SELECT)$/.test(document.activeElement?.tagName || "")) return;
    event.preventDefault();
    search.focus();
    search.select();
  });
  for (const field of all("[data-submit]")) field.addEventListener("change", () => field.form.requestSubmit());
}

colours();
keys();
releases();
if (document.body.dataset.live) {
  listen(document.body.dataset.live);
  setInterval(tick, 1000);
}
