"""From files to labels: videoswin's pipeline beside the usual one, on the same videos with the same weights.

    python -m benchmarks.pipeline clips/ --model swin3d_micro_gestures --views 1x1 [--videos 16] [--join 20] [--rounds 3]

The usual one decodes every frame (OpenCV), resizes them one by one (Pillow), cuts and normalises (numpy) and calls
torchvision's model code, one video after the other. It and ours take turns on the same videos; labels and scores are compared.
Neither peer is a dependency: ``pip install --no-deps torchvision opencv-python-headless``. ``--join`` makes one long video
of those among that many clips that are encoded alike, packet by packet, and uses it instead. ``--our-views 4xwide`` lets ours
look otherwise than the usual one. Times are of the clock and, since a busy machine spoils those, of the
processor (all threads). A model without weights gets random ones; windows clipped in space read the bias table as torchvision
does.
"""

import argparse
import json
import platform
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from benchmarks.lib.torchvision_swin import torchvision_swin
from PIL import Image
from torch import Tensor, nn

import videoswin
from videoswin.data.transforms import three_crops
from videoswin.model import PRESETS, SwinConfig, VideoSwin
from videoswin.predict.profile import Profile
from videoswin.predict.scoring import find_videos, predict_many, views_at_once

Scores = list[dict[str, float]]


class UsualPipeline:
    """One video after the other: all frames decoded, each resized by Pillow, crops and normalisation in numpy."""

    def __init__(self, model: nn.Module, classifier: videoswin.Classifier, views: videoswin.Views) -> None:
        self.model, self.classifier, self.views = model, classifier, views
        self.seconds: dict[str, float] = defaultdict(float)

    def __call__(self, files: Sequence[str | Path]) -> Scores:
        return [self._classify(file) for file in files]

    def _classify(self, file: str | Path) -> dict[str, float]:
        frames, fps = self._timed("decode", lambda: self._decode(file))
        small = self._timed("resize", lambda: self._resize(frames))
        clips = self._timed("crop", lambda: self._clips(small, fps))
        scores = self._timed("model", lambda: self._score(clips))
        return dict(zip(self.classifier.labels, scores.tolist(), strict=True))

    def _timed(self, stage: str, work: Callable[[], Any]) -> Any:
        start = time.perf_counter()
        result = work()
        self.seconds[stage] += time.perf_counter() - start
        return result

    def _decode(self, file: str | Path) -> tuple[list[np.ndarray], float]:
        import cv2  # type: ignore[import-not-found]

        video, frames = cv2.VideoCapture(str(file)), []
        while True:
            there, frame = video.read()
            if not there:
                return frames, float(video.get(cv2.CAP_PROP_FPS))
            frames.append(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))

    def _resize(self, frames: list[np.ndarray]) -> np.ndarray:
        resize = self.classifier.preprocessing.resize_for(self.views.num_crops)
        height, width = resize.shape(*frames[0].shape[:2])
        bilinear = Image.Resampling.BILINEAR
        return np.stack([np.asarray(Image.fromarray(f).resize((width, height), bilinear)) for f in frames])

    def _clips(self, frames: np.ndarray, fps: float) -> Tensor:
        preprocessing = self.classifier.preprocessing
        times = torch.arange(len(frames), dtype=torch.float64) / fps
        mean, std = (np.array(v, np.float32) for v in (preprocessing.mean, preprocessing.std))
        clips = []
        for indices in preprocessing.indices(times, self.views.num_clips):
            clip = torch.from_numpy(frames[indices.numpy()])
            top, left = ((a - b) // 2 for a, b in zip(clip.shape[1:3], preprocessing.size, strict=True))
            h, w = preprocessing.size
            crops = (
                three_crops(clip, (h, w)) if self.views.num_crops == 3 else [clip[:, top : top + h, left : left + w]]
            )
            clips += [((crop.numpy().astype(np.float32) - mean) / std).transpose(3, 0, 1, 2) for crop in crops]
        return torch.from_numpy(np.stack(clips))

    @torch.inference_mode()
    def _score(self, clips: Tensor) -> Tensor:
        chunks = clips.split(views_at_once(clips.shape[1:], clips.device))  # as many together as serve our model best
        return torch.cat([self.model(chunk).softmax(-1) for chunk in chunks]).mean(0)


def our_pipeline(
    classifier: videoswin.Classifier, views: videoswin.Views, profile: Profile
) -> Callable[[Sequence[str | Path]], Scores]:
    def run(files: Sequence[str | Path]) -> Scores:
        results = predict_many(classifier, files, views, top_k=len(classifier.labels), profile=profile)
        return [dict(result.predictions) for result in results]  # type: ignore[union-attr]

    return run


def make_classifier(name: str) -> videoswin.Classifier:
    """The bundled checkpoint of this name, or the preset with random weights; biases as torchvision reads them."""
    torch.manual_seed(0)
    if name in PRESETS:
        config, preprocessing = PRESETS[name], videoswin.Preprocessing()
        labels, tensors = tuple(f"class {i}" for i in range(config.num_classes)), None
    else:
        loaded = videoswin.load(name)
        config, preprocessing, labels = loaded.model.config, loaded.preprocessing, loaded.labels
        tensors = loaded.model.state_dict()
    model = VideoSwin(SwinConfig.from_dict({**config.to_dict(), "relative_bias": "official"})).eval()
    if tensors:
        model.load_state_dict(tensors)
    return videoswin.Classifier(model, preprocessing, labels, name)


def joined(files: Sequence[str | Path], folder: Path) -> Path:
    """One long video of the packets of several that are encoded alike."""
    path = folder / "joined.mp4"
    with av.open(str(path), "w") as output:
        stream, end = None, 0
        for file in files:
            with av.open(str(file)) as source:
                video = source.streams.video[0]
                if stream is None:
                    stream, first = output.add_stream_from_template(video), video
                    described = first.codec_context.extradata, first.width, first.height
                if (video.codec_context.extradata, video.width, video.height) != described:
                    continue
                last = end
                for packet in source.demux(video):
                    if packet.dts is None or packet.pts is None:
                        continue
                    packet.pts, packet.dts = packet.pts + end, packet.dts + end
                    last = max(last, packet.pts + (packet.duration or 1))
                    packet.stream = stream
                    output.mux(packet)
                end = last
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder")
    parser.add_argument("--model", default="swin3d_micro_gestures")
    parser.add_argument("--views", default="1x1")
    parser.add_argument("--our-views")
    parser.add_argument("--videos", type=int, default=16)
    parser.add_argument("--join", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    views = videoswin.Views.of(arguments.views)
    our_views = videoswin.Views.of(arguments.our_views or views)
    found = find_videos([arguments.folder])
    with tempfile.TemporaryDirectory() as scratch:
        if arguments.join:
            files = [joined(found[: arguments.join], Path(scratch))] * arguments.videos
        else:
            files = found[:: max(1, len(found) // arguments.videos)][: arguments.videos]
        print(json.dumps(compare(arguments.model, views, our_views, files, arguments.rounds), indent=2))


def compare(
    name: str, views: videoswin.Views, our_views: videoswin.Views, files: Sequence[str | Path], rounds: int
) -> dict[str, Any]:
    classifier, profile = make_classifier(name), Profile()
    usual = UsualPipeline(torchvision_swin(classifier.model), classifier, views)
    pipelines = {"videoswin": our_pipeline(classifier, our_views, profile), "usual": usual}
    with videoswin.open_video(files[0]) as video:
        first = f"{video.info.num_frames} frames of {video.info.width}x{video.info.height}"
    wall, cpu = defaultdict[str, list[float]](list), defaultdict[str, list[float]](list)
    scores: dict[str, Scores] = {}
    for _ in range(rounds):
        for who, run in pipelines.items():
            start, start_cpu = time.perf_counter(), time.process_time()
            scores[who] = run(files)
            wall[who].append(time.perf_counter() - start)
            cpu[who].append(time.process_time() - start_cpu)
    pairs = list(zip(scores["videoswin"], scores["usual"], strict=True))
    agree = sum(max(a, key=a.__getitem__) == max(b, key=b.__getitem__) for a, b in pairs)
    apart = max(abs(a[label] - b[label]) for a, b in pairs for label in a)
    videos, all_videos = len(files), len(files) * rounds
    return {
        "model": name,
        "views": str(views),
        "our_views": str(our_views),
        "videos": videos,
        "first_video": first,
        "rounds": rounds,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "machine": platform.machine(),
        "same_label": f"{agree} of {videos}",
        "largest_score_difference": round(apart, 4),
        "clips_per_s": {who: round(videos / statistics.median(s), 3) for who, s in wall.items()},
        "ratio_by_clock": round(
            statistics.median(b / a for a, b in zip(wall["videoswin"], wall["usual"], strict=True)), 2
        ),
        "ratio_by_clock_of_rounds": [round(b / a, 2) for a, b in zip(wall["videoswin"], wall["usual"], strict=True)],
        "cpu_ms_per_clip": {who: round(1000 * statistics.median(s) / videos, 1) for who, s in cpu.items()},
        "ratio_by_processor": round(statistics.median(cpu["usual"]) / statistics.median(cpu["videoswin"]), 2),
        "ours_ms_per_clip": {stage.name: round(stage.ms, 1) for stage in profile.stages()},
        "usual_ms_per_clip": {stage: round(1000 * s / all_videos, 1) for stage, s in usual.seconds.items()},
    }


if __name__ == "__main__":
    main()
