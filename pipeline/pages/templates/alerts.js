// Search, sort, filter and group the alerts of this page. All are in it: without this they stand one below the other.
(() => {
  "use strict";
  const STEP = 50, MOST = 30, TOGETHER = "a combination";
  const [tools, list, said, more] = ["tools", "list", "said", "more"].map((name) => document.getElementById(name));
  const text = (node) => (node ? node.textContent.trim() : "");
  const known = (value) => (isNaN(value) ? -Infinity : value);
  const number = (words) => known(parseFloat(words.replace(/,/g, "")));
  const moment = (words) => known(Date.parse(words.replace(/^\w+ /, "").replace(",", "")));
  const pair = (node) => [text(node.querySelector("dt")), text(node.querySelector("dd"))];
  const rows = [...list.children].map((node, rank) => ({
    node, rank,
    words: node.textContent.toLowerCase(),
    amount: number(text(node.querySelector(".amount b"))),
    time: moment(text(node.querySelector(".when"))),
    keys: new Map([...node.querySelectorAll("dl div")].map(pair)),
    why: new Set([...node.querySelectorAll(".what")].map((what) => ("together" in what.dataset ? TOGETHER : text(what)))),
  }));
  const add = (label, options) => {
    const box = document.createElement("label"), select = document.createElement("select");
    box.append(label, select);
    for (const [value, words] of options) select.add(new Option(words, value));
    select.addEventListener("change", () => show(STEP));
    tools.append(box);
    return select;
  };
  const values = (of) => {
    const counts = new Map();
    for (const row of rows) for (const value of of(row)) counts.set(value, (counts.get(value) || 0) + 1);
    return [...counts].sort((one, other) => other[1] - one[1]);
  };
  const named = (counts) => [["", "all"], ...counts.map(([value, count]) => ["=" + value, value + " (" + count + ")"])];
  const search = tools.querySelector("input");
  search.addEventListener("input", () => show(STEP));
  const sort = add("Sort by", [["rank", "most anomalous"], ["amount", "highest amount"], ["time", "latest"]]);
  const reason = add("Reason", named(values((row) => row.why)));
  const names = rows.length ? [...rows[0].keys.keys()].slice(1) : [];
  const groups = names.filter((name) => values((row) => [row.keys.get(name)]).length < rows.length);
  const group = add("Group by", [["", "nothing"], ...groups.map((name) => ["=" + name, name])]);
  const filters = names.map((name) => [name, values((row) => [row.keys.get(name)])])
    .filter(([, counts]) => counts.length > 1 && counts.length <= MOST)
    .map(([name, counts]) => [name, add(name, named(counts))]);
  const order = {
    rank: (one, other) => one.rank - other.rank,
    amount: (one, other) => (one.amount === other.amount ? one.rank - other.rank : other.amount - one.amount),
    time: (one, other) => (one.time === other.time ? one.rank - other.rank : other.time - one.time),
  };
  function show(room) {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let hits = rows.filter((row) => words.every((word) => row.words.includes(word))
      && (!reason.value || row.why.has(reason.value.slice(1)))
      && filters.every(([name, select]) => !select.value || "=" + row.keys.get(name) === select.value));
    hits.sort(order[sort.value]);
    const by = group.value.slice(1), heads = new Map();
    if (group.value) {
      for (const row of hits) {
        const value = row.keys.get(by);
        if (!heads.has(value)) heads.set(value, []);
        heads.get(value).push(row);
      }
      const largest = [...heads].sort((one, other) => other[1].length - one[1].length);
      hits = largest.flatMap(([, mine]) => mine);
    }
    const page = document.createDocumentFragment();
    let last;
    for (const row of hits.slice(0, room)) {
      const value = row.keys.get(by);
      if (group.value && value !== last) {
        const head = document.createElement("h3"), count = heads.get(value).length;
        head.textContent = by + " " + value + ": " + count + (count === 1 ? " alert" : " alerts");
        page.append(head);
        last = value;
      }
      page.append(row.node);
    }
    list.replaceChildren(page);
    const shown = Math.min(room, hits.length);
    said.textContent = hits.length === rows.length ? "" : hits.length + " of " + rows.length + " alerts";
    more.hidden = shown === hits.length;
    more.textContent = "Show more (" + (hits.length - shown) + " left)";
    more.onclick = () => show(room + STEP);
  }
  tools.hidden = false;
  show(STEP);
})();
