"""The training loop: one for all methods. A step runs the method's phases; around it records, samples, checkpoints."""

from __future__ import annotations

import io
import json
import logging
import re
import signal
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import broadcast_object_list, gather_object
from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from ganlens.engine.cli.console import make_console
from ganlens.engine.errors import TrainingError, install_command

from .averaging import MovingAverage
from .checkpoint import STATE_NAME, load_state, save_generator, save_state, state_stamp
from .config import CONFIG_NAME, STAGES, TrainConfig, earlier_runs, is_config, read_sessions, save_config
from .data.datasets import Positions, make_loader
from .data.pairs import PAIRS_NAME
from .data.pictures import to_pixels
from .evaluate.extractors import open_extractor
from .evaluate.metrics import SetDistance
from .evaluate.style import SHORTFALL, style_figures
from .history import HISTORY_NAME, History
from .methods import method_of
from .methods.base import Batch, Parts, Phase
from .processes import average_in_place, average_statistics, synchronise_batch_norms
from .provenance import session
from .randomness import get_random_state, seed_all, set_random_state
from .run_lock import LOCK_NAME, only_writer
from .sample_sheet import make_sheet
from .specs import hardware, training_record
from .start import take_generators

logger = logging.getLogger(__name__)

STATE_VERSION = 1
LOG_NAME = "log.txt"
BEST = "best"
SNAPSHOTS = "snapshots"
METRIC_BATCH = 16
WORTH_AN_ESTIMATE = 100
"""Steps from which a run is told how long it will take."""

BEFORE_FIRST_CHECKPOINT = frozenset(
    {LOCK_NAME, CONFIG_NAME, PAIRS_NAME, LOG_NAME, HISTORY_NAME, STAGES, "tensorboard", "samples"}
)
"""What a run folder holds before its first checkpoint."""
UNFINISHED = re.compile(r"\..*\.part(\..*)?")
"""Files that a killed process did not finish; the next writer removes them."""


class Trainer:
    """One run: builds everything from the configuration, trains, and can be resumed exactly.

    Args:
        config: what to do. With ``resume`` it must agree with the saved one but for what may change.
        resume: continue from the checkpoint in the run folder.
        console: where the progress bar goes if it is a terminal.

    Raises:
        TrainingError: unusable data; an existing run folder without ``resume``; nothing to resume.
    """

    def __init__(self, config: TrainConfig, *, resume: bool = False, console: Console | None = None) -> None:
        self.config = config
        self.console = console or make_console(stderr=True, highlight=True)
        if config.threads:
            torch.set_num_threads(config.threads)
        self.accelerator = make_accelerator(config.precision, config.track)
        saved = load_state(config.run) if resume else None
        self._resumed_from = state_stamp(config.run) if resume else None
        if saved is None:
            refuse_used_folder(config.run, stages=bool(config.stages))
        self.accelerator.wait_for_everyone()  # all have looked at the folder before one writes to it
        self.device = self.accelerator.device
        with self.accelerator.main_process_first():  # what one process prepares and keeps, the others find
            kind = method_of(config)
        self.dataset = kind.make_dataset(config)
        self.schedule = kind.make_schedule(config, self.dataset.epoch_length, self.accelerator.num_processes)
        self.step = 0
        self.seconds = 0.0
        self.best: tuple[float, int] | None = None
        """The best measurement so far, and its step: the kernel distance, else the gates' shortfall, else minus the
        accuracy."""

        seed_all(config.seed)  # the same on every process, so that all start from the same weights
        self.method = kind(config)
        self.method.prepare(self.dataset, self.schedule)
        if config.sync_batch_norm and self.accelerator.num_processes > 1:
            for network in self.method.networks.values():
                synchronise_batch_norms(network)
        layout = memory_format(config, self.device, self.method.networks.values())
        for network in self.method.networks.values():
            network.to(device=self.device, memory_format=layout)  # type: ignore[call-overload]
        if config.start_from and saved is None:
            take_generators(self.method, config)
        self.averaged = {name: MovingAverage(self.method.networks[name], config.ema) for name in self.method.averaged}
        if config.compile:
            for name in self.method.averaged:  # not the discriminators: penalties differentiate their gradients
                self.method.networks[name].compile()
        for network in self.method.fixed.values():
            network.to(device=self.device, memory_format=layout).eval().requires_grad_(False)  # type: ignore[call-overload]
        self.optimizers = {
            phase.name: self.accelerator.prepare_optimizer(phase.make_optimizer(self._parameters(phase)))
            for phase in self.method.phases
        }
        self.rates = {name: float(optimizer.param_groups[0]["lr"]) for name, optimizer in self.optimizers.items()}
        self.layout = layout
        seed_all(config.seed + 1 + self.accelerator.process_index)
        if saved is not None:
            self._restore(saved)
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}
        self._summed = 0
        self._writer: SummaryWriter | None = None
        self._history: History | None = None
        self._metric: SetDistance | None = None

    # --- the run -----------------------------------------------------------------------------------------------------

    def fit(self) -> bool:
        """Train to the end of the schedule, or until Ctrl-C.

        Returns:
            Whether the run is finished; False: stopped, saved, and can be resumed.

        Raises:
            TrainingError: the losses are no longer finite, or the disk is full. The last checkpoint is kept.
        """
        config, schedule = self.config, self.schedule
        if self.step >= schedule.steps:
            raise TrainingError(
                f"{config.out} is finished: {self.step} of {schedule.steps} steps. Give a larger --steps to continue."
            )
        with self._own_folder(), self._log_file():
            try:
                return self._fit()
            finally:
                for file in (self._writer, self._history):
                    if file is not None:
                        file.close()

    def _fit(self) -> bool:
        config, schedule = self.config, self.schedule
        if self.is_main:
            self._begin_files()
            purge_step = self.step + 1 if self.step else None  # what a killed run wrote after its last checkpoint
            self._writer = SummaryWriter(str(config.run / "tensorboard"), purge_step=purge_step)
            if self.step == 0:
                add_hyperparameters(self._writer, config)
        if config.track:
            start_tracker(self.accelerator, config)
        if self.step == 0:
            if config.sample_every or self._sample_is_due():
                self.sample()
            self.save()  # shows at once that the folder can be written, and makes a run of any age resumable
        self._tell_length()
        positions = Positions(
            self.step, schedule.steps, config.batch, self.accelerator.process_index, self.accelerator.num_processes
        )
        loader = make_loader(self.dataset, positions, workers=config.workers)
        last_checkpoint = last_log = started = time.monotonic()
        before = self.seconds

        with catch_interrupt() as interrupted, self._progress() as progress:
            for raw in loader:
                self.update(tuple(self._to_device(part) for part in raw))
                self.seconds = before + time.monotonic() - started
                progress.advance()

                now = time.monotonic()
                if self.step % config.log_every == 0 or self.step == schedule.steps:
                    self._log(now - last_log)
                    last_log = now
                if self._sample_is_due():
                    self.sample()
                if config.metric_every and (self.step % config.metric_every == 0 or self.step == schedule.steps):
                    self.measure()
                if config.keep_every and self.step % config.keep_every == 0:
                    self.save(config.run / SNAPSHOTS / f"step-{self.step:07d}")
                stop, due = self._agree(interrupted.is_set(), now - last_checkpoint > 60 * config.checkpoint_minutes)
                if stop or due:
                    self.save()
                    last_checkpoint = time.monotonic()
                if stop:
                    break
        finished = self.step >= schedule.steps
        if finished:
            self.save()
        if config.track:
            self.accelerator.end_training()
        return finished

    def _tell_length(self) -> None:
        """How long the run will take, from steps on its own data that are taken back: exactly, as a resumed run."""
        left = self.schedule.steps - self.step
        if left < WORTH_AN_ESTIMATE:
            return
        tried = max(phase.every for phase in self.method.phases)
        kept = io.BytesIO()  # in the machine's memory, not the GPU's
        torch.save(self._state([self._rank_state()] * int(self.accelerator.num_processes)), kept)
        rank = self.accelerator.process_index
        first = self.step * self.accelerator.num_processes * self.config.batch + rank * self.config.batch
        rows = [self.dataset[first + number] for number in range(self.config.batch)]
        batch = tuple(self._to_device(torch.stack(part)) for part in zip(*rows, strict=True))
        seconds = 0.0
        for number in range(tried + 1):  # the first allocates
            started = time.monotonic()
            self.update(batch)
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)
            seconds += time.monotonic() - started if number else 0.0
        self._sums.clear()
        self._counts.clear()
        self._summed = 0
        for optimizer in self.optimizers.values():
            optimizer.zero_grad(set_to_none=True)
        self._restore(torch.load(io.BytesIO(kept.getvalue()), map_location="cpu", weights_only=True))
        each = seconds / tried
        logger.info(
            "about %s: %d steps of %.3g s on this machine, without loading pictures", span(each * left), left, each
        )

    def _sample_is_due(self) -> bool:
        config, schedule = self.config, self.schedule
        if config.sample_every and (self.step % config.sample_every == 0 or self.step == schedule.steps):
            return True
        # A second stage begins within its first step, so that its epoch 0 is seen after that.
        begun = int(schedule.first_stage > 0)
        steps = (schedule.first_stage + max(begun, e * schedule.steps_per_epoch) for e in config.sampled_epochs)
        return self.step in steps

    @contextmanager
    def _own_folder(self) -> Iterator[None]:
        """The run folder, locked. Only the main process holds the lock; if it fails, all processes raise."""
        problem: TrainingError | None = None
        with ExitStack() as held:
            if self.is_main:
                try:
                    self.config.run.mkdir(parents=True, exist_ok=True)
                    held.enter_context(only_writer(self.config.run))
                    self._refuse_changed_folder()
                except TrainingError as error:
                    problem = error
                except OSError as error:
                    problem = TrainingError(f"{self.config.run} cannot be written: {error}. Choose another --out.")
            problems: list[TrainingError | None] = [problem]
            if self.accelerator.num_processes > 1:
                problems = broadcast_object_list(problems)
            if problems[0] is not None:
                raise problems[0]
            yield

    def _refuse_changed_folder(self) -> None:
        """Another process may have trained here between the first look at the folder and the lock."""
        if self._resumed_from is None:
            refuse_used_folder(self.config.run, stages=bool(self.config.stages))
        elif state_stamp(self.config.run) != self._resumed_from:
            raise TrainingError(
                f"The run in {self.config.run} has changed since it was opened: another process is training it. Try "
                "again when that process has ended."
            )

    def update(self, batch: Batch) -> None:
        """One step: each phase computes its loss with all other networks frozen, and its optimiser moves."""
        if self.method.start_step(self.step, self.images_seen):
            for averaged in self.averaged.values():
                averaged.restart()
        factor = self.schedule.factor(self.step)
        portions = split(batch, self.config.accumulate)
        carried: list[dict[str, Any]] = [{} for _ in portions]
        moved: set[str] = set()
        for phase in self.method.phases:
            if not phase.runs(self.step):
                continue
            moved.update(phase.networks)
            optimizer = self.optimizers[phase.name]
            own = phase.rate_factor() if phase.rate_factor else 1.0
            for group in optimizer.param_groups:
                group["lr"] = self.rates[phase.name] * factor * own
            with only_trainable(self.method.networks, phase.networks):
                optimizer.zero_grad(set_to_none=True)
                for number, part in enumerate(portions):
                    self._carry(carried[number])
                    with self.accelerator.autocast():
                        total, parts = phase.loss(part, self.step)
                    self.accelerator.backward(total / len(portions))
                    carried[number] = {name: getattr(self.method, name) for name in self.method.carried}
                    self._count({f"{phase.name}/total": total, **parts}, len(portions))
            self._average_gradients(phase)
            if self.config.clip_gradients:
                self.accelerator.unscale_gradients(optimizer)
                nn.utils.clip_grad_norm_(self._parameters(phase), self.config.clip_gradients)
            optimizer.step()
            if phase.after:
                phase.after()
        self._summed += 1
        average_statistics(self.method.networks.values())
        for name, averaged in self.averaged.items():
            if name in moved:
                averaged.update(self.method.networks[name])
        self.step += 1

    def _carry(self, values: dict[str, Any]) -> None:
        """Give the method what an earlier phase of this step has left for these pictures."""
        for name, value in values.items():
            setattr(self.method, name, value)

    def _count(self, values: dict[str, Tensor], portions: int) -> None:
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, torch.zeros((), device=self.device)) + value.detach().float()
            self._counts[name] = self._counts.get(name, 0) + 1

    @property
    def is_main(self) -> bool:
        """Whether this process writes files."""
        return bool(self.accelerator.is_main_process)

    @property
    def images_seen(self) -> int:
        """Pictures of each domain shown so far."""
        return self.step * self.config.batch * int(self.accelerator.num_processes)

    # --- files -------------------------------------------------------------------------------------------------------

    def save(self, folder: Path | None = None) -> None:
        """Write the state and the averaged generators with their records, to the run folder or another."""
        self._refuse_not_finite()
        ranks = [self._rank_state()]
        if self.accelerator.num_processes > 1:
            ranks = gather_object(ranks)
        if self.is_main:
            self._write(ranks, folder or self.config.run)
        self.accelerator.wait_for_everyone()

    def _rank_state(self) -> dict[str, Any]:
        """What belongs to this process alone."""
        return {"random": get_random_state(), "method": self.method.state_dict()}

    def _state(self, ranks: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "version": STATE_VERSION,
            "config": self.config.model_dump_json(),
            "step": self.step,
            "seconds": self.seconds,
            "best": self.best,
            "networks": {name: network.state_dict() for name, network in self.method.networks.items()},
            "averaged": {name: averaged.state_dict() for name, averaged in self.averaged.items()},
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()},
            "scaler": self.accelerator.scaler.state_dict() if self.accelerator.scaler is not None else None,
            "ranks": ranks,
        }

    def _write(self, ranks: list[dict[str, Any]], folder: Path) -> None:
        state = self._state(ranks)
        # The state last: killed in between, the run is resumed from the one before and writes its generators again. But
        # the first of all states first: from then on there is something to resume.
        first = not (folder / STATE_NAME).exists()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if first:
                save_state(state, folder)
            self._write_generators(folder)
            if not first:
                save_state(state, folder)
        except (OSError, SafetensorError) as error:
            raise TrainingError(
                f"The checkpoint could not be written to {folder}: {error}. Free some space, then --resume."
            ) from error

    def _write_generators(self, folder: Path, metrics: dict[str, float] | None = None) -> None:
        training = training_record(
            self.config, images_seen=self.images_seen, steps=self.step, seconds=self.seconds, device=str(self.device)
        )
        folder.mkdir(parents=True, exist_ok=True)
        for stem, (name, spec) in self.method.specs().items():
            update: dict[str, Any] = {"training": training, "producer": "ganlens.train", "metrics": metrics or {}}
            update["licence"] = self.config.licence
            save_generator(self._saved(name), spec.model_copy(update=update), folder / f"{stem}.safetensors")

    def _begin_files(self) -> None:
        """The configuration with what is known of this process, and the history."""
        config, fingerprint = self.config, self.dataset.fingerprint()
        known = {found["data"] for found in read_sessions(config.run) if found.get("data")}
        if self.step and known and fingerprint not in known:
            logger.warning("the pictures differ from those at the start of the run: other names, sizes or labels")
        processes = int(self.accelerator.num_processes)
        save_config(
            config,
            config.run,
            session(step=self.step, device=hardware(str(self.device)), processes=processes, data=fingerprint),
        )
        self._history = History(config.run, self.step)
        logger.info(
            "%s on %s, %d process%s, %d steps of %d pictures",
            config.method,
            hardware(str(self.device)),
            processes,
            "" if processes == 1 else "es",
            self.schedule.steps,
            config.batch * processes,
        )
        for name, network in self.method.networks.items():
            millions = sum(parameter.numel() for parameter in network.parameters()) / 1e6
            tier = (
                f"tier {config.tier}, " if name in self.method.averaged and "tier" not in config.without_effect else ""
            )
            logger.info("network %s: %s%.3g M parameters", name, tier, millions)
        if config.advice:
            logger.info("%s", config.advice)

    @contextmanager
    def _log_file(self) -> Iterator[None]:
        """What is logged goes to ``log.txt`` in the run folder too."""
        if not self.is_main:
            yield
            return
        handler = logging.FileHandler(self.config.run / LOG_NAME, encoding="utf-8")
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
        package = logging.getLogger(__package__)
        level = package.level
        package.addHandler(handler)
        package.setLevel(min(level or logging.INFO, logging.INFO))
        try:
            yield
        finally:
            package.setLevel(level)
            package.removeHandler(handler)
            handler.close()

    @torch.no_grad()
    def measure(self) -> None:
        """Figures of what the averaged generator makes now; the best generators go to best/.

        On pictures of the training, in an order and with noise that are the same each time: the figures of one run can
        be compared with each other, and with those of runs on the same data.
        """
        if not self.is_main:
            return
        before = get_random_state()
        seed_all(self.config.seed)
        networks = {name: averaged.module.eval() for name, averaged in self.averaged.items()}
        made: list[Tensor] = []
        real: list[Tensor] = []
        parts: list[Parts] = []
        for start in range(0, self.config.metric_pictures, METRIC_BATCH):
            rows = range(start, min(start + METRIC_BATCH, self.config.metric_pictures))
            batch = tuple(torch.stack(part) for part in zip(*(self.dataset[row] for row in rows), strict=True))
            found = self.method.compared(tuple(self._to_device(part) for part in batch), networks)
            if found is None:
                break
            made.append(found.made.cpu())
            real.append(found.real.cpu())
            parts.append(found.parts)
        if made:
            self._judge(made, real, parts, networks)
        set_random_state(before)

    def _judge(
        self, made: list[Tensor], real: list[Tensor], parts: list[Parts], networks: Mapping[str, nn.Module]
    ) -> None:
        """Record the figures of a measurement, and keep the generators if they are the best so far."""
        where = f"{sum(len(batch) for batch in made)} pictures of the training, step {self.step}"
        weights = torch.tensor([float(len(batch)) for batch in made])
        values = {
            name: float((torch.stack([part[name].cpu() for part in parts]) * weights).sum() / weights.sum())
            for name in parts[0]
        }
        recorded = {f"{name}, {where}": value for name, value in values.items()}
        score = -values["accuracy"] if "accuracy" in values else None
        translator = self.method.translator(networks)
        if translator is not None:
            figures = style_figures(translator, made, real)
            values |= figures
            recorded |= {f"{name}, {where}": value for name, value in figures.items()}
            score = figures[SHORTFALL]
        if self.config.metric_features:
            distances = self._distance(real)(made)
            values |= {figure.name: figure.value for figure in distances}
            recorded |= {f"{figure.name} {figure.features}, {where}": figure.value for figure in distances}
            score = distances.kernel.value
        self._record({f"metric/{name}": value for name, value in values.items()})
        shown = {name: value for name, value in values.items() if "/" not in name}
        logger.info("step %d  %s", self.step, "  ".join(f"{name} {value:.4g}" for name, value in shown.items()))
        if score is not None and (self.best is None or score < self.best[0]):
            self.best = score, self.step
            self._write_generators(self.config.run / BEST, recorded)

    def _distance(self, real: list[Tensor]) -> SetDistance:
        if self._metric is None or self._metric.real_size != real[0].shape[2:]:
            file = Path(self.config.metric_features)
            vgg = file.suffix == ".safetensors"
            extractor = open_extractor(None if vgg else file, file if vgg else None).to(self.device)
            self._metric = SetDistance(extractor, real, resize="as in training")
        return self._metric

    def _record(self, values: dict[str, float]) -> None:
        if self._history is not None:
            self._history.add(self.step, self.seconds, values)
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(name, value, self.step)
        if self.config.track:
            self.accelerator.log(values, step=self.step)

    def _saved(self, name: str) -> nn.Module:
        return self.method.assemble(name, {name: averaged.module for name, averaged in self.averaged.items()})

    def _restore(self, saved: dict[str, Any]) -> None:
        if saved["version"] != STATE_VERSION:
            raise TrainingError(
                f"The checkpoint in {self.config.out} has version {saved['version']}; this ganlens reads version "
                f"{STATE_VERSION}. Start a new run folder."
            )
        processes = self.accelerator.num_processes
        if len(saved["ranks"]) != processes:
            raise TrainingError(
                f"The run in {self.config.out} used {len(saved['ranks'])} processes, now there are {processes}. Resume "
                "with the same number."
            )
        own = saved["ranks"][self.accelerator.process_index]
        self.method.load_state_dict(own["method"], self.device)  # first: it knows best why a state does not fit
        for name, network in self.method.networks.items():
            try:
                network.load_state_dict(saved["networks"][name])
            except RuntimeError as error:
                if self.config.size != json.loads(saved["config"])["size"]:
                    raise TrainingError(
                        f"--size cannot change in this run: its {name} is made for pictures of one size. Start a new "
                        "run in another --out (with acl-gan, --discriminator-size lets a run go on at another --size)."
                    ) from error
                raise TrainingError(
                    f"The {name} in {self.config.out} was written by an older version with other "
                    f"layers ({str(error).splitlines()[-1].strip()}). Start a new run."
                ) from error
        for name, averaged in self.averaged.items():
            averaged.load_state_dict(saved["averaged"][name])
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(saved["optimizers"][name])
        if self.accelerator.scaler is not None and saved["scaler"] is not None:
            self.accelerator.scaler.load_state_dict(saved["scaler"])
        set_random_state(own["random"])
        self.step = saved["step"]
        self.seconds = saved["seconds"]
        self.best = saved.get("best")

    @torch.no_grad()
    def sample(self) -> None:
        """Write a grid of the averaged networks' outputs to the data set's preview."""
        if not self.is_main:
            return
        batch = self.dataset.preview(self.config.samples, self.config.resize_px // 8 * 8)
        networks = {name: averaged.module.eval() for name, averaged in self.averaged.items()}
        columns: list[list[Tensor]] = []
        for row in range(len(batch[0])):  # one at a time: large pictures, small memory
            one = tuple(part[row : row + 1].to(self.device) for part in batch)
            columns.append([image[0] for image in self.method.sample(one, networks)])
        if not columns or not columns[0]:
            return
        schedule = self.schedule
        stage = "stage 1" if self.step < schedule.first_stage else ""
        epoch = f"epoch {(self.step - schedule.first_stage) / schedule.steps_per_epoch:.3g}"
        pictures = [[to_pixels(image) for image in row] for row in columns]
        grid = make_sheet(pictures, self.method.captions(), f"step {self.step}, {stage or epoch}")
        folder = self.config.run / "samples"
        folder.mkdir(exist_ok=True)
        Image.fromarray(grid).save(folder / f"step-{self.step:07d}.png")
        if self._writer is not None:
            self._writer.add_image("samples", grid, self.step, dataformats="HWC")

    # --- inside ------------------------------------------------------------------------------------------------------

    def _to_device(self, part: Tensor) -> Tensor:
        if part.ndim == 4:
            return part.to(self.device, non_blocking=True, memory_format=self.layout)
        return part.to(self.device, non_blocking=True)

    def _parameters(self, phase: Phase) -> list[nn.Parameter]:
        return [parameter for name in phase.networks for parameter in self.method.networks[name].parameters()]

    def _average_gradients(self, phase: Phase) -> None:
        """One reduction of all gradients of a phase over the processes.

        Not DDP: its hooks count on every parameter taking part once per backward pass, while here networks are frozen
        and thawed within a step and penalties differentiate twice.
        """
        if self.accelerator.num_processes == 1:
            return
        average_in_place([parameter.grad for parameter in self._parameters(phase) if parameter.grad is not None])

    def _agree(self, *own: bool) -> tuple[bool, ...]:
        """Make a decision of any process the decision of all: clocks and signals do not reach them in the same step."""
        if self.accelerator.num_processes == 1:
            return own
        votes = torch.tensor([float(vote) for vote in own], device=self.device)
        return tuple(bool(vote > 0) for vote in self.accelerator.reduce(votes, reduction="sum"))

    def _refuse_not_finite(self) -> None:
        bad = [name for name, value in self._sums.items() if not bool(torch.isfinite(value))]
        if bad:
            raise TrainingError(
                f"Training diverged before step {self.step}: {', '.join(bad)} not finite. The last checkpoint in "
                f"{self.config.out} is from an earlier step. Start again with a lower --learning-rate, or without fp16."
            )

    def _log(self, elapsed: float) -> None:
        self._refuse_not_finite()
        values = torch.stack([value / self._counts[name] for name, value in self._sums.items()])
        if self.accelerator.num_processes > 1:  # each has seen its own part of the batch
            values = self.accelerator.reduce(values, reduction="mean")
        means = dict(zip(self._sums, values.tolist(), strict=True))
        speed = self._summed * self.config.batch * self.accelerator.num_processes / max(elapsed, 1e-9)
        rate = self.rates.get("generator", self.config.learning_rate) * self.schedule.factor(self.step - 1)
        self._sums.clear()
        self._counts.clear()
        self._summed = 0
        if not self.is_main:
            return
        remaining = (self.schedule.steps - self.step) * self.config.batch * self.accelerator.num_processes / speed
        losses = " ".join(f"{name} {value:.3f}" for name, value in means.items() if "/" not in name)
        logger.info(
            "step %d/%d  %.2f images/s  %s left  lr %.1e  %s",
            self.step,
            self.schedule.steps,
            speed,
            span(remaining),
            rate,
            losses,
        )
        self._record({**means, "images_per_second": speed, "learning_rate": rate})

    @contextmanager
    def _progress(self) -> Iterator[_Bar]:
        if not (self.is_main and self.console.is_terminal):
            yield _Bar(None, self.config.batch)
            return
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[speed]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self.console) as progress:
            progress.add_task(self.config.method, total=self.schedule.steps, completed=self.step, speed="")
            yield _Bar(progress, self.config.batch * self.accelerator.num_processes)


class _Bar:
    """The progress bar, or nothing where there is no terminal."""

    def __init__(self, progress: Progress | None, images: int) -> None:
        self._progress = progress
        self._images = images

    def advance(self) -> None:
        if self._progress is None:
            return
        task = self._progress.tasks[0]
        speed = f"{task.speed * self._images:.1f} images/s" if task.speed else ""
        self._progress.update(task.id, advance=1, speed=speed)


def split(batch: Batch, portions: int) -> list[Batch]:
    """A batch in so many equal parts."""
    if portions == 1:
        return [batch]
    return list(zip(*(part.chunk(portions) for part in batch), strict=True))


def span(seconds: float) -> str:
    """A time in the unit in which one would say it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def add_hyperparameters(writer: SummaryWriter, config: TrainConfig) -> None:
    """The options, on TensorBoard's page of hyperparameters."""
    values = {name: value for name, value in config.effective_values().items() if name not in ("out", "name", "note")}
    plain = {
        name: value if isinstance(value, bool | int | float | str) else str(value) for name, value in values.items()
    }
    for summary in hparams(plain, {}):  # type: ignore[no-untyped-call]
        writer.file_writer.add_summary(summary)  # type: ignore[attr-defined]


def start_tracker(accelerator: Accelerator, config: TrainConfig) -> None:
    """Begin a run of the tracker that the configuration names."""
    values = {name: value for name, value in config.effective_values().items() if name != "out"}
    accelerator.init_trackers("ganlens", config=values, init_kwargs={config.track: {"name": config.model_name}})


def memory_format(config: TrainConfig, device: torch.device, networks: Iterable[nn.Module]) -> torch.memory_format:
    """The layout of a run's pictures and weights: as asked for, or the faster one.

    On a CPU channels last is faster (1.2-1.5x, ``benchmarks/train_speed.py``), but not with instance norm, which
    PyTorch computes there on a rearranged copy.
    """
    if config.memory_format != "auto":
        return torch.channels_last if config.memory_format == "channels_last" else torch.contiguous_format
    by_picture = any(isinstance(layer, nn.InstanceNorm2d) for network in networks for layer in network.modules())
    return torch.contiguous_format if by_picture and device.type == "cpu" else torch.channels_last


def train(config: TrainConfig, *, resume: bool = False, console: Console | None = None) -> bool:
    """Run a configuration, stage by stage; see :class:`Trainer`. A resumed run goes on in the newest stage.

    Returns:
        Whether it is finished; False: stopped, saved, and can be resumed.
    """
    runs = [*earlier_runs(config), config]
    if len(runs) > 1:
        runs[-1] = config.model_copy(update={"start_from": runs[-2].out})
    place = 0
    if resume:
        place = max((number for number, run in enumerate(runs) if (run.run / STATE_NAME).exists()), default=0)
    elif len(runs) > 1:
        _begin_stages(config)
    for number, run in enumerate(runs[place:], place + 1):
        if len(runs) > 1:
            logger.info("stage %d of %d, in %s", number, len(runs), run.out)
        trainer = Trainer(run, resume=resume and number == place + 1, console=console)
        finished_before = trainer.step >= trainer.schedule.steps and number < len(runs)
        if not finished_before and not trainer.fit():
            return False
    return True


def _begin_stages(config: TrainConfig) -> None:
    """Write the whole configuration into the folder of a run whose first stage begins, so that it can be resumed."""
    accelerator = make_accelerator(config.precision, config.track)
    refuse_used_folder(config.run)
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        try:
            config.run.mkdir(parents=True, exist_ok=True)
            save_config(config, config.run)
        except OSError as error:
            raise TrainingError(f"{config.run} cannot be written: {error}. Choose another --out.") from error


def refuse_used_folder(folder: Path, *, stages: bool = False) -> None:
    """Raise unless a new run may be written to ``folder``: it is missing, empty, or holds only what a run writes before
    its first checkpoint.

    Args:
        stages: the run has earlier stages, and they may be there.
    """
    if folder.exists() and not folder.is_dir():
        raise TrainingError(f"{folder} is a file. --out must be a folder; it is made if missing.")
    found = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if STATE_NAME in found or (not stages and any(folder.glob(f"{STAGES}/*/{STATE_NAME}"))):
        raise TrainingError(f"{folder} holds a run. Continue it with --resume, or choose another --out.")
    ours = bool(found & {LOCK_NAME, PAIRS_NAME}) or is_config(folder / CONFIG_NAME)
    if found and not (ours and all(name in BEFORE_FIRST_CHECKPOINT or UNFINISHED.fullmatch(name) for name in found)):
        raise TrainingError(f"{folder} exists and is not empty. Choose another --out; nothing is overwritten.")


def make_accelerator(precision: str, track: str = "") -> Accelerator:
    """An Accelerator of this precision, also where the process has trained in another one before.

    Raises:
        TrainingError: the tracker is not installed.
    """
    if track and find_spec(track) is None:
        raise TrainingError(f"--track {track} needs the package {track}. Install it: {install_command(track)}.")
    if AcceleratorState._shared_state and AcceleratorState().mixed_precision != precision:
        AcceleratorState._reset_state()
    return Accelerator(mixed_precision=precision, log_with=track or None)


@contextmanager
def only_trainable(networks: dict[str, nn.Module], chosen: Iterable[str]) -> Iterator[None]:
    """Inside, only the ``chosen`` networks require gradients."""
    chosen = set(chosen)
    frozen = [
        parameter
        for name, network in networks.items()
        if name not in chosen
        for parameter in network.parameters()
        if parameter.requires_grad
    ]
    for parameter in frozen:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in frozen:
            parameter.requires_grad_(True)


@contextmanager
def catch_interrupt() -> Iterator[threading.Event]:
    """Inside, the first Ctrl-C or termination signal sets the event, so that the loop can save; a second one stops."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return

    def handle(number: int, frame: FrameType | None) -> None:
        if event.is_set():
            raise KeyboardInterrupt
        event.set()
        logger.warning("stopping after this step; the run is saved and can be resumed")

    signals = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    previous = {number: signal.signal(number, handle) for number in signals}
    try:
        yield event
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
