"""Generated CTs of patients that never lived, with their true labels: for the demo, the tests and the first training steps."""

from fedliver.phantom.scan import generate
from fedliver.phantom.settings import FieldOfView, PhantomSettings, Phase

__all__ = ["FieldOfView", "PhantomSettings", "Phase", "generate"]
