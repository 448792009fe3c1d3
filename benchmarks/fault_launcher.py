"""Stands in for ``fedliver.federation.launch`` at a hostile or broken site.

It has thrown its egress filter out and answers as the file ``misbehaviour`` in the site's folder says.

For ``faults.py`` only.
"""

import os
from pathlib import Path

import numpy as np
from flwr.app import Array, ArrayRecord, Context, Message, MetricRecord, RecordDict

from fedliver.federation import launch
from fedliver.federation.client_app import app
from fedliver.federation.guard import App
from fedliver.federation.messages import Instructions, Numbers, unpack_instructions

GIGABYTE = 1_000_000_000
FILE = "misbehaviour"


def hostile(home: Path) -> App:
    behaviour = (home / FILE).read_text().strip()

    def answer(message: Message, context: Context) -> Message:
        if message.metadata.message_type != "train":
            return app(message, context)
        return Message(_reply(behaviour, unpack_instructions(message.content)), reply_to=message)

    return answer


def _reply(behaviour: str, asked: Instructions) -> RecordDict:
    from fedliver.federation.networks import weights_of
    from fedliver.teacher.network import build_network

    numbers = Numbers(cases=3, loss=0.5, seconds=1.0).model_dump()
    if behaviour == "negative":
        numbers["cases"] = -1_000_000
    if behaviour in ("garbage", "gigabyte"):
        data = os.urandom(10_000) if behaviour == "garbage" else bytes(GIGABYTE)
        arrays = ArrayRecord({"weights": Array(dtype="float32", shape=(len(data) // 4,), stype="numpy.ndarray", data=data)})
        return RecordDict({"arrays": arrays, "metrics": MetricRecord(numbers)})
    weights = weights_of(build_network(asked.plan))
    if behaviour == "nan":
        weights = {name: np.full_like(array, np.nan) for name, array in weights.items()}
    if behaviour == "another model":
        weights = {f"other.{name}": array for name, array in weights.items()}
    return RecordDict({"arrays": ArrayRecord({name: Array(np.asarray(array, order="C")) for name, array in weights.items()}), "metrics": MetricRecord(numbers)})


if __name__ == "__main__":
    launch.guarded = hostile
    launch.main()
