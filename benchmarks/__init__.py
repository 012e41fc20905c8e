"""Measurements of ganlens beside its peers, with the outputs checked before the clock runs."""
