"""Threads of the decoder, the network and the encoder, chosen together for the cores that there are."""

from __future__ import annotations

from dataclasses import dataclass

from .backends import default_threads

MOST_IN_FLIGHT = 4
"""Unless asked for: each needs the network's memory once more."""


@dataclass(frozen=True)
class ThreadBudget:
    """How many threads each stage gets."""

    network: int
    in_flight: int
    """Frames that share the network's threads."""
    encoder: int
    decoder: int

    @classmethod
    def plan(
        cls,
        *,
        network: int | None = None,
        in_flight: int | None = None,
        encoder: int | None = None,
        decoder: int | None = None,
        share: int = 1,
    ) -> ThreadBudget:
        """Fill in what was not asked for.

        The network gets every core: it is the longest stage. Frames side by side with few threads each lose less than
        one frame on all of them: threads of one operator wait for each other, and for the encoder that has a core just
        then. The encoder's threads fill the gaps; the decoder is far faster than both and needs a second one only from
        eight cores up.

        Args:
            share: programs that share the cores.
        """
        cores = max(1, default_threads() // share)
        network = network or cores
        return cls(network, in_flight or min(network, MOST_IN_FLIGHT), encoder or cores, decoder or max(1, cores // 4))
