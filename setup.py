"""What pyproject.toml cannot say: the shipped teacher lies in the Resources, and a wheel carries it as ``fedliver/models``, and the studies' tasks."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages("FedLiverSlicer/Logic"), "fedliver.models"],
    package_dir={"": "FedLiverSlicer/Logic", "fedliver.models": "FedLiverSlicer/Resources/Models"},
    package_data={"fedliver.models": ["**/*"], "fedliver.study": ["tasks/*.toml"]},
)
