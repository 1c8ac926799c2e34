"use strict";
(() => {
  const by = (id) => document.getElementById(id);
  const list = by("list"), body = list.tBodies[0], original = [...body.rows];
  const rows = original.filter((row) => row.dataset.state);
  const tests = new Map(rows.map((row) => [row, by(row.querySelector("a").hash.slice(1))]));
  const order = [...by("state").options].map((option) => option.value);

  // Text and verdict narrow down the rows of the table and the details below it.
  const words = new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));
  function filter() {
    const asked = by("text").value.toLowerCase().split(/\s+/).filter(Boolean), state = by("state").value;
    let shown = 0;
    for (const row of rows) {
      const fits = (!state || row.dataset.state === state) && asked.every((word) => words.get(row).includes(word));
      row.hidden = !fits;
      tests.get(row).hidden = !fits;
      shown += fits;
    }
    let group = null;
    for (const row of original) {
      if (!row.dataset.state) {
        group = row;
        group.hidden = true;
      } else if (row.querySelector("span") && !row.hidden && group) {
        group.hidden = false;
      }
    }
    by("shown").textContent = `${shown} of ${rows.length} tests shown`;
  }
  by("text").addEventListener("input", filter);
  by("state").addEventListener("change", filter);

  // Sorting takes the groups away; the button brings them back.
  const keys = {
    state: (row) => order.indexOf(row.dataset.state),
    text: (row) => row.cells[1].textContent,
    margin: (row) => number(row.cells[5]),
    time: (row) => number(row.cells[6]),
  };
  const number = (cell) => (cell.dataset.v === "" ? Infinity : Number(cell.dataset.v));
  const heads = [...list.tHead.rows[0].cells].filter((head) => head.dataset.key);
  function place(sorted, grouped) {
    body.append(...sorted);
    by("details").append(...sorted.filter((row) => tests.has(row)).map((row) => tests.get(row)));
    list.classList.toggle("flat", !grouped);
    by("grouped").setAttribute("aria-pressed", String(grouped));
  }
  function sort(head) {
    const down = head.getAttribute("aria-sort") === "ascending", key = keys[head.dataset.key];
    for (const other of heads) other.setAttribute("aria-sort", "none");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const compare = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
    const sorted = [...rows].sort((a, b) => compare(key(a), key(b)) * (down ? -1 : 1));
    place([...original.filter((row) => !tests.has(row)), ...sorted], false);
  }
  for (const head of heads) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    button.addEventListener("click", () => sort(head));
    head.append(button);
    head.setAttribute("aria-sort", "none");
  }
  by("grouped").addEventListener("click", () => {
    for (const head of heads) head.setAttribute("aria-sort", "none");
    place(original, true);
  });

  // Details: opened by a link to them, all at once, and on paper.
  const details = [...document.querySelectorAll("details")];
  function reveal() {
    const test = location.hash.length > 1 && by(location.hash.slice(1));
    if (test && test.tagName === "DETAILS") {
      test.hidden = false;
      test.open = true;
      test.scrollIntoView();
      test.querySelector("summary").focus({ preventScroll: true });
    }
  }
  addEventListener("hashchange", reveal);
  by("open").addEventListener("click", () => {
    const open = by("open").textContent === "Open all";
    for (const test of tests.values()) test.open = open;
    by("open").textContent = open ? "Close all" : "Open all";
  });
  let closed = [];
  addEventListener("beforeprint", () => {
    closed = details.filter((one) => !one.open);
    for (const one of closed) one.open = true;
  });
  addEventListener("afterprint", () => {
    for (const one of closed) one.open = false;
  });

  // The command that runs a test again can be copied where the browser allows it.
  function offerCopy(test) {
    const command = test.querySelector("pre");
    if (!command || command.querySelector("button") || !navigator.clipboard) return;
    const text = command.textContent, button = document.createElement("button");
    button.type = "button";
    button.textContent = "Copy";
    button.setAttribute("aria-label", "Copy the command");
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    });
    command.append(button);
  }
  by("details").addEventListener("toggle", (event) => offerCopy(event.target), true);
  for (const test of document.querySelectorAll("details.test[open]")) offerCopy(test);

  // Plots of tests that need no look are packed; they are there before a reader opens or prints their test.
  async function unpack(packed) {
    const bytes = Uint8Array.from(atob(packed.content.textContent), (char) => char.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    const plots = (await new Response(stream).text()).split("\0");
    for (const place of document.querySelectorAll("[data-plots]")) place.innerHTML = plots[place.dataset.plots];
  }
  if (by("packed") && window.DecompressionStream) unpack(by("packed"));

  // Light and dark: as the system, until the reader chooses.
  const themes = ["", "light", "dark"], names = ["as the system", "light", "dark"];
  let theme = 0;
  try {
    theme = Math.max(0, themes.indexOf(localStorage.getItem("llmperf-theme") || ""));
  } catch {
    theme = 0; // no storage is allowed to this page
  }
  function paint() {
    if (themes[theme]) document.documentElement.dataset.theme = themes[theme];
    else delete document.documentElement.dataset.theme;
    by("theme").textContent = `Colours: ${names[theme]}`;
  }
  by("theme").addEventListener("click", () => {
    theme = (theme + 1) % themes.length;
    paint();
    try {
      localStorage.setItem("llmperf-theme", themes[theme]);
    } catch {
      return; // it holds until the page is closed
    }
  });

  by("controls").hidden = by("theme").hidden = false;
  paint();
  filter();
  reveal();
  addEventListener("load", () => setTimeout(reveal)); // the browser's own jump to the test takes the focus away
})();
