"""How frames pass a network."""
