"""PSC-GAN: pre-weighted, stabilised conditioning. Faces from noise and labels, in two stages of one run.

Stage 1 trains an autoencoder and a classifier of labels on its codes. In stage 2 its decoder becomes the generator of a
GAN, and copies of encoder and classifier, frozen, tell the generator whether its faces have the labels it was given.

The paper gives losses, weights and the idea of the networks; optimisers, lengths and numbers are completed here.
The baselines and the ablation of its tables are this method with parts taken away, see ``--baseline``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, l1_loss, mse_loss

from ganlens.engine.errors import TrainingError
from ganlens.engine.spec import AttributeInput, Combination, GeneratorSpec, LatentInput, SizeRule

from ..checkpoint import load_state
from ..config import PSCGANConfig, load_config
from ..data.datasets import TrainingData
from ..data.faces import FaceDataset
from ..evaluate.labels import label_accuracy
from ..losses import GAN, AdversarialLoss, disturb, score_loss
from ..networks.latent_map import CodeMoments, fit_map
from ..networks.layers import normalise_spectrally
from ..networks.psc_gan import (
    CodeClassifier,
    Discriminator,
    Encoder,
    FaceAsLabelled,
    LabelledGenerator,
    code_length,
    one_per_group,
)
from ..schedule import Schedule, steps_per_epoch
from ..specs import CELEBA
from .base import Batch, Compared, Method, Parts, Phase, adam


def label_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Formulas 2 and 5: sigmoid cross entropy, averaged over the K labels and the batch."""
    return binary_cross_entropy_with_logits(logits, labels)


def autoencoder_loss(
    encoder: nn.Module, decoder: nn.Module, classifier: nn.Module, x: Tensor, labels: Tensor, config: PSCGANConfig
) -> tuple[Tensor, Parts, Tensor]:
    """Formula 3, its parts, and the codes (N, 8 * width) without gradient."""
    codes = encoder(x)

    # reconstruction (formula 1): the symbol left in the text has no absolute bars, so squared is the default
    distance = mse_loss if config.rec == "mse" else l1_loss
    reconstruction = distance(decoder(codes), x)

    # classification (formula 2): the codes say which labels a face has
    classification = label_loss(classifier(codes), labels)

    total = reconstruction + config.lambda_1 * classification
    return total, {"rec": reconstruction, "cls": classification}, codes.detach()


def generator_loss(
    networks: Mapping[str, nn.Module],
    z: Tensor,
    labels: Tensor,
    parts: tuple[slice, ...],
    config: PSCGANConfig,
    loss: AdversarialLoss,
) -> tuple[Tensor, Parts, Tensor]:
    """Formula 6 for the generator, its parts, and the faces without gradient."""
    generator, discriminator = networks["generator"], networks["discriminator"]
    fake = generator(z, labels if generator.labels else None)

    # adversarial (formula 4): non-saturating, because the printed form stalls early; --minimax is that
    adversarial = loss.generator(discriminator(seen(fake, config), *seen_labels(labels, config)))
    total, values = adversarial, {"adv": adversarial}

    # condition (formula 5): gradients flow through the frozen encoder and classifier
    if config.baseline == "psc":
        logits = networks["classifier"](networks["encoder"](fake))
        condition = label_loss(logits, labels)
        total = total + config.lambda_2 * condition
        right = (one_per_group(logits.detach(), parts) * labels).sum() / labels.sum()
        values |= {"cond": condition, "slot_accuracy": right}
    return total, values, fake.detach()


def discriminator_loss(
    discriminator: nn.Module, x: Tensor, labels: Tensor, fake: Tensor, config: PSCGANConfig, loss: AdversarialLoss
) -> tuple[Tensor, Parts]:
    """Formula 4 for the discriminator, and the loss's penalty if it has one; real and generated faces share labels."""

    def judge(faces: Tensor) -> Tensor:
        return discriminator(faces, *seen_labels(labels, config))  # type: ignore[no-any-return]

    real_scores, fake_scores = judge(seen(x, config)), judge(seen(fake, config))
    total = loss.discriminator(real_scores, fake_scores)
    with torch.no_grad():
        parts = {
            "judge": total.detach(),
            "judge_right": (real_scores > fake_scores).float().mean(),  # of pairs; scores have no zero in all losses
        }
    penalty = loss.penalty(judge, x, fake)
    if penalty is not None:
        total, parts["penalty"] = total + penalty, penalty.detach()
    return total, parts


def seen(images: Tensor, config: PSCGANConfig) -> Tensor:
    """What the discriminator gets to see of real and generated faces."""
    return disturb(images, shift=config.discriminator_shift, noise=config.instance_noise, augment=config.augmentations)


def seen_labels(labels: Tensor, config: PSCGANConfig) -> tuple[Tensor, ...]:
    """What the discriminator gets beside the pictures: nothing, but for ``cgan_d``."""
    return (labels,) if config.baseline == "cgan_d" else ()


class PSCGAN(Method):
    """The method: networks ``encoder``, ``classifier``, ``generator`` (map and decoder) and ``discriminator``."""

    averaged: tuple[str, ...] = ("generator",)
    carried = ("_made",)

    def __init__(self, config: PSCGANConfig) -> None:
        self.config = config
        self.layout = config.layout
        self.loss = score_loss(config.loss, r1=config.r1, no_cgan="--baseline cgan_d is that")
        if isinstance(self.loss, GAN):
            self.loss.minimax = config.minimax
        count, size, width = len(self.layout.names), config.size, config.width
        self.conditional = config.baseline not in ("vanilla", "pretrained")
        self.networks: dict[str, nn.Module] = {
            "encoder": Encoder(size, width),
            "classifier": CodeClassifier(count, width),
            "generator": LabelledGenerator(size, count if self.conditional else 0, config.latent, width),
            "discriminator": Discriminator(size, width, count if config.baseline == "cgan_d" else 0, self.loss.norm),
        }
        if config.spectral_norm:
            normalise_spectrally(self.networks["discriminator"])
        self.moments = CodeMoments(count, code_length(width))
        self.combinations: tuple[Combination, ...] = ()
        self.phases: tuple[Phase, ...] = ()
        self._first_stage = 0
        self._adversarial = False
        self._made: Tensor | None = None
        if config.stage1:
            self._load_stage1()

    # --- data and length ---------------------------------------------------------------------------------------------

    @classmethod
    def make_dataset(cls, config: PSCGANConfig) -> FaceDataset:
        """Faces and their label vectors."""
        return FaceDataset.of(config)

    @classmethod
    def make_schedule(cls, config: PSCGANConfig, epoch_length: int, processes: int) -> Schedule:
        """Two stages, each with a length of its own; only the second decays, and only where it is asked for."""
        per_epoch = steps_per_epoch(config, epoch_length, processes)
        first = (config.stage1_steps or config.stage1_epochs * per_epoch) if config.has_stage1 else 0
        constant, decay = config.epochs * per_epoch, config.decay_epochs * per_epoch
        if config.steps:
            constant, decay = config.steps - config.decay_steps, config.decay_steps
        if not config.has_stage2:
            constant, decay = 0, 0
        return Schedule(first + constant + decay, per_epoch, first + constant, decay, by_epoch=False, first_stage=first)

    # --- stages ------------------------------------------------------------------------------------------------------

    def prepare(self, dataset: TrainingData, schedule: Schedule) -> None:
        """The lengths of the stages make the phases; the training labels say which combinations occur."""
        assert isinstance(dataset, FaceDataset)
        self.combinations = _count(dataset.labels, self.layout.names)
        config, first = self.config, schedule.first_stage
        self._first_stage = first
        rate = config.learning_rate
        self.phases = (
            Phase(
                "autoencoder",
                ("encoder", "generator", "classifier"),
                self.autoencoder_step,
                adam(config.stage1_learning_rate or rate, config.stage1_beta1),
                end=first,
            ),
            Phase(
                "generator",
                ("generator",),
                self.generator_step,
                adam(rate, config.beta1),
                start=first,
                every=config.n_critic or self.loss.n_critic,
            ),
            Phase(
                "discriminator",
                ("discriminator",),
                self.discriminator_step,
                adam(config.discriminator_learning_rate or rate, config.beta1),
                start=first,
            ),
        )

    def start_step(self, step: int, images: int) -> bool:
        """Whether stage 2 begins: then encoder and classifier are frozen, in eval mode, from here on."""
        self._adversarial = step >= self._first_stage
        if self._adversarial:
            self.networks["encoder"].eval()
            self.networks["classifier"].eval()
        begins = step == self._first_stage and self.config.has_stage2
        if begins and self.config.map_init == "codes" and self.config.baseline != "vanilla":
            fit_map(self._generator.map, self.moments, self.config.latent)
        return begins

    def autoencoder_step(self, batch: Batch, step: int) -> tuple[Tensor, Parts]:
        """Loss of stage 1."""
        x, labels = batch
        networks = self.networks
        total, parts, codes = autoencoder_loss(
            networks["encoder"], self._generator.decoder, networks["classifier"], x, labels, self.config
        )
        self.moments.add(codes, labels)
        return total, parts

    def generator_step(self, batch: Batch, step: int) -> tuple[Tensor, Parts]:
        """Loss of the generator; keeps its faces for :meth:`discriminator_step`.

        The labels are those of the batch: rows of the training set, because labels drawn one by one would ask for pairs
        of which there is no picture.
        """
        x, labels = batch
        total, parts, self._made = generator_loss(
            self.networks, self._noise(x), labels, self.layout.slices, self.config, self.loss
        )
        return total, parts

    def discriminator_step(self, batch: Batch, step: int) -> tuple[Tensor, Parts]:
        """Loss of the discriminator, on the faces of this step's generator phase, or on new ones if it had none."""
        x, labels = batch
        fake, self._made = self._made, None
        if fake is None:
            with torch.no_grad():
                fake = self._generator(self._noise(x), labels if self.conditional else None)
        return discriminator_loss(self.networks["discriminator"], x, labels, fake, self.config, self.loss)

    def _noise(self, x: Tensor) -> Tensor:
        return torch.randn(len(x), self.config.latent, device=x.device)

    # --- files -------------------------------------------------------------------------------------------------------

    def specs(self) -> dict[str, tuple[str, GeneratorSpec]]:
        """From stage 2 on: the generator, and, with labels that are enforced, encoder, map and generator as one."""
        if not self._adversarial and self._first_stage:
            return {}
        config = self.config
        attributes = None
        if self.conditional:
            attributes = AttributeInput(
                name="labels",
                names=self.layout.names,
                groups=self.layout.groups_of_names,
                exactly_one=True,
                combinations=self.combinations,
            )
        generator = GeneratorSpec(
            name=config.model_name,
            architecture=config.method,
            tier=config.method,
            options={"width": config.width, "latent": config.latent},
            image=None,
            attributes=attributes,
            latent=LatentInput(dim=config.latent),
            size=SizeRule(fixed=(config.size, config.size), preferred=(config.size, config.size)),
        )
        found = {"generator": ("generator", generator)}
        if config.baseline == "psc":
            aligned = "celeba" if CELEBA.issuperset(self.layout.columns) else ""
            changes = {"image": GeneratorSpec.model_fields["image"].default, "latent": None, "face_alignment": aligned}
            found["translator"] = ("translator", generator.model_copy(update=changes))
        return found

    def assemble(self, name: str, averaged: Mapping[str, nn.Module]) -> nn.Module:
        """The averaged generator, or it with the encoder and the classifier before it."""
        generator = averaged["generator"]
        if name == "generator":
            return generator
        encoder, classifier = self.networks["encoder"], self.networks["classifier"]
        assert isinstance(generator, LabelledGenerator)
        assert isinstance(encoder, Encoder)
        assert isinstance(classifier, CodeClassifier)
        return FaceAsLabelled.of(encoder, classifier, generator, [len(group) for group in self.layout.groups_of_names])

    def compared(self, batch: Batch, networks: Mapping[str, nn.Module]) -> Compared | None:
        """From stage 2 on: generated faces, real ones of the same labels; and how many groups of labels the frozen
        classifier finds as asked."""
        if not self._adversarial:
            return None
        x, labels = batch
        made = networks["generator"](self._noise(x), labels if self.conditional else None)
        if not self.conditional:
            return Compared(made, x)
        logits = self.networks["classifier"](self.networks["encoder"](made))
        found = label_accuracy(logits.cpu(), labels.cpu(), self.layout.slices)
        return Compared(made, x, {"accuracy": torch.tensor(found.slot)})

    def sample(self, batch: Batch, networks: Mapping[str, nn.Module]) -> list[Tensor]:
        """Stage 1: a face and what comes back. Stage 2: one noise with the labels of each condition, then, with the
        same labels, the face."""
        x, labels = batch
        generator, encoder = networks["generator"], self.networks["encoder"]
        assert isinstance(generator, LabelledGenerator)
        training = encoder.training
        encoder.eval()
        columns = [x, generator.decoder(encoder(x))]
        if self._adversarial:
            seed = int(x.double().sum().abs() * 1e6) % 2**31  # each row has a noise of its own, the same every time
            z = torch.randn(len(x), self.config.latent, generator=torch.Generator().manual_seed(seed)).to(x.device)
            targets = [
                torch.from_numpy(self.layout.vector(values)).to(x.device).expand(len(x), -1)
                for values in self.layout.conditions.values()
            ] or [labels]
            columns = [generator(z, target if self.conditional else None) for target in targets]
            if self.config.baseline == "psc":
                face = self.assemble("translator", networks).to(x.device).eval()
                columns += [x, face(x, labels), *(face(x, target) for target in targets)]
        encoder.train(training)
        return columns

    def captions(self) -> Sequence[str]:
        """What each column was asked for."""
        if not self._adversarial:
            return ["face", "through the autoencoder"]
        wishes = [" ".join(values) for values in self.layout.conditions.values()] or ["labels of the face"]
        if self.config.baseline != "psc":
            return [wish if self.conditional else "without labels" for wish in wishes]
        own = ["own labels", *(self.layout.conditions or ["labels of the face"])]
        return [*wishes, "face", *(f"face, {name}" for name in own)]

    def state_dict(self) -> dict[str, Any]:
        """The codes' moments, and which labels they belong to."""
        return {
            "moments": self.moments.state_dict(),
            "labels": list(self.layout.names),
            "adversarial": self._adversarial,
        }

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        """Restore them.

        Raises:
            TrainingError: the labels are others than when the run began.
        """
        _require_same_labels(state["labels"], self.layout.names, "The run")
        self.moments.load_state_dict(state["moments"])
        self._adversarial = state["adversarial"]

    # --- inside ------------------------------------------------------------------------------------------------------

    @property
    def _generator(self) -> LabelledGenerator:
        generator = self.networks["generator"]
        assert isinstance(generator, LabelledGenerator)
        return generator

    def _load_stage1(self) -> None:
        """Weights of encoder, classifier and decoder, and the codes' moments, of a run that has trained stage 1."""
        config, folder = self.config, self.config.stage1
        saved = load_config(Path(folder))
        if not isinstance(saved, PSCGANConfig) or not saved.has_stage1:
            raise TrainingError(f"{folder} is not a run of engine train psc-gan --stage 1; it has no autoencoder.")
        if (saved.size, saved.width) != (config.size, config.width):
            raise TrainingError(
                f"The autoencoder of {folder} is for {saved.size} px with --width {saved.width}, this run is for "
                f"{config.size} px with --width {config.width}. Both stages must match; train stage 1 again."
            )
        state = load_state(Path(folder))
        own = state["ranks"][0]["method"]
        if own["adversarial"]:
            raise TrainingError(
                f"{folder} continued with stage 2, which changed its decoder. Give --stage1 a run of --stage 1."
            )
        _require_same_labels(own["labels"], self.layout.names, f"The autoencoder of {folder}")
        self.moments.load_state_dict(own["moments"])
        self.networks["encoder"].load_state_dict(state["networks"]["encoder"])
        self.networks["classifier"].load_state_dict(state["networks"]["classifier"])
        decoder = {
            name.removeprefix("decoder."): value
            for name, value in state["networks"]["generator"].items()
            if name.startswith("decoder.")
        }
        self._generator.decoder.load_state_dict(decoder)


def _count(labels: NDArray[np.float32], names: tuple[str, ...]) -> tuple[Combination, ...]:
    """The combinations that occur, the most frequent first."""
    counts = Counter(tuple(np.flatnonzero(row).tolist()) for row in labels)
    return tuple(
        Combination(names=tuple(names[slot] for slot in slots), count=count) for slots, count in counts.most_common()
    )


def _require_same_labels(found: list[str], wanted: tuple[str, ...], whose: str) -> None:
    if tuple(found) != wanted:
        raise TrainingError(
            f"{whose} has the labels {', '.join(found)}; now --labels gives {', '.join(wanted)}. Use the same layout, "
            "or train stage 1 again."
        )
