"""A federation in one process: real rounds, filters, ledgers and training; the transport hands messages over directly."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

import numpy as np
import SimpleITK as sitk
from flwr.app import Context, Message, RecordDict
from flwr.app.message.message import make_message
from flwr.app.metadata import Metadata

from fedliver.cases.examples import Example
from fedliver.coordinator.certificates import make_certificates
from fedliver.coordinator.home import CoordinatorHome
from fedliver.coordinator.records import Job, Site, Sites, read_rounds
from fedliver.federation.guard import Guard
from fedliver.federation.links import Reply
from fedliver.federation.local_work import LocalWork, SiteCases
from fedliver.federation.messages import DELIVER, Instructions, Numbers, pack, pack_reply, payload_bytes, unpack_instructions, unpack_weights
from fedliver.federation.networks import weights_of
from fedliver.federation.rounds import Rounds
from fedliver.image import to_sitk
from fedliver.phantom import PhantomSettings, generate
from fedliver.site.egress import PatientCount
from fedliver.site.enrolment import Invitation, write_model
from fedliver.site.federation import SiteFiles
from fedliver.site.policy import Compression, Policy, contract_of
from fedliver.teacher.bundle import Teacher, load_bundle, save_bundle
from fedliver.training.settings import TrainingSettings

_MEGABYTE = 1e6


@dataclass(frozen=True)
class Patients:
    """Generated patients: of each site some to train on, and of every kind one that no site has."""

    sites: dict[str, list[Example]]
    held_out: list[PhantomSettings]

    @classmethod
    def of(cls, kinds: dict[str, PhantomSettings], count: int, folder: Path) -> Self:
        sites = {}
        for number, (name, settings) in enumerate(kinds.items()):
            sites[name] = [_write(replace(settings, seed=1000 * (number + 1) + one), folder / name / str(one)) for one in range(count)]
        return cls(sites, [replace(settings, seed=9000 + number) for number, settings in enumerate(kinds.values())])


def _write(settings: PhantomSettings, folder: Path) -> Example:
    folder.mkdir(parents=True)
    ct, labels = generate(settings)
    for volume, name in ((ct, "ct"), (labels, "labels")):
        sitk.WriteImage(to_sitk(volume), str(folder / f"{name}.nii.gz"))
    return Example(folder / "ct.nii.gz", folder / "labels.nii.gz")


class _Site:
    """One site: its real egress filter around its real training."""

    def __init__(self, home: Path, teacher: Teacher, examples: Sequence[Example], training: TrainingSettings) -> None:
        self._home = home
        self._examples = examples
        invitation = Invitation(
            site_name=home.name,
            coordinator_name="Coordinator",
            host="127.0.0.1",
            port=1,
            ca_certificate=make_certificates(home / "certificates", "127.0.0.1", "Coordinator").ca_certificate.read_text(),
            expires=datetime.now(UTC) + timedelta(days=1),
            policy=Policy(contract=contract_of(teacher.plan), training=training, deadline_seconds=86_400),
            allowed_apps=(hashlib.sha256(b"").hexdigest(),),
        )
        write_model(SiteFiles(home).invitation, invitation)
        self._guard = Guard(home, self._app, lambda _: PatientCount(len(examples), 0))

    def answer(self, content: RecordDict, kind: str) -> RecordDict:
        moment = datetime.now(UTC).timestamp()
        metadata = Metadata(
            run_id=1, message_id="m", src_node_id=1, dst_node_id=2, reply_to_message_id="", group_id="1", created_at=moment, ttl=3600, message_type=kind
        )
        context = Context(run_id=1, node_id=2, node_config={"home": str(self._home)}, state=RecordDict(), run_config={})
        return self._guard(make_message(metadata=metadata, content=content), context).content

    def _app(self, message: Message, context: Context) -> Message:
        # The client app's own work, without its held-out cases: scoring them every round would take longer than training.
        work = LocalWork(self._home, unpack_instructions(message.content), cases=lambda _: SiteCases(self._examples, []))
        received = unpack_weights(message.content, work.like)
        if message.metadata.message_type == DELIVER:
            return Message(pack_reply(work.receive(received)), reply_to=message)
        return Message(pack_reply(*work.train(received)), reply_to=message)


class _Links:
    """Hands every message to its site at once and keeps the answer."""

    def __init__(self, sites: dict[int, _Site]) -> None:
        self._sites = sites
        self._answers: dict[str, RecordDict] = {}
        self._names = _counted()

    def online(self) -> set[int]:
        return set(self._sites)

    def send(self, nodes: Sequence[int], content: RecordDict, kind: str, round_number: int, seconds_to_live: float) -> dict[str, int]:
        sent = {next(self._names): node for node in nodes}
        self._answers |= {name: self._sites[node].answer(content, kind) for name, node in sent.items()}
        return sent

    def receive(self, messages: Iterable[str]) -> list[Reply]:
        found = []
        for name in list(messages):
            with suppress(KeyError):
                found.append(Reply(name, self._answers.pop(name)))
        return found


def _counted() -> Iterator[str]:
    number = 0
    while True:
        number += 1
        yield str(number)


class Federation:
    """A coordinator and its sites under ``root``."""

    def __init__(self, root: Path, bundle: Path, patients: Patients, training: TrainingSettings) -> None:
        first = load_bundle(bundle)
        self._home = CoordinatorHome(root / "coordinator")
        save_bundle(first.network, first.plan, self._home.teacher_of(0), name=first.name, version=first.version)
        self._plan, self._training = first.plan, training
        self._sites = {number: _Site(root / name, first, examples, training) for number, (name, examples) in enumerate(patients.sites.items(), start=1)}
        members = (Site(name=name, public_key=name, node_id=number) for number, name in enumerate(patients.sites, start=1))
        self._home.save_sites(Sites(sites=tuple(members)))
        plain = Instructions(round=1, rounds=1, model=0, plan=first.plan, training=training)
        weights = weights_of(first.network)
        self.plain = payload_bytes(pack(plain, weights)) / _MEGABYTE
        """Megabytes of one message with the whole network in single precision, as Flower sends it."""
        if payload_bytes(pack_reply(Numbers(), weights)) / _MEGABYTE != self.plain:
            raise AssertionError("an update in single precision is as large as a model")

    def run(self, rounds: int, compression: Compression) -> None:
        """Run the rounds and the delivery."""
        policy = Policy(contract=contract_of(self._plan), training=self._training, compression=compression, deadline_seconds=86_400)
        Rounds(self._home, Job(job="traffic", rounds=rounds, policy=policy, plan=self._plan), _Links(self._sites), sleep=lambda _: None).run()
        refused = [update.refused for record in read_rounds(self._home.rounds_file) for update in record.updates if update.refused]
        if refused:
            raise RuntimeError(f"an update was not used: {refused[0]}")

    def teacher(self, number: int) -> Path:
        return self._home.teacher_of(number)

    def megabytes(self) -> tuple[list[float], list[float]]:
        """Up, per site and round; down, per site and round, the delivery last: means over the sites."""
        records = read_rounds(self._home.rounds_file)
        up = [float(np.mean([update.megabytes_up for update in record.updates])) for record in records if record.kind == "round"]
        down = [float(np.mean([update.megabytes_down for update in record.updates])) for record in records]
        return up, down
