"""The generators of other programs, built as their public code builds them, to make checkpoints of their shape.

Written from the structure of pytorch-CycleGAN-and-pix2pix (``models/networks.py``) and of yunjey's StarGAN
(``model.py``), so that names and order of weights are theirs.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor, nn


def norm_layer(kind: str) -> Any:
    if kind == "batch":
        return functools.partial(nn.BatchNorm2d, affine=True, track_running_stats=True)
    return functools.partial(nn.InstanceNorm2d, affine=False, track_running_stats=False)


class ResnetBlock(nn.Module):
    def __init__(self, dim: int, norm: Any, dropout: bool, bias: bool) -> None:
        super().__init__()
        layers = [nn.ReflectionPad2d(1), nn.Conv2d(dim, dim, 3, bias=bias), norm(dim), nn.ReLU(True)]
        if dropout:
            layers += [nn.Dropout(0.5)]
        layers += [nn.ReflectionPad2d(1), nn.Conv2d(dim, dim, 3, bias=bias), norm(dim)]
        self.conv_block = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv_block(x)  # type: ignore[no-any-return]


class ResnetGenerator(nn.Module):
    def __init__(self, ngf: int, norm: str, dropout: bool, blocks: int) -> None:
        super().__init__()
        make, bias = norm_layer(norm), norm == "instance"
        model: list[nn.Module] = [nn.ReflectionPad2d(3), nn.Conv2d(3, ngf, 7, bias=bias), make(ngf), nn.ReLU(True)]
        for i in range(2):
            mult = 2**i
            model += [nn.Conv2d(ngf * mult, ngf * mult * 2, 3, 2, 1, bias=bias), make(ngf * mult * 2), nn.ReLU(True)]
        model += [ResnetBlock(ngf * 4, make, dropout, bias) for _ in range(blocks)]
        for i in range(2):
            mult = 2 ** (2 - i)
            model += [
                nn.ConvTranspose2d(ngf * mult, ngf * mult // 2, 3, 2, 1, output_padding=1, bias=bias),
                make(ngf * mult // 2),
                nn.ReLU(True),
            ]
        model += [nn.ReflectionPad2d(3), nn.Conv2d(ngf, 3, 7), nn.Tanh()]
        self.model = nn.Sequential(*model)

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)  # type: ignore[no-any-return]


class UnetSkipConnectionBlock(nn.Module):
    def __init__(
        self, outer: int, inner: int, norm: str, below: nn.Module | None, *, outermost: bool = False, drop: bool = False
    ) -> None:
        super().__init__()
        self.outermost = outermost
        make, bias = norm_layer(norm), norm == "instance"
        downconv = nn.Conv2d(3 if outermost else outer, inner, 4, 2, 1, bias=bias)
        downrelu, uprelu = nn.LeakyReLU(0.2, True), nn.ReLU(True)
        if outermost:
            assert below is not None
            self.model = nn.Sequential(
                downconv, below, uprelu, nn.ConvTranspose2d(inner * 2, outer, 4, 2, 1), nn.Tanh()
            )
        elif below is None:
            upconv = nn.ConvTranspose2d(inner, outer, 4, 2, 1, bias=bias)
            self.model = nn.Sequential(downrelu, downconv, uprelu, upconv, make(outer))
        else:
            upconv = nn.ConvTranspose2d(inner * 2, outer, 4, 2, 1, bias=bias)
            layers = [downrelu, downconv, make(inner), below, uprelu, upconv, make(outer)]
            self.model = nn.Sequential(*layers, *([nn.Dropout(0.5)] if drop else []))

    def forward(self, x: Tensor) -> Tensor:
        if self.outermost:
            return self.model(x)  # type: ignore[no-any-return]
        return torch.cat([x, self.model(x)], 1)


class UnetGenerator(nn.Module):
    def __init__(self, ngf: int, norm: str, downs: int) -> None:
        super().__init__()
        block = UnetSkipConnectionBlock(ngf * 8, ngf * 8, norm, None)
        for _ in range(downs - 5):
            block = UnetSkipConnectionBlock(ngf * 8, ngf * 8, norm, block, drop=True)
        block = UnetSkipConnectionBlock(ngf * 4, ngf * 8, norm, block)
        block = UnetSkipConnectionBlock(ngf * 2, ngf * 4, norm, block)
        block = UnetSkipConnectionBlock(ngf, ngf * 2, norm, block)
        self.model = UnetSkipConnectionBlock(3, ngf, norm, block, outermost=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)  # type: ignore[no-any-return]


class ResidualBlock(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.main = nn.Sequential(
            nn.Conv2d(dim, dim, 3, 1, 1, bias=False),
            nn.InstanceNorm2d(dim, affine=True, track_running_stats=True),
            nn.ReLU(inplace=True),
            nn.Conv2d(dim, dim, 3, 1, 1, bias=False),
            nn.InstanceNorm2d(dim, affine=True, track_running_stats=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.main(x)  # type: ignore[no-any-return]


class StarGANGenerator(nn.Module):
    def __init__(self, conv_dim: int, c_dim: int) -> None:
        super().__init__()

        def norm(dim: int) -> nn.Module:
            return nn.InstanceNorm2d(dim, affine=True, track_running_stats=True)

        dim = conv_dim
        layers = [nn.Conv2d(3 + c_dim, dim, 7, 1, 3, bias=False), norm(dim), nn.ReLU(inplace=True)]
        for _ in range(2):
            layers += [nn.Conv2d(dim, dim * 2, 4, 2, 1, bias=False), norm(dim * 2), nn.ReLU(inplace=True)]
            dim *= 2
        layers += [ResidualBlock(dim) for _ in range(6)]
        for _ in range(2):
            layers += [nn.ConvTranspose2d(dim, dim // 2, 4, 2, 1, bias=False), norm(dim // 2), nn.ReLU(inplace=True)]
            dim //= 2
        layers += [nn.Conv2d(dim, 3, 7, 1, 3, bias=False), nn.Tanh()]
        self.main = nn.Sequential(*layers)

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        c = c.view(c.size(0), c.size(1), 1, 1).repeat(1, 1, x.size(2), x.size(3))
        return self.main(torch.cat([x, c], dim=1))  # type: ignore[no-any-return]


def lively(network: nn.Module, seed: int = 0) -> nn.Module:
    """Random weights and statistics of every kind, so that no wrong place can go unnoticed."""
    source = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if name.endswith("running_var"):
                value.uniform_(0.5, 1.5, generator=source)
            elif value.is_floating_point() and value.ndim == 1:
                value.uniform_(0.5, 1.0, generator=source)
            elif value.is_floating_point():
                value.normal_(0, (2 / value[0].numel()) ** 0.5, generator=source)
    return network
