// The camera of this browser, up to the server: encoded by WebCodecs, or as JPEG where there is no encoder.

const HEADER = 12;
const CODES = { h264: 1, jpeg: 2, vp8: 3 };
const MOST_WAITING_BYTES = 256 << 10; // what the network has not taken yet; more would only grow old
const MOST_IN_ENCODER = 2;
const KEY_EVERY = 90;
const REMEMBERED = 240;

const CONFIGS = [
  ["h264", { codec: "avc1.42e01f", avc: { format: "annexb" } }],
  ["vp8", { codec: "vp8" }],
];

export class Camera extends EventTarget {
  #stream = null;
  #video = document.createElement("video");
  #encoder = null;
  #codec = "jpeg";
  #count = 0;
  #needsKey = true;
  #sentAt = new Map();
  #canvas = null;
  #wanted = null;

  constructor(connection) {
    super();
    this.connection = connection;
    this.#video.muted = true;
    this.#video.playsInline = true;
    connection.addEventListener("camera", ({ detail }) => this.#answered(detail.state));
    connection.addEventListener("open", () => { if (this.#stream) this.#offer(); });
  }

  get on() { return this.#stream !== null; }
  get available() { return Boolean(navigator.mediaDevices?.getUserMedia); }

  /** Milliseconds since the picture with this time was captured here; null if it is not one of this camera's. */
  delayOf(time) {
    const at = this.#sentAt.get(time);
    return at === undefined ? null : performance.now() - at;
  }

  async start(wanted, deviceId) {
    await this.stop();
    this.#wanted = wanted;
    const video = { width: { ideal: wanted.width }, height: { ideal: wanted.height }, frameRate: { ideal: wanted.rate } };
    if (deviceId) video.deviceId = { exact: deviceId };
    const stream = await navigator.mediaDevices.getUserMedia({ video, audio: false });
    this.#stream = stream;
    stream.getVideoTracks()[0].addEventListener("ended", () => this.stop());
    this.#video.srcObject = stream;
    await this.#video.play();
    this.#offer();
    this.dispatchEvent(new Event("change"));
  }

  #offer() { this.connection.say({ type: "camera", on: true, rate: this.#stream.getVideoTracks()[0].getSettings().frameRate }); }

  async stop() {
    if (!this.#stream) return;
    for (const track of this.#stream.getTracks()) track.stop();
    this.#stream = null;
    this.#video.srcObject = null;
    this.#closeEncoder();
    this.connection.say({ type: "camera", on: false });
    this.dispatchEvent(new Event("change"));
  }

  async devices() {
    if (!navigator.mediaDevices?.enumerateDevices) return [];
    return (await navigator.mediaDevices.enumerateDevices()).filter(device => device.kind === "videoinput");
  }

  get deviceId() { return this.#stream?.getVideoTracks()[0]?.getSettings().deviceId; }

  async #answered(state) {
    if (state === "key") { this.#needsKey = true; return; }
    if (state === "busy" || state === "unavailable") {
      await this.stop();
      this.dispatchEvent(new CustomEvent("refused", { detail: state }));
      return;
    }
    if (state === "on" && this.#stream) {
      await this.#openEncoder();
      this.#needsKey = true;
      this.#next(this.#stream);
    }
  }

  async #openEncoder() {
    this.#closeEncoder();
    this.#codec = "jpeg";
    if (!("VideoEncoder" in window)) return;
    const width = this.#video.videoWidth & ~1, height = this.#video.videoHeight & ~1;
    for (const [codec, config] of CONFIGS) {
      const full = { ...config, width, height, bitrate: 4e6, framerate: this.#wanted.rate, latencyMode: "realtime" };
      const { supported } = await VideoEncoder.isConfigSupported(full).catch(() => ({ supported: false }));
      if (!supported) continue;
      this.#encoder = new VideoEncoder({
        output: chunk => this.#encoded(chunk),
        error: () => { this.#closeEncoder(); this.#codec = "jpeg"; },
      });
      this.#encoder.configure(full);
      this.#codec = codec;
      this.#size = [width, height];
      return;
    }
  }

  #size = [0, 0];

  #closeEncoder() {
    if (this.#encoder && this.#encoder.state !== "closed") this.#encoder.close();
    this.#encoder = null;
  }

  #next(stream) {
    if (this.#stream !== stream) return;
    this.#video.requestVideoFrameCallback((now, facts) => {
      this.#next(stream);
      this.#frame(Math.round(facts.captureTime ?? now));
    });
  }

  async #frame(at) {
    const video = this.#video;
    if (!this.connection.open || this.connection.waiting > MOST_WAITING_BYTES || !video.videoWidth) return;
    const time = Math.round(performance.now() * 1000);
    this.#remember(time, Math.min(at, performance.now()));
    if (this.#encoder) {
      const width = video.videoWidth & ~1, height = video.videoHeight & ~1;
      if (width !== this.#size[0] || height !== this.#size[1]) { await this.#openEncoder(); return; } // the phone was turned
      if (this.#encoder.encodeQueueSize > MOST_IN_ENCODER) return;
      const frame = new VideoFrame(video, { timestamp: time });
      const keyFrame = this.#needsKey || this.#count % KEY_EVERY === 0;
      this.#needsKey = false;
      this.#count += 1;
      this.#encoder.encode(frame, { keyFrame });
      frame.close();
      return;
    }
    const canvas = this.#canvas ??= document.createElement("canvas");
    if (canvas.width !== video.videoWidth || canvas.height !== video.videoHeight) {
      canvas.width = video.videoWidth;
      canvas.height = video.videoHeight;
    }
    canvas.getContext("2d", { alpha: false }).drawImage(video, 0, 0);
    const blob = await new Promise(done => canvas.toBlob(done, "image/jpeg", 0.85));
    if (blob && this.#stream) this.#send("jpeg", true, time, new Uint8Array(await blob.arrayBuffer()));
  }

  #encoded(chunk) {
    const data = new Uint8Array(chunk.byteLength);
    chunk.copyTo(data);
    this.#send(this.#codec, chunk.type === "key", chunk.timestamp, data);
  }

  #send(codec, key, time, data) {
    const message = new Uint8Array(HEADER + data.length);
    const view = new DataView(message.buffer);
    view.setUint8(0, CODES[codec]);
    view.setUint8(1, key ? 1 : 0);
    view.setFloat64(4, time, true);
    message.set(data, HEADER);
    this.connection.send(message);
  }

  #remember(time, at) {
    this.#sentAt.set(time, at);
    if (this.#sentAt.size > REMEMBERED) this.#sentAt.delete(this.#sentAt.keys().next().value);
  }
}
