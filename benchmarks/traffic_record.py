"""What the traffic benchmark writes down, and the page made of it."""

from datetime import datetime
from statistics import mean, stdev
from typing import Literal, Self

from records import Machine, Record

SLOW_MBIT = 3.0
"""An uplink that a hospital's outpost may have."""


class Arm(Record):
    """One run. Megabytes are per site: ``up`` and ``down`` of a round, ``first_down`` of the first, ``plain`` of the whole network in single precision."""

    compression: Literal["none", "int8"]
    dice: float
    up: float
    down: float
    first_down: float
    plain: float


class Experiment(Record):
    """The same rounds without and with compression, once or from several starts."""

    network: str
    at: datetime
    machine: Machine
    versions: dict[str, str]
    rounds: int
    steps: int
    sites: int
    without: tuple[Arm, ...]
    with_: tuple[Arm, ...]

    @property
    def dice_lost(self) -> float:
        return mean(one.dice - other.dice for one, other in zip(self.without, self.with_, strict=True))

    @property
    def dice_spread(self) -> float | None:
        """Standard error of :attr:`dice_lost`."""
        lost = [one.dice - other.dice for one, other in zip(self.without, self.with_, strict=True)]
        return stdev(lost) / len(lost) ** 0.5 if len(lost) > 1 else None

    @property
    def times_fewer_up(self) -> float:
        return mean(arm.plain / arm.up for arm in self.with_)

    @property
    def times_fewer_down(self) -> float:
        """Beside Flower's two downloads a round, for training and for evaluation; the first round's download and the delivery counted."""
        return mean(2 * self.rounds * arm.plain / (arm.first_down + self.rounds * arm.down) for arm in self.with_)

    @property
    def rows(self) -> list[tuple[str, ...]]:
        found = []
        for name, arms in (("none", self.without), ("int8", self.with_)):
            up, down, first = (mean(getattr(arm, field) for arm in arms) for field in ("up", "down", "first_down"))
            seconds = up * 8 / SLOW_MBIT
            found.append((name, f"{up:.3g}", f"{first:.3g}", f"{down:.3g}", f"{seconds:.2g} s", f"{mean(arm.dice for arm in arms):.4f}"))
        plain = mean(arm.plain for arm in self.without)
        return [("Flower's own, fp32", f"{plain:.3g}", f"{2 * plain:.3g}", f"{2 * plain:.3g}", f"{plain * 8 / SLOW_MBIT:.2g} s", ""), *found]


class SlowRound(Record):
    """One round over a slow link; megabytes and seconds are of the slower site. ``wire`` is counted by the network interface, the delivery included."""

    compression: Literal["none", "int8"]
    seconds: float
    upload_seconds: float
    """From the site's word that it sends to the coordinator's that it has it."""
    wire_up: float
    wire_down: float
    payload_up: float


class SlowLink(Record):
    """One run of ``slow_link.py``."""

    schema_version: Literal[1] = 1
    at: datetime
    machine: Machine
    up_mbit: float
    down_mbit: float
    rounds: tuple[SlowRound, ...]

    def markdown(self) -> list[str]:
        """Lines of the page."""
        rows = []
        for number, one in enumerate(self.rounds, start=1):
            megabytes = (f"{one.payload_up:.3g}", f"{one.wire_up:.3g}", f"{one.wire_down:.3g}")
            rows.append((str(number), one.compression, *megabytes, f"{one.upload_seconds:.0f} s", f"{one.seconds:.0f} s"))
        return [
            "",
            f"## Over an uplink of {self.up_mbit:g} Mbit/s",
            "",
            "Written by `sudo python benchmarks/slow_link.py`: a coordinator and two sites, each in a network namespace of its own, real Flower with TLS",
            f"between them, {self.up_mbit:g} Mbit/s up and {self.down_mbit:g} down, the shipped network. Megabytes on the wire are what the site's interface",
            "counted from before the round to after its delivery: encryption, protocol and signs of life are in them. Times hold the start of Flower's",
            "processes and the scoring of held-out cases.",
            "",
            "| round | compression | update, MB | up on the wire, MB | down on the wire, MB | update under way | whole round |",
            "|---|---|---|---|---|---|---|",
            *(f"| {' | '.join(row)} |" for row in rows),
            "",
            f"{self.at:%Y-%m-%d}, {self.machine.processor}, load {self.machine.load_before} before and {self.machine.load_after} after.",
        ]


class Traffic(Record):
    """What is known: of every network the newest measurement."""

    schema_version: Literal[1] = 1
    quick: bool
    experiments: tuple[Experiment, ...]

    def with_(self, experiment: Experiment) -> Self:
        """With one more, in the place of an older one of the same network."""
        others = tuple(one for one in self.experiments if one.network != experiment.network)
        return self.model_copy(update={"experiments": (*others, experiment)})

    def markdown(self, slow: SlowLink | None = None) -> str:
        """The page; every number in it is from this record, and from the one of the slow link if there is one."""
        lines = [
            "# Traffic: what travels between coordinator and sites",
            "",
            "Written by `python benchmarks/traffic.py`. The coordinator's rounds, the sites' egress filters, ledgers and training are real; the transport is a",
            "stand-in. Sites differ in contrast phase, noise and patients' size. 'Flower's own' is what its strategies send for the same network: all of it in",
            "single precision, up once a round and down twice, for training and for evaluation. Here a model comes down once: the site scores it, then",
            "trains on it.",
            *(["", "**A quick run, to see that the benchmark works: its numbers mean nothing.**"] if self.quick else []),
        ]
        for one in self.experiments:
            spread = f" (standard error {one.dice_spread:.4f}, {len(one.with_)} starts)" if one.dice_spread is not None else " (one start)"
            lines += [
                "",
                f"## Network: {one.network}",
                "",
                f"{one.sites} sites, {one.rounds} rounds of {one.steps} steps. Megabytes of one site; Dice of the liver on patients that no site has.",
                "",
                f"| compression | MB up, a round | MB down, first round | MB down, a round after | upload at {SLOW_MBIT:g} Mbit/s | Dice |",
                "|---|---|---|---|---|---|",
                *(f"| {' | '.join(row)} |" for row in one.rows),
                "",
                f"With `int8`, {one.times_fewer_up:.1f} times fewer bytes up and {one.times_fewer_down:.1f} times fewer down than Flower's own;"
                f" Dice lost: {one.dice_lost:+.4f}{spread}.",
                "",
                f"{one.at:%Y-%m-%d}, {one.machine.processor}; " + ", ".join(f"{name} {number}" for name, number in one.versions.items()) + ".",
            ]
        lines += slow.markdown() if slow else []
        return "\n".join(lines) + "\n"
