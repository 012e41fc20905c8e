"""TensorRT: plans built from ONNX files, kept in a cache, and run on the GPU.

Neither TensorRT nor CUDA is imported with this package; :func:`load` does.
"""

from ...model.plan_record import (
    Plan,
    PlanKey,
    PlanRecord,
    Profile,
    ShapeRange,
    read_plan,
    read_record,
    record_path,
)
from ..build_progress import BuildProgress, Report, observed
from .backend import PlanBinding, TensorRt, status
from .builder import THIS_GPU, BuildOptions, Built, build, build_into, make_key
from .library import RTX_TARGETS, Library, load
from .make import MadePlan, gpu_for, make_plan
from .plans import Entry, PlanCache, write_plan
from .profile import Extent, make_profile, parse_extent

__all__ = [
    "RTX_TARGETS",
    "THIS_GPU",
    "BuildOptions",
    "BuildProgress",
    "Built",
    "Entry",
    "Extent",
    "Library",
    "MadePlan",
    "Plan",
    "PlanBinding",
    "PlanCache",
    "PlanKey",
    "PlanRecord",
    "Profile",
    "Report",
    "ShapeRange",
    "TensorRt",
    "build",
    "build_into",
    "gpu_for",
    "load",
    "make_key",
    "make_plan",
    "make_profile",
    "observed",
    "parse_extent",
    "read_plan",
    "read_record",
    "record_path",
    "status",
    "write_plan",
]
