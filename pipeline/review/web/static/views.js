// Saved views by key: a number opens the one in its row.

import { isTyping } from "/static/desk.js";

const links = [...document.querySelectorAll("a.saved")];

document.addEventListener("keydown", (event) => {
  const place = "123456789".indexOf(event.key);
  if (isTyping(event) || place < 0 || !links[place]) return;
  event.preventDefault();
  location.assign(links[place].href);
});
links[0]?.focus();
