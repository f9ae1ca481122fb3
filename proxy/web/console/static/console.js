// Says so when the page no longer gets its figures: what it shows is then old.
"use strict";
(() => {
  const tell = (isStale) => { document.getElementById("stale").hidden = !isStale; };
  document.addEventListener("htmx:responseError", () => tell(true));
  document.addEventListener("htmx:sendError", () => tell(true));
  document.addEventListener("htmx:timeout", () => tell(true));
  document.addEventListener("htmx:afterRequest", (event) => { if (event.detail.xhr.status > 0 && event.detail.xhr.status < 400) tell(false); });
})();
