// What a screen reader has no name for, of what is shown: fields, links, buttons and pictures. Headings that skip a level, missing landmarks.
() => {
  const named = (e) =>
    (e.labels && e.labels.length) || e.getAttribute("aria-label") || e.innerText?.trim() || e.alt
    || e.querySelector("img[alt], title") || e.title;
  const kinds = "input:not([type=hidden]), select, textarea, button, a[href], img, [role=img], progress";
  const fields = [...document.querySelectorAll(kinds)];
  const levels = [...document.querySelectorAll("h1, h2, h3, h4")].map((e) => +e.tagName[1]);
  const skips = levels.filter((level, at) => at && level > levels[at - 1] + 1).map(String);
  const marks = ["main", "header", "nav", "footer"].filter((name) => !document.querySelector(name));
  const heads = document.querySelectorAll("h1").length === 1 ? [] : ["not one h1"];
  return [...fields.filter((e) => e.checkVisibility() && !named(e)).map((e) => e.outerHTML.slice(0, 90)), ...skips, ...marks, ...heads];
}
