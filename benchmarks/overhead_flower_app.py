"""Plain Flower's part of ``overhead.py``: a ClientApp and a ServerApp as its quickstart has them, around the same work."""

from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from overhead_work import ShippedNetwork, work

client_app = ClientApp()
server_app = ServerApp()


@client_app.train()
def train(message: Message, context: Context) -> Message:
    network = ShippedNetwork()
    network.load_state_dict(message.content["arrays"].to_torch_state_dict())
    work(network)
    content = RecordDict({"arrays": ArrayRecord(network.state_dict()), "metrics": MetricRecord({"train_loss": 0.5, "num-examples": 1})})
    return Message(content, reply_to=message)


@server_app.main()
def main(grid: Grid, context: Context) -> None:
    sites, rounds = int(context.run_config["sites"]), int(context.run_config["rounds"])
    strategy = FedAvg(fraction_train=1.0, fraction_evaluate=0.0, min_train_nodes=sites, min_available_nodes=sites)
    strategy.start(grid=grid, initial_arrays=ArrayRecord(ShippedNetwork().state_dict()), num_rounds=rounds)
