"""Synthetic photos and paintings, so that training can be seen to work without any data.

Photos are smooth scenes (sky, sun, hills, trees); paintings are other such scenes, rebuilt from short brush strokes in
a warmer palette. A generator that learned something puts strokes on photos.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

Pixels = NDArray[np.uint8]
Color = tuple[int, int, int]


def make_demo_data(folder: Path, *, count: int = 48, size: int = 96, seed: int = 0) -> tuple[Path, Path]:
    """Write ``count`` PNG pictures each into ``folder/photos`` and ``folder/paintings``, and return both folders."""
    photos, paintings = folder / "photos", folder / "paintings"
    random = np.random.default_rng(seed)
    for target in (photos, paintings):
        target.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        make_scene(random, size).save(photos / f"{number:03d}.png")
        paint(make_scene(random, size), random).save(paintings / f"{number:03d}.png")
    return photos, paintings


def make_scene(random: np.random.Generator, size: int) -> Image.Image:
    """A landscape of gradients and shapes, without noise."""
    top, bottom = random.uniform((40, 80, 140), (120, 160, 230)), random.uniform((150, 160, 170), (230, 230, 240))
    sky = np.linspace(0, 1, size)[:, None, None] * (bottom - top) + top
    image = Image.fromarray(np.broadcast_to(sky, (size, size, 3)).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    radius, x, y = size * random.uniform(0.05, 0.12), size * random.random(), size * random.uniform(0.1, 0.4)
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=(250, 235, 190))
    columns = np.arange(size)
    for depth in (0.5, 0.65, 0.8):  # hills, the nearest last
        waves = np.sin(columns / size * random.uniform(4, 12) + random.uniform(0, 6)) * random.uniform(0.03, 0.1)
        ridge = size * (depth + waves)
        green = _color(random.uniform((30, 70, 30), (80, 140, 70)) * (1.6 - depth))
        draw.polygon([(0, size), *zip(columns.tolist(), ridge.tolist(), strict=True), (size, size)], fill=green)
        for _ in range(int(random.integers(1, 4))):
            foot = int(random.integers(size))
            height, width = size * random.uniform(0.1, 0.25), size * random.uniform(0.04, 0.09)
            base = float(ridge[foot])
            crown = [(foot - width, base), (foot, base - height), (foot + width, base)]
            draw.polygon(crown, fill=_color(np.array(green) * 0.7))
    return image.filter(ImageFilter.GaussianBlur(0.7))


def paint(scene: Image.Image, random: np.random.Generator, strokes: int = 900) -> Image.Image:
    """The scene in short thick strokes whose colours are pulled towards ochre and violet, and vary."""
    size = scene.width
    source = np.asarray(scene)
    canvas = Image.new("RGB", scene.size, (190, 160, 120))
    draw = ImageDraw.Draw(canvas)
    for _ in range(strokes):
        x, y = random.integers(size, size=2)
        colour = source[y, x] * (1.05, 0.92, 0.85) + random.normal(0, 22, 3) + (18, 6, 10)
        angle = 0.4 * np.sin(x / size * 6) + random.normal(0, 0.35)
        dx, dy = size * 0.05 * np.cos(angle), size * 0.05 * np.sin(angle)
        draw.line((x - dx, y - dy, x + dx, y + dy), fill=_color(colour), width=max(2, size // 32))
    return canvas


def _color(values: NDArray[np.float64]) -> Color:
    red, green, blue = (int(value) for value in np.clip(values, 0, 255))
    return red, green, blue
