"""The plan of a model, as ``engine build`` and ``engine export --tensorrt`` make it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from ...cuda import Device
from ...errors import BackendUnavailable, MediaError, MissingExtra, install_command
from ...model import find_model
from ...model.description import read_onnx, spec_of
from ...model.plan_record import Plan, record_path
from ...spec import ValueRange
from ..build_progress import observer
from .builder import BuildOptions, build, build_into, make_key
from .library import Library, load
from .plans import PlanCache, write_plan
from .profile import Extent, make_profile


class MadePlan(NamedTuple):
    """A plan, and whether it was built now or found in the cache."""

    plan: Plan
    built: bool


def make_plan(
    model: str | Path,
    output: Path | None = None,
    *,
    smallest: Extent | None = None,
    fastest: Extent | None = None,
    largest: Extent | None = None,
    options: BuildOptions | None = None,
    value_range: ValueRange | None = None,
    overwrite: bool = False,
) -> MadePlan:
    """Build the plan of an ONNX model for this machine, or find it in the cache.

    Progress goes to :func:`~..observer.observed`. Without a GPU only TensorRT for RTX builds.

    Args:
        model: path of an ONNX file, or the name of a shipped model.
        output: a file ending in ``.plan`` to write, with its record beside it; None: the cache.
        smallest, fastest, largest: shapes that the plan takes; None: from the model's record.
        value_range: of a model without our record.
        overwrite: replace an existing ``output``.

    Raises:
        MissingExtra, BackendUnavailable: TensorRT is not installed, or it builds on a GPU only and no GPU is available.
        ModelFileError, ShapeError: TensorRT cannot run the model.
        OptionError: shapes or options that the model or the library does not take.
        MediaError: ``output`` exists, or does not end in .plan.
    """
    options = options or BuildOptions()
    if output is not None:
        _check_output(output, overwrite=overwrite)
    library = load()
    device = gpu_for(library)
    file = read_onnx(find_model(model))
    spec = spec_of(file, value_range=value_range)
    profile = make_profile(file, spec, smallest=smallest, fastest=fastest, largest=largest)
    say, report = observer()
    cache = PlanCache(say=say)
    if output is None:
        begun: list[bool] = []
        plan = build_into(
            cache, library, device, file, spec, profile, options, report=report, on_build=lambda: begun.append(True)
        )
        return MadePlan(plan, bool(begun))
    key = make_key(library, device, file, spec, options)
    built = build(library, device, file, spec, profile, options, key, timings=cache.timings(key), report=report)
    cache.keep_timings(key, built.timings)
    return MadePlan(write_plan(output, built.content, built.record), True)


def gpu_for(library: Library) -> Device | None:
    """The GPU to build for; None if there is none and the library does not need one.

    Raises:
        BackendUnavailable: it needs one.
    """
    try:
        device = Device()
        library.check_device(device)
    except (BackendUnavailable, MissingExtra) as error:
        if library.builds_without_gpu:
            return None
        raise BackendUnavailable(
            f"{library.title} builds a plan on the GPU that will run it. {error} Without a GPU only TensorRT for RTX "
            f"builds: {install_command('rtx', without='tensorrt')}."
        ) from error
    return device


def _check_output(output: Path, *, overwrite: bool) -> None:
    if output.suffix.lower() != ".plan":
        raise MediaError(f"The output is called '{output.name}'; expected a name that ends in .plan.")
    if not output.absolute().parent.is_dir():
        raise MediaError(f"The folder '{output.parent}' does not exist. Create it first.")
    for path in (output, record_path(output)):
        if path.is_dir():
            raise MediaError(f"'{path}' is a folder; expected the name of a file to write.")
        if path.exists() and not overwrite:
            raise MediaError(f"'{path}' exists already. Overwrite it with -y, or give another name with -o.")
