"""Between a run and its sites: who is approved and online, what each is sent, and what each answers, no later than the deadline."""

import sys
from collections.abc import Callable, Iterable

from flwr.app import RecordDict

from fedliver.coordinator.home import CoordinatorHome
from fedliver.coordinator.records import Job, SiteUpdate, held_models, read_rounds
from fedliver.error_details import details_of
from fedliver.errors import FedLiverError
from fedliver.federation.account import RunAccount
from fedliver.federation.exchange import MEGABYTE, Exchange
from fedliver.federation.links import SiteLinks
from fedliver.federation.messages import Instructions, Numbers, pack, payload_bytes, unpack_numbers
from fedliver.federation.secure.words import Masking
from fedliver.federation.shipping import GlobalModel
from fedliver.federation.strategies import UNREADABLE, UpdateRefusedError
from fedliver.site.codes import ErrorCode, sentence_of

POLL_SECONDS = 0.5
_TTL_MARGIN_SECONDS = 30.0
Use = Callable[[str, RecordDict, Numbers], None]
"""What is done with a site's usable answer; :class:`UpdateRefusedError` if it turns out to be none."""


class Correspondence:
    """One run's letters to its sites.

    Parameters
    ----------
    installed:
        The number of the model that every site has from its installation; None if there is none.
    clock, sleep:
        The rounds' own.
    """

    def __init__(
        self,
        home: CoordinatorHome,
        job: Job,
        links: SiteLinks,
        account: RunAccount,
        installed: int | None,
        *,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
    ) -> None:
        self._home = home
        self._job = job
        self._links = links
        self._account = account
        self._installed = installed
        self._clock = clock
        self._sleep = sleep
        self._held = held_models(read_rounds(home.rounds_file))
        self._excluded: set[int] = set()
        self.silent: set[int] = set()
        """The nodes that gave no answer at all the last time."""

    def approved(self) -> dict[int, str]:
        """The sites that may take part now, by node."""
        return {site.node_id: site.name for site in self._home.sites().sites if site.node_id is not None and site.node_id not in self._excluded}

    def exclude(self, nodes: Iterable[int]) -> None:
        """They sit out the rest of the run."""
        self._excluded |= set(nodes)

    def online(self) -> dict[int, str]:
        """Those of the approved sites that are online."""
        here = self._links.online()
        return {node: name for node, name in self.approved().items() if node in here}

    def send(self, number: int, kind: str, names: dict[int, str], model: GlobalModel, masking: Masking | None = None) -> Exchange:
        """Send every site of ``names`` the model in the fewest bytes that it can make it from."""
        exchange = Exchange(number, kind, model, self._clock(), names, masking=masking)
        groups: dict[int | None, list[int]] = {}
        for node, name in names.items():
            groups.setdefault(self._held.get(name, self._installed), []).append(node)
        for held, nodes in groups.items():
            self._send_to(exchange, nodes, held)
        return exchange

    def _send_to(self, exchange: Exchange, nodes: list[int], held: int | None) -> None:
        policy, model = self._job.policy, exchange.model
        shipment, payload = model.shipment(held, policy.compression)
        instructions = self.instructions(exchange).model_copy(update={"shipment": shipment})
        content = pack(instructions, payload)
        exchange.pending |= self._links.send(nodes, content, exchange.kind, exchange.number, policy.deadline_seconds + _TTL_MARGIN_SECONDS)
        for node in nodes:
            name = exchange.names[node]
            exchange.megabytes_down[name] = exchange.megabytes_down.get(name, 0.0) + payload_bytes(content) / MEGABYTE

    def instructions(self, exchange: Exchange) -> Instructions:
        """What every site of the round is asked to do."""
        policy = self._job.policy
        training = policy.training.model_copy(update={"proximal": policy.strategy.proximal}) if policy.strategy.proximal else policy.training
        return Instructions(
            round=exchange.number,
            rounds=self._account.last,
            model=exchange.model.number,
            plan=self._job.plan,
            training=training,
            compression=policy.compression,
            masking=exchange.masking,
        )

    def collect(self, exchange: Exchange, use: Use) -> None:
        """Take the answers one by one until all are there or the deadline has passed; then say who is missing."""
        end = exchange.started + self._job.policy.deadline_seconds
        self.silent = set()
        while exchange.pending and self._clock() < end:
            for reply in self._links.receive(exchange.pending):
                node = exchange.pending.pop(reply.message, None)
                if node is None or self._sent_again(exchange, node, reply.content):
                    continue
                if reply.content is None:
                    self.silent.add(node)
                self._account.note(exchange, self._judge(exchange, exchange.names[node], reply.content, reply.failure, use))
            self._leave_out_revoked(exchange)
            if exchange.pending:
                self._sleep(POLL_SECONDS)
        for node, name in exchange.names.items():
            if name not in exchange.updates:
                late = node in exchange.pending.values()
                self.silent.add(node)
                why = f"did not answer within {self._job.policy.deadline_seconds:.0f} s" if late else "could not be sent the model"
                self._account.note(exchange, SiteUpdate(site=name, refused=why, megabytes_down=exchange.megabytes_down.get(name, 0.0)))

    def _leave_out_revoked(self, exchange: Exchange) -> None:
        """Wait no longer for a site that the coordinator has revoked meanwhile."""
        approved = self.approved()
        for message, node in list(exchange.pending.items()):
            if node not in approved:
                del exchange.pending[message]
                self.silent.add(node)
                name = exchange.names[node]
                self._account.note(exchange, SiteUpdate(site=name, refused="was revoked", megabytes_down=exchange.megabytes_down.get(name, 0.0)))

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

    def _judge(self, exchange: Exchange, name: str, content: RecordDict | None, failure: str, use: Use) -> SiteUpdate:
        """What becomes of one site's answer. Nothing that a site can make up ends the run; a full disk of our own does (FedLiverError)."""
        try:
            return self._judged(exchange, name, content, failure, use)
        except (FedLiverError, OSError):
            raise
        except Exception as error:
            print(details_of(error), file=sys.stderr)
            seconds, down = self._clock() - exchange.started, exchange.megabytes_down.get(name, 0.0)
            return SiteUpdate(site=name, seconds=seconds, megabytes_down=down, refused=UNREADABLE)

    def _judged(self, exchange: Exchange, name: str, content: RecordDict | None, failure: str, use: Use) -> SiteUpdate:
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
            update = _told(update, numbers)
        try:
            use(name, content, numbers)
        except UpdateRefusedError as refused:
            return update.model_copy(update={"refused": str(refused)})
        return update


def _told(update: SiteUpdate, numbers: Numbers) -> SiteUpdate:
    # Only what is in its range is written down: a site must not be able to put nonsense into the report.
    dice = numbers.dice if numbers.dice_cases > 0 and 0 <= numbers.dice <= 1 else None
    told = {"cases": numbers.cases, "unlabelled": numbers.unlabelled, "loss": _finite(numbers.loss), "training_seconds": _finite(numbers.seconds) or 0.0}
    return update.model_copy(update={**told, "dice": dice, "dice_cases": numbers.dice_cases if dice is not None else 0})


def _finite(number: float) -> float | None:
    return number if abs(number) < float("inf") else None
