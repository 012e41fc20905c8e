"""Triton's Python backend: pictures in, translated pictures out. Written by ``engine triton export``.

The server runs it in a Python of its own, that of the first python3 on its path: docs/scale.md.
"""

from __future__ import annotations

import json
import os
from typing import Any


class TritonPythonModel:
    """One open translator."""

    def initialize(self, args: dict[str, str]) -> None:
        """Open the model."""
        import numpy
        import triton_python_backend_utils

        from ganlens.engine import Controls, EngineError, Frame, Translator

        self._pb: Any = triton_python_backend_utils
        self._np = numpy
        self._controls, self._frame, self._error = Controls, Frame, EngineError
        config = json.loads(args["model_config"])
        values = {name: value["string_value"] for name, value in config["parameters"].items()}
        folder = os.path.join(args["model_repository"], args["model_version"])
        self._optional = [part["name"] for part in config["input"] if part["name"] != "image"]
        self._translator = Translator.open(
            os.path.join(folder, values["file"]),
            backend=values["backend"],
            threads=int(values["threads"]) if values.get("threads") else None,
        )

    def execute(self, requests: list[Any]) -> list[Any]:
        """One answer for each request."""
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        pb, np = self._pb, self._np
        try:
            # Tensors go by DLPack: the arrays of servers of 2024 and before do not fit NumPy 2.
            image = np.array(np.from_dlpack(pb.get_input_tensor_by_name(request, "image")))
            values = {}
            for name in self._optional:
                tensor = pb.get_input_tensor_by_name(request, name)
                if tensor is not None:
                    values[name] = float(np.from_dlpack(tensor)[0])
            opacity = values.pop("opacity", 1.0)
            controls = self._controls(attributes=values, opacity=opacity)
            (frame,) = self._translator.stream([self._frame.from_rgb(image)], controls=controls)
            return pb.InferenceResponse([pb.Tensor.from_dlpack("image", np.array(frame.planes[0]))])
        except (self._error, ValueError) as error:
            return pb.InferenceResponse(error=pb.TritonError(str(error)))

    def finalize(self) -> None:
        """Free the model."""
        self._translator.close()
