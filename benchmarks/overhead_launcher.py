"""Stands in for ``fedliver.federation.launch`` at a site of ``overhead.py``: all of ours around the fixed work, which takes the trainer's place."""

import time
from collections.abc import Sequence
from pathlib import Path

from flwr.app import Context, Message, RecordDict
from overhead_work import work

from fedliver.cases.examples import Example
from fedliver.federation import launch
from fedliver.federation.client_app import answered, app
from fedliver.federation.guard import App, Guard
from fedliver.federation.local_work import LocalWork
from fedliver.federation.messages import Instructions, pack_reply, unpack_weights
from fedliver.teacher.bundle import Teacher
from fedliver.training.savepoint import Standing
from fedliver.training.settings import TrainingSettings
from fedliver.training.student import TrainingOutcome, TrainingWatcher


def fixed_work(
    teacher: Teacher, examples: Sequence[Example], settings: TrainingSettings, watcher: TrainingWatcher, *, before: Standing | None
) -> TrainingOutcome:
    """As the trainer does: a copy of the network, and a standing for the next round."""
    started, network = time.monotonic(), teacher.network
    optimiser = work(network, before.optimiser if before else None)
    seconds = time.monotonic() - started
    standing = Standing(1, seconds, [0.5], network.state_dict(), optimiser.state_dict(), None, None, 0) if optimiser else None
    return TrainingOutcome(network, 1, 0.5, seconds, standing)


def _train(content: RecordDict, home: Path, instructions: Instructions) -> RecordDict:
    local = LocalWork(home, instructions, trainer=fixed_work)
    numbers, weights = local.train(unpack_weights(content, local.like))
    return pack_reply(numbers, weights)


def with_fixed_work(home: Path) -> App:
    def answer(message: Message, context: Context) -> Message:
        if message.metadata.message_type != "train":
            return app(message, context)
        return Message(answered(message.content, home, _train), reply_to=message)

    return Guard(home, answer)


if __name__ == "__main__":
    launch.guarded = with_fixed_work
    launch.main()
