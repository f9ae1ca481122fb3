// An alert that arrives is told to screen readers, in words that stand outside of the part that is replaced, and moves.
"use strict";
(() => {
  const shown = () => [...document.querySelectorAll("[data-alert]")];
  let known = new Set(shown().map((alert) => alert.dataset.alert));
  document.addEventListener("htmx:afterSettle", () => {
    const fresh = shown().filter((alert) => !known.has(alert.dataset.alert));
    known = new Set(shown().map((alert) => alert.dataset.alert));
    fresh.forEach((alert) => alert.classList.add("new"));
    if (fresh.length) document.getElementById("heard").textContent = fresh.map((alert) => alert.dataset.said).join(" ");
  });
})();
