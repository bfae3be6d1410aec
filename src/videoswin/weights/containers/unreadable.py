"""Why a file cannot be read, said where it is found out, by code that does not know the file's name."""

__all__ = ["DAMAGED", "RESAVE", "UNTRUSTED", "Unreadable"]

DAMAGED = "Copy or download it again"
UNTRUSTED = "Do not open it by other means; ask its author for a .safetensors file"
RESAVE = "Save its state_dict alone: torch.save(model.state_dict(), NEW)"


class Unreadable(Exception):
    """A reason and a hint; :func:`~.read.read_container` adds the path, and raises a WeightsError."""

    def __init__(self, reason: str, hint: str = DAMAGED) -> None:
        super().__init__(reason)
        self.reason = reason
        self.hint = hint
