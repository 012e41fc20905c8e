"""Makes the documentation's pictures: a frame of a clip beside its translations, or beside several edits.

python docs/picture.py docs/meadow.jpg --model starry --model pastel --at 2.4
python docs/picture.py docs/faces.png --video CLIP --model face --at 2.5 --edit smiling --crop 210,60,150,170
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
    parser.add_argument("--model", action="append", required=True, help="one picture each")
    parser.add_argument("--at", type=float, default=2.4, help="seconds")
    parser.add_argument("--edit", action="append", metavar="NAME", help="attribute set to 1; one picture each")
    parser.add_argument("--crop", metavar="X,Y,W,H", help="show this part only")
    options = parser.parse_args()
    edits = [{name: 1.0} for name in options.edit] if options.edit else [{}]
    with VideoSource(options.video, start=options.at) as source:
        frame = next(iter(source))
    pictures = [frame.to_rgb()]
    for model in options.model:
        with Translator.open(model) as translator:
            pictures += [translator(frame, **edit).to_rgb() for edit in edits]
    if options.crop:
        x, y, width, height = (int(part) for part in options.crop.split(","))
        pictures = [picture[y : y + height, x : x + width] for picture in pictures]
    write_image(options.output, Frame.from_rgb(np.concatenate(pictures, axis=1)), overwrite=True)


if __name__ == "__main__":
    main()
