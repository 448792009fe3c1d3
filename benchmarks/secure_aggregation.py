"""What secure aggregation costs: bytes beside the ordinary round's, seconds of one site, seconds and memory of the coordinator.

The sites' and the coordinator's own code, with the shipped network's tensors; no Flower, no training, no network link. One site is played whole; of the
others the keys and shares are real, and their masked updates random numbers, which cost the coordinator the same. Seconds are of the processor, not of the
clock: the machine may be shared. The table goes into ``docs/secure_aggregation.md`` and, as JSON, into ``results/secure_aggregation.json``.
"""

import gc
import re
import time
import tracemalloc
from collections.abc import Callable
from datetime import datetime
from math import prod
from pathlib import Path
from secrets import token_bytes
from tempfile import TemporaryDirectory
from typing import Annotated, TypeVar

import numpy as np
import typer
from flwr.app import RecordDict
from flwr.common.secure_aggregation.crypto.shamir import combine_shares, create_shares
from records import Machine, Record, installed_versions, load_average, now

from fedliver.federation.codec import encode
from fedliver.federation.messages import Numbers, pack_reply, pack_words
from fedliver.federation.networks import trained_tensors
from fedliver.federation.secure.ring import contribution
from fedliver.federation.secure.shamir import recover, split
from fedliver.federation.secure.site_sum import Place, SiteSum
from fedliver.federation.secure.total import MaskedTotal
from fedliver.federation.secure.words import Letters, Masking, Members, Shares, Survivors, threshold_of
from fedliver.site.egress import AgreedNumbers, TensorKind
from fedliver.site.ledger import UpdateOut
from fedliver.site.rules import EgressRules
from fedliver.teacher.bundle import STARTER, load_bundle
from fedliver.teacher.plan import TeacherPlan

HERE = Path(__file__).resolve().parent
BLOCK = re.compile(r"(<!-- measured -->\n)(.*?)(<!-- end -->)", re.DOTALL)
SESSION = "0" * 32
T = TypeVar("T")
ROUNDS, QUICK = [(8, 1), (64, 3)], [(4, 1)]
"""Sites, and how many of them are lost while they mask."""
SECRETS = 4


class Sizes(Record):
    """Bytes of one site in one round."""

    keys_up: int
    members_down: int
    letters_up: int
    letters_down: int
    masked_up: int
    survivors_down: int
    shares_up: int

    @property
    def up(self) -> int:
        return self.keys_up + self.letters_up + self.masked_up + self.shares_up

    @property
    def down(self) -> int:
        """Beside the model."""
        return self.members_down + self.letters_down + self.survivors_down


class Run(Record):
    """One round of so many sites, of which ``lost`` share their secrets and never send their masked update."""

    sites: int
    lost: int
    threshold: int
    sizes: Sizes
    fixed_point_seconds: float
    share_seconds: float
    """Checking the list, splitting and sealing."""
    mask_seconds: float
    open_at_site_seconds: float
    add_seconds: float
    """The coordinator's, for all masked updates."""
    open_seconds: float
    """The coordinator's: putting secrets together and taking masks off."""
    site_mb: float
    coordinator_mb: float
    """Peaks of what Python and NumPy took."""


class Sharing(Record):
    """Splitting one secret of 32 bytes among 64 sites, and putting four such secrets together from the shares of the same 33 sites."""

    whose: str
    split_seconds: float
    together_seconds: float


class Measured(Record):
    at: datetime
    quick: bool
    machine: Machine
    versions: dict[str, str]
    numbers: int
    fp32_up: int
    int8_up: int
    """Of an update whose numbers are normally distributed."""
    runs: tuple[Run, ...]
    sharing: tuple[Sharing, Sharing]

    def markdown(self) -> str:
        lines = [
            f"{self.numbers:,} numbers; {self.machine.processor}; load average {self.machine.load_before} before, {self.machine.load_after} after;"
            f" {self.at:%Y-%m-%d}." + (" **A quick run with a tiny network: its numbers mean nothing.**" if self.quick else ""),
            "",
            "| | " + " | ".join(f"{run.sites} sites, {run.lost} lost" for run in self.runs) + " |",
            "|---" * (1 + len(self.runs)) + "|",
        ]
        rows: list[tuple[str, Callable[[Run], str]]] = [
            (
                "up, whole round, MB (ordinary: " + f"{self.fp32_up / 1e6:.2f} as fp32, {self.int8_up / 1e6:.2f} as int8)",
                lambda run: f"{run.sizes.up / 1e6:.2f}",
            ),
            ("times the ordinary round's int8", lambda run: f"{run.sizes.up / self.int8_up:.1f}"),
            ("of that keys and shares, kB", lambda run: f"{(run.sizes.up - run.sizes.masked_up) / 1e3:.1f}"),
            ("down beside the model, kB", lambda run: f"{run.sizes.down / 1e3:.1f}"),
            ("sites that open the sum", lambda run: str(run.threshold)),
            ("a site: to fixed point, s", lambda run: f"{run.fixed_point_seconds:.2f}"),
            ("a site: checking keys and sharing, s", lambda run: f"{run.share_seconds:.2f}"),
            ("a site: opening letters and masking, s", lambda run: f"{run.mask_seconds:.2f}"),
            ("a site: memory for it, MB", lambda run: f"{run.site_mb:.0f}"),
            ("coordinator: adding all updates, s", lambda run: f"{run.add_seconds:.2f}"),
            ("coordinator: opening the sum, s", lambda run: f"{run.open_seconds:.2f}"),
            ("coordinator: memory, MB", lambda run: f"{run.coordinator_mb:.0f}"),
        ]
        lines += [f"| {name} | {' | '.join(say(run) for run in self.runs)} |" for name, say in rows]
        lines += ["", "Shamir's sharing of one 32-byte secret among 64 sites, and four such secrets put together from 33 shares each:", ""]
        lines += ["| | split, s | put together, s |", "|---|---|---|"]
        lines += [f"| {one.whose} | {one.split_seconds:.3f} | {one.together_seconds:.3f} |" for one in self.sharing]
        return "\n".join(lines) + "\n"


def bench(
    quick: Annotated[bool, typer.Option(help="Four sites and the tiny network: to see that it works. The numbers mean nothing.")] = False,
    page_only: Annotated[bool, typer.Option(help="Write the table anew from the record, and measure nothing.")] = False,
    page: Annotated[Path, typer.Option(help="The page whose table is written.")] = HERE.parent / "docs" / "secure_aggregation.md",
    record: Annotated[Path, typer.Option(help="The same as JSON.")] = HERE / "results" / "secure_aggregation.json",
) -> None:
    """Measure, write the record and the table."""
    if not page_only:
        plan, rounds = (TeacherPlan.tiny(), QUICK) if quick else (load_bundle(STARTER).plan, ROUNDS)
        measured = measure(trained_tensors(plan), rounds, quick)
        record.parent.mkdir(parents=True, exist_ok=True)
        record.write_text(measured.model_dump_json(indent=2) + "\n")
    measured = Measured.model_validate_json(record.read_bytes())
    page.write_text(BLOCK.sub(lambda found: f"{found[1]}{measured.markdown()}{found[3]}", page.read_text()))
    typer.echo(measured.markdown())


def measure(kinds: dict[str, TensorKind], rounds: list[tuple[int, int]], quick: bool) -> Measured:
    """One round of each kind: so many sites, so many of them lost."""
    machine, rng = Machine.here(), np.random.default_rng(1)
    change = {name: rng.normal(0, 1e-3, kind.shape).astype(np.float32) for name, kind in kinds.items() if np.issubdtype(kind.dtype, np.floating)}
    runs = tuple(play(kinds, change, sites, lost) for sites, lost in rounds)
    return Measured(
        at=now(),
        quick=quick,
        machine=machine.model_copy(update={"load_after": load_average()}),
        versions=installed_versions(),
        numbers=sum(prod(kind.shape) for kind in kinds.values()),
        fp32_up=size(pack_reply(_numbers(), change)),
        int8_up=size(pack_reply(_numbers(), encode(change, kinds)[0])),
        runs=runs,
        sharing=(_sharing("ours", split, _together), _sharing("Flower's", create_shares, _flowers_together)),
    )


def play(kinds: dict[str, TensorKind], change: dict[str, np.ndarray], count: int, lost: int) -> Run:
    """The first site whole, the others as far as keys and shares; the last ``lost`` of them are lost while masking."""
    masking = Masking(session=SESSION, capacity=count, largest=30.0, weight_cap_cases=200, unlabelled_share=0.1)
    threshold = threshold_of(count, EgressRules().minimum_sites)
    here = {"session": SESSION, "round": 1, "rounds": 1}
    with TemporaryDirectory() as folder:
        made = [SiteSum(Path(folder) / str(number) / "sum", Path(folder) / str(number) / "key", EgressRules()) for number in range(count)]
        fixed_seconds, fixed_mb, vector = watched(lambda: contribution(change, AgreedNumbers(10, 0.5, 1.0, 0.5, 3), masking, kinds, 30.0))
        keyed = [(site.begin(PLACE, masking, "0" * 64, vector if number == 0 else vector[:1], _entry()), site) for number, site in enumerate(made)]
        first = keyed[0][1]
        keyed.sort(key=lambda one: one[0].public_key)
        members = Members(**here, threshold=threshold, members=tuple(keys for keys, _ in keyed))
        sites = {number: site for number, (_, site) in enumerate(keyed, start=1)}
        own = next(number for number, site in sites.items() if site is first)
        share_seconds, _, own_letters = watched(lambda: first.share(PLACE, members))
        sent = {number: own_letters if number == own else site.share(PLACE, members) for number, site in sites.items()}

        def letters_to(number: int) -> Letters:
            return Letters(**here, envelopes={sender: letters.envelopes[number] for sender, letters in sent.items() if sender != number})

        mask_seconds, mask_mb, (masked, _) = watched(lambda: first.mask(PLACE, letters_to(own)))
        absent = set([number for number in sites if number != own][:lost])
        for number, site in sites.items():
            if number != own and number not in absent:
                site.mask(PLACE, letters_to(number))
        survivors = Survivors(**here, numbers=tuple(number for number in sites if number not in absent))
        open_at_site, _, own_shares = watched(lambda: first.open(PLACE, survivors))
        revealed = {number: own_shares if number == own else sites[number].open(PLACE, survivors) for number in survivors.numbers}
    add_seconds, add_mb, total = watched(lambda: added(members, frozenset(sites), survivors.numbers, len(vector)))
    open_seconds, open_mb, _ = watched(lambda: total.opened(revealed))
    sizes = Sizes(
        keys_up=size(pack_words(members.members[0])),
        members_down=size(pack_words(members)),
        letters_up=size(pack_words(own_letters)),
        letters_down=size(pack_words(letters_to(own))),
        masked_up=size(pack_words(Letters(**here, envelopes={}), vector=masked)),
        survivors_down=size(pack_words(survivors)),
        shares_up=size(pack_words(Shares(seeds=own_shares.seeds, keys=own_shares.keys))),
    )
    return Run(
        sites=count, lost=lost, threshold=threshold, sizes=sizes, fixed_point_seconds=fixed_seconds, share_seconds=share_seconds, mask_seconds=mask_seconds,
        open_at_site_seconds=open_at_site, add_seconds=add_seconds, open_seconds=open_seconds, site_mb=max(fixed_mb, mask_mb),
        # What is taken while opening comes on top of the sum, which is there already.
        coordinator_mb=max(add_mb, open_mb + 4 * len(vector) / 1e6),
    )  # fmt: skip


PLACE = Place(1, 1)


def added(members: Members, sites: frozenset[int], there: tuple[int, ...], length: int) -> MaskedTotal:
    """The coordinator's sum of updates that come into being when they are taken; making them up is a small part of the time."""
    total, rng = MaskedTotal(members, sites, length), np.random.default_rng(2)
    for number in there:
        total.add(number, rng.integers(0, 2**32, length, dtype=np.uint32))
    return total


def watched(work: Callable[[], T]) -> tuple[float, float, T]:
    """Seconds of the processor, peak of memory in MB, and the answer."""
    gc.collect()
    tracemalloc.start()
    started = time.process_time()
    try:
        answer = work()
        return time.process_time() - started, tracemalloc.get_traced_memory()[1] / 1e6, answer
    finally:
        tracemalloc.stop()


def _sharing(whose: str, divide: Callable[[bytes, int, int], list[bytes]], together: Callable[[list[bytes], bytes], None]) -> Sharing:
    secret, sites, threshold = token_bytes(32), 64, threshold_of(64, 3)
    split_seconds, _, shares = watched(lambda: divide(secret, threshold, sites))
    together_seconds, _, _ = watched(lambda: [together(shares[:threshold], secret) for _ in range(SECRETS)])
    return Sharing(whose=whose, split_seconds=split_seconds, together_seconds=together_seconds)


def _together(shares: list[bytes], secret: bytes) -> None:
    recover(dict(enumerate(shares, start=1)), len(shares), lambda found: found == secret)


def _flowers_together(shares: list[bytes], secret: bytes) -> None:
    if combine_shares(shares) != secret:
        raise ValueError("not the secret")


def size(content: RecordDict) -> int:
    """Of a message's content, as Flower counts it."""
    return sum(record.count_bytes() for record in content.values())


def _numbers() -> Numbers:
    return Numbers(cases=10, loss=0.5, seconds=1.0, dice=0.5, dice_cases=3)


def _entry() -> UpdateOut:
    return UpdateOut(
        run=1, round=1, content="0" * 64, bytes=0, cases=1, patients=1, norm=1, sent_norm=1, norm_bound=30, noise_multiplier=0, epsilon=None, loss=None,
        dice=None, dice_cases=0, seconds=1,
    )  # fmt: skip


if __name__ == "__main__":
    typer.run(bench)
