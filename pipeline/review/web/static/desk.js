// What every page of the desk has: places by key, the list of keys, and words for a screen reader.

const places = { q: "/", v: "/views", d: "/dashboard", e: "/events", u: "/users", a: "/account", p: "/packets", n: "/next" };
let awaits = false;

export const token = document.querySelector('meta[name="csrf"]')?.content ?? "";

export function say(text) {
  const line = document.getElementById("said");
  if (line) line.textContent = text;
}

// Whether a key is meant for a field or a dialog, and not for the desk.
export function isTyping(event) {
  return event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]") !== null
    || event.target.matches?.("input:not([type=checkbox]), textarea, select") === true;
}

// Sends a form's fields; returns what the server says as an object, whose `status` is the answer's.
export async function send(address, fields) {
  const body = new URLSearchParams();
  for (const [name, value] of fields) body.append(name, value);
  body.append("csrf", token);
  let answer;
  try {
    answer = await fetch(address, { method: "POST", body, headers: { Accept: "application/json" }, redirect: "error" });
  } catch {
    return { status: 0, said: "The desk does not answer; nothing was changed. Try again in a moment." };
  }
  if (answer.status === 401) location.assign(`/login?then=${encodeURIComponent(location.pathname + location.search)}`);
  const content = await answer.json().catch(() => ({}));
  return { said: `The desk answered ${answer.status}; nothing was changed.`, ...content, status: answer.status };
}

// Asks whether a bulk action is meant, in the words of the answer that says what it would do.
export function confirm(answer) {
  document.getElementById("sure-title").textContent = answer.sure;
  document.getElementById("sure-text").textContent = answer.said;
  return ask(document.getElementById("sure"));
}

// Opens a dialog; resolves to whether it was confirmed, with the fields of its form.
function ask(dialog) {
  return new Promise((resolve) => {
    dialog.returnValue = "";
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
    dialog.showModal();
  });
}

// Asks until when an alert is put off; resolves to days from now or a date, "" for not at all.
export function until() {
  const dialog = document.getElementById("snooze");
  const date = dialog.querySelector("input");
  const days = { 1: "1", 7: "7", 3: "30" };
  const listening = new AbortController();
  const { signal } = listening;
  let answer = "";
  date.value = "";
  dialog.addEventListener("keydown", (event) => {
    if (event.target === date || !(event.key in days)) return;
    event.preventDefault();
    answer = days[event.key];
    dialog.close();
  }, { signal });
  dialog.addEventListener("click", (event) => {
    const button = event.target.closest("button[type=button]");
    if (!button) return;
    answer = button.value;
    dialog.close();
  }, { signal });
  dialog.addEventListener("submit", () => { answer = date.value; }, { signal });
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => { listening.abort(); resolve(answer); }, { once: true });
    dialog.showModal();
  });
}

function help() {
  document.getElementById("help")?.showModal();
}

function go(letter) {
  const address = places[letter];
  if (address === "/next") document.getElementById("next")?.requestSubmit();
  else if (address && document.querySelector(`.bar a[href="${address}"]`)) location.assign(address);
  else say(`There is no place ${letter} for you.`);
}

document.addEventListener("keydown", (event) => {
  if (isTyping(event)) {
    if (event.key === "Escape" && event.target.matches?.("input, textarea, select")) event.target.blur();
    return;
  }
  if (event.key === "Shift") return;
  if (awaits) {
    awaits = false;
    event.preventDefault();
    event.stopImmediatePropagation();
    go(event.key.toLowerCase());
  } else if (event.key === "g") {
    awaits = true;
    event.stopImmediatePropagation();
    say("Go to: q queue, n next, v saved views, d dashboard, e events, u users, a account.");
  } else if (event.key === "v" && document.getElementById("view-name")) {
    event.preventDefault();
    event.stopImmediatePropagation();
    document.getElementById("view-name").focus();
  } else if (event.key === "?") {
    event.preventDefault();
    help();
  } else if (event.key === "/") {
    const field = document.getElementById("search");
    if (field) {
      event.preventDefault();
      field.focus();
      field.select();
    }
  }
}, true);

document.getElementById("open-help")?.addEventListener("click", help);
