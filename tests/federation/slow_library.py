"""A library whose import waits until the file ``$SLOW_UNTIL`` is there."""

import os
import time

while not os.path.exists(os.environ["SLOW_UNTIL"]):
    time.sleep(0.01)
