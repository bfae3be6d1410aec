"""What the configurations of all systems share: copies with changes, and a plain form for JSON."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from videoswin.errors import ConfigError, nearest

__all__ = ["ModelConfig"]


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The numbers that define a model: each system writes down its own, ``num_classes`` and ``in_channels`` among them."""

    def replace(self, **changes: Any) -> Self:
        """A copy with some fields changed; an unknown field is a :class:`ConfigError`."""
        self.require_fields(changes)
        return dataclasses.replace(self, **changes)

    def with_fresh_head(self, num_classes: int) -> Self:
        """The same system with a plain head for so many classes."""
        return self.replace(num_classes=num_classes)

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and numbers, ready for JSON."""
        return {k: _plain(v) for k, v in dataclasses.asdict(self).items()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of :meth:`to_dict`; an unknown field is a :class:`ConfigError`."""
        cls.require_fields(data)
        return cls(**data)

    @classmethod
    def require_fields(cls, data: Mapping[str, Any]) -> None:
        """A :class:`ConfigError` for a name that is no field, with the nearest one."""
        known = [f.name for f in dataclasses.fields(cls)]
        for key in data:
            if key not in known:
                raise ConfigError(f'{cls.__name__} has no field "{key}". {nearest(str(key), known)}')


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(v) for v in value]
    return {k: _plain(v) for k, v in value.items()} if isinstance(value, dict) else value
