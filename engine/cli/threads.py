"""Threads of the decoder, the network and the encoder, chosen together for the cores that there are."""

from __future__ import annotations

from dataclasses import dataclass

from ..backends import default_threads


@dataclass(frozen=True)
class ThreadBudget:
    """How many threads each stage gets."""

    network: int
    encoder: int
    decoder: int

    @classmethod
    def plan(
        cls, *, network: int | None = None, encoder: int | None = None, decoder: int | None = None
    ) -> ThreadBudget:
        """Fill in what was not asked for.

        The network gets every core: it is the longest stage, and its threads sleep while they wait. The encoder's
        threads fill the gaps; the decoder is far faster than both and needs a second one only from eight cores up.
        """
        cores = default_threads()
        return cls(network or cores, encoder or cores, decoder or max(1, cores // 4))
