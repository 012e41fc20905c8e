"""What is available: the shipped models, one model's record, the backends."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from ..backends import BackendStatus, available
from ..errors import EngineError, printable
from ..model import find_model, is_checkpoint, read_checkpoint_spec, read_model_spec, shipped
from ..model.description import parse_value_range
from ..spec import AttributeInput, GeneratorSpec, format_size
from .console import make_console
from .options.info import BackendsOptions, InfoOptions, ModelsOptions

if TYPE_CHECKING:
    from ..cuda.device import DeviceInfo

console = make_console()
if not (console.is_terminal or "COLUMNS" in os.environ):
    console.width = 10_000  # a line is a line for grep and less


def _shown(text: str) -> str:
    """Untrusted text of a record, made printable for the table."""
    return escape(printable(text, 10_000))


def show_models(options: ModelsOptions) -> None:
    """Print the shipped models."""
    cards = shipped()
    if options.as_json:
        print(json.dumps([{"name": card.name, **card.spec.model_dump(mode="json")} for card in cards], indent=2))
        return
    if not cards:
        console.print("No model is shipped with this build. Give a file: engine translate --model model.onnx ...")
        return
    table = Table(box=None, pad_edge=False)
    for column in ("name", "architecture", "made from", "licence", "trained on"):
        narrow = 16 if console.width < 120 and column in ("made from", "licence") else None  # room for the last one
        table.add_column(column, overflow="fold", max_width=narrow)
    for card in cards:
        spec = card.spec
        data = spec.training.data if spec.training else ""
        table.add_row(card.name, spec.architecture, _inputs(spec), _shown(spec.licence or "not stated"), _shown(data))
    console.print(table)


def show_model(options: InfoOptions) -> None:
    """Print one model's record."""
    model, value_range = options.model, options.value_range
    if is_checkpoint(model):
        path = Path(model) / "generator.safetensors" if Path(model).is_dir() else Path(model)
        spec = read_checkpoint_spec(path)
    else:
        path = find_model(model)
        spec = read_model_spec(path, value_range=parse_value_range(value_range) if value_range else None)
    if options.as_json:
        print(spec.model_dump_json(indent=2))
        return
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in _rows(spec):
        table.add_row(name, _shown(value))
    table.add_row("file", _shown(f"{path} ({path.stat().st_size / 1e6:.1f} MB)"))
    console.print(table)


def _rows(spec: GeneratorSpec) -> list[tuple[str, str]]:
    low, high = spec.value_range
    rows = [
        ("name", spec.name),
        ("architecture", " ".join(part for part in (spec.architecture, spec.tier, spec.precision) if part)),
        ("made from", f"{_inputs(spec)} (engine {'translate' if spec.image else 'generate'})"),
        ("sizes", f"{spec.size}; made for {format_size(spec.size.picture)}"),
        ("values", f"{low:g}..{high:g}, {spec.channel_order}"),
    ]
    if spec.latent:
        range_text = " in -1..1" if spec.latent.distribution == "uniform" else ""
        rows.append(("noise", f"{spec.latent.dim} {spec.latent.distribution} values{range_text}"))
    if spec.attributes:
        lines = settable_lines(spec.attributes) or [", ".join(spec.attributes.names)]
        rows += [(_attributes(spec) if number == 0 else "", line) for number, line in enumerate(lines)]
        one = "exactly one of" if spec.attributes.exactly_one else "at most one of"
        rows += [("", f"{one} {', '.join(group)}") for group in spec.attributes.groups]
    if spec.output.mask:
        rows.append(("mask", "yes"))
    if spec.frame_border_px:
        rows.append(("frame border", f"{spec.frame_border_px} px equal the input"))
    if spec.size.margin:
        rows.append(("margin", f"{spec.size.margin} px of repeated edge around a frame"))
    if spec.detail is not None:
        rows.append(("detail", f"{spec.detail:g} of the original's, by default"))
    if spec.training is not None and spec.training.teacher:
        rows.append(("taught by", spec.training.teacher))
    if spec.face_alignment:
        rows.append(("takes", f"one aligned face ({spec.face_alignment}); the runtime finds the faces of a frame"))
    if spec.training:
        t = spec.training
        rows += [
            ("trained on", t.data),
            ("data licence", t.data_licence),
            (
                "training",
                f"{t.images_seen:,} images in {t.steps:,} steps at {format_size(t.size)}"
                f"{f', {t.seconds / 60:.0f} minutes' if t.seconds else ''}{f' on {t.hardware}' if t.hardware else ''}",
            ),
        ]
        if t.note:
            rows.append(("note", t.note))
    if spec.parity:
        p = spec.parity
        rows.append(
            (
                "parity",
                f"max abs {p.max_abs:.2g}, PSNR {p.psnr_db:.1f} dB, cosine {p.cosine:.6f} on {p.images} {p.inputs} "
                f"against {p.reference}",
            )
        )
    rows += [("metric", f"{value:.4g}  {name}") for name, value in spec.metrics.items()]
    if spec.licence:
        rows.append(("licence", spec.licence))
    if spec.weights_sha256:
        rows.append(("weights", f"sha256 {spec.weights_sha256}"))
    if spec.producer:
        rows.append(("made by", spec.producer))
    return rows


def settable_lines(port: AttributeInput | None) -> list[str]:
    """The attributes with strengths, a line each: name, range and whether it is experimental; empty without any."""
    if port is None or not port.strengths:
        return []
    width = max(map(len, port.names))
    lines = []
    for name in port.names:
        low, high = port.bounds(name)
        lines.append(f"{name:{width}}  {low:g}..{high:g}{'  experimental' if port.is_experimental(name) else ''}")
    return [*lines, "0 leaves the picture unchanged, 1 is the full edit, 0.5 half of it"]


def _inputs(spec: GeneratorSpec) -> str:
    """What the model makes its picture from: "image", "image, attributes", "noise, labels"."""
    parts = {"image": spec.image, "noise": spec.latent, _attributes(spec): spec.attributes}
    return ", ".join(name for name, part in parts.items() if part is not None)


def _attributes(spec: GeneratorSpec) -> str:
    """How the attributes are called where they are used: ``--set`` changes attributes, ``--labels`` names labels."""
    return "attributes" if spec.image else "labels"


def show_backends(options: BackendsOptions) -> None:
    """Print which backends, video decoders and encoders run here, how to get the others, and which GPUs there are."""
    groups = {"backend": available(), "decoder": [_coder_status("nvdec")], "encoder": [_coder_status("nvenc")]}
    gpus = _gpus()
    if options.as_json:
        rows: list[dict[str, object]] = [
            {"kind": kind, **row._asdict()} for kind, group in groups.items() for row in group
        ]
        rows += [{"kind": "gpu", **asdict(gpu)} for gpu in gpus]
        print(json.dumps(rows, indent=2))
        return
    table = Table(box=None, pad_edge=False)
    for column in ("kind", "name", "runs here", "device", "version", "why not, and how to fix it"):
        table.add_column(column, overflow="fold")
    for kind, group in groups.items():
        for number, row in enumerate(group):
            why = f"{row.reason.rstrip('.')}. {row.cure}" if row.cure else row.reason
            name = kind if number == 0 else ""
            table.add_row(name, row.name, "yes" if row.usable else "no", row.device, row.version, _shown(why))
    console.print(table)
    for gpu in gpus:
        console.print(str(gpu), markup=False, highlight=False)


def _gpus() -> list[DeviceInfo]:
    """The available GPUs; if there are none, the backends give the reason."""
    from ..cuda import list_devices

    try:
        return list_devices()
    except EngineError:
        return []


def _coder_status(name: str) -> BackendStatus:
    """Whether the GPU decodes or encodes H.264 here; found out by doing so."""
    from ..media.file import hardware  # brings libav

    problem = hardware.decoder_problem() if name == "nvdec" else hardware.h264_encoder_problem()
    version = f"FFmpeg {hardware.ffmpeg_version()}"
    if problem is None:
        return BackendStatus(name, True, version, "cuda:0")
    return BackendStatus(name, False, version, reason=problem.reason, cure=problem.cure)
