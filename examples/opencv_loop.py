"""A filter in an OpenCV loop: python examples/opencv_loop.py [CAMERA|CLIP] [--model starry] [--output out.mp4]

Shows a window, or writes a file. OpenCV's pictures are BGR, those of ganlens RGB; the loop drops the sound and assumes
a constant frame rate. For files, `engine translate` keeps both and is faster. Needs: pip install opencv-python
"""

from __future__ import annotations

import argparse

import cv2

from ganlens.engine import Translator


def main() -> None:
    """Read, translate, show."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", nargs="?", default="0", help="number of a camera, or a file")
    parser.add_argument("--model", default="starry")
    parser.add_argument("--output", help="write a file, and show no window")
    options = parser.parse_args()
    capture = cv2.VideoCapture(int(options.source) if options.source.isdigit() else options.source)
    if not capture.isOpened():
        raise SystemExit(f"{options.source} cannot be opened. Give the number of a camera, or a video file.")
    writer = None
    frames = 0
    size = (int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)), int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)))
    with Translator.open(options.model, frame_size=size) as translator:
        while True:
            more, bgr = capture.read()
            if not more:
                break
            painted = translator(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB))
            bgr = cv2.cvtColor(painted, cv2.COLOR_RGB2BGR)
            frames += 1
            if options.output:
                if writer is None:
                    rate = capture.get(cv2.CAP_PROP_FPS) or 30.0
                    writer = cv2.VideoWriter(options.output, cv2.VideoWriter.fourcc(*"mp4v"), rate, size[::-1])
                writer.write(bgr)
            else:
                cv2.imshow("ganlens", bgr)
                if cv2.waitKey(1) == 27:  # Esc
                    break
    capture.release()
    if writer is not None:
        writer.release()
    print(f"{frames} frames")


if __name__ == "__main__":
    main()
