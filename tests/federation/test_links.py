"""The seam to Flower: answers are taken a few at a time, and an error's own text goes nowhere."""

from collections.abc import Iterable

from federation_kit import message
from flwr.app import Error, Message

from fedliver.federation.links import FlowerLinks
from fedliver.federation.messages import Numbers, pack_reply, unpack_numbers


class Grid:
    """Stands in for Flower's: site 3 has failed, site 5 has not answered yet."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def pull_messages(self, messages: Iterable[str]) -> list[Message]:
        wanted = list(messages)
        self.asked.append(len(wanted))
        return [self._answer(int(name)) for name in wanted if name != "5"]

    def _answer(self, number: int) -> Message:
        question = message(pack_reply(Numbers()))
        question.metadata.__dict__["_message_id"] = str(number)
        return (
            Message(Error(code=0, reason="/data/DOE^JOHN"), reply_to=question) if number == 3 else Message(pack_reply(Numbers(cases=number)), reply_to=question)
        )


def test_the_answers_of_many_sites_are_taken_a_few_at_a_time_and_each_once() -> None:
    grid = Grid()
    replies = {reply.message: reply for reply in FlowerLinks(grid).receive(str(number) for number in range(10))}  # type: ignore[arg-type]
    assert max(grid.asked) <= 4
    assert sum(grid.asked) == 10
    assert sorted(replies) == [str(number) for number in range(10) if number != 5]
    assert all(unpack_numbers(reply.content).cases == int(name) for name, reply in replies.items() if reply.content is not None)


def test_an_errors_text_is_left_alone() -> None:
    (failed,) = FlowerLinks(Grid()).receive(["3"])  # type: ignore[arg-type]
    assert failed.content is None
    assert failed.failure == "failed without saying why"
