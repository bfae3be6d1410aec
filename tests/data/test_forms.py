"""Lists of other tools, as they write them."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from videoswin.data.annotations import read_index
from videoswin.data.clips import Clip, ClipList
from videoswin.data.frame_folder import FrameFolder, pictures_in
from videoswin.data.part import open_clip
from videoswin.errors import ConfigError, VideoError


def files(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")
    return root


def frames(folder: Path, count: int = 4, size: tuple[int, int] = (6, 8), name: str = "img_{:05d}.png") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(1, count + 1):
        picture = np.full((*size, 3), number * 10, dtype=np.uint8)
        Image.fromarray(picture).save(folder / name.format(number))
    return folder


def summary(index: ClipList) -> list[tuple[str, str, str]]:
    return [(row.path.name, row.label, row.split) for row in index.rows]


def test_kinetics_lists_with_a_label_file(tmp_path: Path):
    """As k400_train.txt: names may hold spaces."""
    files(tmp_path, "train/a b.mp4", "train/c.mp4", "val/d.mp4")
    (tmp_path / "k400_train.txt").write_text("train/a b.mp4 1\ntrain/c.mp4 0\n")
    (tmp_path / "k400_val.txt").write_text("val/d.mp4 1\n")
    (tmp_path / "label_map_k400.txt").write_text("abseiling\nair drumming\n")
    index = read_index(tmp_path)
    assert summary(index) == [
        ("a b.mp4", "air drumming", "train"),
        ("c.mp4", "abseiling", "train"),
        ("d.mp4", "air drumming", "val"),
    ]
    assert any("path, label" in note and "label_map_k400.txt" in note for note in index.notes)
    assert summary(read_index(tmp_path / "k400_val.txt"))[0] == ("d.mp4", "air drumming", "val")


def test_numbers_without_a_label_file(tmp_path: Path):
    files(tmp_path, "a.mp4", "b.mp4")
    (tmp_path / "list.txt").write_text("a.mp4 0\nb.mp4 3\n")
    index = read_index(tmp_path / "list.txt")
    assert (index.labels, index.splits) == (("0", "3"), {})
    assert any("named by their numbers" in note for note in index.notes)


def test_all_bad_lines_of_a_list_in_one_error(tmp_path: Path):
    files(tmp_path, "a.mp4", "b.mp4", "c.mp4", "d.mp4", "e.mp4", "f.mp4", "g.mp4", "h.mp4")
    (tmp_path / "labels.txt").write_text("no\nyes\n")
    lines = [
        "a.mp4 0",
        "b.mp4 2",
        "gone.mp4 1",
        "c.mp4 -1",
        "../x.mp4 0",
        "a.mp4 1",
        "d.mp4",
        *(f"{n}.mp4 1" for n in "efgh"),
    ]
    (tmp_path / "train.txt").write_text("\n".join(lines))
    with pytest.raises(ConfigError) as error:
        read_index(tmp_path / "train.txt")
    text = str(error.value)
    assert "6 entries cannot be used" in text
    for words in (
        "line 2: there is no class 2; labels.txt names 0 to 1",
        'line 3: "gone.mp4" does not exist',
        "line 4: there is no class -1",
        "line 5: ",
        'line 6: "a.mp4" is listed already on line 1',
        'line 7: "d.mp4" does not end in the number of a class',
    ):
        assert words in text


def test_bad_lines_of_several_lists_name_the_list(tmp_path: Path):
    files(tmp_path, "a.mp4")
    (tmp_path / "train.txt").write_text("a.mp4 0\nb.mp4 1\n")
    (tmp_path / "val.txt").write_text("c.mp4 0\n")
    with pytest.raises(ConfigError, match=r"(?s)2 entries.*train\.txt, line 2.*|val\.txt, line 1") as error:
        read_index(tmp_path)
    assert 'val.txt, line 1: "c.mp4" does not exist' in str(error.value)


def test_a_published_kinetics_table(tmp_path: Path):
    files(tmp_path, "train/air_drumming/abc_000010_000020.mp4", "val/abseiling/-xY_000001_000011.mkv")
    (tmp_path / "kinetics.csv").write_text(
        "label,youtube_id,time_start,time_end,split,is_cc\nair drumming,abc,10,20,train,0\nabseiling,-xY,1,11,validate,0\n".replace(
            "validate", "val"
        )
    )
    assert summary(read_index(tmp_path / "kinetics.csv")) == [
        ("abc_000010_000020.mp4", "air drumming", "train"),
        ("-xY_000001_000011.mkv", "abseiling", "val"),
    ]


def test_something_something(tmp_path: Path):
    files(tmp_path, "20bn/1.webm", "20bn/2.webm", "20bn/3.webm")
    write = lambda name, rows: (tmp_path / name).write_text(json.dumps(rows))  # noqa: E731
    write("something-something-v2-train.json", [
        {"id": "1", "label": "pushing cup", "template": "Pushing [something] off [something]", "placeholders": ["cup"]},
    ])  # fmt: skip
    write("something-something-v2-validation.json", [{"id": "2", "template": "Holding [something]"}])
    write("something-something-v2-test.json", [{"id": "3"}])
    write("something-something-v2-labels.json", {"Holding something": "0"})
    index = read_index(tmp_path)
    assert summary(index) == [
        ("1.webm", "Pushing something off something", "train"),
        ("2.webm", "Holding something", "val"),
    ]
    with pytest.raises(ConfigError, match="not a list of entries"):
        read_index(tmp_path / "something-something-v2-labels.json")


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_hugging_face_metadata(tmp_path: Path, kind: str):
    for split, name in (("train", "a.mp4"), ("test", "b.mp4")):
        files(tmp_path, f"{split}/{name}")
        row = {"file_name": name, "label": "wave", "extra": 1}
        text = (
            "file_name,label,extra\na.mp4,wave,1\n".replace("a.mp4", name) if kind == "csv" else json.dumps(row) + "\n"
        )
        (tmp_path / split / f"metadata.{kind}").write_text(text)
    assert summary(read_index(tmp_path)) == [("b.mp4", "wave", "test"), ("a.mp4", "wave", "train")]


@pytest.mark.parametrize("mark", ["\t", ";", ","])
def test_tables_with_other_separators(tmp_path: Path, mark: str):
    files(tmp_path, "a b.mp4")
    (tmp_path / "list.tsv").write_text(mark.join(["path", "label"]) + "\n" + mark.join(["a b.mp4", "wave"]) + "\n")
    assert summary(read_index(tmp_path / "list.tsv")) == [("a b.mp4", "wave", "")]


# Folders of frames ----------------------------------------------------------------------------------------------------------


def test_folders_of_frames_are_clips(tmp_path: Path):
    frames(tmp_path / "wave" / "clip1")
    frames(tmp_path / "nod" / "clip2")
    index = read_index(tmp_path)
    assert summary(index) == [("clip2", "nod", ""), ("clip1", "wave", "")]
    with open_clip(index.rows[0]) as video:
        assert len(video) == 4
        assert (video.info.height, video.info.width) == (6, 8)
        read = video.get_frames([3, 0, 3])
        assert read.data[:, 0, 0, 0].tolist() == [40, 10, 40]
        assert read.times.tolist() == pytest.approx([0.12, 0.0, 0.12])
    with open_clip(Clip(index.rows[0].path, "x", start=0.04, end=0.12)) as part:
        assert part.read().data[:, 0, 0, 0].tolist() == [20, 30]


def test_mmaction_lists_of_frames(tmp_path: Path):
    frames(tmp_path / "clips" / "a")
    frames(tmp_path / "clips" / "b")
    (tmp_path / "train.txt").write_text("clips/a 4 1\nclips/b 4 0\n")
    index = read_index(tmp_path / "train.txt")
    assert summary(index) == [("a", "1", "train"), ("b", "0", "train")]
    assert any("folder, number of frames, label" in note for note in index.notes)


def test_frames_are_in_the_order_of_their_numbers(tmp_path: Path):
    frames(tmp_path / "a", 12, name="frame{}.png")
    frames(tmp_path / "a", 12, name="flow_x_{:05d}.png")
    assert [path.name for path in pictures_in(tmp_path / "a")] == [f"frame{n}.png" for n in range(1, 13)]


def test_damaged_frames(tmp_path: Path):
    folder = frames(tmp_path / "a")
    (folder / "img_00003.png").write_bytes(b"no picture")
    video = FrameFolder(folder)
    assert torch.equal(video.get_frames([0]).data[0, 0, 0], torch.tensor([10, 10, 10], dtype=torch.uint8))
    with pytest.raises(VideoError, match=r"img_00003\.png"):
        video.read()
    frames(tmp_path / "b", 1, size=(4, 4), name="img_00009.png")
    frames(tmp_path / "b", 2)
    with pytest.raises(VideoError, match=r"img_00009\.png has 4x4, the first one 8x6 pixels"):
        FrameFolder(tmp_path / "b").read()
    with pytest.raises(VideoError, match="no pictures"):
        FrameFolder(files(tmp_path / "c", "x.txt"))
