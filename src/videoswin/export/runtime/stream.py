"""Exported files over live video: whole clips again and again, since a file holds no state from clip to clip."""

from videoswin.errors import ConfigError
from videoswin.export.runtime.exported import ExportedClassifier
from videoswin.streams.clips import ClipsStream
from videoswin.streams.elastic import ElasticStream

__all__ = ["exported_stream"]


def exported_stream(classifier: ExportedClassifier, hop: int, longest: int) -> ClipsStream | ElasticStream:
    """What a checkpoint's own stream would be, as far as a file can.

    Args:
        hop: frames from one answer to the next.
        longest: frames that the view of a checkpoint of whole videos (``sampling="uniform"``) grows to.

    Raises:
        ConfigError: the file came from a causal model.
    """
    metadata, clip_len = classifier.metadata, classifier.preprocessing.clip_len
    if metadata.config is not None and metadata.config.causal:
        raise ConfigError(
            f"{classifier.path} is the file of a causal model, whose answers rest on all frames so far, and an exported "
            "file starts anew with every clip. Give the checkpoint that it was exported from."
        )
    if classifier.preprocessing.sampling == "uniform":
        return ElasticStream(classifier.logits, clip_len, longest=longest, hop=hop)
    return ClipsStream(classifier.logits, clip_len, min(hop, clip_len))
