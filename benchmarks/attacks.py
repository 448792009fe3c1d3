"""What an update gives away, measured: two attacks by a curious coordinator, with and without the site's egress filter. Generated patients; no real ones.

The page is ``docs/attacks.md``, the record ``results/attacks.json``.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory
from typing import Annotated

import numpy as np
import SimpleITK as sitk
import torch
import typer
from attack_inversion import OpenBook, Victim, gradient_of, invert, likeness, likeness_beyond_anatomy
from attack_membership import Patient, Seen, area_under_curve, interval, look
from records import Machine, Record, installed_versions, load_average, now

from fedliver.cases.examples import Example
from fedliver.evaluation.markdown import markdown_table
from fedliver.federation.even_training import EvenTraining
from fedliver.federation.networks import agreed_tensors, weights_of
from fedliver.image import Volume, to_monai, to_sitk
from fedliver.phantom import PhantomSettings, generate
from fedliver.site.accountant import epsilon
from fedliver.site.egress import filter_update
from fedliver.site.rules import EgressRules
from fedliver.teacher.bundle import STARTER, Teacher, load_bundle
from fedliver.teacher.plan import TeacherPlan
from fedliver.teacher.preparation import ct_to_network_grid, labels_to_network_grid
from fedliver.training.settings import TrainingSettings
from fedliver.training.student import SilentTraining

HERE = Path(__file__).resolve().parent
NOISES = (1e-6, 1e-5, 1e-4, 1e-3)
"""Of the norm bound, for every one of some millions of numbers."""
DELTA = 1e-5
_SIDE = 64
"""Of the patches that the membership attack looks at, in voxels; the inversion looks for the inner part."""
_INNER = 32
_SMALL = 12


class Inversion(Record):
    """One attack of the first kind: how like the patient the picture is that came out, patch by patch; in all, and in what is not common to patients."""

    what: str
    likeness: tuple[float, ...]
    beyond_anatomy: tuple[float, ...]


class Membership(Record):
    """The second attack behind one filter. ``epsilon`` of one update; None without noise."""

    rules: str
    area: float
    low: float
    high: float
    dice_others: float
    epsilon: float | None


class Attacks(Record):
    """One run."""

    at: datetime
    quick: bool
    machine: Machine
    versions: dict[str, str]
    members: int
    steps: int
    trials: int
    inversions: tuple[Inversion, ...]
    memberships: tuple[Membership, ...]

    def markdown(self) -> str:
        """The page."""
        inversions = [(one.what, f"{mean(one.likeness):.2f}", f"{mean(one.beyond_anatomy):.2f}", f"{max(one.beyond_anatomy):.2f}") for one in self.inversions]
        memberships = [
            (one.rules, f"{one.area:.2f}", f"{one.low:.2f} to {one.high:.2f}", f"{one.dice_others:.3f}", "–" if one.epsilon is None else f"{one.epsilon:.2g}")
            for one in self.memberships
        ]
        quick = "**A quick run: its numbers mean nothing.**\n\n" if self.quick else ""
        return f"""# What an update gives away

{quick}Two attacks of a curious coordinator, who sees a site's update and knows the model that was sent. Written by `python benchmarks/attacks.py` on
{self.at:%d %B %Y}; generated patients, no real ones: a real patient differs more from others, so a real one may be easier to tell apart.

## Can it see a patient? (gradient inversion)
The attacker looks for the image whose gradient points where the update points (Geiping et al. 2020). It is told the exact labels of the patch, and its place.
Likeness is Pearson's correlation with the true patch. Much of that is anatomy, which needs no update; so beside it stands the likeness in what is the
patient's own, the mean of other patients at that place taken out of both (partial correlation): 0 is nothing seen, 1 everything. Means over one patch of each
of the {self.members} patients who trained the update; the best is that of the patch of which most was seen.

{markdown_table(("update", "likeness", "of what is the patient's own", "best"), inversions)}

The first row is a network that this attack is known to break: it shows that the attack works.

## Can it tell who was there? (membership inference)
The attacker holds a patient's scan *with its outlines* and asks whether that patient was among the {self.members} who trained the update: it looks whether
their loss fell more than that of as many others. Area under the ROC curve, 0.5 is a coin; the interval is over {self.trials} trials. Beside it what the
update is worth: the liver's Dice on patches of patients who were not there. Noise is in units of the norm bound, on every number; epsilon is of one update, at
delta {DELTA:g}, and is a promise for the worst case.

{markdown_table(("what leaves", "area under the curve", "95 %", "Dice of others", "epsilon"), memberships)}

## What follows
Read the first table against 0, the second against 0.5. Clipping bounds what a single update can do, and hides nobody. An epsilon of thousands and more promises
nothing. Not measured here: attacks with shadow models, more noise than above, what the mean over many sites hides (the attacker sees one site alone).

Measured on {self.machine.processor}, {self.machine.usable_cores} cores, {", ".join(f"{name} {number}" for name, number in self.versions.items())};
{self.steps} training steps a round.
"""


def attack(
    quick: Annotated[bool, typer.Option(help="A few steps of everything: to see that it works. The numbers mean nothing.")] = False,
    trials: Annotated[int, typer.Option(min=2, help="Trials of the membership attack.")] = 6,
    members: Annotated[int, typer.Option(min=1, help="Patients who train an update.")] = 3,
    steps: Annotated[int, typer.Option(min=1, help="Training steps of a round.")] = 60,
    search: Annotated[int, typer.Option(min=1, help="Steps of the search for an image.")] = 400,
    out: Annotated[Path, typer.Option(help="The page for people.")] = HERE.parent / "docs" / "attacks.md",
    record: Annotated[Path, typer.Option(help="The same as JSON.")] = HERE / "results" / "attacks.json",
) -> None:
    """Attack, write the page and the record."""
    logging.getLogger("flwr").setLevel(logging.ERROR)
    if quick:
        trials, steps, search = 2, 2, 3
    machine, teacher = Machine.here(), load_bundle(STARTER)
    with TemporaryDirectory() as folder:
        rounds = [_Round(teacher, Path(folder) / f"{trial}", trial, members, TrainingSettings(steps=steps, seed=trial)) for trial in range(trials)]
        inversions = tuple(_inversions(teacher, rounds[0], search))
        memberships = tuple(_memberships(teacher.plan, rounds))
    found = Attacks(
        at=now(),
        quick=quick,
        machine=machine.model_copy(update={"load_after": load_average()}),
        versions=installed_versions(),
        members=members,
        steps=steps,
        trials=trials,
        inversions=inversions,
        memberships=memberships,
    )
    record.write_text(found.model_dump_json(indent=2) + "\n")
    out.write_text(found.markdown())
    typer.echo(found.markdown())


class _Round:
    """A site's round: generated patients, the first half of whom train."""

    def __init__(self, teacher: Teacher, folder: Path, trial: int, members: int, settings: TrainingSettings) -> None:
        folder.mkdir()
        scans = [generate(PhantomSettings(seed=1000 * trial + number, spacing_mm=(3.0, 3.0, 3.0), lesions=2)) for number in range(2 * members)]
        self.patients = [Patient(_patches(*scan, teacher.plan), number < members) for number, scan in enumerate(scans)]
        examples = []
        for number, (ct, labels) in enumerate(scans[:members]):
            example = Example(folder / f"ct{number}.nii.gz", folder / f"labels{number}.nii.gz")
            for volume, path in ((ct, example.ct), (labels, example.labels)):
                sitk.WriteImage(to_sitk(volume), str(path))
            examples.append(example)
        self.network = teacher.network
        self.received = weights_of(teacher.network)
        self.trained = weights_of(EvenTraining({})(teacher, examples, settings, SilentTraining()).network)  # as a site trains: every patient in turn


def _patches(ct: Volume, labels: Volume, plan: TeacherPlan) -> tuple[Victim, ...]:
    """Patches around the liver's lowest, highest, and outermost voxel: edges with more than one kind of tissue."""
    image, target = (to_monai(volume.array)[0] for volume in (ct_to_network_grid(ct, plan), labels_to_network_grid(labels, plan)))
    liver = np.argwhere(target > 0)
    victims = []
    for place in (liver[liver[:, 2].argmin()], liver[liver[:, 2].argmax()], liver[liver[:, 0].argmin()]):
        corner = [int(np.clip(c - _SIDE // 2, 0, n - _SIDE)) for c, n in zip(place, image.shape, strict=True)]
        box = tuple(slice(c, c + _SIDE) for c in corner)
        victims.append(Victim(torch.tensor(image[box])[None, None].float(), torch.tensor(target[box])[None].long()))
    return tuple(victims)


def _inversions(teacher: Teacher, site: _Round, search: int) -> Iterator[Inversion]:
    small, inner = (_sought(site.patients, side) for side in (_SMALL, _INNER))
    torch.manual_seed(0)
    control = OpenBook()
    leaks = [gradient_of(control, one.victim.image, one.victim.labels) for one in small]
    yield _inversion("control: one layer, one patch, one step of gradient descent", control, leaks, small, 3 * search)
    network = teacher.network.get_submodule("fine").eval()
    exact = [gradient_of(network, one.victim.image, one.victim.labels) for one in inner]
    yield _inversion("shipped network: one patch, one step (no site does this)", network, exact, inner, search)
    moved = {name: -torch.from_numpy(site.trained[f"fine.{name}"] - site.received[f"fine.{name}"]) for name in exact[0]}
    yield _inversion("shipped network: a round as sites do it", network, [moved] * len(inner), inner, search)


@dataclass(frozen=True)
class _Sought:
    """A patch that is looked for, and those of all other patients at its place."""

    victim: Victim
    others: list[Victim]


def _sought(patients: list[Patient], side: int) -> list[_Sought]:
    """Of every member one patch, each of another place: how much an attack sees hangs on what there is to see."""
    found = []
    for number, patient in enumerate(patients):
        place = number % len(patient.patches)
        if patient.member:
            others = [_middle(other.patches[place], side) for other in patients if other is not patient]
            found.append(_Sought(_middle(patient.patches[place], side), others))
    return found


def _middle(one: Victim, side: int) -> Victim:
    part = (..., *[slice((_SIDE - side) // 2, (_SIDE + side) // 2)] * 3)
    return Victim(one.image[part], one.labels[part])


def _inversion(what: str, network: torch.nn.Module, gradients: list[dict[str, torch.Tensor]], sought: list[_Sought], search: int) -> Inversion:
    found = [invert(network, gradient, one.victim.labels, steps=search, seed=0) for gradient, one in zip(gradients, sought, strict=True)]
    beyond = tuple(likeness_beyond_anatomy(image, one.victim, one.others) for image, one in zip(found, sought, strict=True))
    return Inversion(what=what, likeness=tuple(likeness(image, one.victim.image) for image, one in zip(found, sought, strict=True)), beyond_anatomy=beyond)


def _memberships(plan: TeacherPlan, rounds: list[_Round]) -> Iterator[Membership]:
    rules = EgressRules()
    typical = mean(filter_update(rules, one.trained, one.received, agreed_tensors(plan), np.random.default_rng(0)).norm for one in rounds)
    wanted: list[tuple[str, EgressRules | None]] = [
        ("the update as it was trained", None),
        (f"default rules (bound {rules.norm_bound:g}; these updates are {typical:.1f} long)", rules),
        (f"shortened to a quarter (bound {typical / 4:.1f})", EgressRules(norm_bound=typical / 4)),
        *((f"bound {typical:.1f}, noise {noise:g}", EgressRules(norm_bound=typical, noise_multiplier=noise)) for noise in NOISES),
    ]
    for words, filtered in wanted:
        trials = [look(one.network, one.received, _sent(plan, one, filtered), one.patients) for one in rounds]
        yield _membership(words, trials, filtered)


def _sent(plan: TeacherPlan, one: _Round, rules: EgressRules | None) -> dict[str, np.ndarray]:
    if rules is None:
        return one.trained
    return dict(filter_update(rules, one.trained, one.received, agreed_tensors(plan), np.random.default_rng(0)).weights)


def _membership(words: str, trials: list[list[Seen]], rules: EgressRules | None) -> Membership:
    low, high = interval(trials)
    spent = epsilon([rules.noise_multiplier], DELTA) if rules is not None and rules.noisy else None
    others = mean(one.dice for trial in trials for one in trial if not one.member)
    return Membership(rules=words, area=mean(map(area_under_curve, trials)), low=low, high=high, dice_others=others, epsilon=spent)


if __name__ == "__main__":
    typer.run(attack)
