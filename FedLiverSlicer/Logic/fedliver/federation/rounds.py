"""The rounds of one run: who takes part, what becomes of their updates, and the checkpoint and teacher at the end of each."""

import time
from collections.abc import Callable

from flwr.app import RecordDict

from fedliver.coordinator.checkpoints import Checkpoint, newest_checkpoint, save_checkpoint
from fedliver.coordinator.home import CoordinatorHome
from fedliver.coordinator.records import Job, read_rounds, usual_norm
from fedliver.errors import FedLiverError
from fedliver.federation.account import RunAccount, listed
from fedliver.federation.correspondence import POLL_SECONDS, Correspondence
from fedliver.federation.exchange import Exchange, Losses
from fedliver.federation.links import SiteLinks
from fedliver.federation.messages import DELIVER, TRAIN, Numbers, request_hash
from fedliver.federation.networks import load_weights, trained_tensors, weights_of
from fedliver.federation.secure.masked_round import MaskedRound, NotSummedError, masking_for
from fedliver.federation.shipping import GlobalModel, is_shipped_teacher, unpack_change
from fedliver.federation.strategies import Intake, UpdateRefusedError, remove_leftovers, server_step_of
from fedliver.teacher.bundle import load_bundle, save_bundle
from fedliver.teacher.network import build_network

_SETTLE_SECONDS = 3.0
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
        self._account = RunAccount(home, job, clock)
        self._kinds = trained_tensors(job.plan)
        self._aggregated = False

    def run(self) -> None:
        """Run all rounds and deliver the last aggregate. Raises :class:`RunEndedError`; the job's events end with the reason in any case."""
        tell = self._account.tell
        try:
            self._run()
        except RunEndedError as failure:
            tell("failed", 0, str(failure))
            raise
        except FedLiverError as error:
            tell("failed", 0, error.sentence)
            raise RunEndedError(error.sentence) from error
        except Exception as error:
            tell("failed", 0, f"The run ended with an unexpected error ({type(error).__name__}): see logs/superexec.log in the coordinator's folder.")
            raise

    def _run(self) -> None:
        remove_leftovers(self._home.scratch)
        first = GlobalModel(0, weights_of(load_bundle(self._home.teacher_of(0)).network))
        damaged: list[int] = []
        found = newest_checkpoint(self._home.checkpoints, first.weights, damaged.append) or Checkpoint(0, first.weights)
        model = GlobalModel(found.number, found.weights, found.state)
        installed = 0 if self._job.policy.compression != "none" and is_shipped_teacher(first) else None
        letters = Correspondence(self._home, self._job, self._links, self._account, installed, clock=self._clock, sleep=self._sleep)
        last = self._account.last = model.number + self._job.rounds
        if damaged:
            origin = f"of round {model.number}" if model.number else "that the federation began with"
            passed_over = f"The checkpoint of round {listed(map(str, reversed(damaged)))} is damaged"
            self._account.tell("warning", model.number, f"{passed_over}: going on from the model {origin}.")
        step = self._masked_round if self._job.policy.privacy.require_secure_aggregation else self._round
        while model.number < last:
            model = step(letters, model)
        if not self._aggregated:
            raise RunEndedError("No round of this run could be aggregated: the model is the one that it began with.")
        self._deliver(letters, model)
        rounds = f"{self._job.rounds} round{'s' if self._job.rounds > 1 else ''}"
        self._account.tell("finished", last, f"The run is finished: {rounds}; the new teacher is {self._home.teacher_of(last).name}.")

    def _round(self, letters: Correspondence, model: GlobalModel) -> GlobalModel:
        number = model.number + 1
        names = self._gather(letters, number)
        exchange = letters.send(number, TRAIN, names, model)
        self._tell_who_trains(exchange)
        usual = usual_norm(read_rounds(self._home.rounds_file), model.number)
        intake = Intake(self._job.policy, self._kinds, self._home.scratch, usual)
        try:
            letters.collect(exchange, lambda name, content, numbers: self._add(intake, model, name, content, numbers))
            new = self._aggregate(exchange, intake, model)
        finally:
            intake.close()
        self._keep(new)
        record = self._account.write_down(exchange, aggregated=True)
        self._aggregated = True
        used = f"{len(exchange.shares)} update{'s' if len(exchange.shares) > 1 else ''}"
        self._account.tell("aggregated", number, f"{self._account.place(number)}: averaged {used} in {record.seconds:.0f} s.", record=record)
        return new

    def _masked_round(self, letters: Correspondence, model: GlobalModel) -> GlobalModel:
        """A round of which only the sum is seen. One that comes to nothing leaves the model as it is, and the next goes on."""
        number, policy = model.number + 1, self._job.policy
        names = self._gather(letters, number)
        masking = masking_for(policy, len(names))
        exchange = letters.send(number, TRAIN, names, model, masking)
        self._tell_who_trains(exchange)
        nodes = {name: node for node, name in names.items()}
        enrolled = {site.node_id: site.public_key for site in self._home.sites().sites if site.node_id is not None}
        masked = MaskedRound(
            self._links,
            policy,
            self._kinds,
            masking,
            request=request_hash(letters.instructions(exchange), model.content),
            place=(number, self._account.last),
            enrolled=enrolled,
            approved=lambda: set(letters.approved()),
            listener=Losses(exchange, self._account.note),
            clock=self._clock,
            sleep=self._sleep,
        )
        letters.collect(exchange, lambda name, content, numbers: masked.take_keys(nodes[name], content))
        try:
            summed = masked.sum()
        except NotSummedError as failure:
            return self._not_summed(letters, exchange, masked, str(failure))
        finally:
            letters.silent |= masked.silent
        step, state = server_step_of(policy.strategy).take(summed.change, model.state)
        new = model.moved(step, state, self._kinds, policy.compression)
        self._keep(new)
        record = self._account.write_down(exchange, aggregated=True, summed=summed.told)
        self._aggregated = True
        self._account.tell("aggregated", number, f"{self._account.place(number)}: {summed.sentence}.", record=record)
        return new

    def _not_summed(self, letters: Correspondence, exchange: Exchange, masked: MaskedRound, why: str) -> GlobalModel:
        new = exchange.model.unmoved(self._kinds, self._job.policy.compression)
        self._keep(new)
        record = self._account.write_down(exchange, aggregated=False)
        # A single site that complains may be the one that lies.
        out = {node for node, complaints in masked.accused.items() if complaints > 1}
        letters.exclude(out)
        names = listed(exchange.names[node] for node in out)
        left_out = f" {names} sent shares that others could not read, and sit{'s' if len(out) == 1 else ''} out the rest of the run." if out else ""
        closed = f"not aggregated, and the model stays as it was: {why} ({exchange.reasons or 'no site is to blame'})."
        self._account.tell("round", exchange.number, f"{self._account.place(exchange.number)}: {closed}{left_out}", record=record)
        return new

    def _keep(self, new: GlobalModel) -> None:
        network = build_network(self._job.plan)
        load_weights(network, new.weights)
        save_bundle(network, self._job.plan, self._home.teacher_of(new.number), name=TEACHER_NAME, version=f"round-{new.number}")
        save_checkpoint(self._home.checkpoints, new.number, new.weights, new.state)  # last: a run that goes on from it finds its teacher there

    def _add(self, intake: Intake, model: GlobalModel, name: str, content: RecordDict, numbers: Numbers) -> None:
        try:
            change = unpack_change(content, model.weights, self._kinds, self._job.policy.compression)
        except FedLiverError as error:
            raise UpdateRefusedError("sent tensors of another network") from error
        intake.add(name, change, numbers.cases, numbers.unlabelled)

    def _aggregate(self, exchange: Exchange, intake: Intake, model: GlobalModel) -> GlobalModel:
        usable, needed = len(intake.norms), intake.enough
        for site, norm in intake.norms.items():
            exchange.updates[site] = exchange.updates[site].model_copy(update={"norm": norm})
        if usable < needed:
            self._account.write_down(exchange, aggregated=False)
            raise RunEndedError(
                f"Round {exchange.number} failed: {usable} usable update{'s' if usable != 1 else ''}, and the policy asks for {needed}"
                f" ({exchange.reasons or 'no site answered'})."
            )
        aggregate, policy = intake.result(), self._job.policy
        exchange.shares = aggregate.shares
        for site, why in aggregate.left_out.items():
            self._account.note(exchange, exchange.updates[site].model_copy(update={"refused": why}))
        step, state = server_step_of(policy.strategy).take(aggregate.change, model.state)
        return model.moved(step, state, self._kinds, policy.compression)

    def _deliver(self, letters: Correspondence, model: GlobalModel) -> None:
        """Bring the last aggregate to the sites that answered the last round. One that misses it gets it with the next run."""
        names = {node: name for node, name in letters.online().items() if node not in letters.silent}
        if not names:
            return
        exchange = letters.send(model.number, DELIVER, names, model)
        letters.collect(exchange, lambda name, content, numbers: None)
        record = self._account.write_down(exchange, aggregated=False)
        arrived = [update.site for update in record.updates if not update.refused]
        said = f"The new teacher has arrived at {listed(arrived)}." if arrived else "No site has taken the new teacher yet."
        self._account.tell("delivered", model.number, said, record=record)

    def _gather(self, letters: Correspondence, number: int) -> dict[int, str]:
        """Wait until every approved site is online, or the quorum is and a moment has passed; never longer than the policy allows."""
        approved, quorum, started = letters.approved(), self._job.policy.quorum, self._clock()
        if len(approved) < quorum:
            raise RunEndedError(
                f"{len(approved)} site{'s are' if len(approved) != 1 else ' is'} approved, and the policy asks for {quorum}:"
                " approve more sites, or lower the quorum in policy.json."
            )
        told = False
        while True:
            online = letters.online()
            waited = self._clock() - started
            if len(online) == len(approved) or (len(online) >= quorum and waited >= _SETTLE_SECONDS):
                return online
            missing = listed(name for node, name in approved.items() if node not in online)
            if waited >= self._job.policy.gather_seconds:
                raise RunEndedError(
                    f"Round {number} did not begin: {len(online)} of at least {quorum} sites were online after {waited:.0f} s (missing: {missing})."
                )
            if not told:
                told = True
                self._account.tell("waiting", number, f"{self._account.place(number)}: waiting for {missing}.")
            self._sleep(POLL_SECONDS)

    def _tell_who_trains(self, exchange: Exchange) -> None:
        are = "is" if len(exchange.names) == 1 else "are"
        self._account.tell("round", exchange.number, f"{self._account.place(exchange.number)}: {listed(exchange.names.values())} {are} training.")
