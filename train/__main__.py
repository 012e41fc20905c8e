"""``python -m ganlens.train``."""

from .cli import app

app(prog_name="engine train")
