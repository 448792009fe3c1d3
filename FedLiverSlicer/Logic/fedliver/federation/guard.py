"""The egress filter around a ClientApp. It belongs to the site: nothing that the coordinator sends starts, stops or changes it.

What leaves is put together here, from the agreed tensors and numbers alone; whatever else an app's answer holds is left behind. Every model that comes in and
every answer that leaves is in the ledger before it is handed on.
"""

import math
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import numpy as np
from flwr.app import Context, Message, RecordDict

from fedliver.coordinator.checkpoints import Weights
from fedliver.error_details import details_of
from fedliver.errors import FedLiverError
from fedliver.federation.client_app import tell_site
from fedliver.federation.incoming import received_model
from fedliver.federation.messages import (
    STEP,
    TRAIN,
    Instructions,
    Numbers,
    OfRound,
    Shipment,
    error_reply,
    pack,
    pack_reply,
    payload_bytes,
    request_hash,
    unpack_instructions,
    unpack_numbers,
    unpack_patients,
    unpack_weights,
    unpack_words,
)
from fedliver.federation.networks import agreed_tensors, trained_tensors
from fedliver.federation.outgoing import Rounding, as_packet, as_weights
from fedliver.federation.secure.site_steps import FilteredChange, SiteSteps
from fedliver.federation.secure.site_sum import Place
from fedliver.federation.secure.words import AnyStep
from fedliver.site.accountant import epsilon
from fedliver.site.agreed_training import check_training, own_training
from fedliver.site.codes import ErrorCode, code_of
from fedliver.site.egress import AgreedNumbers, FilteredUpdate, PatientCount, TensorKind, admit, filter_numbers, filter_update
from fedliver.site.enrolment import Invitation, accepted_invitation
from fedliver.site.federation import SiteFiles
from fedliver.site.ledger import Ledger, ModelIn, NumbersOut, UpdateOut, content_hash
from fedliver.site.policy import contract_of
from fedliver.site.rules import EgressRules, read_rules


class App(Protocol):
    """What Flower calls with one message."""

    def __call__(self, message: Message, context: Context) -> Message: ...


def count_patients(home: Path) -> PatientCount:
    """Counted in the case store, not told by the app."""
    from fedliver.site.home import SiteHome

    return SiteHome.open(home).patients()


class Guard:
    """Takes the place of a ClientApp: runs it, and answers with what the site's rules let through, or with an error number.

    Parameters
    ----------
    home:
        The site's folder, with its rules, its invitation and its ledger.
    app:
        The ClientApp.
    patients, noise:
        Seams for tests.
    """

    def __init__(
        self,
        home: Path,
        app: App,
        patients: Callable[[Path], PatientCount] = count_patients,
        noise: Callable[[], np.random.Generator] = np.random.default_rng,
    ) -> None:
        self._home = home
        self._app = app
        self._patients = patients
        self._noise = noise
        self._ledger = Ledger(SiteFiles(home).ledger)

    def __call__(self, message: Message, context: Context) -> Message:
        about: OfRound | None = None
        try:
            if message.metadata.message_type == STEP:
                about = asked = unpack_words(message.content, AnyStep).root
                return Message(self._steps(self._rules(self._invitation())).answer(message.metadata.run_id, asked), reply_to=message)
            about = instructions = unpack_instructions(message.content)
            return Message(self._answer(message, context, instructions), reply_to=message)
        except _AppRefusedError as refused:
            return refusal(self._home, message, about, refused.code, tell=False)
        except Exception as error:
            code = code_of(error)
            if code is ErrorCode.UNEXPECTED:
                with suppress(Exception):  # no log to write into, or an error whose own words fail: the number still has to leave
                    print(details_of(error), file=sys.stderr)
            # A missing model is between the machines: the coordinator sends it whole, and the round goes on.
            return refusal(self._home, message, about, code, tell=code is not ErrorCode.MODEL_MISSING)

    def _answer(self, message: Message, context: Context, instructions: Instructions) -> RecordDict:
        trains = message.metadata.message_type == TRAIN
        agreed = agreed_tensors(instructions.plan)
        invitation = self._accepted(instructions)
        if trains:
            check_training(instructions.training, invitation.policy)
        rules = self._rules(invitation)
        came, received = payload_bytes(message.content), received_model(message.content, instructions, agreed, self._home)
        # However it travelled, the app is given the model whole, and the training as this site does it.
        training = own_training(instructions.training, invitation.policy)
        message.content = pack(instructions.model_copy(update={"shipment": Shipment(), "training": training}), received)
        task = _Task(message, context, instructions, rules, invitation, agreed, received)
        self._ledger.append(ModelIn(**task.place, model=instructions.model, content=content_hash(received), bytes=came))
        return self._update(task) if trains else self._delivery(task)

    def _delivery(self, task: "_Task") -> RecordDict:
        """The app keeps and scores the model; numbers alone leave."""
        told, _ = self._run(task)
        numbers = filter_numbers(task.rules, _agreed_numbers(told), self._patients(self._home))
        if task.rules.require_secure_aggregation:
            numbers = replace(numbers, dice=0.0, dice_cases=0)  # one site's own
        self._steps(task.rules).forget()
        self._ledger.append(NumbersOut(**task.place, error=0, dice=numbers.dice if numbers.dice_cases else None, dice_cases=numbers.dice_cases))
        return pack_reply(Numbers(dice=numbers.dice, dice_cases=numbers.dice_cases))

    def _update(self, task: "_Task") -> RecordDict:
        """The app trains, if its update may leave at all; what leaves is the filtered update."""
        with_unlabelled = task.invitation.policy.learns_from_unlabelled and task.instructions.training.consistency is not None
        admit(task.rules, self._patients(self._home).teaching(with_unlabelled))
        masking = task.instructions.masking
        if masking is not None:
            self._steps(task.rules).check_first(Place(**task.place))
        elif task.rules.require_secure_aggregation:
            raise FedLiverError("masking-required", "The coordinator asks for an update in the open, and this site's rules let it leave masked only.")
        self._steps(task.rules).forget()
        spent = self._epsilon_with_one_more(task.rules)
        told, answer = self._run(task)
        patients = self._patients(self._home)
        if told.unlabelled and not with_unlabelled:
            raise FedLiverError("not-agreed", "The egress filter stopped an update of scans that this site did not agree to train on.")
        trained_by = min(patients.teaching(with_unlabelled), told.cases + told.unlabelled, *_drawn(answer))
        admit(task.rules, trained_by)
        try:
            trained = unpack_weights(answer, task.agreed)
        except FedLiverError as error:
            raise FedLiverError("not-agreed", "The egress filter stopped an update whose tensors are not those of the agreed network.") from error
        numbers = filter_numbers(task.rules, _agreed_numbers(told), patients)
        travels = trained_tensors(task.instructions.plan)
        update = filter_update(task.rules, {name: trained[name] for name in travels}, task.received, travels, self._noise())
        entry = _entry(task, numbers, update, trained_by, spent)
        if masking is None:
            return self._sent(task, numbers, update, travels, entry)
        moved = {name: update.weights[name].astype(np.float64) - task.received[name] for name in travels}
        request = request_hash(task.instructions, content_hash(task.received))
        return self._steps(task.rules).begin(Place(**task.place), masking, request, FilteredChange(moved, numbers, entry), travels)

    def _sent(self, task: "_Task", numbers: AgreedNumbers, update: FilteredUpdate, travels: dict[str, TensorKind], entry: UpdateOut) -> RecordDict:
        """The update in the open."""
        rounding = Rounding(SiteFiles(self._home).rounding, task.invitation.identifier)
        packed = task.instructions.compression == "int8"
        leaving = as_packet(update, task.received, travels, task.rules, rounding) if packed else as_weights(update)
        leaves = pack_reply(Numbers(**asdict(numbers)), leaving.payload)
        if packed:
            rounding.write(leaving.kept)  # first: what cannot be kept does not leave, and the ledger must not say that it did
        told = {"time": datetime.now(UTC), "content": leaving.content, "bytes": payload_bytes(leaves), "sent_norm": leaving.norm}
        self._ledger.append(entry.model_copy(update=told))
        return leaves

    def _rules(self, accepted: Invitation) -> EgressRules:
        return read_rules(self._home).made_stricter(accepted.policy.privacy)

    def _steps(self, rules: EgressRules) -> SiteSteps:
        return SiteSteps(SiteFiles(self._home), rules, self._ledger)

    def _invitation(self) -> Invitation:
        """What this site accepted, with a policy beside which its rules can only be stricter; the policy that a coordinator has now is not asked."""
        try:
            return accepted_invitation(SiteFiles(self._home).invitation)
        except (OSError, ValueError) as error:
            raise FedLiverError("rules-unreadable", "The invitation that this site accepted cannot be read: enrol again.") from error

    def _accepted(self, instructions: Instructions) -> Invitation:
        accepted = self._invitation()
        if contract_of(instructions.plan) != accepted.policy.contract:
            raise FedLiverError("other-contract", "The coordinator asks for another network than this site agreed to.")
        return accepted

    def _epsilon_with_one_more(self, rules: EgressRules) -> float | None:
        """What will be spent once this round's update has left; None without noise. Raises FedLiverError ``budget-spent``."""
        if not rules.noisy:
            return None
        spent = epsilon([*self._ledger.noise_so_far(), rules.noise_multiplier], rules.delta)
        if rules.epsilon_budget is not None and spent > rules.epsilon_budget:
            raise FedLiverError(
                "budget-spent",
                f"One more update would bring epsilon to {spent:.3g}, and this site's budget is {rules.epsilon_budget:g}: no update leaves any more.",
            )
        return spent

    def _run(self, task: "_Task") -> tuple[Numbers, RecordDict]:
        """The app's own answer. Raises :class:`_AppRefusedError` with its error number if that is all it has."""
        reply = self._app(message=task.message, context=task.context)
        try:
            numbers = unpack_numbers(reply.content)
        except ValueError as error:
            raise FedLiverError("not-agreed", "The egress filter stopped an answer whose numbers were not those agreed.") from error
        if numbers.error:
            raise _AppRefusedError(_known(numbers.error))
        return numbers, reply.content


@dataclass(frozen=True)
class _Task:
    """One message and what was found out about it."""

    message: Message
    context: Context
    instructions: Instructions
    rules: EgressRules
    invitation: Invitation
    """The one that was accepted."""
    agreed: dict[str, TensorKind]
    received: Weights

    @property
    def place(self) -> dict[str, int]:
        return {"run": self.message.metadata.run_id, "round": self.instructions.round}


class _AppRefusedError(Exception):
    """The app answered with an error number; it has told the site itself."""

    def __init__(self, code: ErrorCode) -> None:
        super().__init__(code.name)
        self.code = code


def refusal(home: Path, message: Message, about: OfRound | None, code: ErrorCode, tell: bool = True) -> Message:
    """Answer with an error number alone, in the ledger if that can be written, and tell the site's own screen.

    Nothing is raised: Flower would send the text of an error, and so a path of this site, to the coordinator.
    """
    if tell:
        with suppress(Exception):
            tell_site(home, about, code)
    with suppress(Exception):  # a full disk or a damaged ledger is itself such an error; its number is all that leaves
        number = about.round if about else 0
        Ledger(SiteFiles(home).ledger).append(NumbersOut(run=message.metadata.run_id, round=number, error=int(code), dice=None, dice_cases=0))
    return Message(error_reply(code), reply_to=message)


def _entry(task: _Task, numbers: AgreedNumbers, update: FilteredUpdate, patients: int, spent: float | None) -> UpdateOut:
    """What the ledger will say of an update; hash and size follow when it leaves."""
    return UpdateOut(
        **task.place,
        content="0" * 64,
        bytes=0,
        cases=numbers.cases,
        unlabelled=numbers.unlabelled,
        patients=patients,
        norm=update.norm,
        sent_norm=update.sent_norm,
        norm_bound=task.rules.norm_bound,
        noise_multiplier=task.rules.noise_multiplier,
        epsilon=spent,
        loss=None if math.isnan(numbers.loss) else numbers.loss,
        dice=numbers.dice if numbers.dice_cases else None,
        dice_cases=numbers.dice_cases,
        seconds=numbers.seconds,
    )


def _drawn(answer: RecordDict) -> tuple[int, ...]:
    patients = unpack_patients(answer)
    return () if patients is None else (patients,)


def _agreed_numbers(numbers: Numbers) -> AgreedNumbers:
    return AgreedNumbers(numbers.cases, numbers.loss, numbers.seconds, numbers.dice, numbers.dice_cases, numbers.unlabelled)


def _known(code: int) -> ErrorCode:
    try:
        return ErrorCode(code)
    except ValueError:
        return ErrorCode.UNEXPECTED
