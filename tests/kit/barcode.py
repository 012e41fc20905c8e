"""Pictures that carry their number: a bar code that survives lossy codecs, and tells whether it was inverted."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ganlens.engine.pixels.frame import Frame

SIZE = (240, 320)
"""(height, width) of the pictures."""
BAR = 24
BITS = 10
COUNT = 2**BITS


def picture(number: int) -> np.ndarray:
    """(240, 320) uint8 luma: grey, and above it a white bar, a black bar and ten bits, the lowest first."""
    luma = np.full(SIZE, 110, np.uint8)
    luma[120:, (7 * number) % 300 :][:, :20] = 200  # something that moves
    for index, bit in enumerate([1, 0, *((number >> k & 1) for k in range(BITS))]):
        luma[:BAR, index * BAR : (index + 1) * BAR] = 235 if bit else 16
    return luma


def frame(number: int, time: object = None) -> Frame:
    """The picture as an RGB frame."""
    return Frame.from_rgb(np.repeat(picture(number % COUNT)[..., None], 3, axis=2), time)  # type: ignore[arg-type]


def read(rgb: np.ndarray) -> tuple[int, bool]:
    """(number, whether it is inverted) of an (H, W, 3) picture."""
    row = rgb[BAR // 2, BAR // 2 : (BITS + 2) * BAR : BAR].mean(axis=-1)
    assert abs(row[0] - row[1]) > 100, "there is no bar code"
    inverted = bool(row[0] < row[1])
    bits = (row[2:] > row[:2].mean()) ^ inverted
    return int(sum(1 << k for k, bit in enumerate(bits) if bit)), inverted


def write_y4m(path: Path, frames: int, rate: int = 30) -> Path:
    """A file that Chromium plays as its camera, over and over."""
    height, width = SIZE
    chroma = bytes([128]) * (height * width // 2)
    with path.open("wb") as file:
        file.write(f"YUV4MPEG2 W{width} H{height} F{rate}:1 Ip A1:1 C420mpeg2\n".encode())
        for number in range(frames):
            file.write(b"FRAME\n" + picture(number).tobytes() + chroma)
    return path


READ = f"""
window.seen = [];
const small = new OffscreenCanvas({(BITS + 2) * BAR}, 1);
const at = small.getContext("2d", {{ willReadFrequently: true }});
window.ganlens.player.addEventListener("drawn", ({{ detail }}) => {{
  at.drawImage(window.ganlens.player.canvas, 0, {BAR // 2}, small.width, 1, 0, 0, small.width, 1);
  const row = at.getImageData(0, 0, small.width, 1).data;
  const bar = index => row[4 * ({BAR} * index + {BAR // 2})];
  const inverted = bar(0) < bar(1), middle = (bar(0) + bar(1)) / 2;
  if (Math.abs(bar(0) - bar(1)) < 100) {{ window.seen.push({{ unreadable: true, stale: detail.stale }}); return; }}
  let number = 0;
  for (let k = 0; k < {BITS}; k++) if ((bar(k + 2) > middle) !== inverted) number |= 1 << k;
  const delay = window.ganlens.camera.delayOf(detail.time);
  window.seen.push({{ number, inverted, stale: detail.stale, delay }});
}});
"""
"""JavaScript for the page of engine live: what each drawn picture says, in ``window.seen``."""
