"""A clip through a model, decoding and encoding beside the network: python examples/embed.py CLIP OUTPUT [MODEL]"""

from __future__ import annotations

import sys
from contextlib import closing

from ganlens.engine import Session, Translator, open_sink, open_source


def main(clip: str, output: str, model: str = "starry") -> None:
    """Translate ``clip`` (a path, or an address such as ``test:``) into ``output``."""
    with closing(open_source(clip)) as source, Translator.open(model, frame_size=source.format.size) as translator:
        sink = open_sink(output, source.format, origin=source)
        report = Session(source, translator, sink).run()  # closes the sink, or removes it after an error
    print(f"{report.frames} frames, {report.fps:.1f} per second")
    for note in report.notes:
        print(f"note: {note}")


if __name__ == "__main__":
    main(*sys.argv[1:])
