"""The teacher: the network, its bundle on disk, and how it segments a CT."""
