"""The models of a server, by name; the first one answers where no name is given."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from videoswin.classifier.classifier import Classifier
from videoswin.errors import nearest
from videoswin.predict.scoring import VideoClassifier
from videoswin.serve.refusals import Refused

__all__ = ["Models", "ServedModel"]


@dataclass(frozen=True)
class ServedModel:
    """``source``: what loads it again, in a process of its own: a name or a path."""

    classifier: VideoClassifier
    source: str
    runtime: str = "auto"
    device: str = "auto"

    def to_dict(self) -> dict[str, Any]:
        """What clients may know."""
        c = self.classifier
        return {
            "name": c.name,
            "labels": list(c.labels),
            "none_threshold": c.none_threshold,
            "num_parameters": c.num_parameters,
            "clip_len": c.preprocessing.clip_len,
            "size": list(c.preprocessing.size),
            "sampling": c.preprocessing.sampling,
            "teachable": isinstance(c, Classifier) and hasattr(c.model, "forward_pyramid"),
        }


class Models:
    """``served``: by name, the first is the default."""

    def __init__(self, served: Mapping[str, ServedModel]) -> None:
        self._served = dict(served)
        self._taught: dict[str, tuple[ServedModel, Callable[[], object]]] = {}

    def __iter__(self) -> Any:
        return iter(self._served.values())

    def find(self, name: str) -> ServedModel:
        """The model of that name, or the first for "". Raises 422."""
        if not name:
            return next(iter(self._served.values()))
        if name in self._taught:
            model, used = self._taught[name]
            used()
            return model
        if name not in self._served:
            raise Refused(422, "no_model", f'There is no model "{name[:80]}". {nearest(name[:80], self._served)}')
        return self._served[name]

    def keep_taught(self, name: str, model: ServedModel, used: Callable[[], object]) -> None:
        """A model that only those find who know its name. ``used`` is called each time."""
        self._taught[name] = model, used

    def drop_taught(self, name: str) -> None:
        self._taught.pop(name, None)
