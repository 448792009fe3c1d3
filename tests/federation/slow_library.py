"""A library that makes the file ``$SLOW_SINCE`` when it is imported, and is done when the file ``$SLOW_UNTIL`` is there."""

import os
import time
from pathlib import Path

Path(os.environ["SLOW_SINCE"]).touch()

while not Path(os.environ["SLOW_UNTIL"]).exists():
    time.sleep(0.01)
