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
