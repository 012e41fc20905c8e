"""The real-time tiers: time of each shape beside the first one's, and how fast each learns a style.

    python -m studies.tiers                                             # times only, a minute
    python -m studies.tiers --pairs runs/starry/pairs --minutes 5       # and training, 5 CPU minutes for each
    python -m studies.tiers --pairs runs/starry/pairs --train 'mobile, transposed;mobile, joined'

Times are processor seconds of one thread at 256x256, in interleaved rounds, as ratios to the first shape's mobile tier:
processor seconds, because other programs disturb those least. Weights are random there; that changes no time. Training
is the paired one, on pairs that ``engine train paired`` has made: L1 to answers of pictures held out (every tenth), and
how much of their fine detail there is.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import torch

from benchmarks import results
from ganlens.engine.errors import EngineError
from ganlens.engine.spec import GeneratorSpec, SizeRule
from ganlens.export.to_onnx import to_graph
from ganlens.export.wrapper import ExportGenerator, graph_spec
from ganlens.train.config import PairedConfig
from ganlens.train.losses.paired import local_detail
from ganlens.train.methods.paired import paired_loss
from ganlens.train.networks import SHAPES, TIERS, make_generator
from ganlens.train.networks.layers import fold

SIDE = 256
FIRST = "mobile, transposed"
HELD_OUT_EVERY = 10


def specs() -> dict[str, GeneratorSpec]:
    """Every tier in every shape that it has."""
    size = SizeRule(multiple_of=8, minimum=16, preferred=(SIDE, SIDE))
    found = {}
    for shape, tiers in (("transposed", TIERS), ("balanced", TIERS), ("joined", SHAPES)):
        for tier in tiers:
            options: dict[str, str | int | float | bool] = {"shape": shape, "norm": "bn" if tier == "edge" else "in"}
            found[f"{tier}, {shape}"] = GeneratorSpec(
                name=tier, architecture="paired", tier=tier, options=options, size=size
            )
    return found


def graph_of(spec: GeneratorSpec) -> onnx.ModelProto:
    """The graph of a tier with random weights, of fixed size."""
    torch.manual_seed(0)
    generator = make_generator(spec).eval()
    graph = graph_spec(spec, (SIDE, SIDE))
    return to_graph(ExportGenerator(fold(generator), spec), graph, {"x": np.zeros((1, 3, SIDE, SIDE), np.float32)})


def runners(graphs: dict[str, onnx.ModelProto], backend: str, folder: Path) -> dict[str, Callable[[], object]]:
    """One call for each graph, on one thread, without the engine around it."""
    x = np.random.default_rng(0).uniform(-1, 1, (1, 3, SIDE, SIDE)).astype(np.float32)
    found: dict[str, Callable[[], object]] = {}
    for name, graph in graphs.items():
        if backend == "onnxruntime":
            import onnxruntime

            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = 1
            session = onnxruntime.InferenceSession(
                graph.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
            found[name] = lambda session=session: session.run(None, {"x": x})
        else:
            import openvino

            file = folder / f"{len(found)}.onnx"
            onnx.save(graph, file)
            settings = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}
            request = openvino.Core().compile_model(str(file), "CPU", settings).create_infer_request()
            found[name] = lambda request=request: request.infer({0: x})
    return found


def timed(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Processor seconds of each call in every round."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    for _ in range(rounds):
        for name, call in calls.items():
            start = time.process_time()
            call()
            seconds[name].append(time.process_time() - start)
    return seconds


def learned(spec: GeneratorSpec, pairs: Path, minutes: float) -> tuple[int, float, float]:
    """Steps made, L1 to unseen answers, and the share of their fine detail, after so many CPU minutes from scratch."""
    sides = [np.load(pairs / f"{name}.npy", mmap_mode="r") for name in ("pictures", "answers")]
    held_out = np.arange(0, len(sides[0]), HELD_OUT_EVERY)
    others = np.setdiff1d(np.arange(len(sides[0])), held_out)
    config = PairedConfig(photos="", teacher="pairs", out="")

    def pair(number: int) -> list[torch.Tensor]:
        return [torch.from_numpy(side[number].copy()).permute(2, 0, 1)[None].float() / 127.5 - 1 for side in sides]

    torch.manual_seed(0)
    generator = make_generator(spec)
    optimizer = torch.optim.Adam(generator.parameters(), config.learning_rate, betas=(0.9, 0.99))
    random = np.random.default_rng(0)
    start, steps = time.process_time(), 0
    while (done := (time.process_time() - start) / (60 * minutes)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * min(1.0, steps / 50 + 0.02) * min(1.0, 2.05 - 2 * done)
        total, _, _ = paired_loss(generator, *pair(int(random.choice(others))), config)
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        steps += 1
    generator.eval()
    with torch.no_grad():
        found = [(generator(x), y) for x, y in map(pair, held_out.tolist())]
    l1 = statistics.mean(float((made - y).abs().mean()) for made, y in found)
    detail = statistics.mean(float(local_detail(made).mean() / local_detail(y).mean()) for made, y in found)
    return steps, l1, detail


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(";") if name.strip()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=31)
    parser.add_argument("--pairs", type=Path, help="folder of pairs of a run of engine train paired")
    parser.add_argument("--minutes", type=float, default=5, help="CPU minutes of training for each shape")
    parser.add_argument("--only", default="", help="names, separated by ';', such as 'mobile, joined;nano, joined'")
    parser.add_argument("--train", default="", help="names, as above, of those to train; default: all")
    parser.add_argument("--json", type=Path, default=Path(__file__).parent / "results" / "tiers.json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    wanted, trained = (_names(text) for text in (options.only, options.train))
    if unknown := {*wanted, *trained} - specs().keys():
        parser.error(f"no such shape: {'; '.join(sorted(unknown))}; there are {'; '.join(specs())}")
    chosen = {name: spec for name, spec in specs().items() if not wanted or name in (*wanted, FIRST)}
    graphs = {name: graph_of(spec) for name, spec in chosen.items()}
    times: dict[str, dict[str, list[float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for backend in ("onnxruntime", "openvino"):
            try:
                times[backend] = timed(runners(graphs, backend, Path(folder)), options.rounds)
            except (ImportError, EngineError) as error:
                print(f"Without {backend}: {error}")
    rows: list[list[results.Cell]] = []
    for name, spec in chosen.items():
        parameters = sum(parameter.numel() for parameter in make_generator(spec).parameters())
        row: list[results.Cell] = [name, round(parameters / 1e6, 2)]
        for seconds in times.values():
            ratios = [one / first for one, first in zip(seconds[name], seconds[FIRST], strict=True)]
            row += [round(1e3 * statistics.median(seconds[name]), 1), round(statistics.median(ratios), 2)]
        if options.pairs is not None and (not trained or name in trained):
            steps, l1, detail = learned(spec, options.pairs, options.minutes)
            row += [steps, round(l1, 4), round(detail, 2)]
        elif options.pairs is not None:
            row += ["–", "–", "–"]
        rows.append(row)
        print(row, flush=True)
    columns = ["tier and shape", "M parameters"]
    for backend in times:
        columns += [f"{backend}, ms", "ratio"]
    if options.pairs is not None:
        columns += ["steps", "L1, unseen", "fine detail"]
    results.write(
        options.json,
        "tiers",
        title=f"Real-time tiers at {SIDE}x{SIDE}, one thread",
        columns=columns,
        rows=rows,
        settings={"rounds": options.rounds, "minutes": options.minutes if options.pairs else 0},
        details={"seconds": times},
    )


if __name__ == "__main__":
    main()
