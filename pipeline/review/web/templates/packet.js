// A packet by keyboard: decisions stay in this browser until the file with all of them is saved.
"use strict";
(() => {
  const { packet, key: secret, codeNeeded, commentNeeded } = document.body.dataset;
  const rows = [...document.querySelectorAll("#alerts > li")];
  const names = { fraud: "fraud", not_fraud: "not fraud", unsure: "unsure" };
  const labels = { f: "fraud", n: "not_fraud", u: "unsure" };
  const place = `assay-packet-${packet}`;
  const help = document.getElementById("help");
  const said = document.getElementById("said");
  let decisions = new Map();
  let past = []; // [key, what stood there before], for undo
  let at = 0;
  let isLost = false; // whether there are decisions that neither this browser nor a file has

  const say = (text) => { said.textContent = text; };
  const field = (row, name) => row.querySelector(`.${name}`);
  const comment = (row) => field(row, "comment").value.toWellFormed?.() ?? field(row, "comment").value;

  function keep() {
    try {
      localStorage.setItem(place, JSON.stringify({ decisions: [...decisions], past }));
      isLost = false;
    } catch {
      isLost = decisions.size > 0;
    }
  }

  function bringBack() {
    try {
      const stored = JSON.parse(localStorage.getItem(place) ?? "null");
      if (!stored) return;
      decisions = new Map(stored.decisions);
      past = stored.past;
      say(`${decisions.size} decided before; they are here again.`);
    } catch {
      say("This browser keeps nothing of this page: save the decisions before you close it.");
    }
  }

  function show(row) {
    const decision = decisions.get(row.dataset.key);
    const tag = row.querySelector(".tag");
    tag.hidden = !decision;
    tag.textContent = decision ? names[decision.label] : "";
    tag.className = `tag ${decision?.label === "fraud" ? "fraud" : decision?.label === "not_fraud" ? "normal" : ""}`;
    if (decision) {
      field(row, "comment").value = decision.comment;
      if (field(row, "code")) field(row, "code").value = decision.code;
    }
    document.getElementById("count").textContent = `${decisions.size} of ${rows.length} decided`;
  }

  function go(to) {
    rows[at].classList.remove("here");
    at = Math.max(0, Math.min(rows.length - 1, to));
    rows[at].classList.add("here");
    rows[at].querySelector("h2 a").focus({ preventScroll: true });
    rows[at].scrollIntoView({ block: "nearest" });
  }

  function lacks(row, label) {
    const needs = (text, name) => text.split(" ").includes(label) && !field(row, name)?.value.trim();
    if (needs(codeNeeded, "code")) return ["code", "a reason code"];
    return needs(commentNeeded, "comment") ? ["comment", "a comment"] : null;
  }

  function decide(label) {
    const row = rows[at];
    const lack = lacks(row, label);
    if (lack) {
      say(`A decision of ${names[label]} needs ${lack[1]}.`);
      field(row, lack[0])?.focus();
      return;
    }
    const decision = { label, code: field(row, "code")?.value ?? "", comment: comment(row), at: new Date().toISOString() };
    past.push([row.dataset.key, decisions.get(row.dataset.key) ?? null]);
    decisions.set(row.dataset.key, decision);
    keep();
    show(row);
    const next = rows.findIndex((other, number) => number > at && !decisions.has(other.dataset.key));
    const left = rows.length - decisions.size;
    go(next >= 0 ? next : at);
    say(`${names[label][0].toUpperCase()}${names[label].slice(1)}. ${left ? `${left} left.` : "All are decided: save them with d."}`);
  }

  function undo() {
    const last = past.pop();
    if (!last) { say("There is nothing to take back."); return; }
    const [key, before] = last;
    if (before) decisions.set(key, before);
    else decisions.delete(key);
    keep();
    const row = rows.find((other) => other.dataset.key === key);
    show(row);
    go(rows.indexOf(row));
    say("Taken back.");
  }

  // What is written beside a decision counts as part of it also when it is written afterwards.
  function note(row) {
    const decision = decisions.get(row.dataset.key);
    if (!decision) return;
    decision.comment = comment(row);
    decision.code = field(row, "code")?.value ?? "";
    keep();
  }

  const bytes = (digits) => Uint8Array.from(digits.match(/../g), (pair) => parseInt(pair, 16));

  async function sign(text) {
    const algorithm = { name: "HMAC", hash: "SHA-256" };
    const key = await crypto.subtle.importKey("raw", bytes(secret), algorithm, false, ["sign"]);
    const signature = await crypto.subtle.sign("HMAC", key, new TextEncoder().encode(text));
    return [...new Uint8Array(signature)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  }

  async function save() {
    if (!decisions.size) { say("Nothing is decided yet."); return; }
    if (!globalThis.crypto?.subtle) { say("This browser cannot sign a file here; open the page in another one."); return; }
    const body = JSON.stringify({ packet, decisions: Object.fromEntries(decisions) });
    const file = JSON.stringify({ body, signature: await sign(body) });
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([file], { type: "application/json" }));
    link.download = `decisions-${packet}.json`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
    isLost = false;
    say(`Saved ${decisions.size} decisions. The desk takes the file in once: hand it in when you are through.`);
  }

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || help.open) return;
    if (event.target.matches("textarea, select")) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    if (event.key === "j" || event.key === "ArrowDown") go(at + 1);
    else if (event.key === "k" || event.key === "ArrowUp") go(at - 1);
    else if (event.key in labels) decide(labels[event.key]);
    else if (event.key === "c") field(rows[at], "comment").focus();
    else if (event.key === "z") undo();
    else if (event.key === "d") save();
    else if (event.key === "?") help.showModal();
    else return;
    event.preventDefault();
  });
  document.getElementById("alerts").addEventListener("click", (event) => {
    const row = event.target.closest("li");
    if (!row) return;
    if (event.target.closest("h2 a")) { event.preventDefault(); go(rows.indexOf(row)); }
    const label = event.target.closest("button")?.dataset.label;
    if (label) { at = rows.indexOf(row); decide(label); }
  });
  document.getElementById("alerts").addEventListener("change", (event) => note(event.target.closest("li")));
  document.getElementById("save").addEventListener("click", save);
  document.getElementById("undo").addEventListener("click", undo);
  document.getElementById("open-help").addEventListener("click", () => help.showModal());
  document.getElementById("close-help").addEventListener("click", () => help.close());
  addEventListener("beforeunload", (event) => { if (isLost) event.preventDefault(); });
  document.body.classList.add("by-key");
  bringBack();
  rows.forEach(show);
  go(Math.max(0, rows.findIndex((row) => !decisions.has(row.dataset.key))));
})();
