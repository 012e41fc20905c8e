"""One frame's way over the GPU: upload, prepare, network, compose, download, recorded once and then only started.

With one frame in flight all of it is one CUDA graph on one stream: the shortest way for a single frame. With more, the
copies have streams of their own, so that one frame's upload and another's download run beside a third one's network;
marks in the streams keep the order. Or several networks run beside each other, each frame on one of their streams:
small ones do not fill a GPU. A GPU that shares memory with the host (Jetson) works on the host's own, without
copies. Several frames may share an inference call, which makes fewer and larger kernels
of it. Frames already in the GPU's memory, as NVDEC leaves them, are translated there.
"""

from __future__ import annotations

import contextlib
import ctypes
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from itertools import accumulate, groupby
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..cuda import Device, DeviceArray, Event, Stream
from ..cuda.compiler import load_kernels
from ..cuda.device_protocol import DeviceBinding
from ..errors import BackendError, EngineError, OptionError, ShapeError
from ..pixels.compositor import MAX_GEOMETRIES, Compositor
from ..pixels.frame import Color, Frame, PixelFormat, kind_of, plane_shapes
from ..spec import GeneratorSpec
from ..timing import StageTimes
from .base import Done, Item, Look, Pending, Way
from .gpu_geometry import MOST_BLOCKS, Geometry, Place, Strength
from .gpu_pictures import DevicePictures
from .lent import Loan, lent

Step = Callable[[], None]
MOST_LENT = 8
"""Results over lent memory, beside those in flight; of more, each is copied. A stream's queues hold fewer."""
Key = tuple[PixelFormat, tuple[int, int], Color]
Shapes = tuple[tuple[int, ...], ...]


class FramePipeline:
    """Translates frames with a network in the GPU's memory.

    What depends on a frame's size, format and colour is made at the first such frame and kept for the last
    few; between frames nothing is allocated. Calls of several threads wait for each other.

    Args:
        device: where the network runs.
        backend: binds the network to memory of the device, see :class:`~..cuda.device_protocol.DeviceBackend`;
            closed with the way.
        compositor: says how frames enter the generator, with which blending; its own kernels are not used.
        in_flight: frames under way at a time. 1: the lowest latency. 2 or 3: the highest throughput.
        spin: wait with a busy thread, which sees the end some 20-50 µs earlier and takes a core.
        batch: frames per inference call; the network must take that many. "In flight" then counts such groups; one
            that is not full takes as long as a full one, but for a single frame, which goes alone.
        streams: networks that run at the same time, each with memory of its own; at least so many groups are in flight.

    Raises:
        OptionError: a number below 1, or more than one stream for a library that runs on one.
    """

    def __init__(
        self,
        device: Device,
        backend: Any,
        compositor: Compositor,
        *,
        in_flight: int = 1,
        spin: bool = False,
        batch: int = 1,
        streams: int = 1,
    ) -> None:
        for name, value in (("in_flight", in_flight), ("batch", batch), ("streams", streams)):
            if value < 1:
                raise OptionError(f"{name}: got {value}, expected at least 1.")
        if streams > 1 and not backend.concurrent:
            raise OptionError(
                f"streams: got {streams}; {backend.name} runs on one. Use --backend tensorrt, or leave it out."
            )
        self.device = device
        self.in_flight = self.room = in_flight = max(in_flight, streams)
        self.batch = batch
        self.backend = backend
        self.compositor = compositor
        self.times = StageTimes()
        self._lock = threading.RLock()
        self._alone = 1 if getattr(backend, "batch", None) is None else batch
        """Pictures in the run of a single frame: a model that fixes their number has no smaller one."""
        self._spin = spin
        self._module = load_kernels(device)
        self._streams = deque(device.stream() for _ in range(streams))
        """The networks' streams; the first one is the next frame's."""
        self._copies = (device.stream(), device.stream()) if in_flight > streams == 1 else None
        """For uploads and downloads; None: those of a frame are on its network's stream."""
        self._geometries: OrderedDict[Key, Geometry] = OrderedDict()
        self._routes: OrderedDict[tuple[Key, ...], _Route] = OrderedDict()
        self._networks: OrderedDict[tuple[Stream, Shapes], _Network] = OrderedDict()
        self._flying: list[_Flight] = []
        self._held: deque[tuple[Event, Sequence[DeviceArray]]] = deque()
        """Memory of others that work under way reads and writes, until the mark after it."""
        self._pictures = DevicePictures(device)
        self._marks: list[Event] = []
        """Events that no frame needs now."""
        self._closed = False

    @property
    def spec(self) -> GeneratorSpec:
        """The generator's record."""
        return self.compositor.spec

    def warm_up(self, frame_size: tuple[int, int]) -> None:
        """Bind the network for frames of (height, width), so that what is wrong with it shows before the first frame.

        Raises:
            DeviceMemoryError, BackendError: the device or the library refused, or the network's tensors do not suit.
        """
        size = self.compositor.layout(frame_size).size
        with self.device.entered():
            for stream in self._streams:
                self._network_for(size, self.batch, stream).check(self.compositor.detail > 0)

    @property
    def frames_on_gpu(self) -> int:
        """The GPU in whose memory frames may be."""
        return self.device.index

    def key(self, item: Item) -> object:
        """See :meth:`~.base.Way.key`: the size of the network's picture, and where the frame is."""
        if self.batch == 1:
            return None
        return self.compositor.layout(item.frame.size).size, self._is_here(item.frame)

    def begin(self, before: Way | None = None) -> None:
        """Any number of streams may be under way."""

    def end(self) -> None:
        """Nothing is remembered of a stream."""

    def skip(self, items: Sequence[Item]) -> Pending:
        """The frames themselves."""
        return Done([item.frame for item in items])

    def translate(self, item: Item) -> Frame:
        """Translate one frame; a stream that stands still meanwhile goes on unharmed.

        Raises:
            DeviceMemoryError, DeviceLost, BackendError: the device or the network failed.
        """
        return self.start([item]).finish()[0]

    def start(self, items: Sequence[Item]) -> Pending:
        """Begin up to ``batch`` items with equal keys."""
        if not 1 <= len(items) <= self.batch:
            raise ShapeError(f"got {len(items)} frames, expected 1 to {self.batch}.")
        frames = [item.frame for item in items]
        with self._lock, self.device.entered():
            if self._closed:
                raise BackendError("The way over the GPU was closed; open it again.")
            if all(self._is_here(frame) for frame in frames):
                return self._start_here(items)
            kinds = [kind_of(frame) for frame in frames]
            rows = list(range(len(frames)))
            if len(set(kinds)) > 1:  # in one order, so that few mixtures are recorded
                rows.sort(key=lambda index: str(kinds[index]))
            room = self._alone if len(frames) == 1 else self.batch
            route = self._route_of(tuple(kinds[index] for index in (*rows, *rows[-1:] * (room - len(rows)))))
            ordered = [items[index] for index in rows]
            with self.times.measure("upload", len(frames)):
                slot = self._slot(route)
                try:
                    slot.network.check(any(item.look.detail > 0 for item in items))
                    for geometry, strength, views, item in zip(
                        route.geometries, slot.strengths, slot.views, ordered, strict=False
                    ):
                        made = geometry.strength(item.look.opacity, item.look.detail)
                        np.copyto(strength, np.frombuffer(made, np.uint8))
                        for ours, theirs in zip(views, geometry.views(item.frame.planes), strict=True):
                            np.copyto(ours, theirs)
                    if slot.attributes is not None:
                        for row, item in zip(slot.attributes, ordered, strict=False):
                            np.copyto(row, _vector(item.look), casting="same_kind")
                    for step in slot.steps:
                        step()
                    give_back = _bind(route.slots.append, slot)
                    if route.may_lend and all(frame.adoptable for frame in frames):
                        loan = Loan(give_back)
                        results = [frames[0]] * len(frames)
                        for views, index in zip(slot.views, rows, strict=False):
                            results[index] = lent(frames[index], views, loan)
                        return self._fly(_Flight(self, slot.done, results, release=None))
                    # While the GPU works: all that it does not change.
                    results = [frame.copy() for frame in frames]
                except BaseException:
                    self._abandon()
                    raise

            def download() -> None:
                for geometry, views, index in zip(route.geometries, slot.views, rows, strict=False):
                    for theirs, ours in zip(geometry.views(results[index].planes), views, strict=True):
                        np.copyto(theirs, ours)

            return self._fly(_Flight(self, slot.done, results, give_back, download))

    def _is_here(self, frame: Frame) -> bool:
        """Whether a frame is in this GPU's memory."""
        planes: Any = frame.device_planes
        return planes is not None and planes[0].__dlpack_device__() == (self.device.kind, self.device.index)

    def _start_here(self, items: Sequence[Item]) -> Pending:
        """Begin frames that are in this GPU's memory: copies of them are translated there, and stay there."""
        stream, count = self._next_stream(), len(items)
        room = self._alone if count == 1 else self.batch
        with self.times.measure("launch", count):
            try:
                geometries = [self._geometry_of(kind_of(item.frame)) for item in items]
                network = self._network_for(geometries[0].size, room, stream)
                network.check(any(item.look.detail > 0 for item in items))
                copies = [self._pictures.copy(item.frame, stream) for item in items]
                rows = [*range(count), *[count - 1] * (room - count)]  # those that no frame takes are filled up
                if network.extra is not None:
                    vectors = np.concatenate([_vector(items[index].look) for index in rows])
                    stream.to_device(network.extra, network.stage(vectors, stream))
                frames = [_There(geometries[i], _places(copies[i][1]), copies[i][1][0].pointer) for i in rows]
                for begin, like in _runs([frame[:2] for frame in frames]):
                    blocks = [frame.base for frame in frames[begin : begin + like]]
                    frame = frames[begin]
                    frame.geometry.prepare(stream, blocks, network.image.part(begin, like), frame.places)
                network.run(stream)
                looks = [(item.look.opacity, item.look.detail) for item in items]
                for begin, like in _runs([(*frame[:2], look) for frame, look in zip(frames, looks, strict=False)]):
                    blocks = [frame.base for frame in frames[begin : begin + like]]
                    geometry, strength = frames[begin].geometry, frames[begin].geometry.strength(*looks[begin])
                    geometry.compose(stream, *network.answer(begin, like), blocks, frames[begin].places, strength)
                done = stream.record(self._marks.pop() if self._marks else self.device.event(blocking=not self._spin))
            except BaseException:
                self._abandon()
                raise
        return self._fly(
            _Flight(self, done, [frame for frame, _ in copies], _bind(self._marks.append, done), held=items)
        )

    def _fly(self, flight: _Flight) -> _Flight:
        self._flying.append(flight)
        return flight

    def _land(self, flight: _Flight) -> list[Frame]:
        with self._lock, self.device.entered():
            if flight not in self._flying:
                raise BackendError("The way over the GPU was closed while frames were under way.")
            self._flying.remove(flight)
            count = len(flight.results)
            try:
                with self.times.measure("wait", count):
                    flight.done.synchronize()
            except BaseException:
                self._abandon()
                raise
            if flight.download is not None:
                with self.times.measure("download", count):
                    flight.download()
            if flight.release is not None:
                flight.release()
            results, flight.results = flight.results, []
            return results

    def _drop(self, flight: _Flight) -> None:
        with self._lock:
            if flight not in self._flying:
                return
            self._flying.remove(flight)
            try:
                with self.device.entered():
                    flight.done.synchronize()
            except EngineError:  # the one that stopped the stream is on its way to the user
                self._abandon()
            else:
                flight.results = []
                if flight.release is not None:
                    flight.release()

    def on_device(
        self,
        planes: Sequence[object],
        format: PixelFormat,
        color: Color | None = None,
        look: Look | None = None,
    ) -> tuple[DeviceArray, ...]:
        """Translate a frame in the GPU's memory, in place, and return without waiting.

        Args:
            planes: as in :class:`~ganlens.engine.pixels.frame.Frame`, but arrays on the GPU, with
                ``__cuda_array_interface__`` or DLPack; rows may be padded. They are written.

        Returns:
            The planes. Libraries that read them through DLPack or ``__cuda_array_interface__`` wait for their content.
        """
        look = look or Look(opacity=self.compositor.opacity, detail=self.compositor.detail)
        with self._lock, self.device.entered():
            stream = self._next_stream()
            for plane in planes:
                if getattr(plane, "__cuda_array_interface__", {}).get("data", (0, False))[1]:
                    raise ShapeError("got a read-only array, expected writable planes to translate in place.")
            arrays = [DeviceArray.of(self.device, plane, stream) for plane in planes]
            size = check_planes(arrays, format)
            geometry = self._geometry_of((format, size, color or Color()))
            network = self._network_for(geometry.size, self._alone, stream)
            network.check(look.detail > 0)
            strength = geometry.strength(look.opacity, look.detail)
            base, places = arrays[0].pointer, _places(arrays)
            if network.extra is not None:
                stream.to_device(network.extra, network.stage(_vector(look), stream))
            geometry.prepare(stream, [base], network.image, places)
            network.run(stream)
            geometry.compose(stream, *network.answer(0, 1), [base], places, strength)
            self._hold(stream, arrays)
            return tuple(
                DeviceArray(
                    self.device,
                    array.pointer,
                    array.shape,
                    array.dtype,
                    strides=array.strides,
                    owner=array,
                    stream=stream,
                )
                for array in arrays
            )

    def _hold(self, stream: Stream, arrays: Sequence[DeviceArray]) -> None:
        """Keep arrays until the work before this has happened, whatever their owners do meanwhile."""
        done: Event | None = None
        while self._held and self._held[0][0].reached:
            done = self._held.popleft()[0]
        self._held.append((stream.record(done), arrays))

    def close(self) -> None:
        """Wait for what is under way and free all of it; a second call does nothing."""
        with self._lock, self.device.entered():
            if self._closed:
                return
            self._closed = True
            for flight in self._flying.copy():
                flight.drop()
            with contextlib.suppress(EngineError):  # nothing else waits for frames translated in place
                self.device.synchronize()
            self._held.clear()
            self._pictures = DevicePictures(self.device)
            self._marks.clear()
            self._routes.clear()
            self._geometries.clear()
            self._networks.clear()
            self.backend.close()

    def _abandon(self) -> None:
        """After an error: let the GPU come to rest before the memory goes that it may still use."""
        with contextlib.suppress(EngineError), self.device.entered():
            self.device.synchronize()
        self._routes.clear()
        self._geometries.clear()

    def _make_room(self, kept: OrderedDict[Any, Any], most: int = MAX_GEOMETRIES) -> None:
        """Let the one go that was unused for longest, once nothing on the GPU needs its memory any more."""
        if len(kept) >= most:
            self.device.synchronize()
            kept.popitem(last=False)

    # --- what is made once --------------------------------------------------------------------------------------------

    def _slot(self, route: _Route) -> _Slot:
        """One that is free: a second stream and single pictures may want more than are in flight."""
        if not route.slots:
            route.slots.append(self._make_slot(route))
        return route.slots.popleft()

    def _route_of(self, kinds: tuple[Key, ...]) -> _Route:
        """What frames of these kinds, in these rows, need to share an inference."""
        route = self._routes.get(kinds)
        if route is None:
            route = _Route(tuple(self._geometry_of(kind) for kind in kinds), self.in_flight)
            if len({geometry.size for geometry in route.geometries}) > 1:
                raise ShapeError(
                    "got frames that the network sees in several sizes, expected one size. Group them by key()."
                )
            # Where frames share an inference, a full group and a single frame have a route each.
            self._make_room(self._routes, MAX_GEOMETRIES if self.batch == 1 else 2 * MAX_GEOMETRIES)
            route.slots.extend(self._make_slot(route) for _ in range(self.in_flight))
            self._routes[kinds] = route
        elif len(self._routes) > 1:
            self._routes.move_to_end(kinds)
        return route

    def _geometry_of(self, key: Key) -> Geometry:
        geometry = self._geometries.get(key)
        if geometry is None:
            self._make_room(self._geometries)
            geometry = self._geometries[key] = self._make_geometry(*key)
        elif len(self._geometries) > 1:
            self._geometries.move_to_end(key)
        return geometry

    def _make_geometry(self, format: PixelFormat, size: tuple[int, int], color: Color) -> Geometry:
        layout = self.compositor.layout(size)
        if layout.tiles:
            raise OptionError("Frames cut into tiles cannot be translated inside the GPU; use another framing.")
        kernels = self.compositor.kernels(format, size, color, target="scalar")
        return Geometry(self.device, self._module, kernels.prepare, kernels.compose, kernels.options)

    def _next_stream(self) -> Stream:
        """The network's stream that is used next; one after the other."""
        self._streams.rotate(-1)
        return self._streams[-1]

    def _network_for(self, size: tuple[int, int], batch: int, stream: Stream) -> _Network:
        shapes: Shapes = ((batch, 3, *size),)
        if self.spec.attributes is not None:
            shapes = (*shapes, (batch, self.spec.attributes.length))
        key = (stream, shapes)
        network = self._networks.get(key)
        if network is None:
            self._make_room(self._networks, MAX_GEOMETRIES * len(self._streams))
            binding = self.backend.bind_device(self.device, shapes)
            network = self._networks[key] = _Network(self.device, binding, self.spec)
        elif len(self._networks) > 1:
            self._networks.move_to_end(key)
        return network

    def _make_slot(self, route: _Route) -> _Slot:
        device, geometries = self.device, route.geometries
        route.made += 1
        batch, stream = len(geometries), self._next_stream()
        up, down = self._copies or (stream, stream)
        network = self._network_for(geometries[0].size, batch, stream)
        *begins, total = accumulate((geometry.block_bytes for geometry in geometries), initial=0)
        shared = device.info.integrated
        host, block = device.mapped((total,)) if shared else (device.pinned((total,)), device.empty((total,), np.uint8))
        host.fill(0)
        attributes = None if network.extra is None else device.pinned(network.extra.shape, network.extra.dtype)
        rows = _runs(geometries)  # frames of one kind share a launch
        blocks = [block.pointer + begin for begin in begins]

        def upload() -> None:
            up.to_device(block, host)

        def prepare() -> None:
            if network.extra is not None and attributes is not None:
                stream.to_device(network.extra, attributes)
            for begin, count in rows:
                image = network.image.part(begin, count)
                geometries[begin].prepare(stream, blocks[begin : begin + count], image)

        def run() -> None:
            network.binding.enqueue(stream.handle)

        def compose() -> None:
            for begin, count in rows:
                answer, place = network.answer(begin, count), blocks[begin : begin + count]
                geometries[begin].compose(stream, *answer, place, strength=None)

        def download() -> None:
            down.to_host(host, block)

        parts = [
            _Part(up, upload, True),
            _Part(stream, prepare, True),
            _Part(stream, run, network.binding.capturable),
            _Part(stream, compose, True),
            _Part(down, download, True),
        ]
        if shared:  # the kernels read and write the host's own memory
            parts = parts[1:-1]
        if attributes is not None:
            attributes.fill(0)
        for part in parts:  # all that is loaded on first use is loaded before anything is recorded
            part.work()
            part.stream.synchronize()
        done = device.event(blocking=not self._spin)
        steps = [*record(device, parts), _bind(_mark, parts[-1].stream, done)]
        memory = [
            host[begin : begin + geometry.block_bytes] for geometry, begin in zip(geometries, begins, strict=True)
        ]
        views = [geometry.block_views(part) for geometry, part in zip(geometries, memory, strict=True)]
        strengths = [
            part[geometry.strength_at : geometry.strength_at + ctypes.sizeof(Strength)]
            for geometry, part in zip(geometries, memory, strict=True)
        ]
        return _Slot(host, views, strengths, block, network, attributes, tuple(steps), done)


class _Part(NamedTuple):
    """A piece of a frame's way."""

    stream: Stream
    work: Step
    capturable: bool


def record(device: Device, parts: Sequence[_Part]) -> list[Step]:
    """What starts ``parts``: one graph for each stretch on one stream, and marks where the stream changes."""
    steps: list[Step] = []
    before: Stream | None = None
    for (stream, capturable), group in groupby(parts, lambda part: (part.stream, part.capturable)):
        works = [part.work for part in group]
        if before is not None and before is not stream:
            event = device.event()
            steps.append(_bind(_pass, before, stream, event))
        if capturable:
            graph = device.capture(stream, _bind(_run_all, works))
            steps.append(_bind(graph.launch, stream))
        else:
            steps += works
        before = stream
    return steps


def _bind(function: Callable[..., None], *arguments: Any) -> Step:
    return lambda: function(*arguments)


def _run_all(works: Sequence[Step]) -> None:
    for work in works:
        work()


def _pass(before: Stream, after: Stream, event: Event) -> None:
    before.record(event)
    after.wait(event)


def _mark(stream: Stream, event: Event) -> None:
    stream.record(event)


class _Network:
    """A bound network, and how compose reads its answer."""

    def __init__(self, device: Device, binding: DeviceBinding, spec: GeneratorSpec) -> None:
        self.binding = binding
        self.image = binding.inputs[0]
        self.extra = binding.inputs[1] if len(binding.inputs) > 1 else None
        """The attributes."""
        self._masked = spec.output.mask is not None and spec.output.kind != "image"
        self._device = device
        self._staged: NDArray[Any] | None = None
        self._graph: tuple[Stream, Step] | None = None
        if binding.outputs[0].shape != self.image.shape:
            raise ShapeError(
                f"The network answers {binding.outputs[0].shape} to {self.image.shape}; expected an image of its "
                "input's size."
            )
        self.check(detailed=False)

    def check(self, detailed: bool) -> None:
        """Refuse tensors that compose cannot read together.

        Args:
            detailed: whether it reads the image that prepare gave as well.

        Raises:
            BackendError: their types differ.
        """
        outputs = self.binding.outputs
        read = [
            outputs[0],
            *([outputs[1]] if self._masked else []),
            *([self.image] if detailed else []),
        ]
        types = {array.dtype for array in read}
        if len(types) > 1 or not types <= {np.dtype(np.float16), np.dtype(np.float32)}:
            raise BackendError(
                f"The network's tensors are {', '.join(str(array.dtype) for array in read)}; inside the GPU they must "
                "all be float16 or all float32. Export the model again with --precision fp16 or fp32."
            )

    def answer(self, begin: int, count: int) -> tuple[DeviceArray, DeviceArray | None, DeviceArray | None]:
        """What compose reads for ``count`` frames: the images, the masks, and what prepare gave."""
        outputs = self.binding.outputs
        return (
            outputs[0].part(begin, count),
            outputs[1].part(begin, count) if self._masked else None,
            self.image.part(begin, count) if self.image.dtype == outputs[0].dtype else None,
        )

    def run(self, stream: Stream) -> None:
        """Put it into a stream; as a graph if it can be one."""
        if self._graph is None or self._graph[0] is not stream:
            part = _Part(stream, _bind(self.binding.enqueue, stream.handle), self.binding.capturable)
            self._graph = (stream, record(self._device, [part])[0])
        self._graph[1]()

    def stage(self, attributes: NDArray[np.float32], stream: Stream) -> NDArray[Any]:
        """The attributes in pinned memory; new ones wait until the last ones have been copied from there."""
        assert self.extra is not None
        if self._staged is None:
            self._staged = self._device.pinned(self.extra.shape, self.extra.dtype)
            self._staged.fill(np.nan)
        if not np.array_equal(self._staged, attributes.astype(self._staged.dtype)):
            stream.synchronize()
            np.copyto(self._staged, attributes, casting="same_kind")
        return self._staged


class _Slot(NamedTuple):
    """The memory of one group of frames under way, and what starts it."""

    host: NDArray[np.uint8]
    """The blocks of all frames, one after the other."""
    views: list[list[NDArray[np.uint8]]]
    """Windows of the planes of each frame, inside ``host``."""
    strengths: list[NDArray[np.uint8]]
    """Strength of each frame, inside ``host``."""
    block: DeviceArray
    network: _Network
    """Keeps the memory that the steps refer to."""
    attributes: NDArray[Any] | None
    steps: tuple[Step, ...]
    done: Event


class _Route:
    """What frames need that share an inference, each of one size, format and colour."""

    def __init__(self, geometries: tuple[Geometry, ...], in_flight: int) -> None:
        self.geometries = geometries
        """By row; those that no frame takes are filled up."""
        self.slots: deque[_Slot] = deque()
        """Those that are free."""
        self.made = 0
        """All of them, lent ones too."""
        self._whole = all(geometry.whole for geometry in geometries)
        self._most = in_flight + MOST_LENT

    @property
    def may_lend(self) -> bool:
        """Whether results may be the memory that they are downloaded into: it holds all of them, and not too many."""
        return self._whole and self.made - len(self.slots) <= self._most


class _Flight:
    """Frames under way."""

    def __init__(
        self,
        way: FramePipeline,
        done: Event,
        results: list[Frame],
        release: Step | None,
        download: Step | None = None,
        held: object = None,
    ) -> None:
        self._way = way
        self.done = done
        self.results = results
        self.release = release
        """Gives back what it works with; None: the results do, with the last reference."""
        self.download = download
        """Copies the answers into the results; None: they are made there."""
        self._held = held
        """What the GPU reads meanwhile."""

    def finish(self) -> list[Frame]:
        return self._way._land(self)

    def drop(self) -> None:
        self._way._drop(self)


class _There(NamedTuple):
    """A frame in the GPU's memory."""

    geometry: Geometry
    places: list[Place]
    base: int


def _runs(items: Sequence[object]) -> list[tuple[int, int]]:
    """(begin, length) of each run of equal items, none longer than what one launch takes."""
    runs: list[tuple[int, int]] = []
    for index, item in enumerate(items):
        begin, length = runs[-1] if runs else (0, 0)
        if length and length < MOST_BLOCKS and items[begin] == item:
            runs[-1] = (begin, length + 1)
        else:
            runs.append((index, 1))
    return runs


def _places(planes: Sequence[DeviceArray]) -> list[Place]:
    """Where planes are, counted from the first one."""
    return [Place(plane.pointer - planes[0].pointer, plane.strides[0]) for plane in planes]


def _vector(look: Look) -> NDArray[np.float32]:
    return np.zeros(1, np.float32) if look.attributes is None else look.attributes


def check_planes(planes: Sequence[DeviceArray], format: PixelFormat) -> tuple[int, int]:
    """(height, width) of a frame whose planes these are.

    Raises:
        ShapeError: they are not.
    """
    size = (planes[0].shape[0], planes[0].shape[1]) if planes and len(planes[0].shape) >= 2 else (0, 0)
    expected = plane_shapes(size, format)
    dense = all(
        plane.strides[1:] == tuple(int(np.prod(plane.shape[axis + 1 :])) for axis in range(1, len(plane.shape)))
        for plane in planes
    )
    if [plane.shape for plane in planes] != expected or any(p.dtype != np.uint8 for p in planes) or not dense:
        raise ShapeError(
            f"got {format} planes of shape {[plane.shape for plane in planes]} "
            f"({', '.join(str(plane.dtype) for plane in planes)}), expected uint8 {expected} with dense rows"
        )
    return size
