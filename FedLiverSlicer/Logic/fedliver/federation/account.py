"""What is written down and told of a run: its events for whoever watches, and one record per round for good."""

import logging
from collections.abc import Callable, Iterable

from fedliver.coordinator.home import CoordinatorHome
from fedliver.coordinator.records import Job, MaskedSum, RoundRecord, RunEvent, SiteUpdate, append_line
from fedliver.federation.exchange import Exchange
from fedliver.federation.messages import DELIVER, TRAIN
from fedliver.site.egress import cases_in_words


class RunAccount:
    """Parameters
    ----------
    clock:
        The rounds' own.
    """

    def __init__(self, home: CoordinatorHome, job: Job, clock: Callable[[], float]) -> None:
        self._home = home
        self._job = job
        self._clock = clock
        self.last = 0
        """The number of the run's last round, once it is known."""

    def place(self, number: int) -> str:
        """A round's name: "Round 2 of 5"."""
        return f"Round {number} of {self.last}"

    def tell(self, kind: str, number: int, sentence: str, *, update: SiteUpdate | None = None, record: RoundRecord | None = None) -> None:
        """Add an event."""
        logging.getLogger("flwr").info("%s", sentence)
        event = RunEvent.model_validate({"kind": kind, "round": number, "rounds": self.last, "sentence": sentence, "update": update, "record": record})
        append_line(self._home.job(self._job.job) / "events.jsonl", event)

    def note(self, exchange: Exchange, update: SiteUpdate) -> None:
        """A site's entry in the exchange, in the place of an earlier one; told where it is about training."""
        exchange.updates[update.site] = update
        if exchange.kind == TRAIN:
            what = "has trained" if exchange.masking else f"{cases_in_words(update.cases, update.unlabelled)}, {update.megabytes_up:.1f} MB"
            said = f"not used: {update.refused}" if update.refused else what
            self.tell("update", exchange.number, f"{self.place(exchange.number)}: {update.site}: {said}.", update=update)

    def write_down(self, exchange: Exchange, *, aggregated: bool, summed: MaskedSum | None = None) -> RoundRecord:
        """The record of a finished exchange, appended to the coordinator's rounds."""
        total = sum(exchange.shares.values())
        updates = tuple(
            update.model_copy(update={"weight": exchange.shares.get(update.site, 0) / total if total else 0.0}) for update in exchange.updates.values()
        )
        record = RoundRecord(
            kind="round" if exchange.kind == TRAIN else "delivery",
            job=self._job.job,
            round=exchange.number,
            seconds=self._clock() - exchange.started,
            aggregated=aggregated,
            updates=updates,
            summed=summed,
            teacher=self._home.teacher_of(exchange.number).name if aggregated or exchange.kind == DELIVER else "",
        )
        append_line(self._home.rounds_file, record)
        return record


def listed(names: Iterable[str]) -> str:
    """Names in words: "A", "A and B", "A, B and C"."""
    items = list(names)
    return " and ".join(filter(None, [", ".join(items[:-1]), *items[-1:]]))
