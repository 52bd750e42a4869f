"""The steps of a story's run: small functions, one file each. ``graphs/`` wires them."""
