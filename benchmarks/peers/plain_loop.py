"""The loop that most repositories ship: cv2.VideoCapture, onnxruntime, cv2.VideoWriter. No sound, OpenCV's own codec.

    python benchmarks/peers/plain_loop.py clip.mp4 out.mp4 model.onnx HEIGHT WIDTH MARGIN [X Y SIDE]

Written the way such scripts are written, and not badly: float32 all along, one pass per step, the blend with a
feathered mask made once. Without a region the whole frame is scaled to the model's size, less a margin of repeated edge
on each side, and back.
"""

import sys

import cv2
import numpy as np
import onnxruntime as ort


def feather(side, border=32):
    """(side, side, 1) float32 weights that rise from the edges to 1 over ``border`` pixels."""
    ramp = np.minimum(1, (np.minimum(np.arange(side), np.arange(side)[::-1]) + 1) / border).astype(np.float32)
    return np.minimum.outer(ramp, ramp)[:, :, None]


def translate(session, size, margin, picture):
    """One BGR uint8 picture through the network, in the middle of its size; RGB float32 in 0..255, small."""
    scale = min((size[0] - 2 * margin) / picture.shape[1], (size[1] - 2 * margin) / picture.shape[0])
    width, height = round(picture.shape[1] * scale), round(picture.shape[0] * scale)
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    small = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
    right, bottom = size[0] - width - left, size[1] - height - top
    small = cv2.copyMakeBorder(small, top, bottom, left, right, cv2.BORDER_REPLICATE)
    x = cv2.cvtColor(small, cv2.COLOR_BGR2RGB).astype(np.float32) / 127.5 - 1
    y = session.run(None, {session.get_inputs()[0].name: x.transpose(2, 0, 1)[None]})[0][0]
    y = y[:, top : top + height, left : left + width]
    return np.clip((y.transpose(1, 2, 0) + 1) * 127.5, 0, 255)


def main(source, output, model, size, margin, region):
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    capture = cv2.VideoCapture(source)
    frame_size = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
    writer = cv2.VideoWriter(output, cv2.VideoWriter_fourcc(*"mp4v"), capture.get(cv2.CAP_PROP_FPS), frame_size)
    weights = feather(region[2]) if region else None
    while True:
        found, frame = capture.read()
        if not found:
            break
        if region:
            x, y, side = region
            part = frame[y : y + side, x : x + side]
            new = cv2.cvtColor(cv2.resize(translate(session, size, margin, part), (side, side)), cv2.COLOR_RGB2BGR)
            frame[y : y + side, x : x + side] = (part * (1 - weights) + new * weights).astype(np.uint8)
        else:
            new = cv2.resize(translate(session, size, margin, frame), frame_size)
            frame = cv2.cvtColor(new, cv2.COLOR_RGB2BGR).astype(np.uint8)
        writer.write(frame)
    capture.release()
    writer.release()


if __name__ == "__main__":
    height, width, margin, *region = (int(number) for number in sys.argv[4:])
    main(sys.argv[1], sys.argv[2], sys.argv[3], (width, height), margin, region)
