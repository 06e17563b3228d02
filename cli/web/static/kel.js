// What forms cannot do by themselves. Without this file everything works, by the buttons.
"use strict";

// Enter sends a message, Shift+Enter starts a line; an input method's own Enter is left to it.
document.addEventListener("keydown", (event) => {
  const box = event.target;
  if (box.id !== "message" || event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  box.form.requestSubmit();
});

// A form is sent once, however often its button is pressed, until the page is shown again.
const sent = new WeakSet();
document.addEventListener("submit", (event) => {
  if (event.target.method !== "post") return;
  if (sent.has(event.target)) event.preventDefault();
  sent.add(event.target);
});
window.addEventListener("pageshow", () => document.querySelectorAll("form").forEach((form) => sent.delete(form)));
