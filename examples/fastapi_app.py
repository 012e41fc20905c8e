"""A web service for pictures, with a pool of translators and limits: uvicorn examples.fastapi_app:app

    curl -F picture=@photo.jpg 'http://127.0.0.1:8000/translate?model=starry' -o painted.png

Needs: pip install fastapi uvicorn python-multipart
"""

import os
import queue
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Response, UploadFile

from ganlens.engine import EngineError, Frame, Translator, read_image, write_image

MODELS = os.environ.get("MODELS", "starry").split(",")
WORKERS = int(os.environ.get("WORKERS", "2"))  # translators of each model: each has the network's memory of its own
WAITING = 8  # requests that may wait for a translator; more are refused at once
PATIENCE_S = 10.0
MOST_BYTES = 20 << 20
MOST_PIXELS = 12_000_000


class Pool:
    """Translators of one model. Requests wait their turn; too many, or for too long, and they are refused."""

    def __init__(self, model: str) -> None:
        self._free: queue.SimpleQueue[Translator] = queue.SimpleQueue()
        self._places = threading.Semaphore(WORKERS + WAITING)
        self._stack = ExitStack()
        for _ in range(WORKERS):
            threads = max(1, (os.cpu_count() or 1) // WORKERS)
            self._free.put(self._stack.enter_context(Translator.open(model, threads=threads)))

    @contextmanager
    def translator(self) -> Iterator[Translator]:
        """A translator for one request.

        Raises:
            HTTPException: 503, the service is busy.
        """
        if not self._places.acquire(blocking=False):
            raise HTTPException(503, "The service is busy; try again later.", {"Retry-After": "5"})
        try:
            try:
                translator = self._free.get(timeout=PATIENCE_S)
            except queue.Empty:
                raise HTTPException(503, "The service is busy; try again later.", {"Retry-After": "5"}) from None
            try:
                yield translator
            finally:
                self._free.put(translator)
        finally:
            self._places.release()

    def close(self) -> None:
        """Free the models."""
        self._stack.close()


pools: dict[str, Pool] = {}


@asynccontextmanager
async def lifespan(_: FastAPI) -> Any:
    """Open the models before the first request, and free them at the end."""
    pools.update({model: Pool(model) for model in MODELS})
    yield
    for pool in pools.values():
        pool.close()
    pools.clear()


app = FastAPI(title="ganlens", lifespan=lifespan)


@app.post("/translate", response_class=Response, responses={200: {"content": {"image/png": {}}}})
def translate(picture: Annotated[UploadFile, "PNG, JPEG, WebP, BMP or TIFF"], model: str = MODELS[0]) -> Response:
    """Translate a picture; runs in FastAPI's thread pool."""
    if model not in pools:
        raise HTTPException(404, f"No model is called {model!r}; expected one of {', '.join(pools)}.")
    content = picture.file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise HTTPException(413, f"The picture has more than {MOST_BYTES >> 20} MiB.")
    with tempfile.TemporaryDirectory() as folder:
        given, painted = Path(folder, "given.png"), Path(folder, "painted.png")
        given.write_bytes(content)
        try:
            pixels = read_image(given).to_rgb()
            if pixels.shape[0] * pixels.shape[1] > MOST_PIXELS:
                raise HTTPException(413, f"The picture has more than {MOST_PIXELS} pixels.")
            with pools[model].translator() as translator:
                write_image(painted, Frame.from_rgb(translator(pixels)))
        except EngineError as error:
            raise HTTPException(422, str(error).replace(str(given), "The picture")) from error
        return Response(painted.read_bytes(), media_type="image/png")
