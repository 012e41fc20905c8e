"""What the words of a command line stand for, and where their results go."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ganlens.engine.cli.inputs import Input, Work, find_inputs, plan_outputs
from ganlens.engine.errors import MediaError, OptionError


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """Empty files: a clip, two pictures below each other, hidden ones, and one of no kind."""
    for name in ("clip.mp4", "a/shot10.png", "a/shot2.png", "a/b/deep.jpg", "a/.hidden.png", "a/notes.md", "a/t.avi"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(inputs):
    return [(Path(each.address).name, each.kind, str(each.below)) for each in inputs]


def test_a_file_is_told_by_its_suffix_and_need_not_exist(tree):
    assert names(find_inputs(["in/clip.mp4", "no/photo.JPG", "odd.xyz"])) == [
        ("clip.mp4", "video", "clip.mp4"),
        ("photo.JPG", "picture", "photo.JPG"),
        ("odd.xyz", "video", "odd.xyz"),
    ]


def test_a_folder_is_searched_below_in_natural_order_without_hidden_files(tree):
    assert names(find_inputs(["in/a"])) == [
        ("shot2.png", "picture", "shot2.png"),
        ("shot10.png", "picture", "shot10.png"),
        ("t.avi", "video", "t.avi"),
        ("deep.jpg", "picture", os.path.join("b", "deep.jpg")),
    ]
    assert [kind for _, kind, _ in names(find_inputs(["in/a"], "picture"))] == ["picture"] * 3


@pytest.mark.parametrize(
    ("pattern", "below"),
    [("in/a/*.png", ["shot2.png", "shot10.png"]), ("in/**/*.jpg", [os.path.join("a", "b", "deep.jpg")])],
)
def test_patterns_keep_the_folders_after_their_fixed_part(tree, pattern, below):
    assert [str(each.below) for each in find_inputs([pattern])] == below


def test_lists_name_files_beside_them_and_take_comments(tree):
    Path("in/list.txt").write_text("# my clips\n\nclip.mp4\na/*.png\n")
    assert [name for name, _, _ in names(find_inputs(["in/list.txt"]))] == ["clip.mp4", "shot2.png", "shot10.png"]


def test_pipes_and_addresses(tree):
    assert find_inputs(["-", "test:64x48@30"]) == [
        Input("-", "video", Path("stdin")),
        Input("test:64x48@30", "video", Path("test-64x48-30")),
    ]


@pytest.mark.parametrize(
    ("word", "only", "words"),
    [
        ("empty/", None, "no videos or pictures"),
        ("in", "picture", None),
        ("in/*.gif", None, "nothing matches"),
        ("in/empty.txt", None, "is an empty list"),
    ],
)
def test_nothing_to_do_is_an_error(tree, word, only, words):
    Path("empty").mkdir()
    Path("in/empty.txt").write_text("# nothing\n")
    if words is None:
        assert find_inputs([word], only)
        return
    with pytest.raises(MediaError, match=words):
        find_inputs([word], only)


def one(name, kind="video"):
    return Input(name, kind, Path(Path(name).name))


@pytest.mark.parametrize(
    ("name", "output", "becomes"),
    [
        ("in/clip.mp4", None, "clip-starry.mp4"),
        ("tape.avi", None, "tape-starry.mp4"),
        ("tape.avi", "out/", os.path.join("out", "tape.mp4")),
        ("in/clip.mp4", "o.mkv", "o.mkv"),
        ("in/clip.mp4", "in", os.path.join("in", "clip.mp4")),
        ("in/clip.mp4", "-", "-"),
        ("-", None, "stdin-starry.mp4"),
    ],
)
def test_where_one_result_goes(tree, name, output, becomes):
    given = find_inputs([name])
    if output == "in":  # the folder of the input itself, where the result would replace it
        with pytest.raises(OptionError, match="is also the input"):
            plan_outputs(given, output, "starry")
        return
    assert plan_outputs(given, output, "models/starry.onnx") == [Work(given[0], becomes)]


def test_several_keep_their_tree_below_a_folder(tree):
    works = plan_outputs(find_inputs(["in/a", "in/clip.mp4"]), "out", "starry")
    assert [work.output for work in works] == [
        os.path.join("out", *parts)
        for parts in (["shot2.png"], ["shot10.png"], ["t.mp4"], ["b", "deep.jpg"], ["clip.mp4"])
    ]
    named = plan_outputs([one("a.avi"), one("b.png", "picture")], None, "starry", "{stem}-{model}{suffix}")
    assert [work.output for work in named] == [
        os.path.join("translated-starry", "a-starry.mp4"),
        os.path.join("translated-starry", "b-starry.png"),
    ]


@pytest.mark.parametrize(
    ("output", "error", "words"),
    [
        ("one.png", OptionError, "cannot become one file"),
        ("-", OptionError, "cannot be written to standard output"),
        ("in/clip.mp4", MediaError, "is a file"),
    ],
)
def test_several_need_a_folder(tree, output, error, words):
    with pytest.raises(error, match=words):
        plan_outputs([one("a.mp4"), one("b.mp4")], output, "starry")


def test_results_of_one_name_are_refused(tree):
    with pytest.raises(OptionError, match="would both be written to"):
        plan_outputs([one("x/a.mp4"), one("y/a.avi")], "out", "starry")


@pytest.mark.parametrize("name", ["", "{stem", "{clip}", "a/{stem}", ".."])
def test_bad_names_are_refused(name):
    with pytest.raises(OptionError, match="--name"):
        plan_outputs([one("a.mp4"), one("b.mp4")], "out", "starry", name)


@pytest.mark.parametrize("word", ["x" * 5000, "a\0b", "[" * 5000])
def test_names_that_cannot_be_are_refused(tree, word):
    with pytest.raises(MediaError, match="cannot be read"):
        find_inputs([word])
    Path("list.txt").write_text(word + "\n")
    with pytest.raises(MediaError, match="cannot be read"):
        find_inputs(["list.txt"])


@pytest.mark.parametrize("line", ["/", "//", "/./", "/.."])
def test_the_whole_disk_is_no_input(tmp_path, line):
    (tmp_path / "list.txt").write_text(f"{line}\n")
    for word in (line, str(tmp_path / "list.txt")):
        with pytest.raises(MediaError, match="the root of the file system"):
            find_inputs([word])
