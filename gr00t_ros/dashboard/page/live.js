// SPDX-License-Identifier: Apache-2.0
// The connection to the dashboard's server. The page's own address holds the token.

const AGAIN_MS = 1000;

/** Live values while the page is visible; a hidden page asks for nothing. */
export class Live {
  /** handlers: onMessage(kind, message), onPicture(number, blob), onConnection(isOpen, why). */
  constructor(handlers) {
    this.handlers = handlers;
    this.socket = null;
    document.addEventListener("visibilitychange", () => this.follow());
    this.follow();
  }

  follow() {
    if (document.hidden) this.socket?.close();
    else if (!this.socket) this.open();
  }

  open() {
    const address = new URL("live", location.href);
    address.protocol = "ws:";
    const socket = (this.socket = new WebSocket(address));
    socket.binaryType = "arraybuffer";
    socket.onopen = () => this.handlers.onConnection(true, "");
    socket.onmessage = ({ data }) => this.receive(data);
    socket.onclose = ({ reason }) => {
      this.socket = null;
      this.handlers.onConnection(false, reason);
      setTimeout(() => this.follow(), AGAIN_MS);
    };
  }

  receive(data) {
    if (typeof data === "string") {
      const { kind, message } = JSON.parse(data);
      this.handlers.onMessage(kind, message);
      return;
    }
    const [number] = new Uint8Array(data, 0, 1);
    this.handlers.onPicture(number, new Blob([new Uint8Array(data, 1)], { type: "image/jpeg" }));
  }
}

/** Ask for something with a text, and return {success, message}. */
export const ask = (path, text) => post(path, { text });

/** Send a body, and return {success, message}. */
export async function post(path, body) {
  try {
    const response = await fetch(path, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    });
    if (response.ok) return await response.json();
    const { detail } = await response.json().catch(() => ({}));
    return { success: false, message: detail || `the dashboard answered ${response.status}` };
  } catch {
    return { success: false, message: "the dashboard does not answer: has it ended?" };
  }
}
