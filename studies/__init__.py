"""The papers' tables, repeated: many short trainings each; see benchmarks/README.md."""

from pathlib import Path

RESULTS = Path(__file__).parent / "results"
"""Result files that the documentation's tables are written from."""
