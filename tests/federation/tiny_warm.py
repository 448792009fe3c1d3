"""Stands in for ``fedliver.federation.warm``: imports what the test says in place of torch and Flower, and takes the test's word for how long it may idle."""

import importlib
import os
from pathlib import Path

from fedliver.federation import warm

if __name__ == "__main__":
    if "WARM_BEFORE" in os.environ:
        importlib.import_module(os.environ["WARM_BEFORE"])
    warm.main(
        libraries=os.environ.get("WARM_LIBRARIES", "json").split(),
        watched_of=warm.super_node_of if "WARM_SUPER_NODE" in os.environ else lambda home: [],
        idle_seconds=float(os.environ.get("WARM_IDLE", "300")),
        code=Path(os.environ["WARM_CODE"]).read_text if "WARM_CODE" in os.environ else lambda: "never another",
    )
