"""ganlens.train: trains the generators."""
