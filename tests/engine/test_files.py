"""Files appear whole or not at all, under a name that is theirs alone, and leave nothing behind."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ganlens.engine import files
from ganlens.engine.errors import MediaError
from ganlens.engine.files import FileInUse, OutputFile, PartialFile, read_file, read_json, read_private, replace_file


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_seen_folders", set())


@pytest.fixture(params=["links", "no links"])
def file_system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With hard links, and as FAT is without."""
    if request.param == "no links":

        def refuse(*_: object, **__: object) -> None:
            raise OSError(errno.EPERM, "Operation not permitted")

        monkeypatch.setattr(os, "link", refuse)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def write_output(path: Path, content: bytes = b"new", *, overwrite: bool = False) -> None:
    output = OutputFile(path, overwrite=overwrite)
    output.write(content)
    output.commit()


WRITERS: dict[str, Callable[..., None]] = {
    "replace_file": lambda path, overwrite: replace_file(path, b"new", overwrite=overwrite),
    "OutputFile": lambda path, overwrite: write_output(path, overwrite=overwrite),
}


@pytest.mark.usefixtures("file_system")
@pytest.mark.parametrize("writer", WRITERS)
class TestNames:
    def test_new_and_replaced(self, writer: str, tmp_path: Path) -> None:
        path = tmp_path / "out.bin"
        WRITERS[writer](path, overwrite=False)
        assert path.read_bytes() == b"new"
        path.write_bytes(b"old")
        WRITERS[writer](path, overwrite=True)
        assert path.read_bytes() == b"new" and names(tmp_path) == ["out.bin"]

    def test_a_taken_name(self, writer: str, tmp_path: Path) -> None:
        (tmp_path / "out.bin").write_bytes(b"old")
        (tmp_path / "link.bin").symlink_to("nowhere")
        for name in ("out.bin", "link.bin"):
            with pytest.raises((FileExistsError, MediaError), match="exist"):
                WRITERS[writer](tmp_path / name, overwrite=False)
        assert (tmp_path / "out.bin").read_bytes() == b"old" and names(tmp_path) == ["link.bin", "out.bin"]

    def test_a_name_taken_meanwhile_stays(self, writer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = tmp_path / "out.bin"
        commit = PartialFile.commit

        def late(partial: PartialFile, **options: bool) -> None:
            path.write_bytes(b"theirs")
            commit(partial, **options)

        monkeypatch.setattr(PartialFile, "commit", late)
        with pytest.raises((FileExistsError, MediaError), match="exist"):
            WRITERS[writer](path, overwrite=False)
        assert path.read_bytes() == b"theirs" and names(tmp_path) == ["out.bin"]

    def test_a_link_is_replaced_not_written_through(self, writer: str, tmp_path: Path) -> None:
        (tmp_path / "precious").write_bytes(b"old")
        (tmp_path / "out.bin").symlink_to("precious")
        WRITERS[writer](tmp_path / "out.bin", overwrite=True)
        assert (tmp_path / "precious").read_bytes() == b"old" and (tmp_path / "out.bin").read_bytes() == b"new"

    @pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
    def test_the_umask_decides_the_mode(self, writer: str, tmp_path: Path, umask: int) -> None:
        before = os.umask(umask)
        try:
            WRITERS[writer](tmp_path / "out.bin", overwrite=False)
        finally:
            os.umask(before)
        assert stat.S_IMODE((tmp_path / "out.bin").stat().st_mode) == 0o666 & ~umask

    @pytest.mark.parametrize(
        "name", ["x" * 255, "ä" * 127, "x" * 200 + "." + "y" * 50, ".hidden", "a b\n.mp4", "*.[0].mp4"]
    )
    def test_odd_names(self, writer: str, tmp_path: Path, name: str) -> None:
        WRITERS[writer](tmp_path / name, overwrite=False)
        assert names(tmp_path) == [name]


def test_a_temporary_name_cannot_be_guessed_and_no_link_is_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    partials = [PartialFile(tmp_path / "out.mp4") for _ in range(2)]
    first, second = (Path(partial.name).name for partial in partials)
    assert first != second and first.startswith(".out.") and first.endswith(".part.mp4")
    for partial in partials:
        partial.discard()
    (tmp_path / "precious").write_bytes(b"old")
    (tmp_path / f".out.{'0' * 16}.part.mp4").symlink_to("precious")
    monkeypatch.setattr("secrets.token_hex", lambda count: "0" * 2 * count)
    with pytest.raises(FileExistsError):
        PartialFile(tmp_path / "out.mp4")
    assert (tmp_path / "precious").read_bytes() == b"old"


def test_content_of_all_kinds(tmp_path: Path) -> None:
    replace_file(tmp_path / "text", "ä\n", durable=True)
    replace_file(tmp_path / "called", lambda file: file.write(b"abc"), mode=0o600)
    assert (tmp_path / "text").read_bytes() == "ä\n".encode() and (tmp_path / "called").read_bytes() == b"abc"
    assert stat.S_IMODE((tmp_path / "called").stat().st_mode) == 0o600


def test_a_writer_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(b"old")

    def fail(file: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        replace_file(tmp_path / "out", fail)
    assert (tmp_path / "out").read_bytes() == b"old" and names(tmp_path) == ["out"]


def test_devices_and_pipes_stay(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    replace_file(tmp_path / "pipe", b"through")
    reader.join()
    assert got == [b"through"] and (tmp_path / "pipe").is_fifo()
    with pytest.raises(MediaError, match="named pipe"):
        OutputFile(tmp_path / "pipe", overwrite=True)


@pytest.mark.parametrize(
    ("path", "message"), [("none/out.mp4", "does not exist; create it first"), (".", "is a folder")]
)
def test_places_that_cannot_be_written(tmp_path: Path, path: str, message: str) -> None:
    with pytest.raises(MediaError, match=message):
        OutputFile(tmp_path / path, overwrite=True)


# --- two writers ------------------------------------------------------------------------------------------------------

HOLD = """
import sys, time
from pathlib import Path
from ganlens.engine.files import OutputFile
output = OutputFile(Path(sys.argv[1]), overwrite=True)
output.write(b"half")
print("open", flush=True)
sys.stdin.readline()
output.write(b", whole")
output.commit()
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another program that is writing ``out.mp4``."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "out.mp4")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None and process.stdout.readline() == "open\n"
    yield process
    process.kill()
    process.communicate()


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_second_writer_in_this_process(tmp_path: Path, overwrite: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    first = OutputFile(tmp_path / "out.mp4", overwrite=overwrite)
    first.write(b"first")
    for path in (tmp_path / "out.mp4", Path("out.mp4")):
        with pytest.raises(MediaError, match="is being written by another program"):
            OutputFile(path, overwrite=overwrite)
    others = [OutputFile(tmp_path / name, overwrite=overwrite) for name in ("out.mkv", "out2.mp4", "ou.mp4")]
    first.commit()
    for other in others:
        other.discard()
    assert (tmp_path / "out.mp4").read_bytes() == b"first" and names(tmp_path) == ["out.mp4"]
    write_output(tmp_path / "out.mp4", overwrite=True)


def test_a_second_writer_in_another_process(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    with pytest.raises(MediaError, match="is being written by another program"):
        OutputFile(tmp_path / "out.mp4", overwrite=True)
    with pytest.raises(FileInUse):
        PartialFile(tmp_path / "out.mp4", alone=True)
    write_output(tmp_path / "other.mp4")
    holder.communicate("\n")
    assert (tmp_path / "out.mp4").read_bytes() == b"half, whole" and names(tmp_path) == ["other.mp4", "out.mp4"]


@pytest.mark.parametrize("writer", WRITERS)
def test_what_a_killed_program_left_is_removed(tmp_path: Path, holder: subprocess.Popen[str], writer: str) -> None:
    assert len(names(tmp_path)) == 1
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    WRITERS[writer](tmp_path / "out.mp4", overwrite=False)
    assert names(tmp_path) == ["out.mp4"]


def test_of_many_at_once_one_gets_the_name(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from ganlens.engine.files import OutputFile; "
        "time.sleep(max(0, float(sys.argv[2]) - time.time())); "
        "output = OutputFile(Path(sys.argv[1]), overwrite=False); time.sleep(0.2); "
        "output.write(sys.argv[3].encode()); output.commit()"
    )
    start = str(time.time() + 1.5)
    programs = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path / "out"), start, str(number)], stderr=subprocess.PIPE
        )
        for number in range(6)
    ]
    errors = [program.communicate()[1].decode() for program in programs]
    winners = [number for number, program in enumerate(programs) if program.returncode == 0]
    assert len(winners) == 1 and (tmp_path / "out").read_text() == str(winners[0]) and names(tmp_path) == ["out"]
    assert all("MediaError" in error for number, error in enumerate(errors) if number != winners[0])


def test_only_our_own_dead_leftovers_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = [".out.part.mp4", ".out.1234.part.mp4", "out.0123456789abcdef.part.mp4", ".out.0123456789abcdef.parts"]
    for name in (*kept[:3], ".out.0123456789abcdef.part.mp4"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / f".dir.{'a' * 16}.part").mkdir()
    (tmp_path / f".link.{'a' * 16}.part").symlink_to("elsewhere")
    os.mkfifo(tmp_path / f".pipe.{'a' * 16}.part")
    rest = sorted([*kept[:3], f".dir.{'a' * 16}.part", f".link.{'a' * 16}.part", f".pipe.{'a' * 16}.part"])
    write_output(tmp_path / "new")
    assert names(tmp_path) == sorted([*rest, "new"])
    (tmp_path / ".out.0123456789abcdef.part.mp4").write_bytes(b"x")
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    write_output(tmp_path / "newer")
    assert (tmp_path / ".out.0123456789abcdef.part.mp4").exists()


def test_a_thousand_pictures_search_the_folder_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    searched = []
    monkeypatch.setattr(files, "_remove_leftovers", lambda folder: searched.append(folder) or set())
    for number in range(5):
        replace_file(tmp_path / f"{number}.png", b"x")
    assert searched == [tmp_path]


def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    leftover = tmp_path / f".out.{'a' * 16}.part"
    leftover.write_bytes(b"x")
    write_output(tmp_path / "out")
    assert names(tmp_path) == [leftover.name, "out"]


# --- caches -----------------------------------------------------------------------------------------------------------


def test_private_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "cache"
    replace_file(path, b"ours", mode=0o600)
    assert read_private(path) == b"ours"
    (tmp_path / "link").symlink_to("cache")
    with pytest.raises(PermissionError, match="is a link"):
        read_private(tmp_path / "link")
    path.chmod(0o660)
    with pytest.raises(PermissionError, match="others can write to it"):
        read_private(path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(PermissionError, match="not a regular file"):
        read_private(tmp_path / "pipe")
    path.chmod(0o600)
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(PermissionError, match="belongs to another user"):
        read_private(path)
    with pytest.raises(FileNotFoundError):
        read_private(tmp_path / "none")


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(OSError, match="a device or a named pipe"):
            read_file(path)
    with pytest.raises(IsADirectoryError):
        read_file(tmp_path)
    with pytest.raises(FileNotFoundError):
        read_file(tmp_path / "none")


def test_files_larger_than_expected_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"12345")
    assert read_file(path, most=5) == b"12345"
    assert read_file(path, most=1 << 50) == b"12345", "the limit is no memory that is needed"
    os.truncate(path, 2**40)
    with pytest.raises(OSError, match="has 1099511627776 bytes, expected at most 268435456"):
        read_file(path)


@pytest.mark.parametrize("content", [b"[" * 200_000, b"{", b"\xff", b"9" * 5000])
def test_json_that_cannot_be_read(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(ValueError):
        read_json(tmp_path / "a.json")
