"""``videoswin probe``: how much a frozen checkpoint knows about your classes."""

import json
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from videoswin.cli.output import DONE, add_row, counted, percent, say, show, steps, table
from videoswin.cli.weights_argument import told_of

if TYPE_CHECKING:
    from videoswin.classifier.classifier import Classifier
    from videoswin.data.annotations import Clip
    from videoswin.train.features import Features
    from videoswin.train.probe import Probed, Setting

__all__ = ["probe"]


def probe(
    data: Annotated[Path, Parameter(name="DATA")],
    /,
    *,
    weights: Annotated[str, Parameter(metavar="CHECKPOINT")],
    like: Annotated[str | None, Parameter(metavar="MODEL")] = None,
    num_heads: int | None = None,
    stages: str | None = None,
    head: str = "linear",
    folds: int = 5,
    seeds: int = 3,
    features: Annotated[str | None, Parameter(metavar="FOLDER|ADDRESS")] = None,
    out: Path | None = None,
    json_only: Annotated[bool, Parameter(name="--json", negative="", show_default=False)] = False,
    device: str = "auto",
) -> int:
    """Fit heads on the features of a frozen checkpoint, and judge them by clips that had no say.

    Every clip goes through the model once; its features are kept, so that another head or another number of folds takes
    seconds. Outer folds (whole groups) report, inner folds choose the stage and the strength. Beside the head stand the
    nearest neighbours and the commonest class. Clips of a "test" split are never touched.

    For example:

        videoswin probe videos/ --weights swin3d_micro_motion
        videoswin probe videos.csv --weights swin3d_t_k400 --head attentive --out runs/probe

    Parameters
    ----------
    data
        A folder of class folders, or a CSV file with the columns path,label[,split,group].
    weights
        A checkpoint: a folder, or a name that videoswin models lists.
    like
        For files of weights alone, whose tensors do not tell everything: the name of a model that answers the rest, such as
        timesformer_b_divided.
    num_heads
        The same, for the heads of attention alone.
    stages
        Whose features: numbers from 1, with commas; by default the last two. Each alone and all side by side are tried.
        Systems of the zoo have one stage, what their last layer reads.
    head
        linear (on the mean), ordered (linear, on the parts of the clip in their order), attentive (learnt queries look at parts of the clip, then a linear layer), or knn.
    folds
        Outer folds; inner ones are one fewer.
    seeds
        How many ways to part the clips.
    features
        What videoswin features wrote with the same checkpoint, a folder or an address such as s3://bucket/features: what is
        in it is not computed again. By default the cache.
    out
        Also write the checkpoint with the linear head on the last stage, fitted on all clips, into OUT/best, and the figures
        into OUT/probe.json.
    json_only
        Print one JSON object and nothing else.
    device
        auto (a GPU if there is one), cpu, cuda, cuda:1 and so on.
    """
    from videoswin.audit.quick import quick_look
    from videoswin.classifier.device import choose_device
    from videoswin.classifier.loading import load
    from videoswin.data.annotations import read_index
    from videoswin.errors import ConfigError
    from videoswin.features.folder import store_of_clips
    from videoswin.storage.atomic import require_replaceable_file
    from videoswin.train import probe as probing
    from videoswin.train.features import extract, num_stages
    from videoswin.train.place import require_checkpoint_place
    from videoswin.train.split import k_folds

    if folds < 3 or seeds < 1:
        raise ConfigError(f"folds={folds} must be at least 3 and seeds={seeds} at least 1.")
    if out is not None:
        require_checkpoint_place(out / "best", weights)
        require_replaceable_file(out / "probe.json")
    index = read_index(data)
    for line in index.notes:
        say(line)
    index.require_two_classes()
    rows = [row for row in index.rows if row.split != "test"]
    k_folds(rows, folds, 0, probing.FEWER_FOLDS)  # an error of the list is told before the clips are looked at
    classifier = load(weights, **told_of(like, num_heads))
    count = num_stages(classifier.model)
    chosen = f"{max(count - 1, 1)},{count}" if stages is None and count > 1 else stages or "1"
    numbers = [int(part) if part.strip().isdecimal() else 0 for part in chosen.split(",")]
    settings = probing.grid(head, numbers, count)
    if out is not None:
        probing.require_linear_heads(classifier.model)
    store = store_of_clips(features, classifier, notice=say) if features else None
    classifier.model.to(choose_device(device))
    labels = tuple(sorted({row.label for row in rows}))
    if not any(row.group for row in rows):
        say(
            "no groups are given: clips of one person or scene may stand on both sides, and the figures then hold for these "
            "people and scenes, not for new ones."
        )
    for line in quick_look(index.rows):
        say(line)
    began = time.perf_counter()
    with steps(len(rows), "Looking at clips") as step:
        found = extract(classifier, rows, store, step)
    say(
        f"features of {counted(len(rows), 'clip')}, {found.computed} of them computed, {time.perf_counter() - began:.1f} s"
    )
    began = time.perf_counter()
    with steps(folds * seeds, "Fitting") as step:
        probed = probing.probe(found, rows, labels, settings, folds, seeds, step)
    seconds = time.perf_counter() - began
    say(f"{len(settings)} settings, {folds} outer folds, {seeds} seeds: {seconds:.1f} s")
    if json_only:
        print(json.dumps(probed.to_dict()))
    else:
        figures = table("what", "accuracy", "over folds", "over seeds", right=["accuracy", "over folds", "over seeds"])
        named = (
            (head, probed.head, probed.pooled),
            ("nearest neighbours", probed.neighbour, probed.pooled_neighbour),
            ("commonest class", probed.majority, probed.pooled_majority),
        )
        for what, by_fold, by_seed in named:
            add_row(
                figures,
                what,
                percent(statistics.mean(by_seed)),
                f"± {100 * probing.spread(by_fold):.1f}",
                f"± {100 * probing.spread(by_seed):.1f}",
            )
        show(figures)
        for setting, count in probed.chosen.most_common(3):
            show(f"chosen by {count} of {folds * seeds} folds: {setting}")
    if out is not None:
        _write(data, out, classifier, found, rows, labels, settings, probed, folds)
    return DONE


def _write(
    data: Path,
    out: Path,
    classifier: "Classifier",
    features: "Features",
    rows: "list[Clip]",
    labels: tuple[str, ...],
    settings: "list[Setting]",
    probed: "Probed",
    folds: int,
) -> None:
    """The linear head on the last stage, fitted on all clips, as a checkpoint."""
    import torch

    from videoswin.classifier.classifier import Classifier
    from videoswin.predict.provenance import Training, sums_of
    from videoswin.storage.atomic import replace_file
    from videoswin.train import probe as probing
    from videoswin.train.few_shot import can_read_order
    from videoswin.train.footage import look_at
    from videoswin.train.start import adopt

    last = max(features.pooled)
    kind = "ordered" if settings[0].head == "ordered" and can_read_order(classifier) else "linear"
    plain = [s for s in settings if s.head == kind and s.stages == (last,)]
    plain = plain or probing.grid(kind, [last], last)
    targets = torch.tensor([labels.index(row.label) for row in rows])
    setting = probing.choose(features, rows, rows, targets, len(labels), plain, folds, 0)
    fitted = probing.fit(features, targets, len(labels), setting)
    assert fitted is not None
    best = probed.chosen.most_common(1)[0][0]
    if best.stages != (last,) or best.head != kind:
        say(f"a checkpoint has a linear head on its last stage, so that one is written ({setting}), not: {best}.")
    parts = {"head_parts": features.times[last].shape[1]} if kind == "ordered" else {}
    model, _ = adopt(classifier, labels, **parts)
    with torch.no_grad():
        for head in filter(None, (getattr(model, name) for name in model.heads)):
            head.fc.weight.copy_(fitted[0])
            head.fc.bias.copy_(fitted[1])
    name = out.resolve().name
    footage = look_at(rows)
    training = Training(
        start=classifier.name,
        data=data.resolve().name,
        clips=len(rows),
        classes=len(labels),
        groups=footage.groups,
        clip_seconds=round(footage.longest, 3) or None,
        settings={"head": str(setting)},
        sums=sums_of(rows),
    )
    notes = f"A linear head on the frozen features of {classifier.name}: {setting}."
    metrics = {"probe_cross_validation_top1": round(statistics.mean(probed.pooled), 4), "clips": len(rows)}
    out.mkdir(parents=True, exist_ok=True)
    Classifier(model, classifier.preprocessing, labels, name, metrics=metrics, notes=notes, training=training).save(
        out / "best"
    )
    with replace_file(out / "probe.json") as new:
        new.write_text(json.dumps(probed.to_dict(), indent=2) + "\n", encoding="utf-8")
    show(f"The checkpoint: {out / 'best'}")
