"""The training that a site does in a round: what the coordinator asks for, held against the policy that the site accepted.

Other training than was agreed can undo what the egress rules promise: an update of one step on one patch shows that patch, whatever the number of patients.
"""

import secrets

from fedliver.errors import FedLiverError
from fedliver.site.policy import Policy
from fedliver.training.settings import TrainingSettings

_STEPS = (0.5, 2.0)
_LEARNING_RATE = (0.1, 2.0)
"""What a coordinator may change from run to run without inviting anew, as multiples of what was accepted: a model that is nearly done wants gentler
training."""
_MOST_PROXIMAL = 1.0
"""A stronger pull towards the received weights lets a step forget the steps before it, and the update be the last patch's; with Adam's usual rates this one
remembers hundreds of steps. More must stand in the accepted policy."""
_NOT_THE_COORDINATORS = {"seed", "threads"}
_IN_A_BAND = {"steps", "learning_rate", "proximal"}


def training_in_words(policy: Policy) -> str:
    """What a site that joins agrees to do in every round, in a sentence for whoever is asked."""
    steps = policy.training.steps
    least, most = (round(share * steps) for share in _STEPS)
    size = _counted(policy.training.batch_size, "patch", "patches")
    minutes = _counted(_minutes(policy.training, policy), "minute")
    return (
        f"In every round this computer trains for {_counted(steps, 'step')} of {size} each, for {minutes} at most."
        f" The coordinator may ask for {max(1, least)} to {most} steps and change the learning rate; for anything else it has to invite you anew."
    )


def check_training(asked: TrainingSettings, accepted: Policy) -> None:
    """Raise FedLiverError ``not-agreed`` unless ``asked`` is the accepted training, but for steps and learning rate within a narrow band."""
    agreed = accepted.training
    for name in TrainingSettings.model_fields:
        if name not in _NOT_THE_COORDINATORS | _IN_A_BAND and getattr(asked, name) != getattr(agreed, name):
            raise _not_agreed(name)
    for name, (least, most) in (("steps", _STEPS), ("learning_rate", _LEARNING_RATE)):
        if not least * getattr(agreed, name) <= getattr(asked, name) <= most * getattr(agreed, name):
            raise _not_agreed(name)
    if asked.proximal > max(_MOST_PROXIMAL, agreed.proximal, accepted.strategy.proximal):
        raise _not_agreed("proximal")


def own_training(asked: TrainingSettings, accepted: Policy) -> TrainingSettings:
    """``asked`` as this site does it.

    The seed is the site's own: a coordinator that chose it would know which patch came from where, and could choose one that draws what it wants to see.
    Training ends when the accepted deadline has passed: nobody waits for it any longer.
    """
    return asked.model_copy(update={"seed": secrets.randbelow(2**31), "threads": accepted.training.threads, "minutes": _minutes(asked, accepted)})


def _minutes(asked: TrainingSettings, accepted: Policy) -> float:
    deadline = accepted.deadline_seconds / 60
    return deadline if asked.minutes is None else min(asked.minutes, deadline)


def _counted(number: float, one: str, more: str = "") -> str:
    return f"{number:g} {one if number == 1 else more or one + 's'}"


def _not_agreed(name: str) -> FedLiverError:
    what = name.replace("_", " ")
    return FedLiverError("not-agreed", f"The coordinator asks for other training than this site agreed to when it enrolled ({what}): nothing was trained.")
