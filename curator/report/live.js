"use strict";
(() => {
  const SHOWN = 1000, CELL = 2000;
  const part = (name) => document.getElementById(`live-${name}`);
  const [form, box, said, found, stop] = ["form", "sql", "said", "found", "stop"].map(part);
  const TABLES = "select table_name, column_name, data_type, comment from duckdb_columns() where not internal order by table_name, column_index";
  let running = null;

  // A document's text goes into the page as text, never as HTML.
  function element(name, text, kind) {
    const made = document.createElement(name);
    if (text !== undefined) made.textContent = text;
    if (kind) made.className = kind;
    return made;
  }

  function shown(value) {
    const text = typeof value === "object" ? JSON.stringify(value) : String(value);
    const visible = text.replace(/[\p{Cc}\p{Cf}]/gu, (c) => "\n\t\u200c\u200d".includes(c) ? c : `\\u{${c.codePointAt(0).toString(16)}}`);
    return visible.length > CELL ? `${visible.slice(0, CELL)}…` : visible;
  }

  function cell(value) {
    if (value === null) return element("td", "–", "null");
    if (typeof value === "number") return element("td", String(value), "n");
    const made = element("td");
    made.append(element("bdi", shown(value)));
    return made;
  }

  function table(answer) {
    const made = element("table"), head = element("thead"), body = element("tbody"), names = element("tr");
    made.append(element("caption", "Answer"), head, body);
    head.append(names);
    for (const [i, column] of answer.columns.entries()) {
      const number = answer.rows.slice(0, SHOWN).some((row) => typeof row[i] === "number");
      const heading = element("th", shown(column.name), number ? "n" : "");
      heading.scope = "col";
      heading.title = shown(column.type);
      names.append(heading);
    }
    for (const row of answer.rows.slice(0, SHOWN)) {
      const line = element("tr");
      line.append(...row.map(cell));
      body.append(line);
    }
    return made;
  }

  function say(text, wrong = false) {
    said.textContent = text;
    said.className = wrong ? "wrong" : "";
  }

  async function answered(sql, signal) {
    const reply = await fetch("sql", {
      method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ sql }), signal,
    });
    const answer = await reply.json();
    if (!reply.ok) throw new Error(answer.error);
    return answer;
  }

  async function ask() {
    if (running) running.abort();
    const own = running = new AbortController(), began = performance.now();
    say("Asking…");
    stop.disabled = false;
    found.hidden = true;
    found.replaceChildren();
    try {
      const answer = await answered(box.value, own.signal);
      const rows = `${answer.count.toLocaleString("en")} row${answer.count === 1 ? "" : "s"}`;
      const more = answer.count > SHOWN ? `, the first ${SHOWN.toLocaleString("en")} shown` : "";
      say(`${rows}${more} in ${((performance.now() - began) / 1000).toFixed(2)} s${answer.cut ? `; ${answer.cut}` : ""}`);
      found.append(table(answer));
      found.hidden = false;
    } catch (error) {
      if (own === running) say(error.name === "AbortError" ? "Stopped." : error.message, true);
    } finally {
      if (own === running) {
        running = null;
        stop.disabled = true;
      }
    }
  }

  function take(sql) {
    box.value = sql;
    box.scrollIntoView({ block: "center" });
    box.focus();
  }

  form.addEventListener("submit", (event) => { event.preventDefault(); ask(); });
  box.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); ask(); }
  });
  stop.addEventListener("click", () => running && running.abort());
  part("tables").addEventListener("click", () => { take(TABLES); ask(); });
  for (const query of document.querySelectorAll("details.query code")) {
    const button = element("button", "Ask this", "take");
    button.type = "button";
    button.addEventListener("click", () => take(query.textContent));
    query.parentElement.after(button);
  }
})();
