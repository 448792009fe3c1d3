"""A round over a slow uplink: a coordinator and two sites in network namespaces of their own, real Flower between them, 3 Mbit/s up from every site.

Needs root on Linux, with ``ip`` and ``tc``. Bytes are counted by the network interfaces, so protocol, encryption and signs of life are in them. The results go
to ``results/slow_link.json``; ``traffic.py`` puts them into ``docs/traffic.md``.
"""

import time
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from namespaces import COORDINATOR, Federation, Network, Speed
from records import Machine, load_average, now
from traffic_record import SLOW_MBIT, SlowLink, SlowRound

from fedliver.coordinator.records import RoundRecord, RunEvent, read_rounds
from fedliver.ct_reader import Ct, SourceIdentity
from fedliver.phantom import PhantomSettings, generate
from fedliver.site.enrolment import write_model
from fedliver.site.federation import SiteFiles
from fedliver.site.home import SiteHome
from fedliver.site.policy import Compression
from fedliver.site.progress import ProgressTail

HERE = Path(__file__).resolve().parent
SITES = ("A", "B")
DOWN_MBIT = 16.0


class SlowFederation(Federation):
    """Rounds over the slow links, and what they took."""

    def run(self, compression: Compression) -> SlowRound:
        """One round, and what went over the wire in it."""
        policy = self.home.settings().policy
        write_model(self.home.policy_file, policy.model_copy(update={"compression": compression}))
        before = {site: self.network.megabytes(site) for site in SITES}
        self.fedliver(COORDINATOR, "coordinator", "run", "--rounds", "1")
        after = {site: self.network.megabytes(site) for site in SITES}
        record = [record for record in read_rounds(self.home.rounds_file) if record.kind == "round"][-1]
        used = [update for update in record.updates if not update.refused]
        if len(used) != len(SITES):
            raise RuntimeError(f"an update was not used: {[update.refused for update in record.updates]}")
        return SlowRound(
            compression=compression,
            seconds=record.seconds,
            upload_seconds=max(self._upload_seconds(site, record) for site in SITES),
            wire_up=max(after[site][0] - before[site][0] for site in SITES),
            wire_down=max(after[site][1] - before[site][1] for site in SITES),
            payload_up=max(update.megabytes_up for update in used),
        )

    def _upload_seconds(self, site: str, record: RoundRecord) -> float:
        """From the site's word that it sends to the coordinator's that it has it."""
        sent = [event.time for event in ProgressTail(SiteFiles(self.root / site).progress).read() if event.phase == "sending"][-1]
        lines = (self.home.job(record.job) / "events.jsonl").read_text().splitlines()
        events = [RunEvent.model_validate_json(line) for line in lines]
        return next(event.time for event in events if event.update and event.update.site == f"Hospital {site}" and event.round == record.round) - sent


def _approve_patients(home: Path, seed: int) -> None:
    store = SiteHome.open(home).store()
    for number in range(seed + 1, seed + 4):
        ct, labels = generate(PhantomSettings(seed=number, spacing_mm=(5.0, 5.0, 5.0)))
        case = store.add(Ct(ct, SourceIdentity(f"patient {number}", f"study {number}", f"series {number}"), ()))
        store.approve(store.attach(case, labels))


def bench(
    steps: Annotated[int, typer.Option(min=1, help="Training steps of a site in a round.")] = 3,
    teacher: Annotated[Path | None, typer.Option(help="Another first teacher than the shipped one.")] = None,
    record: Annotated[Path, typer.Option(help="Where the numbers are written.")] = HERE / "results" / "slow_link.json",
) -> None:
    """Two rounds with compression, one without; each over the same slow links."""
    machine, network = Machine.here(), Network(SITES, Speed(SLOW_MBIT, DOWN_MBIT))
    with ExitStack() as at_the_end:
        root = Path(at_the_end.enter_context(TemporaryDirectory()))
        at_the_end.callback(network.remove)
        network.make()
        federation = SlowFederation(root, network)
        at_the_end.callback(federation.end)
        started = time.monotonic()
        for number, site in enumerate(SITES):
            _approve_patients(root / site, 100 * number)
        federation.begin(steps, teacher)
        typer.echo(f"Two sites have joined, after {time.monotonic() - started:.0f} s.")
        rounds = []
        for compression in ("int8", "int8", "none"):
            rounds.append(federation.run(compression))
            typer.echo(rounds[-1].model_dump_json())
    machine = machine.model_copy(update={"load_after": load_average()})
    found = SlowLink(at=now(), machine=machine, up_mbit=SLOW_MBIT, down_mbit=DOWN_MBIT, rounds=tuple(rounds))
    record.parent.mkdir(parents=True, exist_ok=True)
    record.write_text(found.model_dump_json(indent=2) + "\n")


if __name__ == "__main__":
    typer.run(bench)
