"""The network on a Triton server, the frames here. The only importer of tritonclient."""

from __future__ import annotations

import re
import time
from typing import Any

import numpy as np

from ..errors import BackendError, BackendUnavailable, MissingExtra, OptionError, printable
from ..model import Model
from .base import Array, ModelBackend, Shape, input_names, output_names

SCHEME = "triton://"
HASH = "ganlens.sha256"
TIMEOUT_S = 30.0
"""Seconds that one run may take."""
RECONNECT_S = 10.0
"""Seconds for which a server that does not answer is asked again."""
_ADDRESS = re.compile(r"triton://((?:\[[0-9A-Fa-f:]+\]|[^\s/:\[\]]+):\d{1,5})/([A-Za-z0-9_.-]+)(?::(\d+))?")


class Triton(ModelBackend):
    """A network that a server runs, over gRPC.

    Args:
        address: ``triton://HOST:PORT/NAME``, or with ``:VERSION`` at its end.
        model: the same model here: its record says what goes to the server.

    Raises:
        OptionError: it is no such address.
        MissingExtra: tritonclient is not installed.
        BackendUnavailable: no server answers, or it does not serve this model.
    """

    def __init__(self, address: str, model: Model) -> None:
        found = _ADDRESS.fullmatch(address)
        if found is None:
            raise OptionError(
                f"--backend {address}: expected triton://HOST:PORT/NAME, such as triton://gpu1:8001/starry."
            )
        self.name = address
        self._server, self._entry, self._version = found[1], found[2], found[3] or ""
        super().__init__(model.spec, title=f"{self._entry} on {self._server}", batch=model.batch, threads=1)
        try:
            import tritonclient.grpc as client
        except ImportError as error:
            raise MissingExtra("The backend 'triton'", (error.name or "").partition(".")[0], "triton") from error
        self._library: Any = client
        self._client: Any = client.InferenceServerClient(self._server)
        try:
            config, live = self._describe(client)
            self._check(config, model)
        except BaseException:
            self._client.close()
            raise
        self.library = f"Triton {live}"

    def _describe(self, client: Any) -> tuple[Any, str]:
        try:
            live = self._client.get_server_metadata(client_timeout=RECONNECT_S / 2).version
            config = self._client.get_model_config(self._entry, self._version, client_timeout=RECONNECT_S / 2).config
            if not self._client.is_model_ready(self._entry, self._version, client_timeout=RECONNECT_S / 2):
                raise BackendUnavailable(f"{self.title} is not ready; the server's log says why.")
        except client.InferenceServerException as error:
            raise BackendUnavailable(
                f"{self.name} does not answer as a Triton server with a model {self._entry}: {_message(error)} Check "
                "the address (gRPC, usually port 8001), and that the model is served: engine triton export."
            ) from error
        return config, str(live)

    def _check(self, config: Any, model: Model) -> None:
        served = config.parameters[HASH].string_value if HASH in config.parameters else ""
        if served and served != model.file.sha256:
            raise BackendUnavailable(
                f"{self.title} is another model than {model.name} here (SHA-256 {served[:12]} there, "
                f"{model.file.sha256[:12]} here). Export it again: engine triton export {model.path} -o REPO -y"
            )
        names = {part.name for part in config.input}, {part.name for part in config.output}
        wanted = set(input_names(self.spec)), set(output_names(self.spec))
        if names != wanted:
            raise BackendUnavailable(
                f"{self.title} takes {', '.join(sorted(names[0]))} and gives {', '.join(sorted(names[1]))}; expected "
                f"the bare network: {', '.join(sorted(wanted[0]))} and {', '.join(sorted(wanted[1]))}. "
                f"engine triton export calls it {self._entry}_network."
            )

    def _bind(self, shapes: tuple[Shape, ...]) -> _Binding:
        return _Binding(self, shapes)

    def _free(self) -> None:
        self._client.close()

    def ask(self, inputs: list[Any], outputs: list[Any]) -> Any:
        """The server's answer; one that is away for a moment is asked again.

        Raises:
            BackendError: it refused, or did not answer in time.
        """
        end, pause = time.monotonic() + RECONNECT_S, 0.1
        while True:
            try:
                return self._client.infer(self._entry, inputs, self._version, outputs=outputs, client_timeout=TIMEOUT_S)
            except self._library.InferenceServerException as error:
                # A server on its way down, or a model that is being exchanged, has none for a moment.
                away = "UNAVAILABLE" in str(error.status()) or "no available versions" in str(error.message())
                if not away or time.monotonic() > end:
                    what = f"did not answer for {RECONNECT_S:g} s" if away else "failed"
                    raise BackendError(f"{self.title} {what}: {_message(error)}") from error
            time.sleep(pause)
            pause = min(2 * pause, 2.0)


class _Binding:
    """Tensors of fixed shapes for one server."""

    def __init__(self, backend: Triton, shapes: tuple[Shape, ...]) -> None:
        self._backend = backend
        client, names = backend._library, input_names(backend.spec)
        self._inputs = [client.InferInput(name, list(shape), "FP32") for name, shape in zip(names, shapes, strict=True)]
        self._names = output_names(backend.spec)
        self._outputs = [client.InferRequestedOutput(name) for name in self._names]
        self._shapes = shapes

    def __call__(self, inputs: tuple[Array, ...]) -> tuple[Array, ...]:
        for tensor, array in zip(self._inputs, inputs, strict=True):
            tensor.set_data_from_numpy(array)
        answer = self._backend.ask(self._inputs, self._outputs)
        arrays = tuple(np.asarray(answer.as_numpy(name), np.float32) for name in self._names)
        self._backend.check_outputs(tuple(array.shape for array in arrays), self._shapes)
        return arrays


def _message(error: Any) -> str:
    text = printable(" ".join(str(error.message()).split()), 300)
    return text if text.endswith(".") else text + "."
