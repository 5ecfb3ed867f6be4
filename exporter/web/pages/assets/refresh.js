// The page looks at itself again, and leaves alone what a person does with it: what is typed, chosen, opened, read.
"use strict";
(() => {
  const every = Number(document.currentScript.dataset.seconds) * 1000;
  const main = document.getElementById("main");
  const stale = document.getElementById("stale");
  const busy = () => document.hidden || !getSelection().isCollapsed;
  const place = (of) => of && (of.id ? `#${CSS.escape(of.id)}` : of.matches("details[id] > summary")
    ? `#${CSS.escape(of.parentNode.id)} > summary` : of.matches("a[href]") ? `a[href="${CSS.escape(of.getAttribute("href"))}"]` : "");

  async function look() {
    if (busy()) return;
    let next;
    try {
      const answer = await fetch(location.href, { cache: "no-store" });
      if (answer.status >= 500) throw new Error(answer.status);
      next = new DOMParser().parseFromString(await answer.text(), "text/html");
      if (!next.getElementById("main")) throw new Error("another page");
    } catch {
      stale.hidden = false;
      return;
    }
    if (busy()) return;
    stale.hidden = true;
    stale.querySelector("time").textContent = next.querySelector("#stale time")?.textContent ?? "";
    document.title = next.title;
    document.querySelector("link[rel=icon]").href = next.querySelector("link[rel=icon]").getAttribute("href");
    for (const old of main.querySelectorAll("details[id]")) {
      const fresh = next.getElementById(old.id);
      if (fresh) fresh.open = old.open;
    }
    const kept = document.getElementById("filters");
    const focused = main.contains(document.activeElement) && !kept?.contains(document.activeElement)
      ? place(document.activeElement) : "";
    if (kept && next.getElementById("filters")) {  // stays where it is, for a caret that moves is a word half typed
      const fresh = next.getElementById("filters");
      for (const side of ["before", "after"]) {
        const step = side === "before" ? "previousSibling" : "nextSibling";
        while (kept[step]) kept[step].remove();
      }
      const around = [...next.getElementById("main").childNodes];
      const at = around.indexOf(fresh);
      kept.before(...around.slice(0, at));
      kept.after(...around.slice(at + 1));
    } else {
      main.replaceChildren(...next.getElementById("main").childNodes);
    }
    if (focused) main.querySelector(focused)?.focus({ preventScroll: true });
  }

  setInterval(look, every);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) look(); });
})();
