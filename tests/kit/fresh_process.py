"""State of the process that a training leaves behind, and that no other test may see."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from accelerate.state import AcceleratorState, PartialState


@contextmanager
def fresh_process() -> Iterator[None]:
    """One thread inside (tests are tiny, threads only cost); after it the former number, and no Accelerate state."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        AcceleratorState._reset_state(True)
        PartialState._reset_state()
