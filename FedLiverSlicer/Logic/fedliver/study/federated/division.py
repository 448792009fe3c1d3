"""Who tests, and who sits at which site. Always by patient: nobody is on two sides, nobody at two sites."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fedliver.errors import FedLiverError
from fedliver.study.federated.task import Arm, DataSettings

TEST_SEED = 20_240
"""The test patients are the same for every arm, and without folds for every seed, so that patients can be compared one by one."""


@dataclass(frozen=True)
class Record:
    """What is known of an image before it is opened."""

    name: str
    patient: str
    group: str = ""
    """The scanner or the source; empty where nobody said."""
    label: int | None = None
    """The class of an image to classify."""


Indexes = list[int]
_MOST_DRAWS = 50


def hold_out(records: Sequence[Record], data: DataSettings, seed: int) -> tuple[Indexes, Indexes]:
    """Training and test images, as indexes. Patients are drawn within their class and group, so that both sides hold the same mixture.

    Without folds every seed has the same test patients; with folds each has its own part, and after as many seeds as folds everybody was tested once.

    Raises
    ------
    FedLiverError
        ``too-few-patients`` for fewer than three, or than folds.
    """
    patients = _by_patient(records)
    needed = max(3, data.folds)
    if len(patients) < needed:
        raise FedLiverError("too-few-patients", f"The study needs at least {needed} patients, here are {len(patients)}: give it more.")
    order = _by_stratum(records, patients)
    tested = set(order[seed % data.folds :: data.folds] if data.folds > 1 else _evenly(order, data.test_share))
    return _indexes(patients, [one for one in patients if one not in tested]), _indexes(patients, sorted(tested))


def _by_stratum(records: Sequence[Record], patients: dict[str, Indexes]) -> list[str]:
    """Patients one stratum after the other: every so many of them, each stratum gives its share, small ones too."""
    rng = np.random.default_rng(TEST_SEED)
    strata: dict[tuple[str, str], list[str]] = {}
    for patient, indexes in patients.items():
        strata.setdefault((str(records[indexes[0]].label), records[indexes[0]].group), []).append(patient)
    return [patient for key in sorted(strata) for patient in _shuffled(strata[key], rng)]


def _evenly(order: list[str], share: float) -> list[str]:
    count = min(max(1, round(share * len(order))), len(order) - 2)
    return [order[place] for place in np.floor((np.arange(count) + 0.5) * len(order) / count).astype(int)]


def divide(records: Sequence[Record], training: Indexes, arm: Arm, seed: int) -> list[Indexes]:
    """The training images of every site. Every training patient is at exactly one site, and every site has at least one.

    Raises
    ------
    FedLiverError
        ``too-few-patients`` for fewer patients than sites, ``no-labels`` or ``no-groups`` where the data cannot be divided by them.
    """
    patients = _by_patient(records, training)
    if len(patients) < arm.clients:
        raise FedLiverError("too-few-patients", f"{arm.clients} sites need at least as many patients to train on, here are {len(patients)}: take fewer sites.")
    rng = np.random.default_rng([seed, arm.clients])
    order = _shuffled(sorted(patients), rng)
    of = {patient: records[indexes[0]] for patient, indexes in patients.items()}
    if arm.division == "by-label":
        sites = _by_label(order, of, arm, rng)
    elif arm.division == "by-group":
        sites = _by_group(order, of, arm.clients)
    else:
        sites = _cut(order, _shares(arm, len(order), rng))
    return [_indexes(patients, sorted(site)) for site in _nobody_empty(sites)]


def _shares(arm: Arm, patients: int, rng: np.random.Generator) -> np.ndarray:
    if arm.division != "unbalanced":
        sizes = np.array(arm.sizes or [1.0] * arm.clients)
        return sizes / sizes.sum()
    # Of few patients a draw can come out as good as equal: that would be another arm's study once more.
    for _ in range(_MOST_DRAWS):
        shares = rng.dirichlet(np.full(arm.clients, arm.alpha))
        if np.ptp(np.diff(_ends(shares, patients), prepend=0)) > 1:
            break
    return shares


def _ends(shares: np.ndarray, patients: int) -> np.ndarray:
    return np.rint(np.cumsum(shares) * patients).astype(int)


def _cut(order: list[str], shares: np.ndarray) -> list[list[str]]:
    ends = _ends(shares, len(order))
    starts = np.concatenate([[0], ends[:-1]])
    return [order[start:end] for start, end in zip(starts, ends, strict=True)]


def _by_label(order: list[str], of: dict[str, Record], arm: Arm, rng: np.random.Generator) -> list[list[str]]:
    """Every class on its own is spread by a Dirichlet distribution (Hsu et al. 2019)."""
    labels = sorted({record.label for record in of.values() if record.label is not None})
    if len(labels) < 2:
        raise FedLiverError("no-labels", "Only images to classify can be divided by-label: leave out those arms.")
    sites: list[list[str]] = [[] for _ in range(arm.clients)]
    for label in labels:
        pieces = _cut([patient for patient in order if of[patient].label == label], rng.dirichlet(np.full(arm.clients, arm.alpha)))
        for site, piece in zip(sites, pieces, strict=True):
            site.extend(piece)
    return sites


def _by_group(order: list[str], of: dict[str, Record], clients: int) -> list[list[str]]:
    """No site mixes groups where there are as many sites as groups or more: the largest are cut. Where there are fewer, whole groups come together."""
    groups: dict[str, list[str]] = {}
    for patient in order:
        groups.setdefault(of[patient].group, []).append(patient)
    if len(groups) < 2:
        raise FedLiverError("no-groups", "The data set does not say which images are of which scanner: leave out the arms that divide by-group.")
    if clients < len(groups):
        sites: list[list[str]] = [[] for _ in range(clients)]
        for name in sorted(groups, key=lambda name: (-len(groups[name]), name)):
            min(sites, key=len).extend(groups[name])
        return sites
    parts = dict.fromkeys(sorted(groups), 1)
    for _ in range(clients - len(groups)):
        parts[max(parts, key=lambda name: len(groups[name]) / parts[name])] += 1
    return [piece for name, count in parts.items() for piece in _cut(groups[name], np.full(count, 1 / count))]


def _nobody_empty(sites: list[list[str]]) -> list[list[str]]:
    """A site that got nobody takes one patient from the largest."""
    for site in sites:
        if not site:
            site.append(max(sites, key=len).pop())
    return sites


def _by_patient(records: Sequence[Record], which: Sequence[int] | None = None) -> dict[str, Indexes]:
    patients: dict[str, Indexes] = {}
    for index in range(len(records)) if which is None else which:
        patients.setdefault(records[index].patient, []).append(index)
    return patients


def _indexes(patients: dict[str, Indexes], chosen: Sequence[str]) -> Indexes:
    return [index for patient in chosen for index in patients[patient]]


def _shuffled(names: Sequence[str], rng: np.random.Generator) -> list[str]:
    return [names[int(place)] for place in rng.permutation(len(names))]
