"""The link's state from the SuperNode's log. The lines are Flower 1.41's own, colours included."""

import pytest

from fedliver.site.link import Link, LinkReader

START = "\x1b[92mINFO \x1b[0m:      Starting Flower SuperNode\n"
UP = "\x1b[92mINFO \x1b[0m:      SuperNode ID: 3400897607489734141\n"
DOWN = "\x1b[93mWARNING \x1b[0m:   Connection attempt failed, retrying in 0.98 seconds\n"
BACK = "\x1b[92mINFO \x1b[0m:      Connection successful after 2.69 seconds and 3 tries.\n"
REFUSED = "\x1b[91mERROR \x1b[0m:     Exit Code: 305\n"
OTHER_END = "\x1b[91mERROR \x1b[0m:     Exit Code: 1\n"


@pytest.mark.parametrize(
    ("log", "state"),
    [
        ("", Link.STARTING),
        (START, Link.STARTING),
        (START + UP, Link.UP),
        (START + UP + DOWN, Link.DOWN),
        (START + UP + DOWN + BACK, Link.UP),
        (START + DOWN + REFUSED, Link.REFUSED),
        (START + REFUSED + DOWN, Link.REFUSED),
        (START + UP + OTHER_END, Link.FAILED),
        (START + REFUSED + START, Link.STARTING),
    ],
)
def test_the_log_tells_the_state(log: str, state: Link) -> None:
    assert LinkReader().feed(log) is state


def test_the_log_may_be_fed_in_any_pieces() -> None:
    reader = LinkReader()
    for character in START + UP + DOWN + BACK:
        reader.feed(character)
    assert reader.state is Link.UP


def test_a_line_is_not_judged_before_it_is_whole() -> None:
    assert LinkReader().feed(UP.rstrip("\n")) is Link.STARTING
