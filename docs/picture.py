"""Makes the documentation's pictures: a frame of a clip beside its translations, or beside several edits.

python docs/picture.py docs/meadow.webp --model starry --model pastel --model wave --model comic  (moves)
python docs/picture.py hair.png --video CLIP --model hair --at 2.5 --edit red_hair --crop 210,60,150,170
python docs/picture.py docs/styles.webp --video CLIP --at 1 --video CLIP --at 3 --width 320 --model starry --model comic
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from ganlens.engine import Frame, Translator, VideoSource, write_image
from ganlens.engine.benchmark.pictures import fitted
from ganlens.engine.evaluate.lab import Pixels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("--video", type=Path, action="append", help="one row each; default: media/meadow.mp4")
    parser.add_argument("--model", action="append", required=True, help="one picture each")
    parser.add_argument("--at", type=float, action="append", help="seconds, for each video; default: 2.4")
    parser.add_argument("--edit", action="append", metavar="NAME", help="attribute set to 1; one picture each")
    parser.add_argument("--crop", metavar="X,Y,W,H", help="show this part only")
    parser.add_argument("--width", type=int, help="of each picture; default: as it is")
    options = parser.parse_args()
    videos = options.video or [Path("media/meadow.mp4")]
    if options.output.suffix == ".webp" and options.at is None:
        animate(options.output, videos[0], options.model)
        return
    places = options.at or [2.4] * len(videos)
    edits = [{name: 1.0} for name in options.edit] if options.edit else [{}]
    rows = [
        row(video, at, options.model, edits, options.crop, options.width)
        for video, at in zip(videos, places, strict=True)
    ]
    save(options.output, np.concatenate(rows))


def save(output: Path, picture: Pixels) -> None:
    """WebP for a page: small. Needs Pillow."""
    if output.suffix != ".webp":
        write_image(output, Frame.from_rgb(picture), overwrite=True)
        return
    from PIL import Image

    Image.fromarray(picture).save(output, quality=60, method=6)


def row(
    video: Path, at: float, models: list[str], edits: list[dict[str, float]], crop: str | None, width: int | None
) -> Pixels:
    """A frame, and what each model makes of it, side by side."""
    with VideoSource(video, start=at) as source:
        frame = next(iter(source))
    pictures = [frame.to_rgb()]
    for model in models:
        with Translator.open(model, frame_size=frame.size) as translator:
            pictures += [translator(frame, **edit).to_rgb() for edit in edits]
    if crop:
        x, y, across, down = (int(part) for part in crop.split(","))
        pictures = [picture[y : y + down, x : x + across] for picture in pictures]
    if width:
        height = round(pictures[0].shape[0] * width / pictures[0].shape[1])
        pictures = [fitted(Frame.from_rgb(np.ascontiguousarray(picture)), (height, width)) for picture in pictures]
    return np.concatenate(pictures, axis=1)


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
