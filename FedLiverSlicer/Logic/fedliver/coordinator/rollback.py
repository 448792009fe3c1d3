"""Going back to the model of an earlier round, where a later one turned out worse.

Nothing is deleted and no number is used twice: sites hold models by their number, and a round that was is in their ledgers. The old model becomes the newest
one, under the next number.
"""

from fedliver.coordinator.checkpoints import save_checkpoint
from fedliver.coordinator.home import CoordinatorHome
from fedliver.coordinator.records import RoundRecord, append_line, read_rounds
from fedliver.errors import FedLiverError
from fedliver.site.federation import by_round


def roll_back(home: CoordinatorHome, number: int) -> RoundRecord:
    """Have the next run begin from the model of round ``number`` (0: the one that the federation began with).

    What the strategy and the transport remember of the rounds is forgotten: a momentum would lead back to where one does not want to be.

    Raises
    ------
    FedLiverError
        ``no-such-round``, or what :func:`~fedliver.teacher.bundle.load_bundle` says of that round's teacher.
    """
    from fedliver.teacher.bundle import load_bundle, save_bundle

    numbers = [int(folder.name[6:]) for folder in by_round(home.teachers)]
    if number not in numbers:
        raise FedLiverError("no-such-round", f"There is no model of round {number}: there are those of rounds {numbers[0]} to {numbers[-1]}.")
    teacher = load_bundle(home.teacher_of(number))
    weights = {name: tensor.numpy() for name, tensor in teacher.network.state_dict().items()}
    following = max([*numbers, *(record.round for record in read_rounds(home.rounds_file))]) + 1
    made = home.teacher_of(following)
    save_bundle(teacher.network, teacher.plan, made, name=teacher.name, version=f"round-{following}")
    save_checkpoint(home.checkpoints, following, weights)  # until it is there, the next run goes on as if nobody had asked
    record = RoundRecord(kind="rollback", job="", round=following, back_to=number, seconds=0.0, aggregated=False, updates=(), teacher=made.name)
    append_line(home.rounds_file, record)
    return record
