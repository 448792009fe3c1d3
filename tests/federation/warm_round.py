"""Imports what the warm process holds, looks at itself, forks twice, and does a round's work at the site in the folder that it is given. Prints what it saw."""

import importlib
import json
import os
import sys
from pathlib import Path

from fedliver.federation import warm, warm_fork


def forked(fresh: bool) -> list[float]:
    """What a fork draws first, from each of the libraries' own states."""
    reader, writer = os.pipe()
    if os.fork() == 0:
        import monai
        import numpy
        import torch

        if fresh:
            warm_fork.draw_anew()
        drawn = [numpy.random.rand(), torch.rand(1).item(), monai.transforms.Randomizable.R.rand()]
        os.write(writer, json.dumps(drawn).encode())
        os._exit(0)
    os.wait()
    return json.loads(os.read(reader, 1000))


def secrets_of_a_fork() -> list[str]:
    """What a fork makes that nobody may guess: keys, nonces and noise."""
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.write(writer, json.dumps(made_secretly()).encode())
        os._exit(0)
    os.wait()
    return json.loads(os.read(reader, 1000))


def made_secretly() -> list[str]:
    import secrets

    import numpy
    from cryptography.hazmat.primitives.asymmetric import ec

    from fedliver.federation.secure.keys import fresh_private_key

    signing = ec.generate_private_key(ec.SECP384R1()).private_numbers().private_value
    return [fresh_private_key().hex(), str(signing), secrets.token_hex(32), os.urandom(12).hex(), str(numpy.random.default_rng().random())]


def worked(home: Path) -> tuple[int, list[str]]:
    """The error number that a round's work ends with, and the packages that it imported."""
    from federation_kit import TRAINING, context, message

    from fedliver.federation.client_app import app
    from fedliver.federation.guard import Guard
    from fedliver.federation.messages import Instructions, pack, unpack_numbers
    from fedliver.federation.networks import weights_of
    from fedliver.teacher.network import build_network
    from fedliver.teacher.plan import TeacherPlan

    before = {name.split(".")[0] for name in sys.modules}
    plan = TeacherPlan.tiny()
    asked = Instructions(round=1, rounds=1, model=0, plan=plan, training=TRAINING)
    reply = Guard(home, app)(message(pack(asked, weights_of(build_network(plan)))), context(home))
    return unpack_numbers(reply.content).error, sorted({name.split(".")[0] for name in sys.modules} - before)


if __name__ == "__main__":
    for name in warm.LIBRARIES:
        importlib.import_module(name)
    unable = warm_fork.why_unable()
    made_secretly()  # so that every generator has its state by now
    keys = [secrets_of_a_fork(), secrets_of_a_fork()]
    copies, fresh = [forked(False), forked(False)], [forked(True), forked(True)]
    error, packages = worked(Path(sys.argv[1]))
    print(json.dumps({"unable": unable, "copies": copies, "fresh": fresh, "keys": keys, "error": error, "packages": packages}))
