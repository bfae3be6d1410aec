"""Any public checkpoint, as a model of ours: exactly, or not at all.

The public code loads with ``strict=False``: a file whose names do not match leaves the model as random as it was, and
training goes on from there without a word. Here every tensor of the backbone has to be there, in its shape, finite; the
head alone may start anew, and only when the caller asks for another number of classes. What happened is in the report.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from videoswin.errors import WeightsError
from videoswin.model import SwinConfig, VideoSwin
from videoswin.model.config import Grid, Padding, RelativeBias
from videoswin.model.video_swin import make_head
from videoswin.weights.architecture import read_architecture
from videoswin.weights.assemble import empty_model, fill, shapes_of
from videoswin.weights.bias_tables import resample_table
from videoswin.weights.containers.read import Contents, read_container
from videoswin.weights.formats import FAMILIES, Family, is_swin_v2
from videoswin.weights.load_report import LoadReport, first_few
from videoswin.weights.safetensors import require_floats
from videoswin.weights.unwrapping import FoundModel, find_models, without_wrappers

__all__ = ["Checkpoint", "inspect_checkpoint", "load_checkpoint", "read_checkpoint"]

_MAX_TENSORS = 20_000
_ANOTHER = "Give a complete checkpoint of a Swin transformer"


@dataclass(frozen=True)
class Checkpoint:
    """A file, recognised: its tensors under our names, and what it says of itself."""

    path: Path
    family: Family
    config: SwinConfig
    tensors: dict[str, Tensor]
    report: LoadReport

    def require_complete(self, head: bool) -> None:
        """Refuse what is missing, misshapen or of another architecture. ``head``: whether the head counts."""
        names = {name for name in self.tensors if not name.startswith("head.")}
        if not names:
            raise WeightsError(self.path, "none of its tensors belongs to a backbone", _ANOTHER)
        is_head = self.family.names.head + "."
        missing = [name for name in self.report.missing if head or not name.startswith(is_head)]
        wrong = [text for text in self.report.wrong_shape if head or not text.startswith(is_head)]
        foreign = [name for name in self.report.unexpected if self.family.in_backbone(name)]
        problems = [
            f"{len(found)} {what}: {first_few(found)}"
            for what, found in (
                ("missing", missing),
                ("of another shape", wrong),
                ("that the model has no place for", foreign),
            )
            if found
        ]
        if problems:
            reason = f"as a file of {self.family.title} its tensors do not fit: {'; '.join(problems)}"
            raise WeightsError(self.path, reason, "Download it again, or give one of the plain architecture")


def load_checkpoint(
    path: str | Path,
    num_classes: int | None = None,
    *,
    relative_bias: RelativeBias | None = None,
    padding: Padding | None = None,
    window_size: Grid | None = None,
    window_in_file: Grid | None = None,
    own_config: SwinConfig | None = None,
    container: str | None = None,
    contents: Contents | None = None,
) -> tuple[VideoSwin, LoadReport]:
    """A 3D checkpoint of any family, as a model in evaluation mode, in float32, on the CPU.

    Args:
        path: a file of weights, or of a training that holds some: ``.safetensors``, or ``.pth``, ``.pt``, ``.ckpt`` and
            whatever else ``torch.save`` wrote.
        num_classes: outputs of the head. None: the file's own. Another number: the head starts anew. 0: no head.
        relative_bias: how windows clipped in space read the bias table. None: as the file's own code does it, "official"
            for the official code, MMAction2 and torchvision, so that the numbers are theirs; for ours, what
            ``own_config`` says, or "exact".
        padding: see :class:`~videoswin.model.SwinConfig`. None: "attended", as all public weights expect, or what
            ``own_config`` says.
        window_size: (T, H, W) in tokens. None: the file's own. Another: the bias tables are resampled, bicubic; e.g.
            (16, 7, 7) for Something-Something from Kinetics weights of (8, 7, 7).
        window_in_file: for the rare file where two windows fit the tables; the error says so.
        own_config: of the weights of a checkpoint folder, what its config.json says: it also knows what tensors cannot
            tell. Both have to agree.
        container: the table of the file that holds the weights, where it has more than one: "state_dict_ema", or
            "state_dict/student" for the tensors of that name in it. None: the plain weights come before averaged ones; the
            report says what was taken, and what else is there.
        contents: of the file, where it was read before.

    Raises:
        WeightsError: the file cannot be read or recognised, is for images, lacks a tensor of the backbone, has one of
            another shape, or one that holds NaN or infinity.
        ConfigError: ``num_classes`` or ``window_size`` is out of range.
    """
    checkpoint = read_checkpoint(path, window_in_file, own_config, container, contents)
    if checkpoint.family.dims == 2:
        hint = "Inflate it to a video model: videoswin.inflate(FILE) in Python"
        raise WeightsError(path, f"it is a model for images ({checkpoint.family.title})", hint)
    own = checkpoint.config
    classes = own.num_classes if num_classes is None else num_classes
    target = (own if classes == own.num_classes else own.with_fresh_head(classes)).replace(
        relative_bias=relative_bias or own.relative_bias,
        padding=padding or own.padding,
        window_size=window_size or own.window_size,
    )
    checkpoint.require_complete(head=target.num_classes == own.num_classes)
    tensors, reshaped = _resampled(checkpoint.tensors, own.window_size, target.window_size)
    return build(replace(checkpoint, tensors=tensors), target, reshaped)


def inspect_checkpoint(
    path: str | Path,
    window_in_file: Grid | None = None,
    own_config: SwinConfig | None = None,
    container: str | None = None,
    contents: Contents | None = None,
) -> LoadReport:
    """What a file is and whether it is whole; no model is built, and missing tensors are reported, not refused.

    Raises:
        WeightsError: the file cannot be read or recognised.
    """
    return read_checkpoint(path, window_in_file, own_config, container, contents).report


def read_checkpoint(
    path: str | Path,
    window_in_file: Grid | None = None,
    own_config: SwinConfig | None = None,
    container: str | None = None,
    contents: Contents | None = None,
) -> Checkpoint:
    """Read a file and recognise it, by its names and shapes alone.

    Raises:
        WeightsError: the file cannot be read, or no family claims it.
    """
    path = Path(path)
    if path.is_dir():
        hint = "Load a checkpoint folder by videoswin.load(FOLDER)"
        raise WeightsError(path, "this is a folder, not a file of weights", hint)
    contents = contents or read_container(path, container)
    bare = without_wrappers(list(contents.tensors))
    model = _model(path, contents, bare)
    family, contents = model.family, _below(contents, bare, model.prefix)
    translation = family.to_canonical(contents.tensors)
    ours = {name: tuple(tensor.shape) for name, tensor in translation.tensors.items()}
    index_sizes = {
        name: contents.tensors[name].numel() for name in translation.dropped if name.endswith("relative_position_index")
    }
    known_window = own_config.window_size if own_config is not None else window_in_file
    config = read_architecture(path, family, ours, index_sizes, known_window)
    if own_config is not None:
        config = _agreed(path, own_config, config)
    try:
        expected = expected_shapes(config, family.dims, ours)
    except (RuntimeError, OverflowError) as error:  # of PyTorch, about sizes that no tensor can have
        raise WeightsError(path, f"its tensors describe a model that cannot be built ({error})", _ANOTHER) from error
    report = LoadReport(
        path=path,
        family=family.name,
        title=family.title,
        config=config,
        loaded=tuple(name for name in expected if ours.get(name) == expected[name]),
        missing=tuple(family.theirs(name) for name in expected if name not in ours),
        wrong_shape=tuple(
            f"{family.theirs(name)} is {list(ours[name])}, not {list(shape)}"
            for name, shape in expected.items()
            if name in ours and ours[name] != shape
        ),
        unexpected=(*translation.unexpected, *(family.theirs(name) for name in ours if name not in expected)),
        dropped=translation.dropped,
        ignored=contents.ignored,
        not_built=contents.not_built,
        container=contents.container,
        other_containers=contents.others,
        prefix=model.prefix_in_file(bare),
    )
    require_floats(path, translation.tensors)
    return Checkpoint(path, family, config, translation.tensors, report)


def build(checkpoint: Checkpoint, config: SwinConfig, reshaped: tuple[str, ...]) -> tuple[VideoSwin, LoadReport]:
    """The model with the checkpoint's tensors, and the account of it; the head starts anew if its size differs."""
    model = empty_model(config)
    keep_head = config.num_classes == checkpoint.config.num_classes
    names = [name for name in model.state_dict() if keep_head or not name.startswith("head.")]
    state = {name: checkpoint.tensors[name] for name in names}
    fresh: dict[str, Tensor] = {}
    if not keep_head and config.num_classes:
        head = make_head(config)
        assert head is not None
        fresh = {f"head.{name}": tensor for name, tensor in head.state_dict().items()}
    fill(model, state | fresh, checkpoint.path)
    own_head = [checkpoint.family.theirs(name) for name in checkpoint.tensors if name.startswith("head.")]
    report = replace(
        checkpoint.report,
        config=config,
        loaded=tuple(name for name in names if name not in reshaped),
        reshaped=reshaped,
        fresh=tuple(fresh),
        missing=(),
        dropped=checkpoint.report.dropped + (() if keep_head else tuple(own_head)),
    )
    return model, report


def expected_shapes(
    config: SwinConfig, dims: int, found: Mapping[str, tuple[int, ...]] | None = None
) -> dict[str, tuple[int, ...]]:
    """Names and shapes of our model's tensors; of a 2D model, whose patches have no time, with ``dims`` 2. ``found``: see
    :func:`~videoswin.weights.assemble.empty_model`."""
    shapes = shapes_of(empty_model(config, found))
    if dims == 2:
        patch = "backbone.patch_embed.proj.weight"
        shapes[patch] = shapes[patch][:2] + shapes[patch][3:]
    return shapes


def _resampled(tensors: Mapping[str, Tensor], source: Grid, target: Grid) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    if source == target:
        return dict(tensors), ()
    tables = tuple(name for name in tensors if name.endswith("relative_position_bias_table"))
    return {**tensors, **{name: resample_table(tensors[name], source, target) for name in tables}}, tables


def _model(path: Path, contents: Contents, bare: Mapping[str, str]) -> FoundModel:
    """The one model in a file. ``bare``: its names without the words of wrappers."""
    if len(bare) > _MAX_TENSORS:
        raise WeightsError(path, f"it holds {len(bare):,} tensors, more than any model known here", _ANOTHER)
    shapes = {bare[name]: tuple(tensor.shape) for name, tensor in contents.tensors.items()}
    if is_swin_v2(shapes):
        reason = "it is a Swin V2 (cosine attention, its bias from a small network), which is another architecture"
        raise WeightsError(path, reason, "Give a Swin V1 checkpoint; V2's weights mean nothing here")
    found = find_models(shapes)
    if len(found) > 1:
        names = [model.prefix_in_file(bare).rstrip(".") for model in found]
        table = contents.container + "/" if contents.container else ""
        reason = f"it holds {len(found)} models, below {first_few(names)}"
        raise WeightsError(path, reason, f'Say which: container="{table}{names[0]}"')
    if not found:
        titles = ", ".join(dict.fromkeys(known.title for known in FAMILIES.values()))
        reason = f"its tensors ({first_few(list(shapes))}) are of no Swin transformer known here"
        raise WeightsError(path, reason, f"Known are: {titles}; and, to load, files of the systems in docs/zoo.md")
    return found[0]


def _below(contents: Contents, bare: Mapping[str, str], prefix: str) -> Contents:
    """The tensors below a prefix, by their names there. Others are ignored, and so is a count of steps beside the model
    (``n_averaged``)."""
    inside = {
        name: tensor
        for name, tensor in contents.tensors.items()
        if bare[name].startswith(prefix) and ("." in name or tensor.ndim or tensor.is_floating_point())
    }
    beside = tuple(name for name in contents.tensors if name not in inside)
    tensors = {bare[name].removeprefix(prefix): tensor for name, tensor in inside.items()}
    return replace(contents, tensors=tensors, ignored=contents.ignored + beside)


def _agreed(path: Path, own: SwinConfig, read: SwinConfig) -> SwinConfig:
    """What a config.json says, if the tensors say the same."""
    if expected_shapes(own, 3) != expected_shapes(read, 3):
        file = path.with_name("config.json")
        raise WeightsError(file, f"it describes another model than {path.name} holds", "Copy the folder again")
    return own
