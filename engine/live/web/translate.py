"""``POST /api/translate``: one picture in, one picture out, beside the live session."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, cast

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ...controls import Controls
from ...errors import EngineError, MediaError, OptionError, did_you_mean
from ...media.picture_codec import encode_still
from ...media.pictures import read_image
from ...pixels.framing import MODES
from ...translator import Translator
from ...ways.opening import AnyFraming
from ..session import LiveSession

MOST_BYTES = 32 << 20
"""Size limit of an uploaded picture."""
MOST_PIXELS = 50_000_000
MOST_WAITING = 16
"""Pictures in work or waiting for their turn."""
FORMATS = {"png": "image/png", "jpg": "image/jpeg", "webp": "image/webp"}
_PARAMETERS = ("model", "framing", "opacity", "detail", "set", "format")


class Refused(Exception):
    """A picture that is not translated.

    Args:
        status: the HTTP status that says so.
    """

    def __init__(self, status: int, problem: str) -> None:
        super().__init__(problem)
        self.status = status


class Order(NamedTuple):
    """What a request asks for."""

    model: str
    framing: AnyFraming | None
    controls: Controls
    format: str


class PictureTranslator:
    """Translates pictures one after the other, with a translator of its own that stays open for the next ones.

    Args:
        session: names the models that may be chosen, and the backend.
    """

    def __init__(self, session: LiveSession) -> None:
        self._session = session
        self._worker = ThreadPoolExecutor(1, "pictures")
        self._waiting = 0
        self._ending = False
        self._open: tuple[tuple[str, AnyFraming | None], Translator] | None = None

    async def answer(self, request: Request) -> Response:
        """The answer to a request whose body is a picture file."""
        try:
            order = self.parse(request.query_params.multi_items())
            if self._waiting >= MOST_WAITING:
                raise Refused(503, f"{MOST_WAITING} pictures are waiting, which is the limit; try again later")
            self._waiting += 1
            try:
                content = await _body(request)
                picture = await self._turn(content, order)
            finally:
                self._waiting -= 1
        except Refused as refused:
            headers = {"retry-after": "1"} if refused.status == 503 else {}
            return JSONResponse({"error": str(refused)}, refused.status, headers)
        except EngineError as error:
            return JSONResponse({"error": str(error)}, 422 if isinstance(error, OptionError) else 500)
        return Response(picture, media_type=FORMATS[order.format])

    def parse(self, query: Iterable[tuple[str, str]]) -> Order:
        """What the query of a request asks for.

        Raises:
            Refused: an unknown name.
            OptionError: a value out of range.
        """
        given: dict[str, str] = {}
        attributes: dict[str, float | None] = {}
        for name, value in query:
            if name not in _PARAMETERS:
                raise Refused(400, f"unknown parameter {name!r}. {did_you_mean(name, _PARAMETERS)}")
            if name == "set":
                attribute, _, number = value.partition("=")
                attributes[attribute] = _number(f"set={attribute}", number)
            else:
                given[name] = value
        model = given.get("model") or next(iter(self._session.models))
        if model not in self._session.models:
            raise Refused(404, f"no model is called {model!r}. {did_you_mean(model, self._session.models)}")
        framing, format = given.get("framing"), given.get("format", "png")
        if framing is not None and framing not in (*MODES, "faces"):
            raise Refused(400, f"framing={framing}: expected one of {', '.join(MODES)}, faces")
        if format not in FORMATS:
            raise Refused(400, f"format={format}: expected one of {', '.join(FORMATS)}")
        values = {name: _number(name, given[name]) for name in ("opacity", "detail") if name in given}
        return Order(model, cast("AnyFraming | None", framing), Controls(attributes=attributes, **values), format)

    async def _turn(self, content: bytes, order: Order) -> bytes:
        """The translated picture, when its turn comes.

        Raises:
            Refused: the server ends before.
        """
        try:
            return await asyncio.wrap_future(self._worker.submit(self._translate, content, order))
        except (asyncio.CancelledError, RuntimeError):  # dropped from the queue, and a queue that takes no more
            if not self._ending:
                raise
            raise Refused(503, "the server is shutting down") from None

    def refuse(self) -> None:
        """Finish the picture in work, and refuse those that wait or come later."""
        self._ending = True
        self._worker.shutdown(wait=False, cancel_futures=True)

    def close(self) -> None:
        """Translate no more, and free the model."""
        self.refuse()
        self._worker.shutdown(wait=True)
        self._forget()

    def _translate(self, content: bytes, order: Order) -> bytes:
        # libav reads files only; this one has no name that a request could choose.
        with tempfile.TemporaryDirectory(prefix="ganlens-") as folder:
            path = Path(folder) / "picture"
            path.write_bytes(content)
            try:
                frame = read_image(path, largest=MOST_PIXELS)
            except MediaError as error:
                raise Refused(415, str(error).replace(str(path), "the picture")) from error
        (result,) = self._translator(order, frame.size).stream([frame], controls=order.controls)
        return encode_still(result.planes[0], f".{order.format}")

    def _translator(self, order: Order, size: tuple[int, int]) -> Translator:
        key = order.model, order.framing
        if self._open is None or self._open[0] != key:
            self._forget()
            options = self._session.options
            translator = Translator.open(
                self._session.models[order.model].file,
                backend=options.backend,
                framing=order.framing,
                threads=options.threads,
                device=options.device,
                frame_size=size,
            )
            self._open = key, translator
        return self._open[1]

    def _forget(self) -> None:
        opened, self._open = self._open, None
        if opened is not None:
            opened[1].close()


async def _body(request: Request) -> bytes:
    content = bytearray()
    async for piece in request.stream():
        content += piece
        if len(content) > MOST_BYTES:
            raise Refused(413, f"the picture has more than {MOST_BYTES} bytes")
    if not content:
        raise Refused(400, "the body is empty; expected the content of a picture file: curl --data-binary @photo.jpg")
    return bytes(content)


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise Refused(400, f"{name}: got {text!r}, expected a number") from None
