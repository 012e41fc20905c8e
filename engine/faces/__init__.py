"""Faces in a picture or video: found, followed, aligned as a face model wants them, changed and put back.

``framing.FaceFraming`` has the options, ``follow.Follower`` says where the faces of a frame are, and
``paste.FaceCompositor`` takes them out and puts them back. Needs the extra ``faces`` (OpenCV), imported on use.
"""

from .framing import FaceFraming

__all__ = ["FaceFraming"]
