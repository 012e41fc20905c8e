"""A ComfyUI node pack: load a model of ganlens, and apply it to IMAGE batches.

Put this folder into ComfyUI's custom_nodes, or link it there; install ganlens from a clone into ComfyUI's environment:
``pip install '.[cpu]'``.
"""

from .nodes import NODE_CLASS_MAPPINGS, NODE_DISPLAY_NAME_MAPPINGS

__all__ = ["NODE_CLASS_MAPPINGS", "NODE_DISPLAY_NAME_MAPPINGS"]
