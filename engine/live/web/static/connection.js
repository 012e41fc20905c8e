// The socket to the server: state and pictures down, changes and the browser's camera up. It opens again by itself.

const FIRST_WAIT_MS = 300;
const MOST_WAIT_MS = 5000;
const TRY_AGAIN_LATER = 1013;

export class Connection extends EventTarget {
  #socket = null;
  #wait = FIRST_WAIT_MS;

  constructor(url) {
    super();
    this.url = url;
    this.#open();
  }

  get open() { return this.#socket?.readyState === WebSocket.OPEN; }
  get waiting() { return this.#socket?.bufferedAmount ?? 0; }

  say(message) { if (this.open) this.#socket.send(JSON.stringify(message)); }
  send(bytes) { if (this.open) this.#socket.send(bytes); }
  change(change) { this.say({ type: "patch", change }); }

  #open() {
    const socket = this.#socket = new WebSocket(this.url);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      this.#wait = FIRST_WAIT_MS;
      this.dispatchEvent(new Event("open"));
    };
    socket.onmessage = ({ data }) => {
      if (typeof data !== "string") {
        this.dispatchEvent(new CustomEvent("picture", { detail: data }));
        return;
      }
      const message = JSON.parse(data);
      this.dispatchEvent(new CustomEvent(message.type, { detail: message }));
    };
    socket.onclose = ({ code, reason }) => {
      this.dispatchEvent(new CustomEvent("lost", { detail: code === TRY_AGAIN_LATER ? reason : "" }));
      setTimeout(() => this.#open(), this.#wait);
      this.#wait = Math.min(this.#wait * 2, MOST_WAIT_MS);
    };
  }
}
