// Live counts and keys. All else of the page works without it.
"use strict";

// Pages with an open job ask for themselves again, and take over what has changed.
const PAUSE = 2000;

function live() {
  const part = document.querySelector("#live[data-live]");
  if (!part) return;
  setTimeout(async () => {
    if (!document.hidden) await refresh(part);
    live();
  }, PAUSE);
}

async function refresh(part) {
  try {
    const reply = await fetch(location.href, { headers: { Accept: "text/html" } });
    if (!reply.ok) return;
    const page = new DOMParser().parseFromString(await reply.text(), "text/html");
    const fresh = page.querySelector("#live");
    // Nothing moves under the hands of somebody who has the focus in it.
    if (fresh && fresh.innerHTML !== part.innerHTML && !part.contains(document.activeElement)) part.replaceWith(fresh);
  } catch {
    // The command has ended; the page stays as it was.
  }
}

live();

// Keys: each is a link's or a button's of the page, which has them named.
let gone = false;

addEventListener("keydown", (event) => {
  const field = document.querySelector("[data-edit]");
  const typing = event.target.closest?.("input, textarea, select");
  if (typing) {
    if (event.key === "Escape") typing.blur();
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) document.querySelector("[data-save]")?.click();
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || gone) return;
  if (event.key === "e" && field) {
    event.preventDefault();
    field.focus();
    field.select?.();
    return;
  }
  const named = document.querySelector(`[data-key="${CSS.escape(event.key)}"]`);
  if (!named) return;
  // A second key that comes before the next row is there would judge a row that nobody has seen.
  gone = true;
  named.click();
});

// A page that comes back from the browser's memory takes keys again.
addEventListener("pageshow", () => { gone = false; });

// A verdict brings the next row in its own reply: one request a row, where a form and its redirect make two.
addEventListener("submit", async (event) => {
  const form = event.target.closest("form.judge");
  if (!form) return;
  event.preventDefault();
  gone = true;
  const said = new URLSearchParams(new FormData(form, event.submitter));
  try {
    const reply = await fetch(form.action, { method: "POST", body: said, headers: { "Sqlbatch-Next": "here" } });
    const address = reply.headers.get("Sqlbatch-Address");
    const page = new DOMParser().parseFromString(await reply.text(), "text/html");
    const main = document.querySelector("main");
    main.replaceChildren(...page.querySelector("main").childNodes);
    main.className = page.querySelector("main").className;
    document.querySelector("footer").replaceChildren(...page.querySelector("footer").childNodes);
    document.title = page.title;
    scrollTo(0, 0);
    // The reader of a screen begins with the new row.
    main.tabIndex = -1;
    main.focus({ preventScroll: true });
    if (address) history.pushState(null, "", address);
    gone = false;
  } catch {
    // The form goes the usual way, which says what is wrong.
    form.append(Object.assign(document.createElement("input"), { type: "hidden", name: "verdict", value: said.get("verdict") }));
    form.submit();
  }
});

addEventListener("popstate", () => location.reload());
