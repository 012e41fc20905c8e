"""Makes the documentation's pictures: a frame of a clip beside its translations, or beside several edits.

python docs/picture.py docs/meadow.webp --model starry --model pastel --model wave --model comic  (moves)
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
    if options.output.suffix == ".webp":
        animate(options.output, options.video, options.model)
        return
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


def animate(output: Path, video: Path, models: list[str]) -> None:
    """The clip, each model on its share of the time, beside the original: 12 frames per second. Needs Pillow."""
    from PIL import Image

    with VideoSource(video) as source:
        step = max(1, round((source.format.rate or 24) / 12))
        frames = [frame.copy() for number, frame in enumerate(source) if number % step == 0]
    pictures = []
    for number, model in enumerate(models):
        part = frames[number * len(frames) // len(models) : (number + 1) * len(frames) // len(models)]
        with Translator.open(model, frame_size=frames[0].size) as translator:
            for frame in part:
                pair = np.concatenate([frame.to_rgb(), translator(frame).to_rgb()], axis=1)
                image = Image.fromarray(pair)
                pictures.append(
                    image.resize((640, round(640 * pair.shape[0] / pair.shape[1])), Image.Resampling.LANCZOS)
                )
    pictures[0].save(output, save_all=True, append_images=pictures[1:], duration=83, loop=0, quality=45, method=6)


if __name__ == "__main__":
    main()
