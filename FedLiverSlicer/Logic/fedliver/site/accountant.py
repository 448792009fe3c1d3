"""How much epsilon a site's noised updates have spent: Renyi differential privacy (Mironov 2017), kept by Google's ``dp-accounting``."""

from collections.abc import Iterable
from itertools import groupby

from fedliver.errors import FedLiverError

_SENSITIVITY = 2.0
"""In units of the norm bound. Whatever one patient's data does to training, a clipped update stays in a ball of that radius, so two of them, with and
without that patient or with any other data at all, are at most two radii apart. Nothing about the training itself has to be assumed."""


def epsilon(noise_multipliers: Iterable[float], delta: float) -> float:
    """The epsilon, at ``delta``, of releasing one clipped update with each of these multiples of its norm bound as Gaussian noise.

    No amplification is claimed: every update is made of all the site's training cases. 0 for no update; a multiplier of 0 gives infinity.

    Raises
    ------
    FedLiverError
        ``no-accountant`` if the library is not installed.
    """
    spent = sorted(noise_multipliers)
    if not spent:
        return 0.0
    if spent[0] <= 0:
        return float("inf")
    try:
        from dp_accounting import GaussianDpEvent
        from dp_accounting.rdp import RdpAccountant
    except ImportError as error:
        raise FedLiverError(
            "no-accountant",
            "Noise is asked for, but dp-accounting is not installed: create the federation's environment again ('fedliver site environment create').",
        ) from error
    accountant = RdpAccountant()
    for multiplier, group in groupby(spent):
        accountant.compose(GaussianDpEvent(multiplier / _SENSITIVITY), len(list(group)))
    return float(accountant.get_epsilon(delta))
