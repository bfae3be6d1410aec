"""The names under which trainings keep weights."""

__all__ = ["AVERAGED", "KNOWN", "PLAIN"]

PLAIN = (
    "state_dict", "model_state_dict", "model_state", "model", "module", "net", "network", "weights", "params", "target",
    "blobs",
)  # fmt: skip
"""Of the weights themselves, the likelier first."""

AVERAGED = ("state_dict_ema", "model_ema", "ema_state_dict", "ema_model", "ema", "swa", "averaged_model")
"""Of averaged copies. MMEngine's files are the other way round: there ``state_dict`` is the average, and
``ema_state_dict`` what it is the average of."""

KNOWN = (*PLAIN, *AVERAGED)
