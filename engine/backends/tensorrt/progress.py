"""Progress of a build, from the nested phases reported by the library; and how a build is stopped."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..build_progress import BuildProgress, Report


@dataclass
class _Phase:
    name: str
    steps: int
    parent: _Phase | None
    done: int = 0


class Progress:
    """Collects the phases of a build. The library may call from several threads, and must never see an exception."""

    def __init__(self, report: Report | None = None, *, clock: Callable[[], float] = time.perf_counter) -> None:
        self.cancelled = False
        self.error: BaseException | None = None
        """Raised by ``report``; stops the build."""
        self._report = report
        self._clock = clock
        self._began = clock()
        self._lock = threading.Lock()
        self._phases: dict[str, _Phase] = {}
        self._fraction = 0.0

    def cancel(self) -> None:
        """Let the build stop at its next step."""
        self.cancelled = True

    def start(self, name: str, parent: str | None, steps: int) -> None:
        """A phase begins, inside another one or on its own."""
        with self._lock:
            self._phases[name] = _Phase(name, max(1, steps), self._phases.get(parent) if parent else None)
        self._tell(name)

    def step(self, name: str, number: int) -> bool:
        """Step ``number``, from 0, of a phase is done; the answer is whether to go on."""
        with self._lock:
            if name in self._phases:
                self._phases[name].done = max(self._phases[name].done, number + 1)
        self._tell(name)
        return not self.cancelled

    def finish(self, name: str) -> None:
        """A phase ends, maybe before all its steps are done."""
        with self._lock:
            self._phases.pop(name, None)

    def _tell(self, name: str) -> None:
        with self._lock:
            phase = self._phases.get(name)
            self._fraction = max(self._fraction, min(1.0, _reached(phase)))
            now = BuildProgress(self._fraction, name, self._clock() - self._began)
        if self._report is None or self.error is not None:
            return
        try:
            if self._report(now) is False:
                self.cancelled = True
        except BaseException as error:
            self.error, self.cancelled = error, True

    def monitor(self, module: Any) -> Any:
        """An ``IProgressMonitor`` of the library."""
        progress = self

        class Monitor(module.IProgressMonitor):  # type: ignore[misc]
            def __init__(self) -> None:
                module.IProgressMonitor.__init__(self)

            def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
                progress.start(phase_name, parent_phase, num_steps)

            def step_complete(self, phase_name: str, step: int) -> bool:
                return progress.step(phase_name, step)

            def phase_finish(self, phase_name: str) -> None:
                progress.finish(phase_name)

        return Monitor()


def _reached(phase: _Phase | None) -> float:
    """The share of the outermost phase that is done, seen from a phase inside it."""
    inner = 0.0
    while phase is not None:
        inner = (min(phase.done, phase.steps) + min(inner, 1.0) * (phase.done < phase.steps)) / phase.steps
        phase = phase.parent
    return inner
