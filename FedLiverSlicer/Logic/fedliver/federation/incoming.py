"""From a message to the global model, at the site: it comes whole, or as changes of a model that the site has."""

from collections.abc import Mapping
from pathlib import Path

from flwr.app import RecordDict

from fedliver.coordinator.checkpoints import Weights
from fedliver.errors import FedLiverError
from fedliver.federation.codec import applied, decode
from fedliver.federation.messages import Instructions, unpack_packets, unpack_weights
from fedliver.federation.networks import trained_tensors, weights_of
from fedliver.site.egress import TensorKind
from fedliver.site.federation import SiteFiles
from fedliver.site.ledger import content_hash
from fedliver.teacher.bundle import STARTER, load_bundle


def received_model(content: RecordDict, instructions: Instructions, agreed: Mapping[str, TensorKind], home: Path) -> Weights:
    """The model that a message brings.

    Raises
    ------
    FedLiverError
        ``weights-do-not-fit``; or ``model-missing`` if the one that it builds on is not here, or does not give what the coordinator has.
    """
    shipment = instructions.shipment
    if shipment.form == "whole":
        weights = unpack_weights(content, agreed)
        if shipment.content and content_hash(weights) != shipment.content:
            raise FedLiverError("weights-do-not-fit", "The model that arrived is not the one that the coordinator says it sent.")
        return weights
    weights = _known_model(home, shipment.base, shipment.base_content)
    if shipment.form == "change":
        kinds = trained_tensors(instructions.plan)
        for packet in unpack_packets(content):
            weights = applied(decode(packet, kinds), weights)
    if content_hash(weights) != shipment.content:
        raise _missing()
    return weights


def _known_model(home: Path, number: int, content: str) -> Weights:
    """The model of that hash among those that this site has been sent and still keeps, or the one that it was installed with."""
    for bundle in (SiteFiles(home).candidates / f"round-{number:03d}", STARTER):
        try:
            weights = weights_of(load_bundle(bundle).network)
        except (FedLiverError, OSError):
            continue
        if content_hash(weights) == content:
            return weights
    raise _missing()


def _missing() -> FedLiverError:
    return FedLiverError("model-missing", "The model that the coordinator's message builds on is not here.")
