"""Frames, how they enter a generator, and the kernels that prepare and compose them."""
