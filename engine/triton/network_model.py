"""Triton's Python backend: the bare network by a backend of ganlens. Written by ``engine triton export``.

The server runs it in a Python of its own, that of the first python3 on its path: docs/scale.md.
"""

from __future__ import annotations

import json
import os
from typing import Any


class TritonPythonModel:
    """One open network."""

    def initialize(self, args: dict[str, str]) -> None:
        """Open the model."""
        import numpy
        import triton_python_backend_utils

        from ganlens.engine import EngineError
        from ganlens.engine.backends import open_backend
        from ganlens.engine.backends.base import input_names, output_names

        self._np, self._error = numpy, EngineError
        self._pb: Any = triton_python_backend_utils
        config = json.loads(args["model_config"])
        values = {name: value["string_value"] for name, value in config["parameters"].items()}
        folder = os.path.join(args["model_repository"], args["model_version"])
        threads = int(values["threads"]) if values.get("threads") else None
        self._backend = open_backend(os.path.join(folder, values["file"]), values["backend"], threads=threads)
        spec = self._backend.spec
        self._inputs, self._outputs = input_names(spec), output_names(spec)
        self._ports = [port is not None for port in (spec.image, spec.attributes, spec.latent)]

    def execute(self, requests: list[Any]) -> list[Any]:
        """One answer for each request."""
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        pb, np = self._pb, self._np
        try:
            # Tensors go by DLPack: the arrays of servers of 2024 and before do not fit NumPy 2.
            given = [np.array(np.from_dlpack(pb.get_input_tensor_by_name(request, name))) for name in self._inputs]
            arrays = iter(given)
            answer = self._backend.run(*(next(arrays) if port else None for port in self._ports))
            outputs = zip(self._outputs, answer, strict=False)
            # Copies: the backend's buffers are overwritten by its next run.
            tensors = [pb.Tensor.from_dlpack(name, np.array(array)) for name, array in outputs]
            return pb.InferenceResponse(tensors)
        except self._error as error:
            return pb.InferenceResponse(error=pb.TritonError(str(error)))

    def finalize(self) -> None:
        """Free the model."""
        self._backend.close()
