"""What skvae takes from skorch: the one file that imports it."""

from skorch import NeuralNet
from skorch.callbacks import Callback, LRScheduler, PrintLog
from skorch.exceptions import DeviceWarning
from skorch.helper import predefined_split
from skorch.history import History

__all__ = [
    "Callback",
    "DeviceWarning",
    "History",
    "LRScheduler",
    "NeuralNet",
    "PrintLog",
    "predefined_split",
]
