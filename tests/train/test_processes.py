"""Two processes with half the batch each train what one process trains with the whole batch."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from ganlens.train.checkpoint import load_state
from ganlens.train.config import CycleGANConfig, save_config
from ganlens.train.loop import train

TOLERANCE = 2e-6
"""Of the mean difference, where a weight moves by about 5e-4. Sums over the batch are grouped differently, and where a
gradient is nothing but rounding (a bias before an instance norm) Adam makes full steps of it."""

LOSS_TOLERANCE = 1e-4
"""Relative, of each logged loss in each of three steps: the mean over two halves is the mean over the whole batch."""

TRAIN_AND_RESUME = """
import sys
from pathlib import Path
from ganlens.train.config import load_config
from ganlens.train.loop import train

config = load_config(Path(sys.argv[1]))
train(config)
train(config.model_copy(update={"steps": 3}), resume=True)
"""


@pytest.mark.slow
def test_two_processes_equal_one_with_twice_the_batch(
    make_config: Callable[..., CycleGANConfig], tmp_path: Path
) -> None:
    options = {"norm": "none", "pool": 0, "steps": 2, "decay_steps": 1, "log_every": 1}
    two = make_config(out=str(tmp_path / "two"), batch=1, **options)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    launched = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    launched |= {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}  # as accelerate launch and torchrun set them
    command = [sys.executable, "-c", TRAIN_AND_RESUME, str(save_config(two, tmp_path))]
    processes = [
        subprocess.Popen(
            command,
            env={**os.environ, **launched, "RANK": rank, "LOCAL_RANK": rank},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in ("0", "1")
    ]
    try:
        for process in processes:
            _, complaint = process.communicate(timeout=240)
            assert process.returncode == 0, complaint[-3000:]
    finally:
        for process in processes:
            process.kill()
            process.wait()

    one = make_config(out=str(tmp_path / "one"), batch=2, **options)
    train(one)
    train(one.model_copy(update={"steps": 3}), resume=True)
    together, alone = load_state(tmp_path / "two"), load_state(tmp_path / "one")
    assert (len(together["ranks"]), together["step"]) == (2, 3)
    for network, weights in alone["networks"].items():
        others = together["networks"][network]
        differences = torch.cat([(value - others[name]).abs().flatten() for name, value in weights.items()])
        assert differences.mean() < TOLERANCE, network
    losses = read_losses(tmp_path / "two")
    assert {"cycle", "generator/total", "discriminator/total"} <= losses.keys()
    for name, values in read_losses(tmp_path / "one").items():
        assert len(values) == 3 and losses[name] == pytest.approx(values, rel=LOSS_TOLERANCE, abs=1e-6), name


def read_losses(run: Path) -> dict[str, list[float]]:
    """Logged name → its value at each step."""
    events = EventAccumulator(str(run / "tensorboard")).Reload()
    names = [name for name in events.Tags()["scalars"] if name not in ("images_per_second", "learning_rate")]
    return {name: [event.value for event in events.Scalars(name)] for name in names}
