"""NVFLARE's part of ``overhead.py``: its FedAvg recipe, in its simulator or in its proof-of-concept mode. Run in NVFLARE's own environment."""

import argparse
from pathlib import Path

from nvflare.app_opt.pt.recipes.fedavg import FedAvgRecipe
from nvflare.recipe import PocEnv, SimEnv
from overhead_work import ShippedNetwork


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("mode", choices=("simulator", "poc"))
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--rounds", type=int, required=True)
    parser.add_argument("--sites", type=int, required=True)
    told = parser.parse_args()
    recipe = FedAvgRecipe(
        name="overhead",
        model=ShippedNetwork(),
        min_clients=told.sites,
        num_rounds=told.rounds,
        train_script=str(Path(__file__).with_name("overhead_nvflare_site.py")),
    )
    if told.mode == "simulator":
        environment = SimEnv(num_clients=told.sites, num_threads=told.sites, workspace_root=str(told.workspace))
    else:
        environment = PocEnv(num_clients=told.sites)
    run = recipe.execute(environment)
    result = run.get_result()
    print(f"status {run.get_status()}, result {result}")


if __name__ == "__main__":
    main()
