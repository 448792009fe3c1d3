"""A site seen from outside Flower: its folder, its node's process, what may leave it, and which teacher it uses. No flwr here."""
