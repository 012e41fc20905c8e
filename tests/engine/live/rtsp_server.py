"""An RTSP server on loopback, for the system's Python with GStreamer: python3 rtsp_server.py PORT"""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

PIPELINE = (
    "( videotestsrc is-live=true pattern=white ! video/x-raw,format=I420,width=160,height=120,framerate=25/1 "
    "! vp8enc deadline=1 cpu-used=8 keyframe-max-dist=10 ! rtpvp8pay name=pay0 pt=96 )"
)

if __name__ == "__main__":
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(sys.argv[1])
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(PIPELINE)
    factory.set_shared(True)
    server.get_mount_points().add_factory("/camera", factory)
    server.attach(None)
    loop = GLib.MainLoop()
    GLib.timeout_add_seconds(120, loop.quit)  # it outlives no test by much
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    loop.run()
