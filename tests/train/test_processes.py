"""Two processes with half the batch each train what one process trains with the whole batch."""

from __future__ import annotations

import json
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
from ganlens.train.methods import METHODS

TOLERANCE = 2e-6
"""Mean difference of weights that move by about 5e-4. Sums over the batch are grouped differently, and where a gradient
is nothing but rounding (a bias before an instance norm) Adam makes full steps of it."""

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


DIGESTS = """
import sys
from pathlib import Path
from ganlens.train.checkpoint import weights_sha256
from ganlens.train.config import load_config
from ganlens.train.loop import Trainer

trainer = Trainer(load_config(Path(sys.argv[1])))
trainer.fit()
for name, network in sorted(trainer.method.networks.items()):
    print(name, weights_sha256(network.state_dict()))
print("averaged", weights_sha256(trainer.averaged["generator"].module.state_dict()))
"""


def run_two(code: str, *arguments: str) -> list[str]:
    """Run Python code in two processes of one training, as accelerate launch and torchrun do; what each printed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    launched = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    launched |= {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            env={**os.environ, **launched, "RANK": rank, "LOCAL_RANK": rank},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in ("0", "1")
    ]
    printed = []
    try:
        for process in processes:
            text, complaint = process.communicate(timeout=240)
            assert process.returncode == 0, complaint[-3000:]
            printed.append(text)
    finally:
        for process in processes:
            with process:  # closes its pipes
                process.kill()
    return printed


@pytest.mark.slow
@pytest.mark.parametrize("method", ["psc-gan", "dcgan"])
def test_batch_norm_is_the_same_on_both_processes(faces: Path, tmp_path: Path, method: str) -> None:
    """Statistics too, or each process would be judged by another frozen encoder, and ship another generator."""
    common = {"data": str(faces), "out": str(tmp_path / "run"), "batch": 4, "steps": 2, "width": 2, "holdout": 3}
    common |= {"sample_every": 0, "log_every": 1}
    if method == "psc-gan":
        layout = tmp_path / "layout.json"
        values = [{"name": "smiling", "any_of": ["Smiling"]}, {"name": "grave"}]
        layout.write_text(json.dumps({"groups": [{"name": "mouth", "rule": "first_match", "values": values}]}))
        common |= {"labels": str(layout), "size": 64, "latent": 3, "stage1_steps": 2}
    else:
        common |= {"size": 32, "load_size": 36}
    config = METHODS[method].config(**common)
    first, second = run_two(DIGESTS, str(save_config(config, tmp_path)))
    assert first == second and "averaged" in first


@pytest.mark.slow
def test_synchronised_batch_norm_makes_two_processes_equal_one_with_twice_the_batch(
    make_config: Callable[..., CycleGANConfig], tmp_path: Path
) -> None:
    options = {"norm": "bn", "pool": 0, "steps": 2, "decay_steps": 1, "log_every": 1, "sync_batch_norm": True}
    two = make_config(out=str(tmp_path / "two"), batch=1, **options)
    run_two(TRAIN_AND_RESUME, str(save_config(two, tmp_path)))
    one = make_config(out=str(tmp_path / "one"), batch=2, **options)
    train(one)
    train(one.model_copy(update={"steps": 3}), resume=True)
    losses = read_losses(tmp_path / "two")
    for name, values in read_losses(tmp_path / "one").items():
        assert losses[name] == pytest.approx(values, rel=LOSS_TOLERANCE, abs=1e-6), name
    together, alone = load_state(tmp_path / "two")["networks"], load_state(tmp_path / "one")["networks"]
    for name, value in alone["to_painting"].items():
        if "running" in name:
            assert torch.allclose(together["to_painting"][name], value, rtol=1e-3, atol=1e-4), name


@pytest.mark.slow
@pytest.mark.parametrize(
    ("launcher", "module"),
    [("torchrun", "torch.distributed.run"), ("accelerate launch", "accelerate.commands.launch")],
)
def test_the_lines_of_the_docs_train_with_two_processes(
    folders: tuple[Path, Path], tmp_path: Path, launcher: str, module: str
) -> None:
    text = (Path(__file__).parents[2] / "docs" / "training.md").read_text(encoding="utf-8")
    line = next(line for line in text.splitlines() if line.startswith(f"ACCELERATE_USE_CPU=true {launcher} "))
    words = line.partition("#")[0].split()[1 + len(launcher.split()) :]
    places = {"PHOTOS": str(folders[0]), "PAINTINGS": str(folders[1]), "RUN": str(tmp_path / "run")}
    small = {"tier": "nano", "size": 32, "load-size": 36, "steps": 2, "discriminator-width": 8, "samples": 1}
    command = [sys.executable, "-m", module, *(places.get(word, word) for word in words)]
    command += [word for name, value in small.items() for word in (f"--{name}", str(value))]
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "2 processes, 2 steps of 2 pictures" in (tmp_path / "run" / "log.txt").read_text(encoding="utf-8")


@pytest.mark.slow
def test_two_processes_equal_one_with_twice_the_batch(
    make_config: Callable[..., CycleGANConfig], tmp_path: Path
) -> None:
    options = {"norm": "none", "pool": 0, "steps": 2, "decay_steps": 1, "log_every": 1}
    two = make_config(out=str(tmp_path / "two"), batch=1, **options)
    run_two(TRAIN_AND_RESUME, str(save_config(two, tmp_path)))

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
