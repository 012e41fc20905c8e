"""Which sizes a graph without record takes, found by trying."""

from __future__ import annotations

from ..errors import BackendError, ShapeError
from ..spec import SizeRule
from .base import ModelBackend, zero_inputs

STEPS = (1, 2, 4, 8, 16, 32, 64)


def find_size_rule(backend: ModelBackend) -> SizeRule:
    """Find by trying which sizes a graph with free height and width takes.

    Runs the graph, for each step of :data:`STEPS`, at two different odd multiples of the step, and takes the first step
    at which it answers with a picture of the input's size.

    Raises:
        ShapeError: it does so at none.
    """
    tried: list[str] = []
    reason = ""
    before = backend.spec.size
    backend.set_size_rule(SizeRule())
    try:
        for step in STEPS:
            odd = max(64 // step, 2) // 2 * 2 + 1  # the smallest odd multiple above 64
            height, width = step * odd, step * (odd + 2)
            try:
                backend.run(*zero_inputs(backend.spec, (height, width), backend.batch or 1))
            except (BackendError, ShapeError) as error:
                tried.append(f"{height}x{width}")
                reason = str(error)
                continue
            return SizeRule(multiple_of=step, minimum=height, preferred=before.preferred)
    finally:
        backend.set_size_rule(before)
    raise ShapeError(
        f"{backend.title} fails at all of the sizes {', '.join(tried)}or answers with another size. Last: {reason}"
    )
