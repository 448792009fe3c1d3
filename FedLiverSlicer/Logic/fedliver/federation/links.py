"""The seam between the rounds and Flower: which sites are online, send to them, take what has come back."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from flwr.app import Message, RecordDict
from flwr.common.constant import ErrorCode as FlowerCode
from flwr.serverapp import Grid

_FAILURES = {
    FlowerCode.LOAD_CLIENT_APP_EXCEPTION: "its app could not be loaded",
    FlowerCode.CLIENT_APP_RAISED_EXCEPTION: "its app failed",
    FlowerCode.MESSAGE_UNAVAILABLE: "the model was gone before the site took it",
    FlowerCode.REPLY_MESSAGE_UNAVAILABLE: "its update was gone before it was taken",
    FlowerCode.NODE_UNAVAILABLE: "went offline",
    FlowerCode.INVALID_FAB: "did not accept the app",
    FlowerCode.CLIENT_APP_CRASHED: "its training process died",
}
_AT_ONCE = 4
"""Answers that are asked for together."""


@dataclass(frozen=True)
class Reply:
    """One answer: its content, or why there is none, in our own words."""

    message: str
    content: RecordDict | None
    failure: str = ""


class SiteLinks(Protocol):
    """What the rounds need of the transport."""

    def online(self) -> set[int]:
        """The numbers of the nodes that are online."""

    def send(self, nodes: Sequence[int], content: RecordDict, kind: str, round_number: int, seconds_to_live: float) -> dict[str, int]:
        """Send one content to every node; the messages' identifiers and whom each went to."""

    def receive(self, messages: Iterable[str]) -> Iterable[Reply]:
        """The answers that are there now, some at a time, so that not all sites' updates are in memory at once. Each is given once."""


class FlowerLinks:
    """The real one."""

    def __init__(self, grid: Grid) -> None:
        self._grid = grid

    def online(self) -> set[int]:
        return set(self._grid.get_node_ids())

    def send(self, nodes: Sequence[int], content: RecordDict, kind: str, round_number: int, seconds_to_live: float) -> dict[str, int]:
        messages = [Message(content, node, kind, ttl=seconds_to_live, group_id=str(round_number)) for node in nodes]
        identifiers = list(self._grid.push_messages(messages))
        return {identifier: node for identifier, node in zip(identifiers, nodes, strict=True) if identifier}

    def receive(self, messages: Iterable[str]) -> Iterator[Reply]:
        waiting = list(messages)
        for start in range(0, len(waiting), _AT_ONCE):
            for message in self._grid.pull_messages(waiting[start : start + _AT_ONCE]):
                identifier = message.metadata.reply_to_message_id
                if message.has_error():
                    # The error's own text is left alone: it may hold anything.
                    yield Reply(identifier, None, _FAILURES.get(message.error.code, "failed without saying why"))
                else:
                    yield Reply(identifier, message.content)
