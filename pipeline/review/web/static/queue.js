// The queue by keyboard: one key decides and advances; what it did is said.

import { confirm, isTyping, say, send, until } from "/static/desk.js";

const work = document.getElementById("work");
const body = work?.querySelector("tbody");
const actions = { f: "fraud", n: "not_fraud", u: "unsure", s: "snooze", e: "escalate", a: "assign" };
let at = -1;
let from = -1; // where a range of selected rows begins
let busy = Promise.resolve(); // keys are worked off one after the other, however fast they come

const rows = () => [...body.rows];
const box = (row) => row.querySelector("input[name=seen]");
const picked = () => rows().filter((row) => box(row).checked);

function go(place) {
  const all = rows();
  if (!all.length) return;
  all[at]?.classList.remove("here");
  at = Math.max(0, Math.min(all.length - 1, place));
  all[at].classList.add("here");
  all[at].querySelector("a").focus({ preventScroll: true });
  all[at].scrollIntoView({ block: "nearest" });
}

function mark(row, isPicked) {
  box(row).checked = isPicked;
  row.classList.toggle("picked", isPicked);
}

function count() {
  const number = picked().length;
  document.getElementById("picked").textContent = number ? `With the ${number} selected:` : "With the selected rows:";
  return number;
}

function range(to) {
  if (from < 0) from = at;
  const [first, last] = [Math.min(from, to), Math.max(from, to)];
  rows().forEach((row, place) => mark(row, place >= first && place <= last));
  say(`${count()} selected.`);
}

function clear() {
  rows().forEach((row) => mark(row, false));
  from = -1;
  count();
}

// Puts in the rows that an answer brings, in the place of those with the same key.
function show(answer) {
  for (const { key, html } of answer.rows ?? []) {
    const old = body.querySelector(`tr[data-key="${key}"]`);
    if (!old) continue;
    const holder = document.createElement("template");
    holder.innerHTML = html; // the server's own, escaped as on every page
    const isHere = old === rows()[at];
    old.replaceWith(holder.content.firstElementChild);
    if (isHere) rows()[at].classList.add("here");
  }
}

function advance() {
  const all = rows();
  const next = all.findIndex((row, place) => place > at && row.dataset.state === "open");
  go(next >= 0 ? next : at + 1);
}

async function act(name) {
  const some = picked();
  const chosen = some.length ? some : rows().slice(at, at + 1);
  if (!chosen.length) return;
  const what = [["do", name]];
  if (name === "snooze") {
    const day = await until();
    if (!day) { say("Nothing was changed."); go(at); return; }
    what.push(["until", day]);
  }
  let answer = await send("/decide", [...what, ...chosen.map((row) => ["seen", `${row.dataset.key}:${row.dataset.event}`])]);
  if (answer.sure) {
    if (!(await confirm(answer))) {
      say("Nothing was changed.");
      go(at);
      return;
    }
    answer = await send("/decide", [...what, ["sure", "1"], ...answer.seen.map((text) => ["seen", text])]);
  }
  show(answer);
  say(answer.said);
  if (some.length && answer.status === 200) clear();
  if (answer.status === 200 && name !== "assign") advance();
  else go(at);
}

async function undo() {
  const answer = await send("/undo", []);
  show(answer);
  say(answer.said);
  const first = answer.rows?.[0]?.key;
  const place = rows().findIndex((row) => row.dataset.key === first);
  go(place >= 0 ? place : at);
}

function inTurn(task) {
  busy = busy.then(task).catch((error) => say(`That did not work (${error.message}); load the page again.`));
}

if (body) {
  document.addEventListener("keydown", (event) => {
    if (isTyping(event)) return;
    const key = event.key;
    const isButton = event.target.closest?.("button, .bar a, .tools a, thead a, nav a") !== null;
    if (key === "j" || key === "k" || key === "ArrowDown" || key === "ArrowUp") inTurn(() => go(at + (key === "j" || key === "ArrowDown" ? 1 : -1)));
    else if (key === "J" || key === "K") inTurn(() => { if (from < 0) from = at; go(at + (key === "J" ? 1 : -1)); range(at); });
    else if (key === "Enter" && !isButton && at >= 0) location.assign(rows()[at].querySelector("a").href);
    else if (key === "x") inTurn(() => { mark(rows()[at], !box(rows()[at]).checked); from = at; say(`${count()} selected.`); });
    else if (key === "X") inTurn(() => range(at));
    else if (key === "Escape") inTurn(() => { clear(); say("None selected."); });
    else if (key === "z") inTurn(undo);
    else if (key in actions && work.querySelector("button[name=do]")) inTurn(() => act(actions[key]));
    else return;
    event.preventDefault();
  });
  body.addEventListener("click", (event) => {
    const row = event.target.closest("tr");
    if (!row || event.target.closest("a")) return;
    go(rows().indexOf(row));
    if (event.target.matches("input")) { row.classList.toggle("picked", event.target.checked); from = at; say(`${count()} selected.`); }
  });
  work.addEventListener("submit", (event) => {
    const button = event.submitter;
    if (button?.name !== "do") return;
    event.preventDefault();
    inTurn(() => (button.value === "undo" ? undo() : picked().length ? act(button.value) : say("Select rows first: x.")));
  });
  go(0);
}
