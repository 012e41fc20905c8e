"""Settings and the model change while frames flow: python examples/controls.py OUTPUT MODEL OTHER_MODEL"""

from __future__ import annotations

import sys
from contextlib import closing

from ganlens.engine import Controls, Session, Translator, open_sink, open_source


def main(output: str, model: str, other: str) -> None:
    """A test picture; after 20 frames half the opacity, then another model as soon as it is warm."""
    controls = Controls()
    with closing(open_source("test:320x240@30,frames=120")) as source, Translator.open(model) as translator:

        def change(frames: int) -> None:
            if frames == 20:
                controls.set(opacity=0.5)
                translator.swap(other)  # opens in a thread; the old model runs until the new one is warm

        sink = open_sink(output, source.format)
        report = Session(source, translator, sink, controls, on_frame=change).run()
        print(f"{report.frames} frames, at the end by {translator.spec.name}")


if __name__ == "__main__":
    main(*sys.argv[1:])
