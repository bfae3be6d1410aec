"""Every format: the file is the model, and stands alone."""

import dataclasses
import sys
from pathlib import Path

import pytest
import torch

from tests.tiny import tiny_classifier, write_video
from videoswin.classifier.bundled import sample_videos
from videoswin.classifier.classifier import Classifier
from videoswin.data.preprocessing import Preprocessing
from videoswin.errors import ConfigError, MissingExtraError, WeightsError
from videoswin.export import COMBINATIONS, TOLERANCES, Exported, default_path, export
from videoswin.export import write as verb_module
from videoswin.export.check import compare, real_clips
from videoswin.export.graph import inference_graph
from videoswin.export.runtime import ExportedClassifier, load_exported
from videoswin.model import SwinConfig, create_model

FAST = [("onnx", "fp32"), ("openvino", "fp32"), ("torch-export", "fp32")]


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    """A little model with all that the graph has to get right: padding, shifted boxes, clipped windows, merging."""
    torch.manual_seed(0)
    config = SwinConfig(
        embed_dim=8, depths=(2, 2), num_heads=(1, 2), window_size=(2, 3, 3), num_classes=3, drop_path=0.3
    )
    model = create_model(config).eval()
    for name, parameter in model.named_parameters():
        if name.endswith("bias_table") or name.startswith("head"):
            torch.nn.init.normal_(parameter)  # large enough that a wrong row would show
    preprocessing = Preprocessing(clip_len=8, sampling="uniform", size=(36, 32), short_side=40)
    return Classifier(model, preprocessing, ("clap", "nod", "wave"), name="tiny model", none_threshold=0.1)


@pytest.fixture(scope="module")
def exported(classifier: Classifier, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Exported]:
    folder = tmp_path_factory.mktemp("exported")
    return {(to, p): export(classifier, folder / default_path(f"m-{p}", to), to, p) for to, p in FAST}


@pytest.fixture(scope="module")
def opened(exported: dict[tuple[str, str], Exported]) -> dict[tuple[str, str], ExportedClassifier]:
    return {form: load_exported(result.path, trust_code=True) for form, result in exported.items()}


@pytest.mark.parametrize("padding", ["attended", "masked"])
@pytest.mark.parametrize("relative_bias", ["exact", "official"])
@pytest.mark.parametrize("size", [(8, 36, 32), (2, 12, 12), (5, 33, 47)])
def test_the_graph_is_the_model(size: tuple[int, int, int], relative_bias: str, padding: str) -> None:
    config = SwinConfig(
        embed_dim=8, depths=(2, 2), num_heads=(1, 2), window_size=(2, 3, 3), num_classes=3,
        relative_bias=relative_bias, padding=padding,  # type: ignore[arg-type]
    )  # fmt: skip
    model = create_model(config).eval()
    clips = torch.randn(2, 3, *size)
    with torch.inference_mode():
        graph = inference_graph(model, *size)
        torch.testing.assert_close(graph(clips), model(clips), rtol=1e-5, atol=1e-6)
    assert all(p.requires_grad for p in model.parameters())  # the model itself is as it was
    assert type(model.backbone.stages[0].blocks[0].attn).__name__ == "BoxAttention"


def test_the_graph_of_a_causal_model_is_the_model() -> None:
    config = SwinConfig(
        embed_dim=8, depths=(2, 2), num_heads=(1, 2), window_size=(4, 3, 3), num_classes=3, causal=True
    )  # fmt: skip
    model = create_model(config).eval()
    clips = torch.randn(2, 3, 14, 36, 32)
    with torch.inference_mode():
        torch.testing.assert_close(inference_graph(model, 14, 36, 32)(clips), model(clips), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("to", "precision"), FAST)
def test_the_file_is_the_model(
    exported: dict[tuple[str, str], Exported],
    opened: dict[tuple[str, str], ExportedClassifier],
    classifier: Classifier,
    to: str,
    precision: str,
    tmp_path: Path,
) -> None:
    result = exported[to, precision]
    assert result.max_difference <= TOLERANCES[precision]
    assert result.bytes == sum(Path(file).stat().st_size for file in result.files)
    again = opened[to, precision]
    assert again.metadata.max_difference == result.max_difference
    assert again.metadata.versions["torch"] == torch.__version__
    assert (again.labels, again.preprocessing) == (classifier.labels, classifier.preprocessing)
    assert (again.name, again.none_threshold) == ("tiny model", 0.1)
    assert again.num_parameters == classifier.num_parameters
    clip = write_video(tmp_path / "clip.mp4")
    theirs, ours = dict(again(clip, "2x3").predictions), dict(classifier(clip, "2x3").predictions)
    assert theirs == pytest.approx(ours, abs=1e-5 if precision == "fp32" else 5e-2)


@pytest.mark.parametrize(("to", "precision"), FAST)
def test_any_batch_goes_in(
    opened: dict[tuple[str, str], ExportedClassifier], classifier: Classifier, to: str, precision: str
) -> None:
    again = opened[to, precision]
    clips = torch.randn(5, *again.metadata.clip_shape)
    expected = classifier.logits(clips)
    for count in (1, 2, 5):
        got = again.logits(clips[:count])
        error = float((got - expected[:count]).abs().max() / expected.abs().max())
        assert error <= TOLERANCES[precision]


def test_openvino_runs_onnx_files_too(exported: dict[tuple[str, str], Exported], classifier: Classifier) -> None:
    again = load_exported(exported["onnx", "fp32"].path, "openvino")
    assert compare(classifier, again, real_clips(classifier.preprocessing)) < 1e-4


def test_the_onnx_file_is_plain_and_its_tables_are_constants(exported: dict[tuple[str, str], Exported]) -> None:
    import onnx

    model = onnx.load(exported["onnx", "fp32"].path)
    assert {o.domain for o in model.opset_import} == {""}
    gathers = [node for node in model.graph.node if node.op_type.startswith("Gather")]
    assert {i.name for i in model.graph.initializer}.isdisjoint(node.input[0] for node in gathers)  # tokens, not tables
    assert [d.dim_param or d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim][1:] == [3, 8, 36, 32]
    assert not any(i.data_location for i in model.graph.initializer)


def test_a_bin_of_another_export_is_refused(
    exported: dict[tuple[str, str], Exported], classifier: Classifier, tmp_path: Path
) -> None:
    source = Path(exported["openvino", "fp32"].path)
    (tmp_path / "m.xml").write_bytes(source.read_bytes())
    weights = bytearray(source.with_suffix(".bin").read_bytes())
    weights[-1] ^= 1
    (tmp_path / "m.bin").write_bytes(weights)
    with pytest.raises(WeightsError, match=r"m\.bin beside it is not the one"):
        load_exported(tmp_path / "m.xml")
    (tmp_path / "m.bin").unlink()
    with pytest.raises(WeightsError, match=r"m\.xml"):
        load_exported(tmp_path / "m.xml")


@pytest.mark.parametrize("factor", [1.01, float("nan")])
def test_a_file_that_differs_is_not_kept(factor: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = tmp_path / "m.pt2"
    old.write_bytes(b"old")
    right = ExportedClassifier.logits
    monkeypatch.setattr(ExportedClassifier, "logits", lambda self, clips: right(self, clips) * factor)
    with pytest.raises(WeightsError, match=r"outputs differ from the model's by .*it was not kept"):
        export(tiny_classifier(), old, "torch-export")
    assert old.read_bytes() == b"old"
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


@pytest.mark.parametrize(
    ("name", "to", "precision", "reason"),
    [
        ("m.onnx", "keras", "fp32", 'no format "keras"'),
        ("m.onnx", "onnx", "bf16", "not offered in bf16"),
        ("m.xml", "onnx", "fp32", r"named \*\.onnx"),
        ("no/m.onnx", "onnx", "fp32", "does not exist"),
        ("folder.onnx", "onnx", "fp32", "is a folder"),
    ],
)
def test_requests_that_cannot_be_met(name: str, to: str, precision: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(ConfigError, match=reason):
        export(tiny_classifier(), tmp_path / name, to, precision)


@pytest.mark.parametrize(("to", "library"), [("onnx", "onnxscript"), ("openvino", "openvino")])
def test_a_missing_library_is_one_line(to: str, library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingExtraError, match=rf"{library}.*pip install 'videoswin\[{to}\]'"):
        export(tiny_classifier(), tmp_path / default_path("m", to), to)


def test_no_compiler_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(ConfigError, match=r"no compiler here\. Install one"):
        export(tiny_classifier(), tmp_path / "m.aot.pt2", "aot")


def test_default_names() -> None:
    assert default_path("best", "onnx") == Path("best.onnx")
    assert default_path("../a b", "aot") == Path("-a-b.aot.pt2")
    assert default_path("", "openvino") == Path("model.xml")
    assert set(verb_module.SUFFIXES) == set(COMBINATIONS)


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
