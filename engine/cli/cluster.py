"""``engine translate --ray``: the inputs over the machines of a Ray cluster, by Ray Data's pool of actors.

Each actor is one :class:`~.worker.Worker`, as in the processes of ``--jobs``: it keeps the model open, and reads and
writes files in folders that every node sees under the same path. Ray gives the clips of a lost node to another one.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import socket
from collections.abc import Iterator
from typing import Any

from ..errors import BackendUnavailable, EngineError, MissingExtra, OptionError
from ..media.uri import SINKS, SOURCES, scheme_of
from .inputs import Work
from .options import TranslateOptions
from .segmented import SegmentWorker
from .worker import Done

LOCAL = "local"
_CONNECT_S = 5.0


class _Actor:
    """A worker in a Ray actor."""

    def __init__(self, options: TranslateOptions, videos: bool) -> None:
        self._worker = SegmentWorker(options, alone=False, videos=videos, quiet=True)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        work: Work = row["work"]
        try:
            done = self._worker.translate(work, overwrite=row["may_replace"])
        except EngineError as error:
            done = Done(work, error=str(error))
        return {"index": row["index"], "done": done}


class RayCluster:
    """A cluster that translates inputs; use it as a context manager.

    Args:
        address: "local" for this machine, "auto" for the cluster that runs here, or HOST:PORT of its head.
        options: of the command; where ``jobs`` is 1, as many inputs at a time as the cluster has cores (or GPUs) for.

    Raises:
        MissingExtra: Ray is not installed.
        BackendUnavailable: no cluster answers there.
    """

    def __init__(self, address: str, options: TranslateOptions) -> None:
        if address not in (LOCAL, "auto"):
            _check_answers(address)
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        try:
            import ray
            import ray.data
        except ModuleNotFoundError as error:
            raise MissingExtra("--ray", (error.name or "ray").partition(".")[0], "ray") from error
        self._ray: Any = ray
        quiet: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
        try:
            if address == LOCAL:
                ray.init(include_dashboard=False, _node_ip_address="127.0.0.1", **quiet)
            else:
                ray.init(address=address, **quiet)
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            raise _unreachable(address, str(error).partition("\n")[0]) from error
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.print_on_execution_start = False
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        resources: dict[str, float] = self._ray.cluster_resources()
        self._gpus = 1 if resources.get("GPU", 0) and options.backend in ("auto", "tensorrt", "cuda") else 0
        self._cpus = options.threads or 1
        room = resources.get("GPU", 0) if self._gpus else resources.get("CPU", 1) // self._cpus
        self.actors = options.jobs if options.jobs > 1 else max(1, int(room))
        # An actor's share of a machine is what it asked Ray for, not all the cores that it sees.
        self._options = dataclasses.replace(
            options,
            model=_absolute(options.model),
            threads=self._cpus,
            encoder_threads=options.encoder_threads or self._cpus,
        )

    def translate(self, works: list[tuple[Work, bool]]) -> Iterator[Done]:
        """What became of each, in the order in which they are finished.

        Args:
            works: each with whether its output, should it exist, may be replaced.

        Raises:
            BackendUnavailable: the cluster is lost.
        """
        from ray.data import ActorPoolStrategy

        given = [work for work, _ in works]
        rows = [
            {"index": index, "work": _seen_by_nodes(work), "may_replace": may_replace}
            for index, (work, may_replace) in enumerate(works)
        ]
        pool = ActorPoolStrategy(min_size=1, max_size=min(self.actors, len(works)))
        videos = any(work.input.kind == "video" for work in given)
        data = self._ray.data.from_items(rows, override_num_blocks=len(rows)).map(
            _Actor,
            fn_constructor_args=(self._options, videos),
            compute=pool,
            num_cpus=None if self._gpus else self._cpus,
            num_gpus=self._gpus or None,
        )
        try:
            for row in data.iter_rows():
                done: Done = row["done"]
                yield dataclasses.replace(done, work=given[row["index"]])
        except self._ray.exceptions.RayError as error:
            raise BackendUnavailable(
                f"The Ray cluster was lost, or an actor failed: {str(error).strip().splitlines()[-1]} Go on with "
                "--resume."
            ) from error

    def __enter__(self) -> RayCluster:
        return self

    def __exit__(self, *_: object) -> None:
        self._ray.shutdown()


def check(works: list[Work]) -> None:
    """Refuse what nodes cannot read or write.

    Raises:
        OptionError: one is a pipe or an address.
    """
    for work in works:
        for place, table in ((work.input.address, SOURCES), (work.output, SINKS)):
            if place == "-" or scheme_of(place, table) != "":
                raise OptionError(f"--ray: {place} is not a file that every node sees. Leave --ray out.")


def _seen_by_nodes(work: Work) -> Work:
    address = _absolute(work.input.address)
    return Work(work.input._replace(address=address), os.path.abspath(work.output))


def _absolute(name: str) -> str:
    return os.path.abspath(name) if os.path.exists(name) else name


def _check_answers(address: str) -> None:
    """Refuse an address that does not answer: Ray itself tries for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        raise OptionError(f"--ray {address}: expected HOST:PORT of the cluster's head, 'auto' or 'local'.")
    try:
        socket.create_connection((host, int(port)), _CONNECT_S).close()
    except (OSError, OverflowError) as error:
        raise _unreachable(address, getattr(error, "strerror", None) or str(error)) from error


def _unreachable(address: str, why: str) -> BackendUnavailable:
    return BackendUnavailable(
        f"No Ray cluster answers at {address} ({why}). Start one with: ray start --head; or take --ray local, or "
        "--jobs."
    )
