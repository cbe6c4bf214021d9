"""Callbacks that hold something alive: shared by copies, left out of pickles."""

import threading
from typing import Any, ClassVar

from .._training.skorch_parts import Callback
from .._utils.warn import warn_user


class LiveCallback(Callback):
    """A callback one parameter of which is a connection to something outside.

    Attributes
    ----------
    _live : str
        The parameter's name.
    _ledger : Ledger
        What all copies know between them.
    """

    _live: ClassVar[str]
    _ledger: "Ledger"

    def __copy__(self):
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        return other

    def __deepcopy__(self, memo):
        return self.__copy__()

    # scikit-learn would copy the writer, and the copy would log elsewhere, if at all.
    def __sklearn_clone__(self):
        return self.__copy__()

    def __getstate__(self) -> dict[str, Any]:
        own = {name: v for name, v in vars(self).items() if not name.endswith("_")}
        return {**own, self._live: None, "_ledger": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._ledger = Ledger()

    def _is_alive(self) -> bool:
        """Whether what it holds is here; warns if not."""
        if getattr(self, self._live) is not None:
            return True
        name = type(self).__name__
        warn_user(
            f"{name} has no {self._live}: it does not travel to another process or "
            f"into a file. Set callbacks__{name}__{self._live} of the estimator, or "
            "fit with n_jobs=1.",
        )
        return False


class Ledger:
    """Counts what all copies of a callback have done with what they hold."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.begin(None)

    def begin(self, live: Any) -> None:
        """Count from the beginning, for something else to hold."""
        self.live = live
        self.n_fits = 0
        self.last_step = 0
        self.points: list[Any] = []
        self.is_over = False

    def next_fit(self, live: Any) -> int:
        """The number of a fit that begins, from 1."""
        with self.lock:
            if self.live is not live:
                self.begin(live)
            self.n_fits += 1
            return self.n_fits

    def reach(self, step: int) -> None:
        """Take note of a step that somebody is at."""
        with self.lock:
            self.last_step = max(self.last_step, step)
