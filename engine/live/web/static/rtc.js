// Pictures by WebRTC: the page offers by POST, the server answers, and each picture is given on as soon as it is decoded.

const CONNECT_MS = 8000;

export class Peer extends EventTarget {
  #connection = null;
  #video = document.createElement("video");
  #counts = { frames: 0, seconds: 0 };

  constructor() {
    super();
    this.#video.muted = true;
    this.#video.playsInline = true;
  }

  /** Resolves when pictures can flow; throws an Error that says why they cannot. */
  async connect() {
    this.close();
    const connection = this.#connection = new RTCPeerConnection();
    const { receiver } = connection.addTransceiver("video", { direction: "recvonly" });
    receiver.jitterBufferTarget = 0; // pictures are shown when they are there: smoothing their times costs 100 ms
    connection.ontrack = ({ track }) => {
      this.#video.srcObject = new MediaStream([track]);
      this.#video.play().catch(() => {}); // closed before it began
      this.#next(connection);
    };
    await connection.setLocalDescription();
    const answer = await fetch("api/webrtc", { method: "POST", body: JSON.stringify({ sdp: connection.localDescription.sdp }) });
    const said = await answer.json();
    if (!answer.ok) throw new Error(said.error);
    await connection.setRemoteDescription({ type: "answer", sdp: said.sdp });
    await this.#connected(connection);
  }

  close() {
    this.#connection?.close();
    this.#connection = null;
    this.#video.srcObject = null;
    this.#counts = { frames: 0, seconds: 0 };
  }

  /** Milliseconds from the server's sending to the decoded picture, since the last call; null while nothing is known. */
  async delay() {
    let pair = null, pictures = null;
    for (const report of (await this.#connection?.getStats())?.values() ?? []) {
      if (report.type === "candidate-pair" && report.nominated) pair = report;
      if (report.type === "inbound-rtp" && report.kind === "video") pictures = report;
    }
    const now = { frames: pictures?.framesDecoded ?? 0, seconds: pictures?.totalProcessingDelay ?? 0 };
    const frames = now.frames - this.#counts.frames, seconds = now.seconds - this.#counts.seconds;
    this.#counts = now;
    return frames > 0 ? 1000 * (seconds / frames + (pair?.currentRoundTripTime ?? 0) / 2) : null;
  }

  #connected(connection) {
    return new Promise((done, fail) => {
      const timer = setTimeout(() => fail(new Error("no answer by UDP; a firewall may drop it")), CONNECT_MS);
      connection.onconnectionstatechange = () => {
        if (connection.connectionState === "connected") {
          clearTimeout(timer);
          connection.onconnectionstatechange = () => this.#changed(connection);
          done();
        } else if (connection.connectionState === "failed") {
          clearTimeout(timer);
          fail(new Error("the connection failed; a firewall may drop UDP"));
        }
      };
      connection.onconnectionstatechange();
    });
  }

  #changed(connection) {
    if (connection !== this.#connection || connection.connectionState !== "failed") return;
    this.close();
    this.dispatchEvent(new Event("lost"));
  }

  #next(connection) {
    this.#video.requestVideoFrameCallback((now, { width, height }) => {
      if (connection !== this.#connection) return;
      this.#next(connection);
      this.dispatchEvent(new CustomEvent("picture", { detail: { picture: this.#video, width, height } }));
    });
  }
}
