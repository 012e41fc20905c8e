"""Time, processor seconds and memory of whole processes."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Command = Sequence[str]
"""A program and its arguments."""

ENGINE: Command = (sys.executable, "-c", "from ganlens.engine.__main__ import main; main()")
"""The ``engine`` command in this interpreter, as its console script starts it, installed or not."""

COMPILED = {"PYTHONDONTWRITEBYTECODE": ""}
"""Lets the first start of a process keep the byte code for the following ones, as pip does when it installs."""


@dataclass(frozen=True)
class Usage:
    """What one run of a pipeline of processes took."""

    wall: float
    """Seconds from the first start to the last end."""
    cpu: float
    """User and system seconds of all processes and the children they waited for."""
    peak_mib: float
    """Largest resident size of each process, added up; an upper bound where the peaks do not meet."""
    foreign: float
    """Processor seconds that others used meanwhile, per wall second and core, 0 to 1: the disturbance."""


def run_pipeline(commands: Sequence[Command], environment: Mapping[str, str] | None = None) -> Usage:
    """Run ``commands`` joined by pipes, as a shell does, and wait for all of them.

    Standard error goes to a file and is shown only when something fails. Python programs among them may keep their byte
    code, as installed ones do.

    Raises:
        RuntimeError: a process ended with another status than 0.
    """
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as log:
        busy = busy_seconds()
        start = time.perf_counter()
        processes: list[subprocess.Popen[bytes]] = []
        upstream = None
        for place, command in enumerate(commands):
            last = place == len(commands) - 1
            process = subprocess.Popen(
                command,
                stdin=upstream or subprocess.DEVNULL,
                stdout=log if last else subprocess.PIPE,
                stderr=log,
                env={**os.environ, **COMPILED, **(environment or {})},
            )
            if upstream is not None:
                upstream.close()  # only the child may hold it, or a dead reader is never noticed
            upstream = process.stdout
            processes.append(process)
        cpu = 0.0
        with PeakMemory([process.pid for process in processes]) as memory:
            for process in processes:
                _, status, usage = os.wait4(process.pid, 0)
                process.returncode = os.waitstatus_to_exitcode(status)
                cpu += usage.ru_utime + usage.ru_stime
        wall = time.perf_counter() - start
        foreign = max(0.0, busy_seconds() - busy - cpu) / (wall * cores())
        failed = [process for process in processes if process.returncode]
        if failed:
            log.seek(0)
            command = " ".join(commands[processes.index(failed[0])])
            raise RuntimeError(f"{command} ended with status {failed[0].returncode}:\n{log.read()[-2000:]}")
    return Usage(wall, cpu, memory.mib(), foreign)


def run_steps(steps: Sequence[Sequence[Command]], environment: Mapping[str, str] | None = None) -> Usage:
    """Run pipelines one after the other, and add up what they took; the largest peak counts."""
    usages = [run_pipeline(commands, environment) for commands in steps]
    wall = sum(usage.wall for usage in usages)
    return Usage(
        wall,
        sum(usage.cpu for usage in usages),
        max(usage.peak_mib for usage in usages),
        sum(usage.foreign * usage.wall for usage in usages) / wall,
    )


class PeakMemory:
    """Watches the largest resident size of processes while they run.

    The system's own account at the end (``ru_maxrss``) begins with the size of the process that forked: ours.
    """

    INTERVAL = 0.02

    def __init__(self, pids: Sequence[int]) -> None:
        self._peaks = dict.fromkeys(pids, 0)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def mib(self) -> float:
        """The peaks added up; 0 where the system has no /proc."""
        return sum(self._peaks.values()) / 1024

    def _watch(self) -> None:
        while True:
            for pid in self._peaks:
                self._peaks[pid] = max(self._peaks[pid], high_water_kib(pid))
            if self._stop.wait(self.INTERVAL):
                return

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def high_water_kib(pid: int) -> int:
    """Largest resident size so far; 0 for a process that has ended."""
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8") as status:
            return next((int(line.split()[1]) for line in status if line.startswith("VmHWM:")), 0)
    except OSError:
        return 0


def median_usage(usages: Sequence[Usage]) -> Usage:
    """The median of each measure on its own."""
    rows = [(usage.wall, usage.cpu, usage.peak_mib, usage.foreign) for usage in usages]
    return Usage(*(statistics.median(column) for column in zip(*rows, strict=True)))


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def busy_seconds() -> float:
    """Processor seconds that the whole machine has worked since it started; 0 where the system does not say."""
    try:
        with open("/proc/stat", encoding="ascii") as stat:
            fields = [int(field) for field in stat.readline().split()[1:]]
    except OSError:
        return 0.0
    user, nice, system, _idle, _iowait, interrupts, soft_interrupts = fields[:7]
    return (user + nice + system + interrupts + soft_interrupts) / os.sysconf("SC_CLK_TCK")
