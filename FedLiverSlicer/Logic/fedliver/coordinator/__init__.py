"""The coordinator seen from outside Flower: certificates, policy, sites, processes, runs, checkpoints. Imports no flwr."""
