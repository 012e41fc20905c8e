// Pictures of the server onto a canvas: H.264 through WebCodecs, or JPEG where the browser has none or the page is not
// in a secure context; or by WebRTC, where the server was started so. Each picture is drawn as soon as it is decoded, and
// the server is told.

import { Peer } from "./rtc.js";

const HEADER = 20;
const KEY = 1, STALE = 2;

/** What the header of a picture says; see HEADER in broadcast.py. */
export function readHeader(buffer) {
  const view = new DataView(buffer);
  return {
    codec: view.getUint8(0) === 1 ? "h264" : "jpeg",
    key: Boolean(view.getUint8(1) & KEY),
    stale: Boolean(view.getUint8(1) & STALE),
    width: view.getUint16(2, true),
    height: view.getUint16(4, true),
    number: view.getUint32(8, true),
    time: view.getFloat64(12, true),
  };
}

export class Player extends EventTarget {
  #decoder = null;
  #queue = [];
  #busy = false;
  #config = null;
  #peer = new Peer();
  #socketCodec;
  #fixed;
  #turn = 0;

  constructor(connection, canvas, wanted) {
    super();
    this.connection = connection;
    this.canvas = canvas;
    this.context = canvas.getContext("2d", { alpha: false, desynchronized: true });
    this.#fixed = wanted !== undefined;
    this.codec = this.#socketCodec = wanted ?? ("VideoDecoder" in window ? "h264" : "jpeg");
    this.drawn = 0;
    this.quality = { level: 0, levels: 1 };
    connection.addEventListener("video", ({ detail }) => this.#configure(detail));
    connection.addEventListener("picture", ({ detail }) => this.#take(detail));
    connection.addEventListener("lost", () => this.#reset());
    this.#peer.addEventListener("picture", ({ detail }) => {
      this.#draw(detail.picture, { ...detail, number: null, time: null, stale: false });
    });
    this.#peer.addEventListener("lost", () => this.start("webrtc"));
  }

  /** Take pictures, by "socket" or "webrtc"; where the latter fails, say so and take them by the socket. */
  async start(transport) {
    const turn = this.#turn += 1;
    if (transport === "webrtc" && !this.#fixed) {
      this.codec = "webrtc";
      try {
        await this.#peer.connect();
        return;
      } catch (error) {
        if (turn !== this.#turn) return; // the server went away meanwhile, or this began anew
        this.#peer.close();
        this.dispatchEvent(new CustomEvent("fallback", { detail: error.message }));
      }
    }
    this.codec = this.#socketCodec;
    this.connection.say({ type: "video", codec: this.codec });
  }

  /** Milliseconds from the server's sending to the picture here; null where pictures say more by themselves. */
  delay() { return this.codec === "webrtc" ? this.#peer.delay() : null; }

  #reset() {
    this.#turn += 1;
    this.#peer.close();
    if (this.#decoder?.state !== "closed") this.#decoder?.close();
    this.#decoder = null;
    this.#queue = [];
  }

  async #configure(config) {
    this.quality = { level: config.level, levels: config.levels };
    if (config.codec === "jpeg") return;
    this.#config = { codec: config.codec, optimizeForLatency: true };
    this.#reset();
    const { supported } = await VideoDecoder.isConfigSupported(this.#config).catch(() => ({ supported: false }));
    if (!supported) this.#fallBack();
  }

  #fallBack() {
    if (this.#socketCodec === "jpeg") return;
    this.#socketCodec = "jpeg";
    this.#reset();
    this.start("socket");
  }

  #take(buffer) {
    const header = readHeader(buffer);
    if (header.codec !== this.codec) return;
    const data = new Uint8Array(buffer, HEADER);
    if (this.codec === "jpeg") {
      this.#queue = [{ header, data }]; // the newest only
      this.#drawJpegs();
      return;
    }
    if (!this.#decoder) {
      if (!header.key || !this.#config) return;
      this.#decoder = new VideoDecoder({
        output: frame => {
          const shown = this.#queue.shift();
          this.#draw(frame, shown);
          frame.close();
        },
        error: () => this.#fallBack(),
      });
      try {
        this.#decoder.configure(this.#config);
      } catch {
        this.#fallBack();
        return;
      }
    }
    this.#queue.push(header);
    this.#decoder.decode(new EncodedVideoChunk({ type: header.key ? "key" : "delta", timestamp: header.number * 1000, data }));
  }

  async #drawJpegs() {
    if (this.#busy) return;
    this.#busy = true;
    try {
      while (this.#queue.length) {
        const { header, data } = this.#queue.shift();
        const picture = await createImageBitmap(new Blob([data], { type: "image/jpeg" }));
        this.#draw(picture, header);
        picture.close();
      }
    } finally {
      this.#busy = false;
    }
  }

  #draw(picture, header) {
    if (!header) return;
    const { canvas } = this;
    if (canvas.width !== header.width || canvas.height !== header.height) {
      canvas.width = header.width;
      canvas.height = header.height;
      this.dispatchEvent(new CustomEvent("size", { detail: header }));
    }
    this.context.drawImage(picture, 0, 0, header.width, header.height);
    this.drawn += 1;
    if (header.number !== null) this.connection.say({ type: "drawn", number: header.number });
    this.dispatchEvent(new CustomEvent("drawn", { detail: header }));
  }
}
