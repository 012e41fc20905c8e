"""The way of whole frames, and of their tiles, over a network in host memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..backends.base import Array, Backend, Output
from ..pixels.compositor import Compositor
from ..pixels.frame import Frame
from ..pixels.framing import Layout
from ..spec import GeneratorSpec
from ..timing import StageTimes
from .base import Done, Item, Pending, Way
from .batching import Network, full_run
from .lanes import Lane, Lanes


class HostWay:
    """Frames through a network in host memory.

    Args:
        backend: runs the network; closed with the way.
        compositor: how frames enter it.
        more: open further networks of the same kind, for groups of frames that are worked on at the same time.
        batch: frames, or their tiles, that share a run; None: one, or as many as the model wants.
    """

    def __init__(
        self,
        backend: Backend,
        compositor: Compositor | None = None,
        more: Sequence[Callable[[], Backend]] = (),
        batch: int | None = None,
    ) -> None:
        self.backend = backend
        self.compositor = compositor or Compositor(backend.spec)
        self.times = StageTimes()
        self._lanes = Lanes(backend, self.compositor, more)
        self.in_flight, self.room = self._lanes.in_flight, self._lanes.room
        self._run_batch = batch or backend.batch or 1
        self._tiled = self.compositor.framing.mode == "tile"
        self.batch = 1 if self._tiled else self._run_batch

    @property
    def spec(self) -> GeneratorSpec:
        """The generator's record."""
        return self.backend.spec

    @property
    def notes(self) -> list[str]:
        """What a user should know of the model's answers."""
        return self._lanes.answers.notes

    def key(self, item: Item) -> object:
        """See :meth:`~.base.Way.key`: the size of the network's picture."""
        return self.compositor.layout(item.frame.size).size if self.batch > 1 else None

    def begin(self, before: Way | None = None) -> None:
        """Any number of streams may be under way."""

    def end(self) -> None:
        """Nothing is remembered of a stream."""

    def start(self, items: Sequence[Item]) -> Pending:
        """See :meth:`~.base.Way.start`."""
        return self._lanes.start(lambda lane: self._translate(lane, items))

    def skip(self, items: Sequence[Item]) -> Pending:
        """The frames themselves."""
        return Done([item.frame for item in items])

    def translate(self, item: Item) -> Frame:
        """See :meth:`~.base.Way.translate`."""
        return self._translate(self._lanes.first, [item])[0]

    def close(self) -> None:
        """See :meth:`~.base.Way.close`."""
        self._lanes.close()

    def _translate(self, lane: Lane[Compositor], items: Sequence[Item]) -> list[Frame]:
        with lane.network.lock:
            return (self._translate_tiled if self._tiled else self._translate_whole)(lane, items)

    def _translate_whole(self, lane: Lane[Compositor], items: Sequence[Item]) -> list[Frame]:
        count, times, compositor = len(items), self.times, lane.compositor
        size = compositor.layout(items[0].frame.size).size
        tensors = lane.network.tensors(size, full_run(count, self._run_batch, self.backend.batch))
        with times.measure("prepare", count):
            for row, (frame, look) in enumerate(items):
                compositor.prepare(frame, tensors.images[row])
                if tensors.attributes is not None:
                    tensors.attributes[row] = look.attributes
        with times.measure("run", count):
            output = lane.network.run(tensors)
        with times.measure("compose", count):
            return [_composed(compositor, item, output, tensors.images, row) for row, item in enumerate(items)]

    def _translate_tiled(self, lane: Lane[Compositor], items: Sequence[Item]) -> list[Frame]:
        ((frame, look),), times, compositor = items, self.times, lane.compositor
        layout = compositor.layout(frame.size)
        image, canvas = compositor.canvas(layout)
        with times.measure("prepare"):
            compositor.prepare(frame, image[0])
        with times.measure("run"):
            _run_tiles(lane.network, layout, image[0], canvas, look.attributes, self._run_batch)
        with times.measure("compose"):
            return [_composed(compositor, items[0], canvas, image, 0)]


def _composed(compositor: Compositor, item: Item, output: Output, images: Array, row: int) -> Frame:
    result = item.frame.copy()
    compositor.compose(
        item.frame, output, result, row, prepared=images[row], opacity=item.look.opacity, detail=item.look.detail
    )
    return result


def _run_tiles(
    network: Network, layout: Layout, image: Array, canvas: Output, attributes: Array | None, batch: int
) -> None:
    """Run the network on some tiles at a time; add its answers up with their weights, which sum to one everywhere.

    Args:
        image: (3, h, w), the whole picture.
        canvas: where the answers are added up.
        attributes: (1, C).
    """
    assert layout.tile_size is not None
    count = network.backend.batch or min(batch, len(layout.tiles))
    tensors = network.tensors(layout.tile_size, count)
    if tensors.attributes is not None:
        tensors.attributes[:] = attributes
    for part in canvas:
        if part is not None:
            part.fill(0)
    height, width = layout.tile_size
    for begin in range(0, len(layout.tiles), count):
        tiles = layout.tiles[begin : begin + count]
        windows = [
            (slice(None), slice(tile.top, tile.top + height), slice(tile.left, tile.left + width)) for tile in tiles
        ]
        for tensor, window in zip(tensors.images, windows, strict=False):
            np.copyto(tensor, image[window])
        output = network.run(tensors)
        for row, (tile, window) in enumerate(zip(tiles, windows, strict=True)):
            for part, answer in zip(canvas, output, strict=True):
                if part is not None and answer is not None:
                    part[0][window] += answer[row] * tile.weight
