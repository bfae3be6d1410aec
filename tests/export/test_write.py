"""Every format: the file is the model, and stands alone."""

import dataclasses
import logging
import resource
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.tiny import tiny_classifier, write_video
from videoswin.classifier.bundled import sample_videos
from videoswin.classifier.classifier import Classifier
from videoswin.data.preprocessing import Preprocessing
from videoswin.errors import ConfigError, MissingExtraError, OutputError, VideoSwinError, WeightsError
from videoswin.export import FORMATS, TOLERANCES, Exported, default_path, export, require, write
from videoswin.export.check import compare, real_clips
from videoswin.export.graph import FixedAttention, inference_graph
from videoswin.export.libraries import quiet
from videoswin.export.runtime import ExportedClassifier, load_exported, read_metadata
from videoswin.interface.ordered_head import OrderedHead, parts_of
from videoswin.model import SwinConfig, create_model
from videoswin.predict.answers import NONE
from videoswin.train.novelty import Nearness, set_memory

SMALL = SwinConfig(embed_dim=8, depths=(1, 1), num_heads=(1, 2), window_size=(2, 3, 3), num_classes=3, drop_path=0.3)
# Two blocks a stage, so that one is shifted: what the graph has to get right, and a file need not show again.
DEEPER = SMALL.replace(depths=(2, 2))


def test_what_is_raised_is_not_logged_too(caplog: pytest.LogCaptureFixture):
    """PyTorch's tracing logs the traceback of an interrupt that comes in the middle of it."""
    log = logging.getLogger("torch._subclasses.fake_tensor")
    with quiet("torch.onnx"):
        log.error("fake tensor raised TypeError")
    assert caplog.messages == []
    log.error("as before")
    assert caplog.messages == ["as before"]


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    """A little model with padding and merging."""
    torch.manual_seed(0)
    model = create_model(SMALL).eval()
    for name, parameter in model.named_parameters():
        if name.endswith("bias_table") or name.startswith("head"):
            torch.nn.init.normal_(parameter)  # large enough that a wrong row would show
    preprocessing = Preprocessing(clip_len=4, sampling="uniform", size=(36, 32), short_side=40)
    return Classifier(
        model, preprocessing, ("clap", "nod", "wave"), name="tiny model", none_threshold=0.1,
        metrics={"val_top1": 0.5}, notes="made by a test", card={"license": "apache-2.0"},
    )  # fmt: skip


class Made:
    """A file and what was said about it."""

    def __init__(self, classifier: Classifier, folder: Path, to: str) -> None:
        self.result: Exported = export(classifier, folder / default_path("m", to), to)
        self.path = Path(self.result.path)
        self.again: ExportedClassifier = load_exported(self.path, trust_code=True)


@pytest.fixture(scope="module")
def make(classifier: Classifier, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Made]]:
    """One file of each format, made when the first test asks for it."""
    files: dict[str, Made] = {}
    folder = tmp_path_factory.mktemp("exported")

    def made(to: str) -> Made:
        if to not in files:
            files[to] = Made(classifier, folder, to)
        return files[to]

    yield made
    files.clear()


# The graph ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("padding", ["attended", "masked"])
@pytest.mark.parametrize("relative_bias", ["exact", "official"])
@pytest.mark.parametrize("size", [(8, 36, 32), (2, 12, 12), (5, 33, 47)])
def test_the_graph_is_the_model(size: tuple[int, int, int], relative_bias: str, padding: str) -> None:
    model = create_model(DEEPER.replace(relative_bias=relative_bias, padding=padding)).eval()
    clips = torch.randn(2, 3, *size)
    with torch.inference_mode():
        graph = inference_graph(model, *size)
        torch.testing.assert_close(graph(clips), model(clips), rtol=1e-5, atol=1e-6)
    assert all(p.requires_grad for p in model.parameters())  # the model itself is as it was
    assert type(model.backbone.stages[0].blocks[0].attn).__name__ == "BoxAttention"


def test_the_graph_of_a_causal_model_is_the_model() -> None:
    model = create_model(DEEPER.replace(window_size=(4, 3, 3), causal=True)).eval()
    clips = torch.randn(2, 3, 14, 36, 32)
    with torch.inference_mode():
        graph = inference_graph(model, 14, 36, 32)
        torch.testing.assert_close(graph(clips), model(clips), rtol=1e-5, atol=1e-6)
    first = next(module for module in graph.modules() if isinstance(module, FixedAttention))
    assert first.get_buffer("bias_0").isneginf().any()  # pairs that do not see each other


# The files ------------------------------------------------------------------------------------------------------------

FAST = ("onnx", "openvino", "torch-export")


@pytest.mark.parametrize("to", FAST)
def test_the_file_is_the_model(make: Callable[[str], Made], classifier: Classifier, to: str, tmp_path: Path) -> None:
    made = make(to)
    result, again = made.result, made.again
    assert result.max_difference <= TOLERANCES["float32"]
    assert result.bytes == sum(Path(file).stat().st_size for file in result.files)
    assert again.metadata.made.max_difference == result.max_difference
    assert again.metadata.made.versions["torch"] == torch.__version__
    assert (again.labels, again.preprocessing) == (classifier.labels, classifier.preprocessing)
    assert (again.name, again.none_threshold) == ("tiny model", 0.1)
    assert (again.metadata.config, again.metadata.metrics) == (classifier.model.config, classifier.metrics)
    assert (again.metadata.notes, again.metadata.card) == (classifier.notes, classifier.card)
    assert again.num_parameters == classifier.num_parameters
    assert read_metadata(made.path) == again.metadata
    clip = write_video(tmp_path / "clip.mp4")
    theirs, ours = dict(again(clip, "2x3").predictions), dict(classifier(clip, "2x3").predictions)
    assert theirs == pytest.approx(ours, abs=1e-5)


@pytest.mark.parametrize("to", FAST)
def test_a_taught_head_keeps_its_memory(to: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    preprocessing = Preprocessing(clip_len=8, sampling="uniform", size=(36, 32), short_side=40)
    model = create_model(SMALL.replace(num_classes=4, head_parts=4, head_memory=6)).eval()
    assert isinstance(model.head, OrderedHead)
    model.head.fc.weight.data.mul_(100)
    clips = torch.randn(6, 3, 8, 36, 32)
    with torch.no_grad():
        set_memory(model.head, parts_of(model.forward_features(clips), 4), Nearness(4.0, 0.5))
    taught = Classifier(model, preprocessing, ("clap", "nod", "wave", NONE), name="taught")
    result = export(taught, tmp_path / default_path("m", to), to)
    again = load_exported(Path(result.path), trust_code=True)
    for seed in range(3):
        clip = write_video(tmp_path / f"{seed}.mp4", seed=seed)
        theirs, ours = dict(again(clip).predictions), dict(taught(clip).predictions)
        assert theirs == pytest.approx(ours, abs=1e-5)
        assert 0.01 < ours[NONE] < 0.99


@pytest.mark.parametrize("to", FAST)
def test_any_batch_goes_in(make: Callable[[str], Made], classifier: Classifier, to: str) -> None:
    again = make(to).again
    clips = torch.randn(5, *again.metadata.clip_shape)
    expected = classifier.logits(clips)
    for count in (1, 2, 5):
        got = again.logits(clips[:count])
        assert float((got - expected[:count]).abs().max() / expected.abs().max()) <= TOLERANCES["float32"]


@pytest.mark.parametrize("to", FAST)
def test_another_size_is_one_line(make: Callable[[str], Made], to: str, tmp_path: Path) -> None:
    clip = write_video(tmp_path / "clip.mp4", size=(48, 160))
    with pytest.raises(VideoSwinError, match=r"takes clips of .*36, 32.*another size") as caught:
        make(to).again(clip, "1xwide")
    assert "\n" not in str(caught.value)


def test_openvino_runs_onnx_files_too(make: Callable[[str], Made], classifier: Classifier) -> None:
    again = load_exported(make("onnx").path, "openvino")
    assert compare(classifier, again, real_clips(classifier.preprocessing)) < 1e-4
    assert read_metadata(make("onnx").path, "openvino") == again.metadata


def test_the_onnx_file_is_plain_and_holds_each_table_once(make: Callable[[str], Made]) -> None:
    import onnx

    model = onnx.load(make("onnx").path)
    assert {o.domain for o in model.opset_import} == {""}
    assert [d.dim_param or d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim][1:] == [3, 4, 36, 32]
    assert not any(i.data_location for i in model.graph.initializer)
    shapes = [tuple(i.dims) for i in model.graph.initializer]
    rows = 3 * 5 * 5  # offsets in a window of (2, 3, 3)
    assert sorted(shape for shape in shapes if len(shape) == 3 and shape[0] == 1) == [(1, 1, rows), (1, 2, rows)]
    assert not [shape for shape in shapes if len(shape) == 4]  # no bias laid out, token by token
    looked_up = {node.input[0] for node in model.graph.node if node.op_type == "Gather"}
    assert sum(name.startswith("bias_table") for name in looked_up) == 2


def test_the_openvino_file_holds_each_table_once(make: Callable[[str], Made]) -> None:
    text = make("openvino").path.read_text(encoding="utf-8")
    rows = 3 * 5 * 5
    assert text.count(f'shape="1, 1, {rows}"') == text.count(f'shape="1, 2, {rows}"') == 1
    assert 'shape="1, 2, 18, 18"' not in text


def test_a_bin_of_another_export_is_refused(make: Callable[[str], Made], tmp_path: Path) -> None:
    source = make("openvino").path
    (tmp_path / "m.xml").write_bytes(source.read_bytes())
    weights = bytearray(source.with_suffix(".bin").read_bytes())
    weights[-1] ^= 1
    (tmp_path / "m.bin").write_bytes(weights)
    for door in (load_exported, read_metadata):
        with pytest.raises(WeightsError, match=r"m\.bin beside it is not the one"):
            door(tmp_path / "m.xml")
    (tmp_path / "m.bin").unlink()
    with pytest.raises(WeightsError, match=r"m\.xml"):
        load_exported(tmp_path / "m.xml")


def test_the_fingerprint_is_of_all_bytes(make: Callable[[str], Made], tmp_path: Path) -> None:
    source = make("openvino")
    again = ExportedClassifier(tmp_path / "m.xml", source.again.runtime)
    (tmp_path / "m.xml").write_bytes(source.path.read_bytes())
    (tmp_path / "m.bin").write_bytes(source.path.with_suffix(".bin").read_bytes())
    assert again.fingerprint() == source.again.fingerprint()
    with (tmp_path / "m.bin").open("ab") as file:
        file.write(b"x")
    assert again.fingerprint() != source.again.fingerprint()


# What is not written --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda logits: logits * 1.01, r"outputs differ from the model's by .*it was not kept"),
        (lambda logits: logits * float("nan"), r"gives NaN or infinity in place of scores; it was not kept"),
    ],
)
def test_a_file_that_differs_is_not_kept(
    change: Callable[[torch.Tensor], torch.Tensor], reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from videoswin.export.runtime.pt2 import PT2Runtime

    old = tmp_path / "m.pt2"
    old.write_bytes(b"an old file of videoswin")
    right = PT2Runtime.run
    monkeypatch.setattr(PT2Runtime, "run", lambda self, clips: change(right(self, clips)))
    with pytest.raises(WeightsError, match=reason) as caught:
        export(tiny_classifier(), old, "torch-export")
    assert str(caught.value).startswith(str(old))
    assert old.read_bytes() == b"an old file of videoswin"
    assert list(tmp_path.iterdir()) == [old]


def test_clips_must_not_influence_each_other(classifier: Classifier) -> None:
    """A batch that leaks is seen by the check."""

    class Leaking(Classifier):
        def logits(self, clips: torch.Tensor) -> torch.Tensor:
            logits = super().logits(clips)
            return logits + (len(clips) > 1) * logits.mean(dim=0)

    values = {field.name: getattr(classifier, field.name) for field in dataclasses.fields(classifier)}
    clips = real_clips(classifier.preprocessing)
    assert len(clips) == len(sample_videos()) > 1
    assert compare(classifier, Leaking(**values), clips) > 0.01
    assert compare(classifier, classifier, clips) < 1e-5


def no_work(*_: Any) -> Any:
    raise AssertionError("work began before everything was asked for")


@pytest.mark.parametrize(
    ("name", "to", "precision", "reason"),
    [
        ("m.onnx", "onnnx", "float32", 'Did you mean "onnx"'),
        ("m.onnx", "onnx", "bf16", "not offered in bf16"),
        ("m.onnx", "onnx", "fp23", 'Did you mean "fp32"|Did you mean "float32"|Choose|Did you mean "fp16"'),
        ("m.bin", "openvino", "float32", r"named \*\.xml"),
        ("no/m.onnx", "onnx", "float32", "does not exist"),
        ("folder.onnx", "onnx", "float32", "is a folder"),
        ("theirs.onnx", "onnx", "float32", "not a model that videoswin exported"),
        ("w.xml", "openvino", "float32", r"w\.bin: there is a file already that belongs to no w\.xml"),
    ],
)
def test_what_cannot_be_is_one_line_before_any_work(
    name: str, to: str, precision: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write, "trace", no_work)
    monkeypatch.setattr(write, "real_clips", no_work)
    (tmp_path / "folder.onnx").mkdir()
    (tmp_path / "theirs.onnx").write_bytes(b"\x08\x07some other model")
    (tmp_path / "w.bin").write_bytes(b"weights of something")
    with pytest.raises((ConfigError, OutputError), match=reason):
        export(tiny_classifier(), tmp_path / name, to, precision)


def test_the_input_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "w.pt2").write_bytes(b"videoswin")
    with pytest.raises(OutputError, match="this is the input itself"):
        require("torch-export", path=tmp_path / "w.pt2", inputs=[str(tmp_path / "w.pt2")])


def test_the_former_name_of_float32_is_taken_and_told(tmp_path: Path) -> None:
    with pytest.warns(DeprecationWarning, match='"fp32" is now called "float32"'):
        require("torch-export", "fp32", tmp_path / "m.pt2")


@pytest.mark.parametrize(("to", "library"), [("onnx", "onnxscript"), ("onnx", "onnxruntime"), ("openvino", "openvino")])
def test_a_missing_library_is_one_line_before_any_work(
    to: str, library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write, "trace", no_work)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingExtraError, match=rf"{library}.*pip install 'videoswin\[{to}\]'"):
        export(tiny_classifier(), tmp_path / default_path("m", to), to)


def test_no_compiler_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write, "trace", no_work)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(ConfigError, match=r"no compiler here\. Install one"):
        export(tiny_classifier(), tmp_path / "m.aot.pt2", "aot")


@pytest.mark.parametrize("to", ["torch-export", *(pytest.param(to, marks=pytest.mark.slow) for to in FAST[:2])])
def test_a_disk_that_is_full_is_one_line(to: str, tmp_path: Path) -> None:
    """As the limit on the size of files has it: writing breaks off somewhere inside the library."""
    path = tmp_path / default_path("m", to)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        with pytest.raises(VideoSwinError) as caught:
            export(tiny_classifier(), path, to)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


# The table ------------------------------------------------------------------------------------------------------------


def test_default_names() -> None:
    assert default_path("best", "onnx") == Path("best.onnx")
    assert default_path("../a b", "aot") == Path("-a-b.aot.pt2")
    assert default_path("", "openvino") == Path("model.xml")


def test_the_table_is_whole() -> None:
    for name, form in FORMATS.items():
        assert form.name == name
        assert form.precisions[0] == "float32"
        assert set(form.precisions) <= set(TOLERANCES)
        assert bool(form.libraries) == bool(form.extra)


# Slow ones ------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_native_code(classifier: Classifier, tmp_path: Path) -> None:
    result = export(classifier, tmp_path / "m.aot.pt2", "aot")
    again = load_exported(result.path, trust_code=True)
    clips = torch.randn(5, *again.metadata.clip_shape)
    torch.testing.assert_close(again.logits(clips), classifier.logits(clips), rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(("to", "precision"), [("onnx", "fp16"), ("openvino", "fp16"), ("openvino", "bf16")])
def test_half_weights(to: str, precision: str, classifier: Classifier, tmp_path: Path) -> None:
    result = export(classifier, tmp_path / default_path("m", to), to, precision)
    assert 0 < result.max_difference <= TOLERANCES[precision]


@pytest.mark.slow
@pytest.mark.parametrize("to", ["onnx", "openvino"])
@pytest.mark.parametrize(
    "config", [DEEPER, DEEPER.replace(causal=True, window_size=(4, 3, 3))], ids=["shifted", "causal"]
)
def test_shifted_and_causal_boxes_in_files(config: SwinConfig, to: str, tmp_path: Path) -> None:
    model = create_model(config).eval()
    preprocessing = Preprocessing(clip_len=14, size=(36, 32), short_side=40)
    whole = Classifier(model, preprocessing, ("clap", "nod", "wave"))
    again = load_exported(export(whole, tmp_path / default_path("m", to), to).path)
    clips = torch.randn(3, *again.metadata.clip_shape)
    torch.testing.assert_close(again.logits(clips), whole.logits(clips), rtol=1e-4, atol=1e-5)
