"""``engine translate``: videos and pictures through one generator."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.table import Table

from ..errors import EngineError, MediaError, OptionError
from ..media.limits import allow
from ..media.uri import SINKS, SOURCES, scheme_of
from ..timing import StageTimes
from .console import make_console
from .inputs import PIPE, Input, Kind, Work, find_inputs, plan_outputs
from .interrupt import INTERRUPTED, terminate_as_interrupt
from .manifest import NAME, Manifest, parse_shard, settings_of, shard
from .options.translate import TranslateOptions
from .progress import InputsProgress
from .report import check_record, write_record
from .segmented import SegmentWorker
from .worker import Done, Worker, make_folder

if TYPE_CHECKING:
    from concurrent.futures import Future


def run(options: TranslateOptions) -> int:
    """Do what the command line asked for; returns the exit status."""
    allow(options.allow or [])
    works = plan_outputs(_inputs(options), options.output, options.model, options.name)
    _refuse_misplaced(options, works)
    check_record(options.json_output)
    single = len(works) == 1
    worker = SegmentWorker(
        options,
        alone=single,
        pipe=any(PIPE in (work.input.address, work.output) for work in works),
        videos=any(work.input.kind == "video" for work in works),
    )
    with terminate_as_interrupt(), closing(worker):
        if options.ray is not None:
            from . import cluster_work

            cluster_work.check(works)
        elif single and not (options.manifest or options.resume or options.shard):
            done = worker.translate(works[0])
            _report([done], worker, worker.times)
            return INTERRUPTED if done.stopped else 1 if done.error else 0
        return _Many(options, works, worker).run()


def _inputs(options: TranslateOptions) -> list[Input]:
    """What is to be translated: the inputs, and the options that say the same with the kind named."""
    groups: list[tuple[list[str], Kind | None]] = [(list(options.inputs or []), None)]
    for word, kind in ((options.video, "video"), (options.image, "picture"), (options.images, "picture")):
        if word is not None:
            groups.append(([word], kind))  # type: ignore[arg-type]
    if not any(words for words, _ in groups):
        raise typer.BadParameter("nothing to translate; name a video, a picture or a folder: engine translate clip.mp4")
    if options.image is not None and Path(options.image).is_dir():
        raise MediaError(f"{options.image} is a folder; expected a picture.")
    if options.video is not None and options.video != PIPE and Path(options.video).is_dir():
        raise MediaError(f"{options.video} is a folder; expected a video file.")
    return [each for words, kind in groups for each in find_inputs(words, kind)]


class _Many:
    """Several inputs: one's failure ends no other, and a manifest says what became of each."""

    def __init__(self, options: TranslateOptions, works: list[Work], worker: SegmentWorker) -> None:
        self._options = options
        self._worker = worker
        self._console = worker.console
        self._ending = False
        folder = Path(_common_folder([work.output for work in works]))
        make_folder(folder / NAME)  # now, not after the first one is translated
        part = parse_shard(options.shard) if options.shard else None
        name = f"manifest-{part[0]}-of-{part[1]}.jsonl" if part else NAME
        path = Path(options.manifest) if options.manifest else folder / name
        self._manifest = Manifest(path, settings_of(options, worker.model.file.sha256), resume=options.resume)
        self._given = works if part is None else shard(works, part)
        self._todo = [work for work in self._given if not (options.resume and self._manifest.is_done(work))]
        self._skipped = len(self._given) - len(self._todo)

    def run(self) -> int:
        """Translate what is to be done; returns the exit status."""
        if self._skipped:
            self._console.print(f"{self._skipped} of {len(self._given)} are already finished", markup=False)
        done: list[Done] = []
        with self._ends_after_those_in_hand():
            try:
                for one in self._translated():
                    done.append(one)
                    self._manifest.write(
                        one.work, one.status, frames=one.frames, seconds=round(one.seconds, 3), error=one.error
                    )
            except KeyboardInterrupt:
                self._ending = True
        left = len(self._todo) - len(done)
        stopped = self._ending or any(each.stopped for each in done)
        _report(
            done,
            self._worker,
            self._worker.times if self._options.jobs == 1 and self._options.ray is None else None,
            skipped=self._skipped,
        )
        if left:
            self._console.print(f"{left} inputs are left; continue with --resume", markup=False)
        if stopped:
            return INTERRUPTED
        return 1 if any(each.error for each in done) else 0

    @contextmanager
    def _ends_after_those_in_hand(self) -> Iterator[None]:
        """The first Ctrl-C finishes the current inputs, the second one aborts them."""

        def note(number: int, frame: Any) -> None:
            if self._ending or len(self._todo) < 2 or self._options.ray is not None:
                raise KeyboardInterrupt
            self._ending = True
            self._console.print("finishing the current inputs; press Ctrl-C again to stop at once", markup=False)

        before = signal.getsignal(signal.SIGINT)
        if before not in (signal.SIG_IGN, None):
            signal.signal(signal.SIGINT, note)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def _translated(self) -> Iterator[Done]:
        if self._options.ray is not None:
            return self._in_cluster()
        return self._in_processes() if self._options.jobs > 1 else self._one_by_one()

    def _in_cluster(self) -> Iterator[Done]:
        from . import cluster_work  # late: a single input starts sooner without
        from .cluster import RayCluster

        todo = self._todo
        progress = self._progress(StageTimes())
        if not todo:
            return
        options = self._options
        assert options.ray is not None
        for work in todo:
            self._worker.claim(work)
        ray = RayCluster(options.ray, backend=options.backend, threads=options.threads, jobs=options.jobs)
        with ray, progress:
            for tried in range(self._options.retries + 1):
                last = tried == self._options.retries
                given = []
                for work in todo:
                    # One that is made anew after its node was lost may replace what that node left.
                    given.append((work, self._manifest.may_replace(work) or not os.path.lexists(work.output)))
                    self._manifest.begin(work)
                todo = []
                for one in cluster_work.translate(ray, options, given):
                    if one.status == "failed":
                        _complain(str(one.error) + ("" if last else " Trying again."))
                        if not last:
                            todo.append(one.work)
                            continue
                    progress.finish(one.work.output, one.frames)
                    yield one
                if not todo:
                    return

    def _progress(self, times: StageTimes) -> InputsProgress:
        """The progress of all inputs together."""
        options, todo = self._options, self._todo
        quiet = options.quiet or (len(todo) < 2 and not any(work.input.kind == "video" for work in todo))
        expected = {} if quiet else {work.output: self._worker.expected_frames(work.input) for work in todo}
        what = "frames" if any(work.input.kind == "video" for work in todo) else "pictures"
        return InputsProgress(self._console, expected, times, quiet=quiet, what=what)

    def _one_by_one(self) -> Iterator[Done]:
        progress = self._progress(self._worker.times)
        with progress:
            for work in self._todo:
                if self._ending:
                    return
                progress.begin(work.input.below.name)
                one = self._attempt(work, progress)
                progress.finish(work.output)
                yield one

    def _attempt(self, work: Work, progress: InputsProgress) -> Done:
        self._manifest.begin(work)
        for tried in range(self._options.retries + 1):
            try:
                return self._worker.translate(work, progress, overwrite=self._manifest.may_replace(work))
            except EngineError as error:
                problem = str(error)
                last = tried == self._options.retries
                _complain(problem if last else f"{problem} Trying again.")
        return Done(work, error=problem)

    def _in_processes(self) -> Iterator[Done]:
        from concurrent.futures import ProcessPoolExecutor, wait
        from multiprocessing import get_context

        options, total = self._options, len(self._todo)
        jobs = min(options.jobs, max(total, 1))
        waiting = [(work, self._manifest.may_replace(work), options.retries) for work in reversed(self._todo)]
        videos = any(work.input.kind == "video" for work in self._todo)
        progress = self._progress(StageTimes())
        with (
            ProcessPoolExecutor(jobs, get_context("spawn"), _start_process, (options, videos, jobs)) as pool,
            progress,
        ):
            running: dict[Future[Done], tuple[Work, bool, int]] = {}
            while running or (waiting and not self._ending):
                while waiting and len(running) < jobs and not self._ending:
                    given = waiting.pop()
                    self._manifest.begin(given[0])
                    running[pool.submit(_in_process, given[0], given[1])] = given
                ready, _ = wait(running, timeout=0.5, return_when="FIRST_COMPLETED")
                for future in ready:
                    work, may_replace, retries = running.pop(future)
                    one = future.result()
                    if one.status == "failed":
                        _complain(str(one.error) + (" Trying again." if retries else ""))
                        if retries:
                            waiting.append((work, may_replace, retries - 1))
                            continue
                    progress.finish(work.output, one.frames)
                    yield one


_process_worker: Worker | None = None


def _start_process(options: TranslateOptions, videos: bool, jobs: int) -> None:
    """In each process of ``--jobs``: ignore Ctrl-C; the first process handles it and finishes the current inputs."""
    global _process_worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _process_worker = SegmentWorker(options, alone=False, videos=videos, quiet=True, share=jobs)


def _in_process(work: Work, may_replace: bool) -> Done:
    assert _process_worker is not None
    try:
        return _process_worker.translate(work, overwrite=may_replace)
    except EngineError as error:
        return Done(work, error=str(error))


def _complain(problem: str) -> None:
    """An error after which the work goes on; said even if quiet."""
    make_console(stderr=True).print(f"error: {problem}", markup=False, soft_wrap=True)


def _report(done: Sequence[Done], worker: Worker, times: StageTimes | None, *, skipped: int = 0) -> None:
    """The last lines, and ``--json``.

    Args:
        times: of the stages; None where they ran in other processes.
    """
    options, console, model = worker.options, worker.console, worker.model
    if not done:
        return
    failed = [each for each in done if each.status == "failed"]
    frames, seconds = sum(each.frames for each in done), sum(each.seconds for each in done)
    notes = [note for each in done for note in each.notes]
    worker.tell([note for each in done if each.work.input.kind == "picture" for note in each.notes])
    videos = any(each.work.input.kind == "video" for each in done)
    what, rate = ("frames", "fps") if videos else ("pictures", "per second")
    if failed:
        notes.insert(0, f"{len(failed)} of {len(done)} {'inputs' if videos else 'pictures'} failed")
        worker.tell(notes[:1])
    if any(each.faces is not None for each in done) and frames:
        faces = sum(each.faces or 0 for each in done)
        text = f"{faces} of {frames} {what} show a face"
        if not faces:
            text = f"no face was found in {frames} {what}; the output is unchanged"
        notes.append(text)
        console.print(f"{'note' if faces else 'warning'}: {text}", markup=False, soft_wrap=True)
    for each in done:
        if each.error is not None and each.frames:
            _complain(f"{each.error} The {each.frames} frames before it are kept.")
    stages = times.summary() if times is not None else {}
    if stages and options.verbose:
        console.print(_stage_table(stages))
    single = len(done) == 1 and not skipped
    output = done[0].work.output if single else _common_folder([each.work.output for each in done])
    fps = (frames - sum(each.before for each in done)) / seconds if seconds else 0.0
    files = f" of {len(done) - len(failed)} files" if videos and not single else ""
    backend = worker.translator.backend if worker.translator is not None else None
    where = f" on {backend.name}" if backend is not None else ""
    if frames or single:
        counted = f"{frames} {what.removesuffix('s') if frames == 1 else what}"
        console.print(
            f"{counted}{files} in {seconds:.1f} s ({fps:.1f} {rate}){where}: {output}",
            soft_wrap=True,
            markup=False,
        )
    if options.json_output is None:
        return
    record: dict[str, Any] = {
        "input": done[0].work.input.address if single else options.images or options.inputs,
        "output": output,
        "model": model.spec.name,
        "backend": None if backend is None else backend.name,
        "device": None if backend is None else backend.device,
        "batch": None if worker.translator is None else worker.translator.batch,
        "decoder": done[0].decoder,
        "encoder": done[0].encoder,
        "frames": frames,
        "seconds": seconds,
        "fps": fps,
        "stages": {name: row._asdict() for name, row in stages.items()},
        "notes": notes,
        "files": [each.as_json() for each in done],
    }
    piped = any(each.work.output == PIPE for each in done)
    write_record(options.json_output, record, stream=sys.stderr if piped else sys.stdout)


def _refuse_misplaced(options: TranslateOptions, works: list[Work]) -> None:
    """An option that would say nothing about these inputs or outputs."""
    videos = any(work.input.kind == "video" for work in works)
    pipe_in = any(work.input.address == PIPE for work in works)
    pipe_out = any(work.output == PIPE for work in works)
    of_videos = (
        "raw", "start", "duration", "segment", "codec", "crf", "in_flight", "encoder_threads", "decoder_threads",
    )  # fmt: skip
    misplaced: list[tuple[tuple[str, ...], str, bool]] = [
        (of_videos, "goes with videos, not with pictures", not videos),
        (("raw",), "describes standard input; it goes with '-' as input", not pipe_in),
        (("start", "duration"), "goes with a file, not with a pipe", pipe_in),
        (("codec", "crf"), "goes with a file, not with a pipe", pipe_out),
        (("segment",), "goes from a file to a file, not with pipes and addresses", not _from_file_to_file(works)),
    ]
    for names, why, wrong in misplaced:
        for name in names:
            if wrong and getattr(options, name) is not None:
                raise OptionError(f"--{name.replace('_', '-')} {why}. Leave it out.")
    for option, coder, used in (
        ("--decoder", options.decoder, videos and not pipe_in),
        ("--encoder", options.encoder, videos and not pipe_out),
    ):
        if coder not in ("auto", "cpu") and not used:
            raise OptionError(f"{option} {coder} goes with video files, not with pictures or pipes. Leave it out.")


def _from_file_to_file(works: list[Work]) -> bool:
    videos = [work for work in works if work.input.kind == "video"]
    return all(scheme_of(each.input.address, SOURCES) == "" == scheme_of(each.output, SINKS) for each in videos)


def _common_folder(outputs: list[str]) -> str:
    return os.path.commonpath([os.path.dirname(output) or "." for output in outputs]) or "."


def _stage_table(stages: dict[str, Any]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("stage")
    for column in ("p50 ms", "p95 ms", "p99 ms", "share"):
        table.add_column(column, justify="right")
    whole = sum(row.total_s for row in stages.values()) or 1.0
    for name, row in stages.items():
        share = f"{100 * row.total_s / whole:.0f} %"
        table.add_row(name, f"{row.p50_ms:.2f}", f"{row.p95_ms:.2f}", f"{row.p99_ms:.2f}", share)
    return table
