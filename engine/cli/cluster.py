"""``--ray``: inputs or pictures over the machines of a Ray cluster, by Ray Data's pool of actors.

Each actor keeps the model open, and reads and writes files in folders that every node sees under the same path: of
``engine translate`` it is one :class:`~.worker.Worker`, as in the processes of ``--jobs``. Ray gives the work of a lost
node to another one.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from typing import Any

from ..errors import BackendUnavailable, MissingExtra, OptionError

LOCAL = "local"
_CONNECT_S = 5.0


class RayCluster:
    """A cluster whose actors share work; use it as a context manager.

    Args:
        address: "local" for this machine, "auto" for the cluster that runs here, or HOST:PORT of its head.
        backend: what an actor opens: with one that may run on a GPU, it gets one where the cluster has any.
        threads: cores of an actor.
        jobs: number of actors; 1: as many as the cluster has cores (or GPUs) for.

    Raises:
        MissingExtra: Ray is not installed.
        BackendUnavailable: no cluster answers there.
    """

    def __init__(self, address: str, *, backend: str, threads: int | None = None, jobs: int = 1) -> None:
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
        self._gpus = 1 if resources.get("GPU", 0) and backend in ("auto", "tensorrt", "cuda") else 0
        self.threads = threads or 1
        room = resources.get("GPU", 0) if self._gpus else resources.get("CPU", 1) // self.threads
        self.actors = jobs if jobs > 1 else max(1, int(room))

    def map(self, actor: type[Any], arguments: tuple[Any, ...], rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """What the actors make of rows, in the order in which they are finished.

        Args:
            actor: class of a callable from row to row.
            arguments: to make one.

        Raises:
            BackendUnavailable: the cluster is lost.
        """
        from ray.data import ActorPoolStrategy

        data = self._ray.data.from_items(rows, override_num_blocks=len(rows)).map(
            actor,
            fn_constructor_args=arguments,
            compute=ActorPoolStrategy(min_size=1, max_size=min(self.actors, len(rows))),
            num_cpus=None if self._gpus else self.threads,
            num_gpus=self._gpus or None,
        )
        try:
            yield from data.iter_rows()
        except self._ray.exceptions.RayError as error:
            raise BackendUnavailable(
                f"The Ray cluster was lost, or an actor failed: {str(error).strip().splitlines()[-1]} Start "
                "the command again; engine translate continues with --resume."
            ) from error

    def __enter__(self) -> RayCluster:
        return self

    def __exit__(self, *_: object) -> None:
        self._ray.shutdown()


def absolute(name: str) -> str:
    """The path of a file as nodes see it; what is no file, such as the name of a shipped model, stays."""
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
