// The review page's keys, its unblurring while a key or button is held, and its leases. Without it the forms still work.
"use strict";
(() => {
  const form = document.getElementById("decide");
  const figures = [...document.querySelectorAll("#batch figure")];
  const keysOn = document.getElementById("keys-on");
  let chosen = 0;
  let isSent = false;

  const remembered = (() => { try { return localStorage; } catch { return null; } })();
  keysOn.checked = remembered?.getItem("keys") !== "off";
  keysOn.addEventListener("change", () => remembered?.setItem("keys", keysOn.checked ? "on" : "off"));

  function choose(index) {
    if (!figures.length) return;
    cover();
    chosen = (index + figures.length) % figures.length;
    figures.forEach((figure, at) => figure.classList.toggle("chosen", at === chosen));
  }

  function cover() {
    for (const figure of figures) {
      const image = figure.querySelector("img");
      if (image.dataset.shows === "clear") {
        image.dataset.shows = "covered";
        image.src = image.dataset.covered;
        image.alt = image.alt.replace("not blurred", "blurred");
      }
    }
  }

  function uncover(figure) {
    const image = figure.querySelector("img");
    if (image.dataset.shows === "clear") return;
    image.dataset.shows = "clear";
    image.src = image.dataset.clear;
    image.alt = image.alt.replace(/(?<!not )blurred/, "not blurred");
  }

  async function explain(figure) {
    // An image without a picture: the server says why.
    const image = figure.querySelector("img");
    const why = figure.querySelector(".why");
    try {
      const answer = await fetch(image.src, { headers: { "Sec-Purpose": "explain" } });
      const isText = (answer.headers.get("Content-Type") || "").startsWith("text/plain");
      why.textContent = answer.ok ? "" : isText ? await answer.text() : "It is not open before you any more: reload the page.";
    } catch {
      why.textContent = "The review page does not answer.";
    }
    why.hidden = !why.textContent;
  }

  figures.forEach((figure, at) => {
    const image = figure.querySelector("img");
    figure.addEventListener("focusin", () => choose(at));
    image.addEventListener("error", () => explain(figure));
    image.addEventListener("pointerdown", (event) => { choose(at); uncover(figure); event.preventDefault(); });
    if (image.complete && !image.naturalWidth) explain(figure);
    figure.querySelector("[name=left_out]")?.addEventListener("change", (event) =>
      figure.classList.toggle("left-out", event.target.checked));
  });
  for (const name of ["pointerup", "pointercancel", "blur"]) addEventListener(name, cover);
  document.addEventListener("visibilitychange", () => { if (document.hidden) cover(); });
  choose(0);

  const isWriting = (target) => target.matches("textarea, select, input:not([type=radio]):not([type=checkbox])");

  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && isWriting(event.target)) { event.target.blur(); return; }
    if (event.ctrlKey || event.altKey || event.metaKey || !keysOn.checked || isWriting(event.target)) return;
    const key = event.key.toLowerCase();
    const figure = figures[chosen];
    if (/^[1-6]$/.test(key) && form) {
      form.querySelectorAll("[name=reason]")[Number(key) - 1].checked = true;
    } else if (key === "m" && form) {
      form.querySelector("[name=note]").focus();
    } else if (figure && key === "v") {
      if (!event.repeat) uncover(figure);
    } else if (figure && key === "o") {
      if (!event.repeat) figure.querySelector(".original").click();
    } else if (figure && key === "x") {
      figure.querySelector("[name=left_out]")?.click();
    } else if (figures.length > 1 && (key === "arrowleft" || key === "arrowright") && !event.target.matches("[type=radio]")) {
      choose(chosen + (key === "arrowright" ? 1 : -1));
      figures[chosen].focus();
    } else {
      const target = document.querySelector(`[data-key="${CSS.escape(key)}"]`);
      if (!target || event.repeat || isSent) return;
      target.click();
    }
    event.preventDefault();
  });
  document.addEventListener("keyup", (event) => { if (event.key.toLowerCase() === "v") cover(); });

  // A form is sent once, however often a key is pressed.
  for (const each of document.forms) {
    each.addEventListener("submit", (event) => {
      if (isSent) { event.preventDefault(); return; }
      isSent = true;
    });
  }
  addEventListener("pageshow", () => { isSent = false; });

  // A note is kept in this tab until its images are decided: a session may end, or a lease, while it is being written.
  const drafts = (() => { try { return sessionStorage; } catch { return null; } })();
  const draft = form && `note ${form.dataset.who} ${figures.map((figure) => figure.dataset.image).join()}`;
  for (const name of Object.keys(drafts ?? {})) if (name.startsWith("note ") && name !== draft) drafts.removeItem(name);

  if (!form) return;
  const note = form.querySelector("[name=note]");
  note.value ||= drafts?.getItem(draft) ?? "";
  note.addEventListener("input", () => drafts?.setItem(draft, note.value));
  const ids = figures.map((figure) => figure.dataset.image);
  const lost = document.getElementById("lease");
  setInterval(async () => {
    let held = null;
    try {
      const answer = await fetch(form.dataset.renew, {
        method: "POST",
        headers: { "X-CSRF": form.dataset.csrf },
        body: new URLSearchParams(ids.map((id) => ["images", id])),
      });
      if (answer.ok) held = (await answer.json()).held.map(String);
      lost.textContent = answer.ok ? "" : "You are signed out: what you decide now is not saved. Reload the page.";
    } catch {
      lost.textContent = "The review page does not answer: what you decide now is not saved.";
    }
    if (held && ids.some((id) => !held.includes(id))) {
      lost.textContent = "This is not open before you any more, and somebody else may have it. Reload the page.";
    }
    lost.hidden = !lost.textContent;
  }, Math.max(1, Number(form.dataset.lease) / 3) * 1000);
})();
