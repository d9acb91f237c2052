"use strict";

// Shows what the WebSocket sends, and sends the forms without leaving the page.
const live = document.getElementById("live");
const state = document.getElementById("state");
const scheme = location.protocol === "https:" ? "wss:" : "ws:";
const socket = new WebSocket(`${scheme}//${location.host}${live.dataset.path}`);
let reason = "The server has closed the connection.";

socket.addEventListener("open", () => {
  state.textContent = "Connected.";
});
socket.addEventListener("message", (event) => {
  const message = JSON.parse(event.data);
  if ("denied" in message) {
    reason = `The server has closed the connection: ${message.denied}`;
  } else {
    document.getElementById("stock").textContent = message.stock;
  }
});
socket.addEventListener("close", () => {
  state.textContent = reason;
  state.className = "closed";
  for (const button of live.querySelectorAll("button")) button.disabled = true;
});
live.addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = event.target;
  try {
    const answer = await fetch(form.action, { method: "POST", body: new FormData(form) });
    if (!answer.ok) state.textContent = `The server answered ${answer.status}.`;
  } catch {
    state.textContent = "The server cannot be reached.";
  }
});
