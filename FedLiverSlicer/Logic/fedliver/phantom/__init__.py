"""Generated CTs of patients that never lived, with their true labels: for the demo, the tests and the first training steps."""

from fedliver.phantom.scan import generate
from fedliver.phantom.settings import FieldOfView, Phase, PhantomSettings

__all__ = ["FieldOfView", "Phase", "PhantomSettings", "generate"]
