"""Runs in the system's Python, which has GStreamer's bindings: one function per test, its result as JSON."""

from __future__ import annotations

import json
import resource
import sys
import time
from typing import Any

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstApp", "1.0")
gi.require_version("GstController", "1.0")
from gi.repository import Gst, GstApp, GstController  # noqa: E402, F401

WIDTH, HEIGHT = 24, 16
SIZE = WIDTH * HEIGHT * 3 // 2
SECOND = Gst.SECOND


class Pipeline:
    """Grey frames through the element, one at a time."""

    def __init__(self, properties: str) -> None:
        caps = f"video/x-raw,format=I420,width={WIDTH},height={HEIGHT},framerate=10/1,colorimetry=bt601"
        self.pipeline = Gst.parse_launch(
            f"appsrc name=source format=time caps={caps} ! ganlens name=it {properties} ! "
            "appsink name=sink sync=false max-buffers=4"
        )
        self.source, self.sink, self.it = map(self.pipeline.get_by_name, ("source", "sink", "it"))
        self.bus = self.pipeline.get_bus()
        self.pipeline.set_state(Gst.State.PLAYING)
        self.count = 0

    def push(self, value: int) -> None:
        buffer = Gst.Buffer.new_wrapped(bytes([value]) * (SIZE * 2 // 3) + bytes([128]) * (SIZE // 3))
        buffer.pts, buffer.duration = self.count * SECOND // 10, SECOND // 10
        self.count += 1
        self.source.emit("push-buffer", buffer)

    def __call__(self, value: int) -> int:
        """Brightness of what becomes of a grey frame."""
        self.push(value)
        sample = self.sink.emit("try-pull-sample", 60 * SECOND)
        assert sample is not None, [str(m.parse_error()) for m in self.messages(Gst.MessageType.ERROR)]
        buffer = sample.get_buffer()
        return int(buffer.extract_dup(0, 1)[0])

    def messages(self, kind: Any, timeout: float = 0.0) -> list[Any]:
        found = []
        while (message := self.bus.timed_pop_filtered(int(timeout * SECOND), kind)) is not None:
            found.append(message)
            timeout = 0.0
        return found

    def warnings(self, timeout: float = 0.0) -> list[str]:
        return [m.parse_warning()[0].message for m in self.messages(Gst.MessageType.WARNING, timeout)]

    def stop(self) -> None:
        self.pipeline.set_state(Gst.State.NULL)


def changes(invert: str, identity: str) -> dict[str, Any]:
    run = Pipeline(f"model={invert} backend=cpu threads=1")
    seen: dict[str, Any] = {"inverted": run(60)}
    run.it.set_property("opacity", 0.0)
    seen["opacity 0"] = run(60)
    run.it.set_property("opacity", 1.0)
    seen["opacity 1"] = run(60)
    run.it.set_property("attributes", "smiling=1")
    seen["attributes warned"] = run.warnings(5)
    seen["attributes"] = run.it.get_property("attributes")
    run.it.set_property("model", "no_such_model")
    seen["model warned"] = run.warnings(30)
    seen["model stays"] = run.it.get_property("model") == invert
    seen["still inverted"] = run(60)
    run.it.set_property("model", identity)
    until = time.monotonic() + 60
    while (value := run(60)) != 60 and time.monotonic() < until:
        time.sleep(0.02)
    seen["identity"] = value
    seen["model changed"] = run.it.get_property("model") == identity
    seen["warned at the end"] = run.warnings()
    run.stop()
    run.pipeline.set_state(Gst.State.PLAYING)  # and once more from the beginning
    run.count = 0
    seen["again"] = run(60)
    run.stop()
    return seen


def controlled(invert: str) -> dict[str, Any]:
    run = Pipeline(f"model={invert} backend=cpu threads=1")
    ramp = GstController.InterpolationControlSource(mode=GstController.InterpolationMode.LINEAR)
    run.it.add_control_binding(GstController.DirectControlBinding.new(run.it, "opacity", ramp))
    ramp.set(0, 0.0)
    ramp.set(SECOND, 1.0)
    values = [run(60) for _ in range(11)]
    run.stop()
    return {"values": values}


def late(identity: str) -> dict[str, Any]:
    """The sink says that it got a frame 0.35 s late: the element drops frames until it has caught up."""
    run = Pipeline(f"model={identity} backend=cpu threads=1")
    run(60)
    run.it.get_static_pad("src").send_event(Gst.Event.new_qos(Gst.QOSType.UNDERFLOW, 2.0, 350_000_000, 0))
    for _ in range(6):
        run.push(60)
    run.source.emit("end-of-stream")
    times = []
    while (sample := run.sink.emit("try-pull-sample", 60 * SECOND)) is not None:
        times.append(sample.get_buffer().pts / SECOND)
        if run.sink.get_property("eos"):
            break
    messages = len(run.messages(Gst.MessageType.QOS))
    run.stop()
    return {"times": times, "messages": messages}


def growth(invert: str) -> dict[str, Any]:
    run = Pipeline(f"model={invert} backend=cpu threads=1")
    for _ in range(200):
        run(60)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(1000):
        run(number % 200)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    run.stop()
    return {"frames": 1000, "grown_kib": after - before}


if __name__ == "__main__":
    Gst.init(None)
    result = globals()[sys.argv[1]](*sys.argv[2:])
    sys.stdout.write(json.dumps(result) + "\n")
