"""Federated or centralised: what a hospital loses by not pooling its data, and what it wins over staying alone."""
