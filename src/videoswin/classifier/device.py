"""Where a model runs."""

import torch

from videoswin.errors import ConfigError

__all__ = ["choose_device"]


def choose_device(name: str = "auto") -> torch.device:
    """ "auto": the first CUDA device if there is one, else the CPU; otherwise a name that torch knows, such as "cuda:1".

    Raises:
        ConfigError: no such device on this machine.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:  # torch built without CUDA asserts
        reason = str(error).split("\n")[0].rstrip(".")
        raise ConfigError(f'device="{name}" cannot be used here ({reason}). Use "auto" or "cpu".') from error
    return device
