"""A drawn face, which YuNet takes for one, and tiny face models."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from onnx import helper

from ganlens.engine.spec import AttributeInput, ImageOutput
from tests.kit.models import constant, make_spec, save_graph, tensor

Pixels = NDArray[np.uint8]

EYES = (104, 125), (152, 125)
"""Where the eyes of :func:`portrait` are, (x, y) in its 256 pixels."""


def portrait() -> Pixels:
    """A face in 256x256, (H, W, 4) uint8 RGBA, transparent around it."""
    scale = 4  # drawn large, then shrunk
    image = np.zeros((256 * scale, 256 * scale, 4), np.uint8)

    def ellipse(
        x: float, y: float, a: float, b: float, colour: tuple[int, int, int], *arc: int, line: int = -1
    ) -> None:
        begin, end = arc or (0, 360)
        centre, axes = (round(x * scale), round(y * scale)), (round(a * scale), round(b * scale))
        cv2.ellipse(image, centre, axes, 0, begin, end, (*colour, 255), line * scale if line > 0 else -1)

    ellipse(128, 110, 66, 80, (70, 50, 40))  # hair
    ellipse(128, 138, 54, 72, (225, 180, 150))
    for x, y in EYES:
        ellipse(x, y, 12, 6, (245, 245, 245))
        ellipse(x, y, 5.5, 5.5, (20, 30, 40))
        ellipse(x, y - 13, 15, 4, (60, 50, 40), 180, 360, line=4)
        ellipse(x, y - 2, 14, 9, (90, 70, 60), 190, 350, line=2)
    ellipse(121, 142, 3, 14, (195, 150, 120))
    ellipse(128, 158, 11, 6, (165, 115, 90), 0, 180, line=3)
    ellipse(128, 180, 22, 8, (180, 90, 90))
    ellipse(128, 180, 21, 1, (110, 50, 50))
    return cv2.resize(image, (256, 256), interpolation=cv2.INTER_AREA)


def put_face(frame: Pixels, centre: tuple[float, float], width: float, degrees: float = 0.0) -> None:
    """Draw the portrait into an (H, W, 3) RGB frame, its middle at ``centre`` (x, y), turned clockwise.

    Args:
        width: of the portrait's 256 pixels; the face itself is about 0.42 of it.
    """
    scale, angle = width / 256, math.radians(degrees)
    cosine, sine = scale * math.cos(angle), scale * math.sin(angle)
    x, y = centre
    matrix = np.array([[cosine, -sine, x - 128 * (cosine - sine)], [sine, cosine, y - 128 * (sine + cosine)]])
    face = portrait()
    if scale < 0.7:  # warpAffine does not filter
        small = max(8, round(256 * scale))
        face = cv2.resize(face, (small, small), interpolation=cv2.INTER_AREA)
        matrix[:, :2] *= 256 / small
    warped = cv2.warpAffine(face, matrix, frame.shape[1::-1]).astype(np.float32)
    alpha = warped[..., 3:] / 255
    frame[:] = np.rint(frame * (1 - alpha) + warped[..., :3] * alpha).astype(np.uint8)


def eyes_at(centre: tuple[float, float], width: float, degrees: float = 0.0) -> tuple[complex, complex]:
    """Where :func:`put_face` draws the eyes."""
    turn = width / 256 * np.exp(1j * math.radians(degrees))
    left, right = (complex(*centre) + turn * complex(x - 127.5, y - 127.5) for x, y in EYES)
    return left, right


def backdrop(height: int, width: int, seed: int = 0) -> Pixels:
    """(H, W, 3) smooth colours without a face."""
    noise = np.random.default_rng(seed).integers(40, 200, (height // 16 + 2, width // 16 + 2, 3)).astype(np.uint8)
    return cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)


NAMES = ("Smiling", "Blond_Hair", "Black_Hair")


def tint_model(
    path: Path, size: int = 64, *, border: int = 4, kind: str = "image", aligned: bool = True, batch: int | str = 1
) -> Path:
    """A face model: red rises with Smiling, green with Blond_Hair, blue with Black_Hair, inside a round mask.

    The vector has its complement; an attribute at 0.5 does nothing.
    """
    y, x = (np.mgrid[0:size, 0:size] + 0.5) / size
    mask = np.clip(3 - 6 * np.hypot(x - 0.5, y - 0.6), 0, 1)
    inside = np.zeros((size, size))
    inside[border : size - border, border : size - border] = 1
    mask = (mask * inside)[None, None]
    nodes = [
        helper.make_node("MatMul", ["att", "tints"], ["tint"]),
        helper.make_node("Reshape", ["tint", "shape"], ["tint4"]),
        helper.make_node("Add", ["x", "tint4"], ["wide"]),
        helper.make_node("Clip", ["wide", "low", "high"], ["segment"]),
        helper.make_node("ReduceSum", ["x", "channels"], ["sum"]),
        helper.make_node("Mul", ["sum", "zero"], ["nothing"]),
        helper.make_node("Add", ["m", "nothing"], ["mask"]),  # once for each picture
    ]
    if kind == "image":
        nodes += [
            helper.make_node("Sub", ["segment", "x"], ["change"]),
            helper.make_node("Mul", ["m", "change"], ["shown"]),
            helper.make_node("Add", ["x", "shown"], ["y"]),
        ]
    else:
        nodes += [helper.make_node("Identity", ["segment"], ["y"])]
    weights = [
        constant("tints", np.concatenate([np.eye(3), -np.eye(3)])),
        constant("shape", [-1, 3, 1, 1], np.int64),
        constant("m", mask),
        constant("channels", [1], np.int64),
        constant("zero", 0.0),
        constant("low", -1.0),
        constant("high", 1.0),
    ]
    spec = make_spec(
        (size, size),
        architecture="acl-gan",
        attributes=AttributeInput(names=NAMES, groups=(NAMES[1:],), complement=True),
        output=ImageOutput(kind=kind, mask="mask"),  # type: ignore[arg-type]
        frame_border_px=border,
        face_alignment="celeba" if aligned else "",
    )
    return save_graph(
        path,
        nodes,
        [tensor("x", (batch, 3, size, size)), tensor("att", (batch, 6))],
        [tensor("y", (batch, 3, size, size)), tensor("mask", (batch, 1, size, size))],
        weights,
        spec,
    )
