"""The tables of gates in the cards of the shipped styles, each judged against the teacher that its recipe names.

    python -m studies.cards --photos photos/ --teacher multistyle26.onnx --clip people.mp4 -o out/judged
    python -m studies.cards --first-frame          # only that row, for a quiet machine: half a minute

The photos are those of the training: every tenth by name is judged, which training left out. The clips should not have
been trained on. The result of each style is what ``engine evaluate NAME ... --card NAME.md`` says.
"""

from __future__ import annotations

import argparse
import re
import tempfile
from pathlib import Path
from typing import Any

import ganlens.train
from ganlens.engine.cli.evaluate import first_frame_note, first_frames, markdown_row, run
from ganlens.engine.cli.options.evaluate import EvaluateOptions
from ganlens.engine.evaluate.gates import FIRST_FRAME, judge_budget
from ganlens.engine.files import replace_file
from ganlens.engine.model import ModelCard, shipped
from ganlens.train.config import read_values
from ganlens.train.data.pictures import list_pictures

RECIPES = Path(ganlens.train.__file__).parent / "recipes"
CARDS = Path(__file__).parent.parent / "engine" / "model" / "shipped"
"""Those of the clone: the package that is measured may be installed."""
HELD_OUT_EVERY = 10


def styles() -> list[ModelCard]:
    """The shipped styles that have a recipe; what edits attributes is judged by other measures."""
    return [card for card in shipped() if not card.spec.attributes and (RECIPES / f"{card.name}.toml").is_file()]


def target_options(recipe: dict[str, Any], teacher: str | None, painting: str | None) -> dict[str, Any]:
    """What a style is compared with, as options of ``engine evaluate``.

    Args:
        recipe: its values.
        teacher, painting: the file that the recipe leaves to the user.
    """
    if recipe["method"] == "perceptual":
        if painting is None:
            raise SystemExit(f"{recipe['name']} needs --painting: the picture that it was trained on")
        return {"target": painting}
    if "teacher" in recipe:
        return {"teacher": recipe["teacher"]}
    if teacher is None:
        raise SystemExit(f"{recipe['name']} needs --teacher: {recipe['teacher_licence']}, {recipe['teacher_input']}")
    return {
        "teacher": teacher,
        "teacher_range": recipe.get("range"),
        "teacher_input": recipe.get("teacher_input"),
        "teacher_scale": recipe.get("teacher_scale", 1.0),
        "teacher_shifts": recipe.get("teacher_shifts", False),
    }


def with_first_frame(card: str, seconds: float) -> str:
    """The text of a card with another row for the first frame, and the machine that it was measured on."""
    row = markdown_row(judge_budget(0, None, seconds)[2])
    kept = re.sub(r"\n\nFirst frame on .*", "", card)
    return re.sub(rf"^\| budget \| {FIRST_FRAME} .*$", f"{row}\n\n{first_frame_note()}", kept, flags=re.MULTILINE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", help="the photos of the training, of which every tenth is judged")
    parser.add_argument("--teacher", help="teacher of the recipes that name one by its inputs only")
    parser.add_argument("--painting", help="folder with the painting of a recipe that was trained on one")
    parser.add_argument("--clip", action="append", default=[])
    parser.add_argument("--model", action="append", help="these only; repeat")
    parser.add_argument("--first-frame", action="store_true", help="measure that row only")
    parser.add_argument("-o", "--output", type=Path, help="folder for contact sheets and JSON")
    options = parser.parse_args()
    chosen = [card for card in styles() if not options.model or card.name in options.model]
    if options.first_frame:
        measured = first_frames([card.name for card in chosen])
        for card in chosen:
            seconds = measured[card.name]
            print(f"{card.name}: {seconds:.3f} s")
            text = CARDS / f"{card.name}.md"
            replace_file(text, with_first_frame(text.read_text(encoding="utf-8"), seconds))
        return
    if not options.photos:
        parser.error("give --photos, or --first-frame")
    with tempfile.TemporaryDirectory() as folder:
        for path in list_pictures(options.photos)[::HELD_OUT_EVERY]:
            (Path(folder) / path.name).symlink_to(path.resolve())
        for card in chosen:
            recipe = read_values(RECIPES / f"{card.name}.toml")
            target = target_options(recipe, options.teacher, options.painting)
            run(
                EvaluateOptions(
                    model=card.name,
                    photos=folder,
                    clip=options.clip,
                    clip_frames=40,
                    start=False,
                    card=CARDS / f"{card.name}.md",
                    output=options.output,
                    yes=True,
                    **target,
                )
            )


if __name__ == "__main__":
    main()
