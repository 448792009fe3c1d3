"""Sites on a stage: the rounds run against stand-ins for the transport and the clock, which goes on only when somebody waits."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
from federation_kit import TRAINING, context, enrolled_home, message
from flwr.app import Context, Message, RecordDict

from fedliver.cases.examples import Example
from fedliver.coordinator.checkpoints import Weights
from fedliver.coordinator.home import CoordinatorHome
from fedliver.coordinator.records import EventTail, Job
from fedliver.federation.guard import Guard
from fedliver.federation.links import Reply
from fedliver.federation.local_work import LocalWork, SiteCases
from fedliver.federation.messages import DELIVER, TRAIN, Instructions, Numbers, pack_reply, unpack_instructions, unpack_weights
from fedliver.federation.networks import load_weights, weights_of
from fedliver.federation.rounds import Rounds
from fedliver.site.egress import PatientCount
from fedliver.site.federation import SiteFiles
from fedliver.site.policy import Policy, contract_of
from fedliver.teacher.bundle import Teacher, load_bundle
from fedliver.teacher.network import build_network
from fedliver.teacher.plan import TeacherPlan
from fedliver.training.student import TrainingOutcome

Answer = Callable[[int, RecordDict], RecordDict | None]
"""What a site says to a round's message; None for silence."""


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Stage:
    """The sites of a play: node 1 is Hospital A, node 2 is Hospital B."""

    def __init__(self, answers: dict[int, Answer], like: dict[str, np.ndarray]) -> None:
        self.answers = answers
        self.present = set(answers)
        self.like = like
        self.sent: list[tuple[str, int, int]] = []
        self.contents: list[RecordDict] = []
        self._waiting: dict[str, Reply] = {}

    def online(self) -> set[int]:
        return set(self.present)

    def send(self, nodes: Sequence[int], content: RecordDict, kind: str, round_number: int, seconds_to_live: float) -> dict[str, int]:
        identifiers = {}
        for node in nodes:
            self.sent.append((kind, round_number, node))
            self.contents.append(content)
            identifier = f"{kind}-{round_number}-{node}-{len(self.sent)}"
            identifiers[identifier] = node
            site = self.answers[node]
            if kind == TRAIN:
                answer = site(round_number, content)
            else:
                answer = site.deliver(content) if isinstance(site, Hospital) else pack_reply(Numbers(dice=0.5, dice_cases=1))
            if answer is not None:
                self._waiting[identifier] = Reply(identifier, answer) if answer else Reply(identifier, None, "went offline")
        return identifiers

    def receive(self, messages: Iterable[str]) -> list[Reply]:
        return [self._waiting.pop(message) for message in list(messages) if message in self._waiting]


class Hospital:
    """A site with its real filter, ledger and files; only its training is a stand-in.

    Parameters
    ----------
    train:
        From a round's number and the received weights to the trained ones.
    """

    def __init__(self, home: Path, train: Callable[[int, Weights], Weights], plan: TeacherPlan | None = None) -> None:
        self.plan = plan or TeacherPlan.tiny()
        self.files = SiteFiles(enrolled_home(home, self.plan))
        self._train = train
        self._guard = Guard(home, self._app, lambda _: PatientCount(6, 4), lambda: np.random.default_rng(1))
        self.seen: list[Instructions] = []

    def __call__(self, number: int, content: RecordDict) -> RecordDict:
        return self._guard(message(content), context(self.files.home)).content

    def deliver(self, content: RecordDict) -> RecordDict:
        return self._guard(message(content, DELIVER), context(self.files.home)).content

    def model(self, number: int) -> Weights:
        """The model of a round as this site keeps it."""
        return weights_of(load_bundle(self.files.candidates / f"round-{number:03d}").network)

    def _app(self, message: Message, context: Context) -> Message:
        instructions = unpack_instructions(message.content)
        self.seen.append(instructions)

        def trainer(teacher: Teacher, *_: object, **__: object) -> TrainingOutcome:
            network = build_network(self.plan)
            load_weights(network, self._train(instructions.round, weights_of(teacher.network)))
            return TrainingOutcome(network, 1, 0.5, 1.0)

        work = LocalWork(self.files.home, instructions, trainer, lambda _: SiteCases([Example(Path("ct"), Path("labels"))] * 6, []))
        received = unpack_weights(message.content, work.like)
        if message.metadata.message_type == DELIVER:
            return Message(pack_reply(work.receive(received)), reply_to=message)
        return Message(pack_reply(*work.train(received)), reply_to=message)


GONE = RecordDict()  # empty: the stand-in for Flower's "node unavailable"


def adds(value: float, cases: int = 1, **numbers: float) -> Answer:
    """A site whose training adds ``value`` to every weight."""

    def answer(number: int, content: RecordDict) -> RecordDict:
        instructions = unpack_instructions(content)
        assert instructions.model == number - 1
        record = content.array_records["arrays"]
        received = {name: array.numpy() for name, array in record.items()}
        return pack_reply(Numbers(cases=cases, **numbers), {name: array + np.asarray(value, array.dtype) for name, array in received.items()})

    return answer


def says(content: RecordDict | None) -> Answer:
    return lambda number, received: content


def run(home: CoordinatorHome, stage: Stage, rounds: int = 1, clock: Clock | None = None, plan: TeacherPlan | None = None, **policy: object) -> None:
    plan = plan or TeacherPlan.tiny()
    rules = Policy(contract=contract_of(plan), training=TRAINING, deadline_seconds=60, gather_seconds=20, compression="none").model_copy(update=policy)
    clock = clock or Clock()
    Rounds(home, Job(job="job", rounds=rounds, policy=rules, plan=plan), stage, clock, clock.sleep).run()


def events(home: CoordinatorHome) -> list[str]:
    return [event.sentence for event in EventTail(home.job("job") / "events.jsonl").read()]
