"""The model, as the transformers library calls one."""

from pathlib import Path
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel
from transformers.modeling_outputs import ImageClassifierOutput

from videoswin.classifier.classifier import Classifier
from videoswin.classifier.folder import write_files
from videoswin.data.preprocessing import Preprocessing
from videoswin.errors import ConfigError
from videoswin.hf.configuration import VideoSwinConfig
from videoswin.model.config import SwinConfig
from videoswin.model.video_swin import VideoSwin
from videoswin.zoo.registry import config_from_dict

__all__ = ["VideoSwinForVideoClassification"]


class VideoSwinForVideoClassification(PreTrainedModel):
    """A :class:`~videoswin.model.VideoSwin` under the same names of parameters, called as this library calls a model.

    Raises:
        ConfigError: the folder is of another system of the zoo.
    """

    config_class = VideoSwinConfig
    main_input_name = "pixel_values"
    supports_gradient_checkpointing = True
    _no_split_modules: ClassVar[list[str]] = ["SwinBlock"]

    def __init__(self, config: VideoSwinConfig) -> None:
        super().__init__(config)
        ours = config_from_dict({**config.model, "num_classes": config.num_labels})
        if not isinstance(ours, SwinConfig):
            raise ConfigError("videoswin.hf takes Video Swin checkpoints. Load other systems with videoswin.load().")
        network = VideoSwin(ours)
        self.backbone = network.backbone
        self.head = network.head
        self.__dict__["_network"] = network  # not as a part: its parameters are those of the two above
        self.post_init()

    @property
    def network(self) -> VideoSwin:
        """The model of ours, with the parts as they are now: libraries such as peft put others in their places."""
        network = self.__dict__["_network"]
        network.backbone, network.head = self.backbone, self.head
        network.training = self.training
        return network

    def classifier(self) -> Classifier:
        """For predictions: the network with preprocessing and labels, sharing the weights."""
        config = cast(VideoSwinConfig, self.config)
        return Classifier(
            self.network,
            Preprocessing.from_dict(config.preprocessing),
            config.labels,
            config.name,
            config.none_threshold,
            dict(config.metrics),
            config.notes,
            dict(config.card),
        )

    def forward(
        self, pixel_values: Tensor, labels: Tensor | None = None, return_dict: bool | None = None, **_: Any
    ) -> ImageClassifierOutput | tuple[Tensor, ...]:
        """Normalised clips (B, T, 3, H, W) -> logits (B, num_labels), with a loss if ``labels`` are given: int64 (B,), or float
        (B, num_labels) for ``problem_type="multi_label_classification"``."""
        logits = self.network(pixel_values.transpose(1, 2))
        loss = None
        if labels is not None:
            many = self.config.problem_type == "multi_label_classification"
            loss = (
                F.binary_cross_entropy_with_logits(logits, labels.float()) if many else F.cross_entropy(logits, labels)
            )
        if return_dict is False:
            return (logits,) if loss is None else (loss, logits)
        return ImageClassifierOutput(loss=cast(Any, loss), logits=cast(Any, logits))

    def gradient_checkpointing_enable(self, *_: Any, **__: Any) -> None:
        """Recompute each block in the backward pass."""
        self.network.set_grad_checkpointing(True)

    def gradient_checkpointing_disable(self) -> None:
        """Keep what the backward pass needs."""
        self.network.set_grad_checkpointing(False)

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Of what a file lacks: a new head, in the way of this library."""
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.01)
            if module.bias is not None:
                nn.init.zeros_(module.bias)

    def save_pretrained(self, save_directory: Any, is_main_process: bool = True, **_: Any) -> None:
        """Writes a checkpoint folder of ours, which both libraries load."""
        if is_main_process:
            folder = Path(save_directory)
            folder.mkdir(parents=True, exist_ok=True)
            classifier = self.classifier()
            write_files(folder, self.network, classifier.facts)
