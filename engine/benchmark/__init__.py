"""``engine benchmark``: how fast models run on this machine, how good their pictures are, and how sure both are."""
