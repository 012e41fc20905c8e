"""Makes the README's picture: a frame of the shipped clip beside its translation.

python docs/picture.py docs/meadow.jpg --model monet --at 2.4
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from ganlens.engine import Frame, Translator, VideoSource, write_image


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("--video", type=Path, default=Path("media/meadow.mp4"))
    parser.add_argument("--model", default="monet")
    parser.add_argument("--at", type=float, default=2.4, help="seconds")
    options = parser.parse_args()
    with VideoSource(options.video, start=options.at) as source, Translator.open(options.model) as translator:
        frame = next(iter(source))
        pictures = [picture.to_rgb() for picture in (frame, translator(frame))]
    write_image(options.output, Frame.from_rgb(np.concatenate(pictures, axis=1)), overwrite=True)


if __name__ == "__main__":
    main()
