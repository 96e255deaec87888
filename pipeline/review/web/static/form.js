// The form of a decision by keyboard: r and a number for a reason code, t and a number for a comment's template.

import { isTyping, say } from "/static/desk.js";

const names = { r: "code", t: "template" };
let awaits = "";

const field = (name) => document.getElementById("work")?.elements[name];
const title = (option) => option.textContent.trim();

// Puts a template's text into the comment, behind what stands there.
function fill(select) {
  const comment = field("comment");
  if (select.value) comment.value = [comment.value.trim(), select.value].filter(Boolean).join("\n");
  select.value = "";
}

function choose(name, sign) {
  const select = field(name);
  const option = select?.options["123456789".indexOf(sign) + 1];
  if (sign < "1" || sign > "9" || !option) { say("There is none of that number."); return; }
  select.value = option.value;
  say(`${select.dataset.words}: ${title(option)}.`);
  if (name === "template") fill(select);
}

document.addEventListener("keydown", (event) => {
  if (isTyping(event) || event.key === "Shift") return;
  if (awaits) {
    choose(awaits, event.key);
    awaits = "";
  } else if (field(names[event.key])) {
    awaits = names[event.key];
    say(`${field(awaits).dataset.words}: ${[...field(awaits).options].slice(1, 10).map(title).join(", ")}.`);
  } else return;
  event.preventDefault();
  event.stopImmediatePropagation();
}, true);
document.addEventListener("change", (event) => {
  if (event.target === field("template")) fill(event.target);
});
