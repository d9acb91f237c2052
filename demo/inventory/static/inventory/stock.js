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
live.addEventListener("submit", (event) => {
  event.preventDefault();
  fetch(event.target.action, { method: "POST", body: new FormData(event.target) });
});
