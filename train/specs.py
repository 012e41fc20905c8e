"""Generator specs (the records that ship with weights) made from a configuration and from what a run has done."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import cast

import torch

from ganlens.engine.model.strengths import default_strengths
from ganlens.engine.spec import AttributeInput, GeneratorSpec, ImageOutput, SizeRule, Strength, Training

from .config import HAIR_NAMES, EditorConfig, HairConfig, TrainConfig
from .networks import GENERATORS

SMALLEST_PX = 16

_CELEBA = """
    5_o_Clock_Shadow Arched_Eyebrows Attractive Bags_Under_Eyes Bald Bangs Big_Lips Big_Nose Black_Hair Blond_Hair
    Blurry Brown_Hair Bushy_Eyebrows Chubby Double_Chin Eyeglasses Goatee Gray_Hair Heavy_Makeup High_Cheekbones
    Male Mouth_Slightly_Open Mustache Narrow_Eyes No_Beard Oval_Face Pale_Skin Pointy_Nose Receding_Hairline
    Rosy_Cheeks Sideburns Smiling Straight_Hair Wavy_Hair Wearing_Earrings Wearing_Hat Wearing_Lipstick
    Wearing_Necklace Wearing_Necktie Young
"""
CELEBA = frozenset(_CELEBA.split())
"""The attributes of CelebA: who trains on these trains on its aligned faces, and at run time faces must be found."""


def image_to_image_spec(config: TrainConfig, name: str) -> GeneratorSpec:
    """The record of a generator that takes a picture and gives one.

    ``preferred`` is the size at which the training pictures were seen whole: there a crop has its training scale.
    """
    multiple = GENERATORS[config.tier].multiple_of
    whole = max(SMALLEST_PX, round(config.resize_px / multiple) * multiple)
    return GeneratorSpec(
        name=name,
        architecture=config.method if config.method in ("paired", "perceptual") else "cyclegan",
        tier=config.tier,
        options=network_options(config),
        size=SizeRule(multiple_of=multiple, minimum=SMALLEST_PX, preferred=(whole, whole)),
    )


def attribute_spec(
    config: EditorConfig | HairConfig,
    *,
    mask: bool,
    complement: bool,
    border_px: int = 0,
    adds: bool = False,
    labelled_head: bool = False,
    flow: float = 0.0,
    window: str = "",
) -> GeneratorSpec:
    """The record of a generator that takes a picture and attributes and gives a picture, or segment and mask.

    With the complement, an attribute has a neutral value: there strengths are recorded, linear until ``engine relabel
    --strengths`` has measured what an entry shows.

    Args:
        adds: entries of 0 leave a picture alone, so that there are strengths without the complement, too.
        labelled_head: the labels reach the network's head.
        flow: how far the network moves parts of the picture before it paints.
        window: the square that it edits, ``left,top,side``.
    """
    names = config.attribute_names
    exclusive = config.exclusive_names
    added = {name: Strength(points=((0.0, 0.0), (1.0, 1.0))) for name in names if adds}
    groups = (exclusive,) if len(exclusive) > 1 else ()
    port = AttributeInput(names=names, groups=groups, complement=complement, strengths=added)
    options = network_options(config)
    if labelled_head:
        options["labelled_head"] = True
    if flow:
        options["flow"] = flow
    if window:
        options["window"] = window
    if config.tier == "stargan":
        options = {"width": cast(EditorConfig, config).generator_width}
    return GeneratorSpec(
        name=config.model_name,
        architecture=config.method,
        tier=config.tier,
        options=options,
        attributes=default_strengths(port) if complement else port,
        output=ImageOutput(kind="segment", mask="mask") if mask else ImageOutput(),
        size=SizeRule(
            multiple_of=GENERATORS[config.tier].multiple_of,
            minimum=SMALLEST_PX,
            preferred=(config.size, config.size),
            fixed=(config.size, config.size) if window else None,
        ),
        frame_border_px=border_px,
        face_alignment="celeba" if CELEBA.union(HAIR_NAMES).issuperset(names) else "",
    )


def network_options(config: TrainConfig) -> dict[str, str | int | float | bool]:
    """Constructor options of an image-to-image network, for its record."""
    options: dict[str, str | int | float | bool] = {"norm": config.norm, "activation": config.activation}
    if config.tier in ("nano", "mobile", "light", "edge"):
        options["shape"] = config.shape
        if config.padding != "zeros":
            options["padding"] = config.padding
    return options


def training_record(config: TrainConfig, *, images_seen: int, steps: int, seconds: float, device: str) -> Training:
    """What the run has done so far, for the record of its generator."""
    return Training(
        data=config.data_note or config.data_words or "not stated",
        data_licence=config.data_licence,
        images_seen=images_seen,
        steps=steps,
        size=(config.size, config.size),
        seconds=round(seconds, 1),
        hardware=hardware(device),
        teacher=config.teacher_words,
        note=config.note,
    )


def hardware(device: str) -> str:
    """The processor that trains, in words."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(torch.device(device))
    return f"{_processor()}, {torch.get_num_threads()} of {os.cpu_count()} threads"


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
