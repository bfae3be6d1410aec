"""The list of clips: every bad row is found, named by its line, and reported with the others."""

import os
from pathlib import Path

import pytest

from videoswin.data import annotations
from videoswin.data.annotations import Clip, ClipList, read_index
from videoswin.errors import ConfigError


def touch(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"not looked at")


def write(root: Path, text: str | bytes, name: str = "list.csv") -> Path:
    path = root / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def summary(index: ClipList) -> list[tuple[str, str, str]]:
    return [(row.path.name, row.label, row.split) for row in index.rows]


def refusal(data: Path, **options) -> list[str]:
    with pytest.raises(ConfigError) as error:
        read_index(data, **options)
    return str(error.value).splitlines()


def test_a_plain_list(tmp_path: Path):
    touch(tmp_path, "a.mp4", "b.mp4", "sub/c.mp4")
    data = write(
        tmp_path,
        "path,label,fps,split,group\na.mp4,wave,30,train,anna\nb.mp4,nod,25,train,ben\nsub/c.mp4,wave,30,test,eva\n",
    )
    index = read_index(data)
    assert summary(index) == [("a.mp4", "wave", "train"), ("b.mp4", "nod", "train"), ("c.mp4", "wave", "test")]
    assert index.labels == ("nod", "wave")
    assert index.root == tmp_path.resolve()
    assert index.splits == {"test": 1, "train": 2}
    assert [row.line for row in index.rows] == [2, 3, 4]
    assert index.rows[0].path.is_absolute()
    assert index.rows[0].group == "anna"
    assert len(index) == 3


def test_splits_share_the_class_numbers(tmp_path: Path):
    touch(tmp_path, "a.mp4", "b.mp4", "c.mp4")
    data = write(tmp_path, "path,label,split\na.mp4,z,train\nb.mp4,a,test\nc.mp4,odd,\n")
    train, test, none = (read_index(data, split=split) for split in ("train", "test", ""))
    assert train.labels == test.labels == none.labels == ("a", "z"), "a row without a split makes no class"
    assert summary(train) == [("a.mp4", "z", "train")]
    assert summary(test) == [("b.mp4", "a", "test")]
    assert summary(none) == [("c.mp4", "odd", "")]
    assert len(read_index(data)) == 2


def test_without_a_split_column_all_rows_count(tmp_path: Path):
    touch(tmp_path, "a.mp4")
    data = write(tmp_path, "path,label\na.mp4,z\n")
    assert summary(read_index(data)) == [("a.mp4", "z", "")]
    assert read_index(data).splits == {}
    assert 'has no splits, "test" was asked for' in refusal(data, split="test")[0]


def test_an_unknown_split_names_the_nearest(tmp_path: Path):
    touch(tmp_path, "a.mp4")
    data = write(tmp_path, "path,label,split\na.mp4,z,train\n")
    assert refusal(data, split="trian")[0].endswith('no clip is in the split "trian". Did you mean "train"?')


@pytest.mark.parametrize(
    "text",
    [
        b"path,label\na b.mp4,wave hand\n",
        b"\xef\xbb\xbfpath,label\r\na b.mp4,wave hand\r\n",
        b'"path","label"\n\n"a b.mp4","wave hand"\n   \n\n',
        b"Path , Label\n a b.mp4 , wave hand ",
        b'path,label\na b.mp4, "wave hand"\n',
    ],
    ids=["plain", "mark and CRLF", "quotes and blank lines", "spaces, no last line end", "space before quotes"],
)
def test_ways_to_write_the_same(tmp_path: Path, text: bytes):
    touch(tmp_path, "a b.mp4")
    assert summary(read_index(write(tmp_path, text))) == [("a b.mp4", "wave hand", "")]


def test_labels_are_names_even_if_they_look_like_numbers(tmp_path: Path):
    touch(tmp_path, "a.mp4", "b.mp4", "c.mp4")
    index = read_index(write(tmp_path, "path,label\na.mp4,10\nb.mp4,9\nc.mp4,3.5\n"))
    assert index.labels == ("10", "3.5", "9")


def test_unusual_names_work(tmp_path: Path):
    names = ["-rf.mp4", "Übung 動画.mp4", "comma, quote''.mp4", "Screen\u202fRecording.mp4", "%d.png"]
    touch(tmp_path, *names)
    text = "path,label\n" + "".join(f'"{name}",x\n' for name in names)
    assert [row.path.name for row in read_index(write(tmp_path, text)).rows] == names


def test_all_bad_rows_are_listed_at_once(tmp_path: Path):
    touch(tmp_path, "data/a.mp4", "data/b.mp4", "data/good.mp4", "secret.mp4")
    (tmp_path / "data/folder.mp4").mkdir()
    os.mkfifo(tmp_path / "data/pipe.mp4")
    (tmp_path / "data/link.mp4").symlink_to(tmp_path / "secret.mp4")
    (tmp_path / "data/loop.mp4").symlink_to(tmp_path / "data/loop.mp4")
    lines = [
        "path,label,split",
        "a.mp4,wave,train",
        "missing.mp4,wave,train",
        "a.mp4,wave,test",
        "b.mp4,,train",
        ",wave,train",
        "../secret.mp4,wave,train",
        "link.mp4,wave,train",
        "loop.mp4,wave,train",
        "folder.mp4,wave,train",
        "pipe.mp4,wave,train",
        "b.mp4,wave",
        "b.mp4,wave,train,4",
        "./b.mp4,wave,train",
        '"tab\there.mp4",wave,train',
        '"line\nbreak.mp4",wave,train',
        "x" * 300 + ".mp4,wave,train",
        'good.mp4,"wa\nve",train',
    ]
    found = refusal(write(tmp_path / "data", "\n".join(lines) + "\n"))
    assert found[0].endswith("data/list.csv: 16 entries cannot be used. Correct or remove what is listed here:")
    expected = [
        (3, '"missing.mp4" does not exist'),
        (4, '"a.mp4" is listed already on line 2'),
        (5, '"b.mp4" has no label'),
        (6, "has no path"),
        (7, '"../secret.mp4" leads out of the folder'),
        (8, '"link.mp4" leads out of the folder'),
        (9, '"loop.mp4" cannot be opened'),
        (10, '"folder.mp4" is a folder'),
        (11, '"pipe.mp4" is a device or pipe'),
        (12, "has 2 cells, the header has 3"),
        (13, "has 4 cells, the header has 3"),
        (14, '"./b.mp4" is listed already on line 5'),
        (15, "'tab\\there.mp4' has a tab"),
        (16, "'line\\nbreak.mp4' has a tab, line break"),
        (18, "cannot be opened (File name too long)"),
        (19, "the label 'wa\\nve' has a line break"),
    ]
    assert len(found) == 1 + len(expected)
    for text, (line, reason) in zip(found[1:], expected, strict=True):
        assert text.startswith(f"  line {line}: ")
        assert reason in text


def test_a_list_that_was_written_on_windows(tmp_path: Path):
    touch(tmp_path / "data", "wave/a.mp4")
    found = refusal(write(tmp_path / "data", "path,label\nwave\\a.mp4,wave\n"))
    assert found[1].endswith('"wave\\a.mp4" does not exist, but wave/a.mp4 does: write / for \\ in the list')


def test_an_absolute_path_is_taken_as_written(tmp_path: Path):
    touch(tmp_path, "elsewhere/a.mp4", "lists/keep")
    data = write(tmp_path / "lists", f"path,label\n{tmp_path}/elsewhere/a.mp4,x\n")
    assert summary(read_index(data)) == [("a.mp4", "x", "")]


def test_one_line_for_each_but_not_thousands(tmp_path: Path):
    data = write(tmp_path, "path,label\n" + "".join(f"{number}.mp4,x\n" for number in range(300)))
    found = refusal(data)
    assert len(found) == 52
    assert found[-1] == "  ... and 250 more"


def test_labels_can_be_given(tmp_path: Path):
    touch(tmp_path, "a.mp4", "b.mp4", "c.mp4")
    data = write(tmp_path, "path,label,split\na.mp4,wave,train\nb.mp4,wavee,train\nc.mp4,-1,\n")
    found = refusal(data, labels=["wave", "nod"])
    assert found[1] == '  line 3: the label "wavee" of "b.mp4" is not one of the 2 classes. Did you mean "wave"?'
    assert len(found) == 2, "a row outside all splits may have any label"
    assert read_index(data, labels=["wavee", "wave"]).labels == ("wavee", "wave"), "the order given is kept"
    assert "twice" in refusal(data, labels=["wave", "wave"])[0]


def test_shared_groups_are_told(tmp_path: Path):
    touch(tmp_path, "a.mp4", "b.mp4", "c.mp4")
    data = write(tmp_path, "path,label,split,group\na.mp4,x,train,anna\nb.mp4,x,test,anna\nc.mp4,x,test,ben\n")
    assert read_index(data).shared_groups == ("anna",)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty. Start it with the line path,label,split"),
        (b"path,label\n", "lists no clips"),
        (b"file,class\na.mp4,x\n", 'has no column "path", only file, class.'),
        (b"path,label,label\na.mp4,x,y\n", 'has the column "label" twice'),
        (b"path,label\n\xff\xfe.mp4,x\n", "is not UTF-8"),
        (b'path,label\n"a.mp4"b,x\n', "line 2 is not CSV"),
        (b'path,label\n"a.mp4,x\n', "is not CSV"),
        (b"path,label\na\x00.mp4,x\n", "line 2"),
    ],
)
def test_lists_that_cannot_be_read(tmp_path: Path, content: bytes, says: str):
    found = refusal(write(tmp_path, content))
    assert "list.csv: " in found[0]
    assert any(says in line for line in found)


def test_no_such_list(tmp_path: Path):
    assert refusal(tmp_path / "none.csv")[0].endswith("does not exist. Give a CSV file or a folder of class folders.")
    os.mkfifo(tmp_path / "pipe")
    assert "is not a regular file" in refusal(tmp_path / "pipe")[0]


def test_class_folders(tmp_path: Path):
    touch(tmp_path, "wave/2.mp4", "wave/1.MP4", "nod/x y.mkv", "README.txt", ".DS_Store", "wave/.DS_Store")
    index = read_index(tmp_path)
    assert summary(index) == [("x y.mkv", "nod", ""), ("1.MP4", "wave", ""), ("2.mp4", "wave", "")]
    assert index.labels == ("nod", "wave")


def test_split_folders(tmp_path: Path):
    touch(tmp_path, "train/wave/1.mp4", "train/nod/1.mp4", "test/wave/2.mp4")
    index = read_index(tmp_path, split="test")
    assert summary(index) == [("2.mp4", "wave", "test")]
    assert index.labels == ("nod", "wave")
    assert index.splits == {"test": 1, "train": 2}


def test_classes_may_be_called_train_and_test(tmp_path: Path):
    touch(tmp_path, "train/1.mp4", "test/1.mp4")
    assert read_index(tmp_path).labels == ("test", "train")


def test_a_list_in_the_folder_is_used(tmp_path: Path):
    touch(tmp_path, "wave/1.mp4", "unsorted/2.mp4")
    write(tmp_path, "path,label\nwave/1.mp4,hello\n", "labels.csv")
    assert summary(read_index(tmp_path)) == [("1.mp4", "hello", "")]


def test_a_video_beside_the_class_folders_has_no_class(tmp_path: Path):
    touch(tmp_path, "loose.mp4", "wave/1.mp4", "nod/1.mp4")
    found = refusal(tmp_path)
    assert found[0].endswith("1 entry cannot be used. Correct or remove what is listed here:")
    assert found[1:] == ['  "loose.mp4" is in no class folder; move it into the folder of its class']


def test_an_empty_folder(tmp_path: Path):
    assert "lists no clips" in refusal(tmp_path)[0]


def test_old_names_still_work():
    for old, new in (("Index", ClipList), ("Row", Clip)):
        with pytest.deprecated_call(match=f"{old} is called {new.__name__} now"):
            assert getattr(annotations, old) is new
    with pytest.raises(AttributeError):
        annotations.Nothing  # noqa: B018


# start and end --------------------------------------------------------------------------------------------------------


def test_start_and_end(tmp_path: Path):
    touch(tmp_path, "a.mp4", "b.mp4")
    text = "path,label,start,end\na.mp4,x,0.5,2\na.mp4,y,2.5,\nb.mp4,x,,\na.mp4,y,,0.5\n"
    rows = read_index(write(tmp_path, text)).rows
    assert [(row.start, row.end, row.is_part) for row in rows] == [
        (0.5, 2.0, True),
        (2.5, None, True),
        (0.0, None, False),
        (0.0, 0.5, True),
    ]
    assert len({row.unit for row in rows}) == 2, "parts of one file stay together"


@pytest.mark.parametrize(
    ("span", "says"),
    [
        ("a,2", 'start "a" and end "2" must be seconds'),
        ("3,2", "start 3 and end 2 must be seconds, 0 or more, the end after the start"),
        ("-1,", "start -1 and end none must be seconds"),
        ("nan,", "must be seconds"),
        (",inf", "must be seconds"),
        ("1,2", "with the same start and end, is listed already on line 2"),
    ],
)
def test_wrong_seconds(tmp_path: Path, span: str, says: str):
    touch(tmp_path, "a.mp4")
    (line,) = refusal(write(tmp_path, f"path,label,start,end\na.mp4,x,1,2\na.mp4,x,{span}\n"))[1:]
    assert line.startswith("  line 3: ")
    assert says in line


def test_parts_of_a_file_on_both_sides_of_a_split(tmp_path: Path):
    touch(tmp_path, "a.mp4")
    text = "path,label,split,start,end\na.mp4,x,train,0,1\na.mp4,x,test,1,2\n"
    (note,) = read_index(write(tmp_path, text)).notes
    assert "files that stand in more than one split make every figure look too good: a.mp4" in note


# lists of other tools, and columns ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a.mp4 x\nb.mp4 y\n", 'its first line, "a.mp4 x", is a clip already'),
        ("a.mp4 x\n", "as line 1: path,label, and commas between the cells in place of the spaces."),
        ("a.mp4,0\nb.mp4,1\n", "Put in front of it, as line 1: path,label."),
        ("a.mp4;0\n", "in place of the semicolons"),
        ("a.mp4\tx\n", "in place of the tabs"),
        ("sub/odd,0\n", "is a clip already"),
        ("paht\tlabel\na.mp4\tx\n", "has no commas, but tabs"),
        ("paht,label\na.mp4,x\n", 'has no column "path", only paht, label. Rename "paht" to "path".'),
        ("path,labels\na.mp4,x\n", 'Rename "labels" to "label".'),
    ],
)
def test_what_a_first_line_should_be(tmp_path: Path, text: str, says: str):
    touch(tmp_path, "a.mp4", "b.mp4", "sub/odd")
    assert says in refusal(write(tmp_path, text))[0]


def test_misspelt_columns_are_told(tmp_path: Path):
    touch(tmp_path, "a.mp4")
    index = read_index(write(tmp_path, "path,label,groupe,fps,Ends\na.mp4,x,anna,30,3\n"))
    assert index.notes == (
        'beware: the column "groupe" is not used. Did you mean "group"?',
        'beware: the column "Ends" is not used. Did you mean "end"?',
    )


# labels ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "shown"),
    [
        (("caf\u00e9", "cafe\u0301"), r"'cafe\u0301' (line 3) and 'caf\xe9' (lines 2, 4)"),
        (("x", "x\u200b"), r"'x' (lines 2, 4) and 'x\u200b' (line 3)"),
        (("1", "1.0"), "'1' (lines 2, 4) and '1.0' (line 3)"),
        (("a b", "a  b"), "'a  b' (line 3) and 'a b' (lines 2, 4)"),
        (("Wave", "wave"), "'Wave' (lines 2, 4) and 'wave' (line 3)"),
    ],
)
def test_labels_that_look_alike(tmp_path: Path, labels: tuple[str, str], shown: str):
    touch(tmp_path, "1.mp4", "2.mp4", "3.mp4")
    index = read_index(write(tmp_path, f"path,label\n1.mp4,{labels[0]}\n2.mp4,{labels[1]}\n3.mp4,{labels[0]}\n"))
    (note,) = index.notes
    assert note == f"beware: labels that look alike are different classes: {shown}. Write them in one way."
    assert len(index.labels) == 2


def test_class_folders_that_look_alike(tmp_path: Path):
    touch(tmp_path, "wave/1.mp4", "wave /1.mp4")
    (note,) = read_index(tmp_path).notes
    assert "'wave' (1 clip) and 'wave ' (1 clip)" in note


def test_several_labels_are_asked_about(tmp_path: Path):
    touch(tmp_path, "1.mp4", "2.mp4")
    found = refusal(write(tmp_path, "path,label\n1.mp4,x;y\n2.mp4,x\n"))
    assert found[1].startswith('  line 2: is "x;y" one class, or are these 2 labels? A clip has one;')
    index = read_index(write(tmp_path, "path,label\n1.mp4,x;y\n2.mp4,z\n"))
    assert index.notes[0].startswith("beware: 'x;y' is taken as one class each.")
    assert read_index(write(tmp_path, "path,label\n1.mp4,x;y\n2.mp4,x\n"), labels=["x", "x;y"]).notes == ()


def test_one_class_cannot_be_learnt(tmp_path: Path):
    touch(tmp_path, "x/1.mp4", "x/2.mp4")
    with pytest.raises(ConfigError, match='all clips are of one class, "x", so there is nothing to learn'):
        read_index(tmp_path).require_two_classes()


def test_accents_taken_apart_in_the_name_of_a_file(tmp_path: Path):
    touch(tmp_path, "cafe\u0301.mp4")  # as macOS writes it
    (row,) = read_index(write(tmp_path, "path,label\ncaf\u00e9.mp4,x\n")).rows
    assert row.path.name == "cafe\u0301.mp4"
