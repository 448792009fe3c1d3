"""The command ``fedliver``: one module per group of verbs."""
