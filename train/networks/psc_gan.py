"""PSC-GAN's networks: an autoencoder with multi-add residual connections, what reads labels off its codes, a new judge.

The paper draws them as DCGAN's; numbers, and the reading of "multi-add residual", are completed here: the map of every
layer is brought to the last one's shape by a 1x1 convolution and a resize, and added to it, ``F = f_L + sum_i
resize(P_i f_i)``. Nothing leads from encoder to decoder, because the generator must run without an encoder.

Layouts follow the picture's side: at 256 px six halvings from 64 channels up, at 128 five, at 64 four.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, interpolate

from ganlens.engine.errors import TrainingError

from ..config import Norm
from ..data.label_groups import slices_of
from .layers import initialise, make_norm

SIZES = (64, 128, 256)
WIDTH = 64
BOTTOM = 4
"""Side of the smallest maps, px."""
SLOPE = 0.2


def code_length(width: int) -> int:
    """Length of the encoder's code; 512 at width 64."""
    return 8 * width


def _stages(size: int) -> int:
    if size not in SIZES:
        raise TrainingError(f"PSC-GAN's networks are made for {', '.join(map(str, SIZES))} px, got {size}.")
    return (size // BOTTOM).bit_length() - 1


def _down_channels(size: int, width: int) -> list[int]:
    return [width * min(8, 2**stage) for stage in range(_stages(size))]


def _up_channels(size: int, width: int) -> list[int]:
    return [min(8 * width, width * 2**stage // 2) for stage in reversed(range(_stages(size)))]


class Encoder(nn.Module):
    """Picture → code, E.

    Args:
        size: side of the pictures: 64, 128 or 256.
        width: channels of the first layer; 64 as specified.
    """

    def __init__(self, size: int, width: int = WIDTH) -> None:
        super().__init__()
        channels = [3, *_down_channels(size, width)]
        self.layers = nn.ModuleList(
            _down(inputs, outputs, norm="bn" if stage else "none", bias=not stage)  # a norm has its own shift
            for stage, (inputs, outputs) in enumerate(pairwise(channels))
        )
        self.projections = nn.ModuleList(nn.Conv2d(c, channels[-1], 1, bias=False) for c in channels[1:-1])
        self.head = nn.Linear(channels[-1] * BOTTOM * BOTTOM, code_length(width))
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, size, size) in [-1, 1] to codes (N, 8 * width)."""
        maps = []
        for layer in self.layers:
            x = layer(x)
            maps.append(x)
        for project, small in zip(self.projections, maps[:-1], strict=True):
            x = x + project(adaptive_avg_pool2d(small, BOTTOM))  # the same as pooling the projection, with less work
        return self.head(x.flatten(1))  # type: ignore[no-any-return]


class Decoder(nn.Module):
    """Code → picture, G: the autoencoder's second half, and the generator's network.

    Args:
        size: side of the pictures: 64, 128 or 256.
        width: twice the channels of the last layer; 64 as specified.
    """

    def __init__(self, size: int, width: int = WIDTH) -> None:
        super().__init__()
        self.size = size
        channels = [8 * width, *_up_channels(size, width)]
        self.channels = channels[0]
        self.stem = nn.Linear(code_length(width), channels[0] * BOTTOM * BOTTOM, bias=False)
        self.stem_norm = nn.Sequential(nn.BatchNorm2d(channels[0]), nn.ReLU())
        self.layers = nn.ModuleList(
            nn.Sequential(nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU())
            for inputs, outputs in pairwise(channels)
        )
        self.projections = nn.ModuleList(nn.Conv2d(c, channels[-1], 1, bias=False) for c in channels[:-1])
        self.head = nn.Conv2d(channels[-1], 3, 3, 1, 1)
        initialise(self)

    def forward(self, h: Tensor) -> Tensor:
        """Codes (N, 8 * width) to (N, 3, size, size) in [-1, 1]."""
        x = self.stem_norm(self.stem(h).unflatten(1, (self.channels, BOTTOM, BOTTOM)))
        maps = [x]
        for layer in self.layers:
            x = layer(x)
            maps.append(x)
        side = (self.size, self.size)
        enlarged = [
            interpolate(project(small), side, mode="bilinear", align_corners=False)
            for project, small in zip(self.projections, maps[:-1], strict=True)
        ]
        x = x + enlarged[0]
        for one in enlarged[1:]:
            x += one  # in place: sums of whole pictures cost as much as a convolution here
        return torch.tanh(self.head(x))


class CodeClassifier(nn.Sequential):
    """Code → label logits (N, labels), C.

    Args:
        labels: length K of the label vector.
        width: as of the encoder.
    """

    def __init__(self, labels: int, width: int = WIDTH) -> None:
        code = code_length(width)
        super().__init__(nn.Linear(code, code // 2), nn.ReLU(), nn.Linear(code // 2, labels))
        initialise(self)


class Discriminator(nn.Module):
    """Real or generated, D.

    Args:
        size: side of the pictures.
        width: channels of the first layer.
        labels: label planes beside the picture (the ablation ``cgan_d``); 0: unconditional, as in PSC-GAN.
        norm: of all layers but the first and the last; no batch norm where each picture's own gradient is penalised.
    """

    def __init__(self, size: int, width: int = WIDTH, labels: int = 0, norm: Norm = "bn") -> None:
        super().__init__()
        channels = [3 + labels, *_down_channels(size, width)]
        self.layers = nn.Sequential(
            *(
                _down(i, o, norm=norm if stage else "none", bias=False)
                for stage, (i, o) in enumerate(pairwise(channels))
            ),
            nn.Conv2d(channels[-1], 1, BOTTOM, bias=False),
        )
        initialise(self)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """(N, 3, size, size) in [-1, 1], and (N, K) where it was made for labels, to scores (N,), high for real."""
        if labels is not None:
            x = torch.cat([x, labels[:, :, None, None].expand(-1, -1, *x.shape[2:])], dim=1)
        return self.layers(x).flatten()  # type: ignore[no-any-return]


class LabelledGenerator(nn.Module):
    """Noise and labels → picture: the linear map ``h = M([z; c])``, then the decoder G.

    Args:
        size, width: of the decoder.
        latent: length of the noise.
        labels: length K of the label vector; 0: none (the baselines without a condition).
    """

    def __init__(self, size: int, labels: int, latent: int = 100, width: int = WIDTH) -> None:
        super().__init__()
        self.latent = latent
        self.labels = labels
        self.map = nn.Linear(latent + labels, code_length(width))
        self.decoder = Decoder(size, width)
        initialise(self.map)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Generate.

        Args:
            z: (N, latent), standard normal.
            labels: (N, K) float, 0 or 1; not for a generator without labels.

        Returns:
            (N, 3, size, size) in [-1, 1].
        """
        return self.decoder(self.code(z, labels))  # type: ignore[no-any-return]

    def code(self, z: Tensor, labels: Tensor | None) -> Tensor:
        """``h``, (N, 8 * width)."""
        return self.map(z if labels is None or not self.labels else torch.cat([z, labels], dim=1))  # type: ignore[no-any-return]


class FaceAsLabelled(nn.Module):
    """Picture and labels → the same face with these labels: encoder, map and generator as one network.

    A code that the generator knows is ``h = M_z z + M_c c + b``. For a picture, ``c'`` is read off its code ``e`` by
    the classifier (the likeliest value of each group), and ``z`` is what explains the rest best, in least squares:
    ``z = pinv(M_z) (e - M_c c' - b)``. Then ``c`` takes the place of ``c'``. Nothing of this is in the paper, which
    makes faces from noise only. What the generator cannot reach by any ``z`` is lost, so that a face comes back as a
    relative of itself; labels as the classifier reads them change it least.

    Args:
        size, width, latent: of the generator.
        groups: lengths of the label groups.
    """

    inverse: Tensor

    def __init__(self, size: int, groups: Sequence[int], latent: int = 100, width: int = WIDTH) -> None:
        super().__init__()
        self.encoder = Encoder(size, width)
        self.classifier = CodeClassifier(sum(groups), width)
        self.generator = LabelledGenerator(size, sum(groups), latent, width)
        self.parts = slices_of(groups)
        self.register_buffer("inverse", torch.zeros(latent, code_length(width)))

    @classmethod
    def of(
        cls, encoder: Encoder, classifier: CodeClassifier, generator: LabelledGenerator, groups: Sequence[int]
    ) -> FaceAsLabelled:
        """Put together from trained networks, whose weights are shared, not copied."""
        made = cls.__new__(cls)
        nn.Module.__init__(made)
        made.encoder, made.classifier, made.generator = encoder, classifier, generator
        made.parts = slices_of(groups)
        noise_part = generator.map.weight.detach()[:, : generator.latent].double()
        made.register_buffer("inverse", torch.linalg.pinv(noise_part).float())
        return made

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        """(N, 3, size, size) in [-1, 1] and (N, K) float, 0 or 1, to (N, 3, size, size) in [-1, 1]."""
        code = self.encoder(x)
        own = one_per_group(self.classifier(code), self.parts)
        rest = code - self.generator.code(torch.zeros_like(x[:, 0, 0, :1]).expand(-1, self.generator.latent), own)
        return self.generator(rest @ self.inverse.T, labels)  # type: ignore[no-any-return]


def one_per_group(logits: Tensor, parts: Sequence[slice]) -> Tensor:
    """The likeliest value of each group: label vectors (N, K) of logits (N, K)."""
    chosen = [logits[:, part] == logits[:, part].amax(dim=1, keepdim=True) for part in parts]
    return torch.cat(chosen, dim=1).to(logits.dtype)


def _down(inputs: int, outputs: int, *, norm: Norm, bias: bool) -> nn.Module:
    layers: list[nn.Module] = [nn.Conv2d(inputs, outputs, 4, 2, 1, bias=bias)]
    if norm != "none":
        layers.append(make_norm(norm, outputs))
    return nn.Sequential(*layers, nn.LeakyReLU(SLOPE))
