"""What a site does in NVFLARE's part of ``overhead.py``: its Client API's own loop, around the same work."""

import nvflare.client as flare
from overhead_work import ShippedNetwork, work


def main() -> None:
    network = ShippedNetwork()
    flare.init()
    while flare.is_running():
        received = flare.receive()
        network.load_state_dict(received.params)
        work(network)
        flare.send(flare.FLModel(params=network.cpu().state_dict(), metrics={"loss": 0.5}, meta={"NUM_STEPS_CURRENT_ROUND": 1}))


if __name__ == "__main__":
    main()
