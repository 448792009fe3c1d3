"""The rounds of one run: send, wait no longer than the deadline, check, average, checkpoint, write the new teacher, write down who did what."""

import logging
import time
from collections.abc import Callable

from flwr.app import RecordDict

from fedliver.coordinator.checkpoints import Checkpoint, newest_checkpoint, save_checkpoint
from fedliver.coordinator.home import CoordinatorHome
from fedliver.coordinator.records import Job, RoundRecord, RunEvent, SiteUpdate, append_line, held_models, read_rounds, usual_norm
from fedliver.errors import FedLiverError
from fedliver.federation.exchange import MEGABYTE, Exchange, Losses, listed
from fedliver.federation.links import SiteLinks
from fedliver.federation.messages import DELIVER, TRAIN, Instructions, Numbers, pack, payload_bytes, request_hash, unpack_numbers
from fedliver.federation.networks import load_weights, trained_tensors, weights_of
from fedliver.federation.secure.masked_round import MaskedRound, NotSummedError, masking_for
from fedliver.federation.secure.words import Masking
from fedliver.federation.shipping import GlobalModel, is_shipped_teacher, unpack_change
from fedliver.federation.strategies import Intake, UpdateRefusedError, remove_leftovers, server_step_of
from fedliver.site.codes import ErrorCode, sentence_of
from fedliver.site.egress import cases_in_words
from fedliver.teacher.bundle import load_bundle, save_bundle
from fedliver.teacher.network import build_network

_POLL_SECONDS = 0.5
_SETTLE_SECONDS = 3.0
_TTL_MARGIN_SECONDS = 30.0
TEACHER_NAME = "fedliver_federated"


class RunEndedError(Exception):
    """The run cannot go on; its text is one sentence for the coordinator."""


class Rounds:
    """Runs the rounds of one job, from the newest checkpoint on.

    Parameters
    ----------
    clock, sleep:
        Seams for tests: monotonic seconds, and waiting.
    """

    def __init__(
        self, home: CoordinatorHome, job: Job, links: SiteLinks, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._home = home
        self._job = job
        self._links = links
        self._clock = clock
        self._sleep = sleep
        self._last = 0
        self._silent: set[int] = set()
        self._kinds = trained_tensors(job.plan)
        self._held: dict[str, int] = {}
        self._excluded: set[int] = set()
        """Nodes whose sealed shares others could not read: they sit out the rest of the run."""
        self._aggregated = 0
        self._installed: int | None = None
        """The number of the model that a site has from its installation."""

    def run(self) -> None:
        """Run all rounds and deliver the last aggregate. Raises :class:`RunEndedError`; the job's events end with the reason in any case."""
        try:
            self._run()
        except RunEndedError as failure:
            self._tell("failed", 0, str(failure))
            raise
        except FedLiverError as error:
            self._tell("failed", 0, error.sentence)
            raise RunEndedError(error.sentence) from error
        except Exception as error:
            self._tell("failed", 0, f"The run ended with an unexpected error ({type(error).__name__}): see logs/superexec.log in the coordinator's folder.")
            raise

    def _run(self) -> None:
        remove_leftovers(self._home.scratch)
        first = GlobalModel(0, weights_of(load_bundle(self._home.teacher_of(0)).network))
        damaged: list[int] = []
        found = newest_checkpoint(self._home.checkpoints, first.weights, damaged.append) or Checkpoint(0, first.weights)
        model = GlobalModel(found.number, found.weights, found.state)
        self._held = held_models(read_rounds(self._home.rounds_file))
        self._installed = 0 if self._job.policy.compression != "none" and is_shipped_teacher(first) else None
        self._last = model.number + self._job.rounds
        if damaged:
            origin = f"of round {model.number}" if model.number else "that the federation began with"
            self._tell("warning", model.number, f"The checkpoint of round {listed(map(str, reversed(damaged)))} is damaged: going on from the model {origin}.")
        step = self._masked_round if self._job.policy.privacy.require_secure_aggregation else self._round
        while model.number < self._last:
            model = step(model)
        if not self._aggregated:
            raise RunEndedError("No round of this run could be aggregated: the model is the one that it began with.")
        self._deliver(model)
        self._tell(
            "finished",
            self._last,
            f"The run is finished: {self._job.rounds} round{'s' if self._job.rounds > 1 else ''}; the new teacher is {self._home.teacher_of(self._last).name}.",
        )

    def _round(self, model: GlobalModel) -> GlobalModel:
        number = model.number + 1
        names = self._gather(number)
        exchange = self._send(number, TRAIN, names, model)
        self._tell("round", number, f"Round {number} of {self._last}: {listed(names.values())} {'is' if len(names) == 1 else 'are'} training.")
        usual = usual_norm(read_rounds(self._home.rounds_file), model.number)
        intake = Intake(self._job.policy, self._kinds, self._home.scratch, usual)
        try:
            self._collect(exchange, lambda name, content, numbers: self._add(intake, model, name, content, numbers))
            new = self._aggregate(exchange, intake, model)
        finally:
            intake.close()
        self._keep(new)
        record = self._write_down(exchange, aggregated=True)
        used = len(exchange.shares)
        self._tell(
            "aggregated", number, f"Round {number} of {self._last}: averaged {used} update{'s' if used > 1 else ''} in {record.seconds:.0f} s.", record=record
        )
        return new

    def _masked_round(self, model: GlobalModel) -> GlobalModel:
        """A round of which only the sum is seen. One that comes to nothing leaves the model as it is, and the next goes on."""
        number, policy = model.number + 1, self._job.policy
        names = self._gather(number)
        masking = masking_for(policy, len(names))
        exchange = self._send(number, TRAIN, names, model, masking)
        self._tell("round", number, f"Round {number} of {self._last}: {listed(names.values())} {'is' if len(names) == 1 else 'are'} training.")
        nodes = {name: node for node, name in names.items()}
        request = request_hash(self._instructions(exchange), model.content)
        masked = MaskedRound(
            self._links,
            policy,
            self._kinds,
            masking,
            request,
            (number, self._last),
            lambda: set(self._approved()),
            Losses(exchange, self._note),
            self._clock,
            self._sleep,
        )
        self._collect(exchange, lambda name, content, numbers: masked.take_keys(nodes[name], content))
        try:
            summed = masked.sum()
        except NotSummedError as failure:
            return self._not_summed(exchange, model, masked, str(failure))
        finally:
            self._silent |= masked.silent
        step, state = server_step_of(policy.strategy).take(summed.change, model.state)
        new = model.moved(step, state, self._kinds, policy.compression)
        self._keep(new)
        self._write_down(exchange, aggregated=True)
        self._tell("aggregated", number, f"Round {number} of {self._last}: {summed.sentence}.")
        return new

    def _not_summed(self, exchange: Exchange, model: GlobalModel, masked: MaskedRound, why: str) -> GlobalModel:
        new = model.unmoved(self._kinds, self._job.policy.compression)
        self._keep(new)
        self._write_down(exchange, aggregated=False)
        reasons = "; ".join(f"{update.site} {update.refused}" for update in exchange.updates.values() if update.refused)
        # A single site that complains may be the one that lies.
        self._excluded |= {node for node, complaints in masked.accused.items() if complaints > 1}
        out = [exchange.names[node] for node in self._excluded if node in exchange.names]
        left_out = f" {listed(out)} sent shares that others could not read, and sits out the rest of the run." if out else ""
        self._tell(
            "round",
            exchange.number,
            f"Round {exchange.number} of {self._last}: not aggregated, and the model stays as it was: {why} ({reasons or 'no site is to blame'}).{left_out}",
        )
        return new

    def _keep(self, new: GlobalModel) -> None:
        self._write_teacher(new)
        save_checkpoint(self._home.checkpoints, new.number, new.weights, new.state)  # last: a run that goes on from it finds its teacher there

    def _aggregate(self, exchange: Exchange, intake: Intake, model: GlobalModel) -> GlobalModel:
        usable, needed = len(intake.norms), intake.enough
        for site, norm in intake.norms.items():
            exchange.updates[site] = exchange.updates[site].model_copy(update={"norm": norm})
        if usable < needed:
            self._write_down(exchange, aggregated=False)
            reasons = "; ".join(f"{update.site} {update.refused}" for update in exchange.updates.values() if update.refused)
            raise RunEndedError(
                f"Round {exchange.number} failed: {usable} usable update{'s' if usable != 1 else ''}, and the policy asks for {needed}"
                f" ({reasons or 'no site answered'})."
            )
        aggregate, policy = intake.result(), self._job.policy
        exchange.shares = aggregate.shares
        for site, why in aggregate.left_out.items():
            self._note(exchange, exchange.updates[site].model_copy(update={"refused": why}))
        step, state = server_step_of(policy.strategy).take(aggregate.change, model.state)
        return model.moved(step, state, self._kinds, policy.compression)

    def _add(self, intake: Intake, model: GlobalModel, name: str, content: RecordDict, numbers: Numbers) -> None:
        try:
            change = unpack_change(content, model.weights, self._kinds, self._job.policy.compression)
        except FedLiverError as error:
            raise UpdateRefusedError("sent tensors of another network") from error
        intake.add(name, change, numbers.cases, numbers.unlabelled)

    def _deliver(self, model: GlobalModel) -> None:
        """Bring the last aggregate to the sites that answered the last round. One that misses it gets it with the next run."""
        online = self._links.online() - self._silent
        names = {node: name for node, name in self._approved().items() if node in online}
        if not names:
            return
        exchange = self._send(self._last, DELIVER, names, model)
        self._collect(exchange, lambda name, content, numbers: None)
        record = self._write_down(exchange, aggregated=False)
        arrived = [update.site for update in record.updates if not update.refused]
        self._tell(
            "delivered",
            self._last,
            f"The new teacher has arrived at {listed(arrived)}." if arrived else "No site has taken the new teacher yet.",
            record=record,
        )

    def _gather(self, number: int) -> dict[int, str]:
        """Wait until every approved site is online, or the quorum is and a moment has passed; never longer than the policy allows."""
        approved, quorum, started = self._approved(), self._job.policy.quorum, self._clock()
        if len(approved) < quorum:
            raise RunEndedError(
                f"{len(approved)} site{'s are' if len(approved) != 1 else ' is'} approved, and the policy asks for {quorum}:"
                " approve more sites, or lower the quorum in policy.json."
            )
        told = False
        while True:
            here = self._links.online()
            online = {node: name for node, name in approved.items() if node in here}
            waited = self._clock() - started
            if len(online) == len(approved) or (len(online) >= quorum and waited >= _SETTLE_SECONDS):
                return online
            if waited >= self._job.policy.gather_seconds:
                missing = listed(name for node, name in approved.items() if node not in online)
                raise RunEndedError(
                    f"Round {number} did not begin: {len(online)} of at least {quorum} sites were online after {waited:.0f} s (missing: {missing})."
                )
            if not told:
                told = True
                self._tell(
                    "waiting", number, f"Round {number} of {self._last}: waiting for {listed(name for node, name in approved.items() if node not in online)}."
                )
            self._sleep(_POLL_SECONDS)

    def _approved(self) -> dict[int, str]:
        return {site.node_id: site.name for site in self._home.sites().sites if site.node_id is not None and site.node_id not in self._excluded}

    def _send(self, number: int, kind: str, names: dict[int, str], model: GlobalModel, masking: Masking | None = None) -> Exchange:
        exchange = Exchange(number, kind, model, self._clock(), names, masking=masking)
        installed = self._installed if model.number == self._installed else None
        groups: dict[int | None, list[int]] = {}
        for node, name in names.items():
            groups.setdefault(self._held.get(name, installed), []).append(node)
        for held, nodes in groups.items():
            self._send_to(exchange, nodes, held)
        return exchange

    def _send_to(self, exchange: Exchange, nodes: list[int], held: int | None) -> None:
        policy, model = self._job.policy, exchange.model
        shipment, payload = model.shipment(held, policy.compression)
        instructions = self._instructions(exchange).model_copy(update={"shipment": shipment})
        content = pack(instructions, payload)
        exchange.pending |= self._links.send(nodes, content, exchange.kind, exchange.number, policy.deadline_seconds + _TTL_MARGIN_SECONDS)
        for node in nodes:
            name = exchange.names[node]
            exchange.megabytes_down[name] = exchange.megabytes_down.get(name, 0.0) + payload_bytes(content) / MEGABYTE

    def _instructions(self, exchange: Exchange) -> Instructions:
        """What every site of the round is asked to do."""
        policy = self._job.policy
        training = policy.training.model_copy(update={"proximal": policy.strategy.proximal}) if policy.strategy.proximal else policy.training
        return Instructions(
            round=exchange.number,
            rounds=self._last,
            model=exchange.model.number,
            plan=self._job.plan,
            training=training,
            compression=policy.compression,
            masking=exchange.masking,
        )

    def _collect(self, exchange: Exchange, use: Callable[[str, RecordDict, Numbers], None]) -> None:
        """Take the answers one by one until all are there or the deadline has passed; then say who is missing."""
        end = exchange.started + self._job.policy.deadline_seconds
        self._silent = set()
        while exchange.pending and self._clock() < end:
            for reply in self._links.receive(exchange.pending):
                node = exchange.pending.pop(reply.message, None)
                if node is None or self._sent_again(exchange, node, reply.content):
                    continue
                if reply.content is None:
                    self._silent.add(node)
                self._note(exchange, self._judge(exchange, exchange.names[node], reply.content, reply.failure, use))
            self._leave_out_revoked(exchange)
            if exchange.pending:
                self._sleep(_POLL_SECONDS)
        for node, name in exchange.names.items():
            if name not in exchange.updates:
                late = node in exchange.pending.values()
                self._silent.add(node)
                why = f"did not answer within {self._job.policy.deadline_seconds:.0f} s" if late else "could not be sent the model"
                self._note(exchange, SiteUpdate(site=name, refused=why, megabytes_down=exchange.megabytes_down.get(name, 0.0)))

    def _leave_out_revoked(self, exchange: Exchange) -> None:
        """Wait no longer for a site that the coordinator has revoked meanwhile."""
        approved = self._approved()
        for message, node in list(exchange.pending.items()):
            if node not in approved:
                del exchange.pending[message]
                self._silent.add(node)
                name = exchange.names[node]
                self._note(exchange, SiteUpdate(site=name, refused="was revoked", megabytes_down=exchange.megabytes_down.get(name, 0.0)))

    def _sent_again(self, exchange: Exchange, node: int, content: RecordDict | None) -> bool:
        """Whether the site lacked what the model was built on, and has now been sent it whole. Once in a round."""
        name = exchange.names[node]
        try:
            lacks = content is not None and unpack_numbers(content).error == ErrorCode.MODEL_MISSING
        except ValueError:
            return False
        if not lacks or name in exchange.again:
            return False
        exchange.again.add(name)
        self._held.pop(name, None)
        self._send_to(exchange, [node], None)
        return node in exchange.pending.values()

    def _judge(self, exchange: Exchange, name: str, content: RecordDict | None, failure: str, use: Callable[[str, RecordDict, Numbers], None]) -> SiteUpdate:
        update = SiteUpdate(site=name, seconds=self._clock() - exchange.started, megabytes_down=exchange.megabytes_down.get(name, 0.0))
        if content is None:
            return update.model_copy(update={"refused": failure})
        update = update.model_copy(update={"megabytes_up": payload_bytes(content) / MEGABYTE})
        try:
            numbers = unpack_numbers(content)
        except ValueError:
            return update.model_copy(update={"refused": "sent numbers that were not agreed"})
        if numbers.error:
            return update.model_copy(update={"refused": sentence_of(numbers.error)})
        self._held[name] = exchange.model.number
        update = update.model_copy(update={"model": exchange.model.number})
        if exchange.masking is None:
            update = self._told(update, numbers)
        try:
            use(name, content, numbers)
        except UpdateRefusedError as refused:
            return update.model_copy(update={"refused": str(refused)})
        return update

    def _told(self, update: SiteUpdate, numbers: Numbers) -> SiteUpdate:
        # Only what is in its range is written down: a site must not be able to put nonsense into the report.
        dice = numbers.dice if numbers.dice_cases > 0 and 0 <= numbers.dice <= 1 else None
        told = {"cases": numbers.cases, "unlabelled": numbers.unlabelled, "loss": _finite(numbers.loss), "training_seconds": _finite(numbers.seconds) or 0.0}
        return update.model_copy(update={**told, "dice": dice, "dice_cases": numbers.dice_cases if dice is not None else 0})

    def _note(self, exchange: Exchange, update: SiteUpdate) -> None:
        exchange.updates[update.site] = update
        if exchange.kind == TRAIN:
            what = "has trained" if exchange.masking else f"{cases_in_words(update.cases, update.unlabelled)}, {update.megabytes_up:.1f} MB"
            said = f"not used: {update.refused}" if update.refused else what
            self._tell("update", exchange.number, f"Round {exchange.number} of {self._last}: {update.site}: {said}.", update=update)

    def _write_down(self, exchange: Exchange, *, aggregated: bool) -> RoundRecord:
        self._aggregated += aggregated
        total = sum(exchange.shares.values())
        updates = tuple(
            update.model_copy(update={"weight": exchange.shares.get(update.site, 0) / total if total else 0.0}) for update in exchange.updates.values()
        )
        record = RoundRecord(
            kind="round" if exchange.kind == TRAIN else "delivery",
            job=self._job.job,
            round=exchange.number,
            seconds=self._clock() - exchange.started,
            aggregated=aggregated,
            updates=updates,
            teacher=self._home.teacher_of(exchange.number).name if aggregated or exchange.kind == DELIVER else "",
        )
        append_line(self._home.rounds_file, record)
        return record

    def _write_teacher(self, model: GlobalModel) -> None:
        network = build_network(self._job.plan)
        load_weights(network, model.weights)
        save_bundle(network, self._job.plan, self._home.teacher_of(model.number), name=TEACHER_NAME, version=f"round-{model.number}")

    def _tell(self, kind: str, number: int, sentence: str, *, update: SiteUpdate | None = None, record: RoundRecord | None = None) -> None:
        logging.getLogger("flwr").info("%s", sentence)
        event = RunEvent.model_validate({"kind": kind, "round": number, "rounds": self._last, "sentence": sentence, "update": update, "record": record})
        append_line(self._home.job(self._job.job) / "events.jsonl", event)


def _finite(number: float) -> float | None:
    return number if abs(number) < float("inf") else None
