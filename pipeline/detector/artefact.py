"""The artefact: contract, features, encoder, model, calibration and threshold, saved together."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.calibration.exploring import solve_queue
from pipeline.calibration.held_out import ScoredRows
from pipeline.calibration.p_values import Calibration
from pipeline.calibration.strategies.choice import row_cuts
from pipeline.calibration.threshold import Threshold
from pipeline.detector.encoder import Encoder, Rows
from pipeline.detector.family import build_model, can_ignore
from pipeline.detector.feedback import Feedback, learn, load_feedback
from pipeline.detector.files import check_finite, read_json, seal, unseal, write_json
from pipeline.detector.parts import CALIBRATION, EARLY_STOPPING, FIT, Parts, split
from pipeline.detector.reference import Reference
from pipeline.detector.traits import Traits
from pipeline.errors import ConfigError, ResourceError, TrainingError
from pipeline.features import Feature, core_features, list_features
from pipeline.labels.known import Labels
from pipeline.settings.config import Config, ThresholdConfig
from pipeline.tables.parquet import read_batches

if TYPE_CHECKING:
    from models.one_class import OneClassModel
    from models.settings import OnEpoch

NOT_THE_MODELS = (
    *("columns", "incoming", "schedule", "engine", "review", "monitor", "retrain"),
    *("notify", "metrics", "lineage", "tracking"),
)
"""Sections that a model has nothing to do with: those of the day hold, and addresses in them may hold passwords."""
CHECKED_ROWS = 4096
"""Whether a model is of any use is looked at on about as many normal rows, at most."""
MATRIX_BYTES = 2**30
"""A larger matrix of fit rows lies on disk, and is read piece by piece."""
ENCODER_ROWS, EARLY_STOPPING_ROWS = 2_000_000, 250_000
"""The encoder is fitted on, and early stopping watches, as many rows at most."""


@dataclass(frozen=True)
class Detector:
    """Everything that turns feature-table rows into scores, p-values and flags.

    Made by `fit` or `load`. Same rows, same configuration, same artefact, in whatever order the rows come.

    Parameters
    ----------
    config : Config
    as_of : datetime
        UTC. Labels that became available later played no part.
    encoder : Encoder
    model : OneClassModel
    calibration : Calibration
    cut : Threshold
    summary : dict
        Counts of the parts of the training period and what else a person wants to know of the fit.
    calibration_start : datetime
        UTC; first timestamp of the calibration block.
    held_out : ScoredRows
        The rows of the calibration block: what another threshold is solved on without fitting or scoring anew.
    reference : Reference
        What the training period was like, to hold a batch against.
    feedback : Feedback or Traits, optional
        What known frauds add to the model's score; None where they add nothing.
    """

    config: Config
    as_of: datetime
    encoder: Encoder
    model: "OneClassModel"
    calibration: Calibration
    cut: Threshold
    summary: dict[str, float | int | str]
    calibration_start: datetime
    held_out: ScoredRows
    reference: Reference
    feedback: Feedback | Traits | None = None

    @property
    def threshold(self) -> float:
        """The score above which a row is flagged; for some strategies, one at or below which none ever is."""
        return self.cut.value

    @property
    def promise(self) -> str:
        """One sentence: what alert volume to expect."""
        return self.cut.promise

    @property
    def one_class(self) -> Calibration:
        """The p-values of the one-class model's own score."""
        return self.calibration if self.feedback is None else self.feedback.alone

    @property
    def features(self) -> list[Feature]:
        """The features that the encoder reads."""
        return self.encoder.features

    @property
    def epochs(self) -> list[dict[str, Any]]:
        """Losses of each pass over the fit rows: epoch, train_loss, held_out_loss; none without training."""
        from models.capabilities import WithEpochs

        return self.model.epochs_ if isinstance(self.model, WithEpochs) else []

    @classmethod
    def fit(
        cls,
        features: Path,
        config: Config,
        labels: Labels,
        as_of: datetime,
        *,
        on_epoch: "OnEpoch | None" = None,
        checkpoint: Path | None = None,
    ) -> Self:
        """Split the training period, and fit on its parts, as `fit_parts` does.

        Parameters
        ----------
        features : Path
            Feature table (Parquet) of the training period, in any order.
        config : Config
        labels : Labels
            What is known of rows.
        as_of : datetime
            UTC without a zone. A label that is not available by then counts as unknown.
        on_epoch, checkpoint
            As `fit_parts` takes them.

        Raises
        ------
        ConfigError, TrainingError
            As `split` and `fit_parts` do.
        """
        parts = split(features, config, labels, as_of)
        return cls.fit_parts(features, config, parts, on_epoch=on_epoch, checkpoint=checkpoint)

    @classmethod
    def fit_parts(
        cls,
        features: Path,
        config: Config,
        parts: Parts,
        *,
        on_epoch: "OnEpoch | None" = None,
        checkpoint: Path | None = None,
    ) -> Self:
        """Fit encoder, model, second stage, calibration and threshold, each on its own part of the training period.

        Where frauds are known, `pipeline.detector.feedback.learn` says what they add; the p-values and the threshold
        are those of the score with what they add.

        The table is streamed. Of a row, memory holds about 50 bytes while the parts are drawn (its id as a number, a
        text more; its moment, label and place in time) and about 30 after, whatever the columns, and of one of the
        calibration block about 130 more. Besides, it holds one column of at most 2 M fit rows, which the encoder is
        fitted on, and 250,000 early-stopping rows, evenly taken in the order of time where there are more; about 0.5 GB
        while the covariance of residuals is taken; and the matrix of fit rows up to 1 GiB: a larger one lies on disk,
        from where an autoencoder, a memory and the ensemble stream it. See `split`.

        Parameters
        ----------
        features : Path
            Feature table (Parquet) of the training period, in any order.
        config : Config
        parts : Parts
            Which row takes which part, by `split`.
        on_epoch : callable, optional
            Called after each epoch with its number, the most there can be, and the losses.
        checkpoint : Path, optional
            Folder where a model that trains in epochs keeps each one, so that a killed fit goes on from there when
            it is called again in the same way; cleared when the fit ends.

        Raises
        ------
        ConfigError
            For a model, or one of its options, that is not there.
        TrainingError
            No normal rows, too few to fit or calibrate on, no variation, a training that fails, a model that cannot
            tell rows apart (`models.audit.check_not_degenerate`), or a threshold that cannot be kept.
        """
        from models.capabilities import WithTrim

        listed = list_features(config)
        sample = parts.sample(features, FIT, ENCODER_ROWS)
        unused = parts.unused(listed)
        # Known frauds say what a risk is worth, where the model can leave the columns out that are there for them.
        is_for_frauds = config.feedback.enabled and can_ignore(config.model)
        encoder = Encoder.fit(sample, listed, config.encoding, unused=() if is_for_frauds else unused)
        views = encoder.views(core_features(config), unused)
        model = build_model(config.model, encoder.column_groups, on_epoch, checkpoint, views=views)
        _fit_model(model, encoder, parts, features=features, seed=config.model.seed)
        held_out, matrix = _score_block(model, encoder, parts, features=features, config=config)
        _check_useful(model, held_out.scores[held_out.normal], matrix)
        lesson = learn(features, config, parts, encoder=encoder, model=model, held_out=held_out)
        held_out = lesson.held_out
        trimmed = (model.trimmed_ if isinstance(model, WithTrim) else None) or {}
        return cls(
            config=config,
            as_of=parts.as_of,
            encoder=encoder,
            model=model,
            calibration=Calibration.fit(held_out.scores[held_out.normal]),
            cut=solve_queue(held_out, config.threshold, config.feedback.explore),
            summary={
                **parts.summary,
                "model": config.model.name,
                **{f"trimmed_{name}": value for name, value in trimmed.items()},
                "columns": len(encoder.columns),
                "unused_features": ", ".join(encoder.unused),
                "ignored_features": ", ".join(encoder.names_of(views.get("ignored", ()))),
                **lesson.summary,
            },
            calibration_start=parts.start,
            held_out=held_out,
            reference=Reference.fit(features, config, parts, encoder),
            feedback=lesson.feedback,
        )

    def with_threshold(self, settings: ThresholdConfig) -> Self:
        """Return the same Detector with another threshold, solved on the rows held out: nothing is fitted or scored.

        Raises
        ------
        TrainingError
            When the threshold cannot be kept with these rows.
        """
        config = self.config.model_copy(update={"threshold": settings})
        return replace(self, config=config, cut=solve_queue(self.held_out, settings, config.feedback.explore))

    def score(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Score feature-table batches, one at a time and in order.

        Parameters
        ----------
        batches : iterable of pa.RecordBatch
            ScoredRows of the feature table; a row's score does not depend on the batch it comes in.

        Yields
        ------
        pa.RecordBatch
            The id and the columns of `figures`, a row for a row.
        """
        key = self.config.contract.id
        for batch in batches:
            yield pa.record_batch({key: batch.column(key), **self.figures(*self.both_scores(batch))})

    def anomaly_scores(self, rows: Rows) -> np.ndarray:
        """Return the score of each row of a feature table, float64 of shape (n_rows,); higher = more anomalous."""
        return self.both_scores(rows)[0]

    def both_scores(self, rows: Rows) -> tuple[np.ndarray, np.ndarray]:
        """Return the scores of rows of a feature table, and those of the model alone, whatever known frauds add."""
        return self.both_matrix_scores(self.encoder.transform(rows))

    def matrix_scores(self, matrix: np.ndarray) -> np.ndarray:
        """Return the score of each encoded row, float64 of shape (n_rows,), with what known frauds add to it."""
        return self.both_matrix_scores(matrix)[0]

    def both_matrix_scores(self, matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return what `both_scores` does of encoded rows; one array twice where known frauds add nothing."""
        if not len(matrix):
            return np.empty(0), np.empty(0)
        if self.feedback is not None:
            return self.feedback.both(self.model, matrix)
        scores = np.asarray(self.model.anomaly_score(matrix), dtype=np.float64)
        return scores, scores

    def alike(self, rows: Rows) -> np.ndarray:
        """Return how many known frauds each row is like, int64 of shape (n_rows,); 0 where trees do not decide."""
        if not rows.num_rows or not isinstance(self.feedback, Feedback):
            return np.zeros(rows.num_rows, np.int64)
        return self.feedback.alike(self.model, self.encoder.transform(rows))

    def figures(self, scores: np.ndarray, one_class: np.ndarray) -> dict[str, pa.Array]:
        """Return what follows from scores: the columns `FIGURES` of pipeline/settings/output.py.

        Parameters
        ----------
        scores, one_class : arrays of shape (n_rows,)
            From `both_scores`.

        Returns
        -------
        dict of str to pa.Array
            Float64; ``tail_p_value`` is null without a tail law, and ``one_class_p_value`` is the p-value without what
            known frauds add.
        """
        p_values = self.calibration.p_value(scores)
        tail = self.calibration.tail_p_value(scores, p_values)
        is_alone = one_class is scores and self.feedback is None
        return {
            "anomaly_score": pa.array(scores),
            "p_value": pa.array(p_values),
            "tail_p_value": pa.nulls(len(scores), pa.float64()) if tail is None else pa.array(tail),
            "one_class_p_value": pa.array(p_values if is_alone else self.one_class.p_value(one_class)),
        }

    def cuts(self, scores: np.ndarray, segments: pa.Array | pa.ChunkedArray | None = None) -> float | np.ndarray:
        """Return the score above which each row of a whole batch is flagged, or the one for all rows.

        Parameters
        ----------
        scores : array of shape (n_rows,)
        segments : pa.Array of shape (n_rows,), optional
            Values of the column ``cut.segment``; needed where the threshold goes by one.
        """
        return row_cuts(self.cut, scores, segments, self.held_out)

    def flag(
        self,
        scores: np.ndarray,
        ids: pa.Array | pa.ChunkedArray | None = None,
        cuts: float | np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Flag and rank the rows of a whole batch.

        Parameters
        ----------
        scores : array of shape (n_rows,)
        ids : pa.Array, optional
            ScoredRows that score alike are ranked by it; by position without it.
        cuts : float or array of shape (n_rows,), optional
            From `cuts`, which is asked for them when they are left out.

        Returns
        -------
        flags : array of shape (n_rows,), bool
            Whether the score is strictly above its cut.
        ranks : array of shape (n_rows,), int64
            1 = most anomalous, counting up over the flagged rows; 0 for the others.
        """
        flags = np.asarray(scores) > (self.cuts(scores) if cuts is None else cuts)
        flagged = np.flatnonzero(flags)
        ties = pa.array(flagged) if ids is None else ids.take(pa.array(flagged))
        order = pc.sort_indices(
            pa.table({"score": scores[flagged], "id": ties}),
            sort_keys=[("score", "descending"), ("id", "ascending")],
        ).to_numpy()
        ranks = np.zeros(len(flags), dtype=np.int64)
        ranks[flagged[order]] = np.arange(1, len(flagged) + 1)
        return flags, ranks

    def picks(self, one_class: np.ndarray, flags: np.ndarray) -> np.ndarray:
        """Return which of the rows that are not flagged explore, as a mask of shape (n_rows,).

        Parameters
        ----------
        one_class : array of shape (n_rows,)
            From `both_scores`.
        flags : array of bool, shape (n_rows,)
        """
        if self.cut.explore is None:
            return np.zeros(len(flags), dtype=bool)
        return (one_class > self.cut.explore) & ~flags

    def settle(self, config: Config) -> Config:
        """Return a configuration to score with: today's, but the features that this Detector was trained with.

        Raises
        ------
        ConfigError
            When a role of the contract, or the time zone, has changed since the training.
        """
        then, now = self.config.contract.model_dump(), config.contract.model_dump()
        changed = [role for role in then if role not in ("ignored", "sensitive") and then[role] != now[role]]
        if self.config.table.time_zone != config.table.time_zone:
            changed.append("table.time_zone")
        if changed:
            raise ConfigError(
                f"the contract of {config.name!r} differs from the one that its model was trained with, in "
                f"{', '.join(changed)}; train again, or put it back"
            )
        today = {"memory_limit": config.features.memory_limit, "on_gap": config.features.on_gap}
        features = self.config.features.model_copy(update=today)
        return config.model_copy(update={"features": features})

    def save(self, folder: Path) -> None:
        """Write the artefact: detector.json, encoder.json, calibration.parquet, folders of model and feedback."""
        folder.mkdir(parents=True, exist_ok=True)
        self.model.save(folder / "model")
        if self.feedback is not None:
            self.feedback.save(folder / "feedback")
        write_json(folder / "encoder.json", self.encoder.to_dict())
        pq.write_table(self.held_out.to_table(), folder / "calibration.parquet")
        # Last, so that a save that was interrupted cannot be loaded.
        seal(
            folder,
            {
                "config": self.config.model_dump(mode="json", exclude=set(NOT_THE_MODELS)),
                "as_of": self.as_of.isoformat(),
                "calibration_start": self.calibration_start.isoformat(),
                "threshold": self.cut.to_dict(),
                "calibration_days": self.held_out.days,
                "calibration": self.calibration.to_dict(),
                "summary": self.summary,
                "reference": self.reference.to_dict(),
            },
        )

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read an artefact written by `save`; it scores bit for bit as before.

        Raises
        ------
        ResourceError
            When the folder holds no artefact, or one that another version of Assay wrote, or one of its files was cut,
            changed or taken away.
        """
        folder = Path(folder)
        content = unseal(folder)
        try:
            detector = cls._of_files(folder, content)
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            # Every file is as it was written, so that whoever wrote them knew other settings than this version.
            cause = " ".join(str(error).split())[:200]
            raise ResourceError(
                f"the model in {folder} was written by another version of Assay, and this one cannot read it "
                f"({cause}); use the version of Assay that wrote it, or train again with: assay train"
            ) from None
        check_finite(folder / "calibration.parquet", detector.held_out.scores)
        return detector

    @classmethod
    def _of_files(cls, folder: Path, content: dict[str, Any]) -> Self:
        from models.registry import load

        table = pq.read_table(folder / "calibration.parquet")
        held_out = ScoredRows.from_table(table, content["calibration_days"])
        return cls(
            config=_config_of(content["config"]),
            as_of=datetime.fromisoformat(content["as_of"]),
            encoder=Encoder.from_dict(read_json(folder / "encoder.json")),
            model=load(folder / "model"),
            calibration=Calibration.from_dict(content["calibration"], held_out.scores[held_out.normal]),
            cut=Threshold.from_dict(content["threshold"]),
            summary=content["summary"],
            calibration_start=datetime.fromisoformat(content["calibration_start"]),
            held_out=held_out,
            reference=Reference.from_dict(content["reference"]),
            feedback=load_feedback(folder / "feedback"),
        )


def _fit_model(model: "OneClassModel", encoder: Encoder, parts: Parts, *, features: Path, seed: int) -> None:
    """Fit a model to the fit rows; one that stops early is given the rows that it watches."""
    from models.capabilities import WithEarlyStopping

    held_out = {}
    if isinstance(model, WithEarlyStopping):
        sample = parts.sample(features, EARLY_STOPPING, EARLY_STOPPING_ROWS)
        held_out["X_held_out"] = encoder.transform(sample.read(encoder.table_columns))
    try:
        with _matrix(encoder, parts, features, columns=encoder.table_columns, seed=seed) as matrix:
            model.fit(matrix, **held_out)
    except ValueError as error:
        raise TrainingError(f"training failed: {error}") from error
    model.set_params(**dict.fromkeys({"on_epoch", "checkpoint"} & model.get_params().keys()))


def _score_block(
    model: "OneClassModel", encoder: Encoder, parts: Parts, *, features: Path, config: Config
) -> tuple[ScoredRows, np.ndarray]:
    """Score the calibration block; return its rows in the order of time, and some encoded normal ones of them."""
    block = parts.role == CALIBRATION
    normal = np.flatnonzero(block & parts.normal)
    is_sample = np.zeros(len(block), dtype=bool)
    is_sample[normal[:: -(-len(normal) // CHECKED_ROWS)]] = True
    scores, samples, tables, start = np.full(len(block), np.nan), [], [], 0
    for batch in read_batches(
        features, columns=list(dict.fromkeys([*encoder.table_columns, *ScoredRows.columns(config)]))
    ):
        places = np.flatnonzero(block[start : start + batch.num_rows])
        if len(places):
            rows = batch.take(pa.array(places))
            tables.append(ScoredRows.read(rows, config))
            matrix = encoder.transform(rows)
            scores[start + places] = model.anomaly_score(matrix)
            samples.append(matrix[is_sample[start + places]])
        start += batch.num_rows
    return _held_out(pa.Table.from_batches(tables), scores, parts, config), np.concatenate(samples)


def _check_useful(model: "OneClassModel", normal_scores: np.ndarray, sample: np.ndarray) -> None:
    """Refuse a model that cannot tell rows apart."""
    from models.audit import check_not_degenerate

    if normal_scores.min() == normal_scores.max():
        raise TrainingError(
            f"all {len(normal_scores):,} normal rows of the calibration block have the same anomaly "
            f"score, {normal_scores[0]:g}, so that no threshold can be set; train on a period whose "
            "rows differ"
        )
    try:
        check_not_degenerate(model, sample)
    except ValueError as error:
        raise TrainingError(f"the trained model is of no use: {error}") from error


def _held_out(table: pa.Table, scores: np.ndarray, parts: Parts, config: Config) -> ScoredRows:
    """Return the rows of the calibration block in the order of time, ties by id."""
    in_file = np.flatnonzero(parts.role == CALIBRATION)
    in_time = parts.order[parts.role[parts.order] == CALIBRATION]
    rows = table.unify_dictionaries().combine_chunks().take(pa.array(np.searchsorted(in_file, in_time)))
    return ScoredRows.of(
        rows,
        config,
        scores=scores[in_time],
        labels=parts.labels[in_time],
        normal=parts.normal[in_time],
        days=parts.days,
        before=parts.before,
    )


@contextmanager
def _matrix(encoder: Encoder, parts: Parts, features: Path, *, columns: list[str], seed: int) -> Iterator[np.ndarray]:
    """Give the matrix to fit on, rows in the order of time; a large one in a file beside the features, gone after."""
    shape = (int(np.count_nonzero(parts.role == FIT)), len(encoder.columns))
    with TemporaryDirectory(dir=features.parent, prefix=".matrix-") as scratch:
        if 4 * shape[0] * shape[1] <= MATRIX_BYTES:
            matrix = np.empty(shape, np.float32)
        else:
            matrix = np.memmap(Path(scratch) / "fit", np.float32, "w+", shape=shape)
        for places, rows in parts.batches(features, columns, FIT):
            matrix[places] = encoder.transform(rows)
        encoder.put_unseen(matrix, seed)
        yield matrix


def _config_of(sections: dict[str, Any]) -> Config:
    """Return a saved configuration; older artefacts have sections that are left out today, with settings now gone."""
    return Config.model_validate({name: part for name, part in sections.items() if name not in NOT_THE_MODELS})
