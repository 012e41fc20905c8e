"""Which sizes a graph without record takes, found by trying."""

from __future__ import annotations

from ..errors import BackendError, ShapeError
from ..spec import SizeRule, format_size
from .base import ModelBackend, zero_inputs

STEPS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
SHORTEST = 64
"""Pixels that the sides tried have at least."""


def find_size_rule(backend: ModelBackend, given: tuple[int, int] | None = None) -> SizeRule:
    """Find by trying which sizes a graph with free height and width takes.

    Runs the graph, for each step of :data:`STEPS`, at two different odd multiples of the step, and takes the first step
    at which it answers with a picture of the input's size. If there is none, ``given``, (height, width), is tried: the
    graph is then run at that size only.

    Raises:
        ShapeError: it fails at all of them.
    """
    tried: list[str] = []
    reason = ""

    def answers(size: tuple[int, int]) -> bool:
        nonlocal reason
        try:
            backend.run(*zero_inputs(backend.spec, size, backend.batch or 1))
        except (BackendError, ShapeError) as error:
            tried.append(format_size(size))
            reason = str(error)
            return False
        return True

    before = backend.spec.size
    backend.set_size_rule(SizeRule())
    try:
        for step in STEPS:
            odd = SHORTEST // step // 2 * 2 + 1
            height, width = step * odd, step * (odd + 2)
            if answers((height, width)):
                return SizeRule(multiple_of=step, minimum=height, preferred=before.preferred)
        if given is not None and answers(given):
            return SizeRule(fixed=given, preferred=given)
    finally:
        backend.set_size_rule(before)
    raise ShapeError(
        f"{backend.title} fails at all of the sizes {', '.join(tried)}, or answers with another size. If it takes one "
        f"size only, give that with --size WIDTHxHEIGHT. Last: {reason}"
    )
