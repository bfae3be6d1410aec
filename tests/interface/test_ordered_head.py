"""The head of taught classes: it knows an order, and what it has not seen."""

import shutil
from pathlib import Path

import pytest
import torch

from tests.tiny import CONFIG, LABELS, PREPROCESSING
from videoswin.classifier.classifier import Classifier
from videoswin.classifier.loading import load
from videoswin.errors import ConfigError, WeightsError
from videoswin.interface.ordered_head import NEVER, OrderedHead, nearness, parts_of, remember
from videoswin.model import create_model
from videoswin.model.video_swin import VideoSwin
from videoswin.train.novelty import HeldOut, Nearness, fit_nearness, look_from_outside, set_memory
from videoswin.train.start import adopt
from videoswin.weights.convert import convert_model


def head_with_memory(known: torch.Tensor, fitted: Nearness, classes: int = 2) -> OrderedHead:
    head = OrderedHead(known.shape[1], classes + 1, 0.0, 1, len(known))
    torch.nn.init.constant_(head.fc.bias[-1:], NEVER)
    set_memory(head, known, fitted)
    return head.eval()


def taught() -> VideoSwin:
    torch.manual_seed(0)
    model = create_model(CONFIG, num_classes=4, head_parts=4, head_memory=5)
    assert isinstance(model.head, OrderedHead)
    set_memory(model.head, torch.randn(5, 4 * 16), Nearness(20.0, 0.1))
    return model.eval()


def test_parts_are_means_over_space_and_stretches_of_time() -> None:
    features = torch.arange(2 * 3 * 4 * 2 * 2, dtype=torch.float32).view(2, 3, 4, 2, 2)
    parts = parts_of(features, 2)
    assert parts.shape == (2, 6)
    torch.testing.assert_close(parts[:, :3], features[:, :, :2].mean(dim=(2, 3, 4)))
    torch.testing.assert_close(parts[:, 3:], features[:, :, 2:].mean(dim=(2, 3, 4)))
    with pytest.raises(ConfigError, match="3 parts of a clip in their order, and the clip has 4 steps"):
        parts_of(features, 3)


def test_the_order_counts() -> None:
    torch.manual_seed(0)
    model = create_model(CONFIG, num_classes=3, head_parts=4).eval()
    features = torch.randn(1, 16, 4, 2, 2)
    assert not torch.allclose(model.classify(features), model.classify(features.flip(2)))
    plain = create_model(CONFIG, num_classes=3).eval()
    torch.testing.assert_close(plain.classify(features), plain.classify(features.flip(2)))


def test_what_is_like_nothing_that_taught_is_none() -> None:
    torch.manual_seed(0)
    known = torch.randn(4, 64).repeat(3, 1) + 0.1 * torch.randn(12, 64)
    head = head_with_memory(known, Nearness(40.0, 1.7))  # two classes: their scores always agree, which is 1
    near = head.answer(known + 0.01 * torch.randn_like(known)).softmax(1)
    far = head.answer(torch.randn(12, 64)).softmax(1)
    assert near[:, -1].max() < 0.2
    assert far[:, -1].min() > 0.9
    torch.testing.assert_close(
        near[:, :2] / near[:, :2].sum(1, keepdim=True), head.fc(known)[:, :2].softmax(1), atol=0.05, rtol=0.1
    )


def test_held_out_scores_are_those_of_the_model() -> None:
    torch.manual_seed(0)
    known, asked, fitted = torch.randn(6, 8), torch.randn(5, 8), Nearness(10.0, 0.2)
    head = head_with_memory(known, fitted)
    held = HeldOut(
        head.fc(asked).detach(),
        nearness(asked, head.fc(asked)[:, :-1], remember(known, head.fc(known)[:, :-1], 1)).detach(),
        torch.ones(5, dtype=torch.bool),
    )
    torch.testing.assert_close(held.scores(fitted), head.answer(asked).softmax(1).detach())


def test_nearly_all_held_out_clips_keep_their_class() -> None:
    torch.manual_seed(0)
    logits = torch.cat([torch.randn(200, 3), torch.full((200, 1), NEVER)], dim=1)
    held = HeldOut(logits, 0.6 + 0.1 * torch.randn(200), torch.ones(200, dtype=torch.bool))
    fitted = fit_nearness(held, 0.3 + 0.1 * torch.randn(150))
    assert fitted.slope > 5
    refused = int((held.scores(fitted).argmax(1) == 3).sum())
    assert 1 <= refused <= 5  # 2 of 100
    assert fit_nearness(held, torch.zeros(0)).slope == 1


def test_of_many_classes_some_are_left_out() -> None:
    torch.manual_seed(0)
    targets = torch.arange(60).repeat(2)
    fold = torch.arange(120) < 60
    learnt: list[int] = []

    def fit(learn: torch.Tensor, number: int) -> tuple[torch.Tensor, torch.Tensor]:
        learnt.append(int(learn.sum()))
        return torch.randn(59, 8), torch.zeros(59)

    known = torch.ones(120, dtype=torch.bool)
    assert len(look_from_outside(torch.randn(120, 8), targets, known, [fold, ~fold], fit, 2)) == 40
    assert learnt == [59] * 40


def test_a_saved_one_answers_the_same(tmp_path: Path) -> None:
    model = taught()
    classifier = Classifier(model, PREPROCESSING, (*LABELS, "none of these"), name="taught")
    clip = torch.randn(2, 3, 8, 32, 32)
    classifier.save(tmp_path / "ck")
    again = Classifier.from_pretrained(tmp_path / "ck")
    assert torch.equal(again.model(clip), model(clip))
    bare = load(str(shutil.copy(tmp_path / "ck" / "model.safetensors", tmp_path / "bare.safetensors")))
    assert bare.model.config.head_parts == 4
    assert bare.model.config.head_memory == 5
    torch.testing.assert_close(bare.model(clip), model(clip))


def test_other_code_bases_have_no_such_head(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no head that reads the parts"):
        convert_model(taught(), tmp_path / "x.pth", "official")


def test_a_training_from_it_gets_a_plain_head() -> None:
    source = Classifier(taught(), PREPROCESSING, (*LABELS, "none of these"), name="taught")
    model, fresh = adopt(source, ("nod", "jump"))
    assert model.config.head_parts == model.config.head_memory == 0
    model.eval()
    torch.testing.assert_close(
        model.forward_features(torch.ones(1, 3, 8, 32, 32)), source.model.forward_features(torch.ones(1, 3, 8, 32, 32))
    )
    again, _ = adopt(source, ("nod", "jump"), head_parts=4, head_memory=9)
    assert again.head.known.shape == (9, 64 + 64 + 1)
    assert fresh == ["nod", "jump"]  # a row of the taught head reads other things


def test_settings_that_do_not_go_together() -> None:
    with pytest.raises(ConfigError, match="head_memory=3 needs"):
        create_model(CONFIG, head_memory=3)
    with pytest.raises(ConfigError, match="head_parts=4 needs whole clips"):
        create_model(CONFIG, head_parts=4, causal=True)
    with pytest.raises(ConfigError, match="head_parts=-1"):
        create_model(CONFIG, head_parts=-1)
    with pytest.raises(ConfigError, match="causal=True answers"):
        taught().as_causal()


def test_a_file_without_its_memory_is_refused(tmp_path: Path) -> None:
    from videoswin.weights.safetensors import read_tensors, write_tensors

    Classifier(taught(), PREPROCESSING, (*LABELS, "none of these"), name="t").save(tmp_path / "ck")
    tensors = read_tensors(tmp_path / "ck" / "model.safetensors")
    write_tensors(tmp_path / "bare.safetensors", {n: t for n, t in tensors.items() if n != "head.near"})
    with pytest.raises(WeightsError, match=r"head\.near"):
        load(str(tmp_path / "bare.safetensors"))


def _as_before(model: VideoSwin) -> dict[str, torch.Tensor]:
    """The tensors of a head whose memory holds the parts alone."""
    width = 4 * 16
    state = model.state_dict()
    for name, size in (("known", width), ("centre", width), ("scale", width)):
        state[f"head.{name}"] = state[f"head.{name}"][..., :size].clone()
    return state


@pytest.mark.parametrize("bare", [False, True])
def test_heads_taught_by_parts_alone_answer_as_they_did(tmp_path: Path, bare: bool) -> None:
    """Of an earlier release: the nearness of the parts alone, by its own arithmetic, and no room for more when saved again."""
    from videoswin.weights.safetensors import read_tensors, write_tensors

    model = taught()
    state = _as_before(model)
    Classifier(model, PREPROCESSING, (*LABELS, "none of these"), name="t").save(tmp_path / "ck")
    write_tensors(tmp_path / "ck" / "model.safetensors", {n: t.contiguous() for n, t in state.items()})
    if bare:
        shutil.move(tmp_path / "ck" / "model.safetensors", tmp_path / "bare.safetensors")
    before = load(str(tmp_path / ("bare.safetensors" if bare else "ck")))
    clip = torch.randn(2, 3, 8, 32, 32)
    parts = parts_of(before.model.forward_features(clip), 4)
    seen = torch.nn.functional.normalize((parts - state["head.centre"]) / state["head.scale"], dim=1)
    near = (seen @ state["head.known"].T).topk(3, dim=1).values.mean(dim=1)
    logits = parts @ state["head.fc.weight"].T + state["head.fc.bias"]
    classes = logits[:, :-1]
    none = torch.logaddexp(logits[:, -1], classes.logsumexp(1) + 20.0 * (0.1 - near))
    torch.testing.assert_close(before.model(clip), torch.cat([classes, none[:, None]], dim=1))
    assert not torch.allclose(before.model(clip), model(clip))
    before.save(tmp_path / "again")
    assert read_tensors(tmp_path / "again" / "model.safetensors")["head.known"].shape == (5, 64)


def test_a_head_takes_the_memory_that_it_is_given() -> None:
    model, other = taught(), create_model(CONFIG, num_classes=4, head_parts=4, head_memory=5)
    clip = torch.randn(1, 3, 8, 32, 32)
    assert isinstance(other.head, OrderedHead)
    other.load_state_dict(_as_before(model))
    assert other.head.known.shape == (5, 64)
    other.load_state_dict(model.state_dict())  # and back
    torch.testing.assert_close(other.eval()(clip), model(clip))
    wrong = {**model.state_dict(), "head.known": torch.zeros(5, 70)}
    with pytest.raises(RuntimeError, match=r"size mismatch for head\.known"):
        other.load_state_dict(wrong)


def test_the_course_counts_whatever_the_room_looks_like() -> None:
    """Clips of two movements, each in a room that shifts all times alike: a known one in a new room is nearer than it backwards."""
    torch.manual_seed(0)
    moves = torch.linspace(-1, 1, 4)[:, None] * torch.randn(2, 1, 16)  # (2, T, C)
    rooms = 5 * torch.randn(12, 1, 16)
    memory = remember((moves.repeat(6, 1, 1) + 0.1 * torch.randn(12, 4, 16) + rooms).flatten(1), torch.ones(12, 2), 4)
    room = 5 * torch.randn(16)
    known, backwards = ((move + room).flatten()[None] for move in (moves[0], (-moves.sum(0))))
    scores = torch.ones(1, 2)
    assert nearness(known, scores, memory) > nearness(backwards, scores, memory) + 0.5


def test_the_scores_count_whatever_they_are_multiplied_by() -> None:
    torch.manual_seed(0)
    parts, scores = torch.randn(9, 8), torch.eye(3).repeat(3, 1)
    memory = remember(parts, scores, 2)
    like, unlike = torch.tensor([[2.0, 0.0, 0.0]]), torch.tensor([[1.0, 1.0, 0.0]])
    alike = nearness(parts[:1], like, memory)
    assert alike > nearness(parts[:1], unlike, memory) + 0.1
    torch.testing.assert_close(nearness(parts[:1], 7 * like + 3, memory), alike)
    two = remember(parts, scores[:, :2], 2)  # of two classes the scores say nothing
    torch.testing.assert_close(nearness(parts, scores[:, :2], two), nearness(parts, -scores[:, :2], two))


def test_clips_in_which_nothing_moves_have_no_course() -> None:
    """Rounding alone is no course that clips could share."""
    torch.manual_seed(0)
    still = torch.randn(5, 1, 8).expand(5, 4, 8)
    noisy = (still + 1e-6 * torch.randn(5, 4, 8)).flatten(1)
    memory = remember(noisy, torch.randn(5, 3), 4)
    course = memory.known[:, 32:64]
    assert course.norm(dim=1).max() < 0.1
