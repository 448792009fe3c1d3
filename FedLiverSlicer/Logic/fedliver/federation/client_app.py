"""The ClientApp: what Flower starts at a site for every message. It answers with numbers and weights, or with a code; never with text."""

import sys
from collections.abc import Callable
from pathlib import Path

from flwr.app import Context, Message, RecordDict
from flwr.clientapp import ClientApp

from fedliver.error_details import details_of
from fedliver.errors import FedLiverError
from fedliver.federation.messages import Instructions, OfRound, error_reply, for_the_filter, pack_reply, unpack_instructions, unpack_weights
from fedliver.site.codes import ErrorCode, code_of

app = ClientApp()


@app.train()
def train(message: Message, context: Context) -> Message:
    """Train on this site's approved cases, from the global weights on."""
    return Message(answered(message.content, _home(context), _train), reply_to=message)


@app.evaluate()
def receive(message: Message, context: Context) -> Message:
    """Keep and score the last aggregate."""
    return Message(answered(message.content, _home(context), _receive), reply_to=message)


def answered(content: RecordDict, home: Path, work: Callable[[RecordDict, Path, Instructions], RecordDict]) -> RecordDict:
    """Do the work, and turn every failure into its code: an exception's text may name a patient, and Flower would send it to the coordinator."""
    instructions: Instructions | None = None
    try:
        instructions = unpack_instructions(content)
        return work(content, home, instructions)
    except Exception as error:
        code = code_of(error)
        if code is ErrorCode.UNEXPECTED:
            print(details_of(error), file=sys.stderr)
        tell_site(home, instructions, code)
        return error_reply(code)


def _train(content: RecordDict, home: Path, instructions: Instructions) -> RecordDict:
    from fedliver.federation.local_work import LocalWork

    work = LocalWork(home, instructions)
    numbers, weights = work.train(unpack_weights(content, work.like))
    return for_the_filter(pack_reply(numbers, weights), work.patients)


def _receive(content: RecordDict, home: Path, instructions: Instructions) -> RecordDict:
    from fedliver.federation.local_work import LocalWork

    work = LocalWork(home, instructions)
    return pack_reply(work.receive(unpack_weights(content, work.like)))


def tell_site(home: Path, instructions: OfRound | None, code: ErrorCode) -> None:
    """Write the failure into the site's progress file."""
    from fedliver.federation.local_work import tell_failure

    try:
        tell_failure(home, instructions, code)
    except (OSError, FedLiverError):
        return  # a full disk must not keep the answer from being sent


def _home(context: Context) -> Path:
    return Path(str(context.node_config["home"]))
