"""How the link to the coordinator stands, read from the SuperNode's log: Flower's health endpoint says OK even when the link is down."""

from enum import Enum


class Link(Enum):
    """The state of the link, with the sentence that a person reads."""

    STARTING = "connecting to the coordinator"
    UP = "connected to the coordinator"
    DOWN = "the connection to the coordinator is lost; trying again"
    REFUSED = "the coordinator does not know this site's key: ask whether it has approved your enrolment request"
    FAILED = "the connection ended with an error"
    STOPPED = "not joined"


# Flower 1.41's words, in order of precedence within one line. See flwr/supernode and flwr/supercore/retry.
_SIGNS = (
    ("Exit Code: 305", Link.REFUSED),
    ("Exit Code:", Link.FAILED),
    ("Connection attempt failed, retrying", Link.DOWN),
    ("Connection successful after", Link.UP),
    ("SuperNode ID:", Link.UP),
    ("Starting Flower SuperNode", Link.STARTING),
)


class LinkReader:
    """Feed it the log as it grows; ask it for the state. Pure: it reads no file."""

    def __init__(self) -> None:
        self.state = Link.STARTING
        self._rest = ""

    def feed(self, text: str) -> Link:
        """Take the next piece of the log (it may end within a line) and return the state after it."""
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            for sign, state in _SIGNS:
                if sign in line:
                    # After a final word nothing changes until the node is started again.
                    if self.state not in (Link.REFUSED, Link.FAILED) or state is Link.STARTING:
                        self.state = state
                    break
        return self.state
