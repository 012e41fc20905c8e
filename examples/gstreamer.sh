#!/bin/sh
# A clip through the GStreamer element: decoded, painted, encoded as VP8 in WebM, as fast as it goes.
# Needs GStreamer and, once, "engine gstreamer install" (docs/embedding.md).
#   examples/gstreamer.sh clip.mp4 painted.webm [MODEL]
set -eu
[ $# -ge 2 ] || { echo "usage: $0 INPUT OUTPUT.webm [MODEL]" >&2; exit 2; }
[ ! -e "$2" ] || { echo "$2 exists already; name another output." >&2; exit 1; }
gst-launch-1.0 -q filesrc location="$1" ! decodebin ! videoconvert ! ganlens model="${3:-starry}" ! videoconvert \
  ! vp8enc deadline=1 ! webmmux ! filesink location="$2"
