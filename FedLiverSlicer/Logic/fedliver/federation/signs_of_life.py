"""Tells a SuperNode that a ClientApp is on its way, while the libraries that it needs are still being imported.

Flower withdraws a task that it has heard nothing of for 30 s and starts another process for it. On a machine with much else to do, importing Flower alone takes
longer than that: each process is refused when it comes at last (401), the next one is started into the crowd, and the site never answers. Hence the standard
library only.

Made for flwr 1.41: its heartbeat is one request with an empty body, and each is good for 60 s.
"""

import contextlib
import http.client
import threading
from collections.abc import Iterator

_PATH, _TOKEN, _MEDIA_TYPE = "/v1/runtime/send-task-heartbeat", "flwr-task-token", "application/protobuf"
_INTERVAL_SECONDS = 15.0
_ANSWER_SECONDS = 5.0


@contextlib.contextmanager
def signs_of_life(address: str, token: str) -> Iterator[None]:
    """Send one at once, and one every 15 s until the block ends.

    Parameters
    ----------
    address:
        Of the SuperNode's Runtime API, ``host:port``; plain HTTP.
    token:
        The task's.
    """
    over = threading.Event()
    thread = threading.Thread(target=_send, args=(address, token, over), daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()


def _send(address: str, token: str, over: threading.Event) -> None:
    while not over.is_set():
        # One that is lost is made good by the next; one that is refused is said by Flower's own first request.
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection(address, timeout=_ANSWER_SECONDS)
            with contextlib.closing(connection):
                connection.request("POST", _PATH, body=b"", headers={_TOKEN: token, "content-type": _MEDIA_TYPE, "accept": _MEDIA_TYPE})
                connection.getresponse().read()
        over.wait(_INTERVAL_SECONDS)
