// The page of one alert by keyboard. Whoever decides gets the next one, which was loaded meanwhile.

import { confirm, isTyping, say, send, until } from "/static/desk.js";
import "/static/form.js";

const actions = { f: "fraud", n: "not_fraud", u: "unsure", s: "snooze", e: "escalate", a: "assign", c: "comment" };
let ahead = null; // the next alert: where it is, and its page as text
let busy = Promise.resolve();

const alert = () => document.getElementById("alert");
const work = () => document.getElementById("work");
const cases = () => [...document.querySelectorAll(".case tr")].filter((row) => row.querySelector("input"));

// Holds the next alert and loads its page, so that it is there at once.
async function load() {
  ahead = null;
  if (!work()) return;
  const key = alert().dataset.key;
  const next = await send("/next", [["beside", key]]);
  if (next.status !== 200 || !next.key || alert().dataset.key !== key) return;
  const answer = await fetch(next.address).catch(() => null);
  if (answer?.ok) ahead = { key: next.key, address: next.address, text: await answer.text() };
}

function put(page) {
  const main = new DOMParser().parseFromString(page, "text/html").querySelector("main");
  document.querySelector("main").replaceWith(document.adoptNode(main));
  scrollTo(0, 0);
}

async function advance(said) {
  if (!ahead) {
    const next = await send("/next", [["beside", alert().dataset.key]]);
    if (!next.key) { location.assign("/"); return; }
    location.assign(next.address);
    return;
  }
  put(ahead.text);
  history.pushState({}, "", ahead.address);
  document.title = `${document.querySelector(".amount").textContent} · Assay`;
  say(`${said} ${document.querySelector(".amount").textContent} is next.`);
  load();
}

async function reload(said) {
  const answer = await fetch(location.pathname);
  if (answer.ok) put(await answer.text());
  say(said);
}

async function act(name) {
  if (!work()) return;
  const fields = [...new FormData(work())].filter(([field]) => !["csrf", "then"].includes(field));
  if (name === "snooze") {
    const day = await until();
    if (!day) { say("Nothing was changed."); return; }
    fields.push(["until", day]);
  }
  let answer = await send("/decide", [["do", name], ...fields]);
  if (answer.sure) {
    if (!(await confirm(answer))) { say("Nothing was changed."); return; }
    const others = fields.filter(([field]) => field !== "seen");
    answer = await send("/decide", [["do", name], ["sure", "1"], ...others, ...answer.seen.map((text) => ["seen", text])]);
  }
  // What was loaded ahead may be of the same case.
  if (answer.rows?.some(({ key }) => key === ahead?.key)) ahead = null;
  const left = cases().find((row) => !row.querySelector("input").checked);
  if (answer.status !== 200 || name === "assign" || name === "comment") await reload(answer.said);
  else if (left) location.assign(`/alerts/${left.dataset.key}`);
  else await advance(answer.said);
}

async function undo() {
  const answer = await send("/undo", []);
  const key = answer.rows?.[0]?.key;
  if (key && key !== alert().dataset.key) location.assign(`/alerts/${key}`);
  else await reload(answer.said);
}

// Moves to another alert of the case, whose details open where they hold it.
function move(step) {
  const rows = cases();
  if (!rows.length) return;
  const at = rows.findIndex((row) => row.classList.contains("here"));
  const row = rows[Math.min(Math.max(at + step, 0), rows.length - 1)];
  rows.forEach((other) => other.classList.toggle("here", other === row));
  row.closest("details")?.setAttribute("open", "");
  row.scrollIntoView({ block: "nearest" });
  say(`${row.textContent.trim().replace(/\s+/g, " ")}, ${row.querySelector("input").checked ? "ticked" : "left out"}.`);
}

function tick() {
  const row = document.querySelector(".case tr.here") ?? cases()[0];
  const box = row?.querySelector("input");
  if (!box) return;
  box.checked = !box.checked;
  if (row.classList.contains("here")) move(0);
  else move(1);
}

function inTurn(task) {
  busy = busy.then(task).catch((error) => say(`That did not work (${error.message}); load the page again.`));
}

document.addEventListener("keydown", (event) => {
  if (isTyping(event)) return;
  if (event.key in actions && work()) {
    if (event.key === "c" && !work().elements.comment.value) work().elements.comment.focus();
    else inTurn(() => act(actions[event.key]));
  } else if (event.key === "z") inTurn(undo);
  else if (event.key === "j" || event.key === "k") move(event.key === "j" ? 1 : -1);
  else if (event.key === "x") tick();
  else if (event.key === "b") location.assign("/");
  else return;
  event.preventDefault();
});
document.addEventListener("submit", (event) => {
  if (event.target !== work() || event.submitter?.name !== "do") return;
  event.preventDefault();
  inTurn(() => act(event.submitter.value));
});
addEventListener("popstate", () => location.reload());
load();
