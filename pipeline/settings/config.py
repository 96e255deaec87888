"""Every setting, frozen and typed; pipeline/settings/file.py reads them from assay.toml."""

import difflib
import math
from datetime import date
from typing import Annotated, Any, Literal
from zoneinfo import available_timezones

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from pipeline.settings.alerts import AuditConfig, Share, ThresholdConfig
from pipeline.settings.columns import ColumnConfig
from pipeline.settings.contract import ColumnName, Contract
from pipeline.settings.engine import EngineConfig
from pipeline.settings.formats import fault_of_formats
from pipeline.settings.incoming import IncomingConfig
from pipeline.settings.machines import LineageConfig, MetricsConfig
from pipeline.settings.monitor import MonitorConfig
from pipeline.settings.notify import NotifyConfig
from pipeline.settings.retrain import RetrainConfig
from pipeline.settings.review import ReviewConfig
from pipeline.settings.schedule import ScheduleConfig
from pipeline.settings.selection import PromotionConfig, TuningConfig
from pipeline.settings.sensitive import segments
from pipeline.settings.stores import checked_store, is_address, refuse_store

OF_THE_AMOUNT = ("change", "robust", "rank", "highest", "recent")
ENTITY_FAMILIES = ("activity", *OF_THE_AMOUNT, "recency", "rhythm", "hours", "seen", "travel", "velocity", "risk")
FAMILIES = ("amount", "calendar", "columns", "distance", "peers", *ENTITY_FAMILIES)
Aggregate = Literal["count", "sum", "mean", "std", "max", "distinct"]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TableConfig(_Section):
    """Where the table lies and how it is read."""

    path: str = Field(
        default="",
        description="File, folder or partitioned dataset (CSV or Parquet) that commands read when given none.",
    )
    incoming: str = Field(
        default="incoming",
        description=(
            "Folder that scheduled scoring watches, or a store's address such as s3://bucket/in; every new file in it "
            "is scored once."
        ),
    )
    delimiter: str = Field(
        default=",", min_length=1, max_length=1, description="What separates the cells of a CSV file."
    )
    encoding: str = Field(default="utf-8", description="Text encoding of CSV files.")
    columns: tuple[ColumnName, ...] = Field(
        default=(),
        description="Names of the columns of CSV files without a header, in their order; [] where line 1 has them.",
    )
    decimal: Literal[".", ","] = Field(default=".", description="Decimal sign in CSV files.")
    thousands: Literal["", ",", ".", "'", " "] = Field(
        default="", description='Sign between groups of three digits in CSV files; "" where there is none.'
    )
    currency_signs: tuple[ColumnName, ...] = Field(
        default=(), description='Signs before or behind a number that are dropped, such as "$" or "EUR".'
    )
    plus_words: tuple[ColumnName, ...] = Field(
        default=(), description='Words beside a number that leave it as it is, in any case, such as "CR".'
    )
    minus_words: tuple[ColumnName, ...] = Field(
        default=(), description='Words beside a number that mean less than zero, in any case, such as "DR".'
    )
    null_words: tuple[ColumnName, ...] = Field(
        default=(), description='Words that mean an empty cell, in any case and any column, such as "NULL" or "-".'
    )
    timestamp_formats: tuple[ColumnName, ...] = Field(
        default=(),
        description=(
            'How dates and times are written, such as "%d/%m/%Y %H:%M"; the first that fits a cell holds, and ISO 8601 '
            "is read, too. %b and %B are names of months in English, German, French, Spanish, Italian, Portuguese or "
            "Dutch."
        ),
    )
    timestamp_unit: Literal["", "s", "ms", "us"] = Field(
        default="",
        description='Unit of a timestamp given as a number since 1970 ("s", "ms", "us"); "" for dates and times.',
    )
    timestamp_from: tuple[ColumnName, ...] = Field(
        default=(), description='Columns that make the timestamp "day + time": ["day", "time"]; [] where one has both.'
    )
    amount_from: tuple[ColumnName, ...] = Field(
        default=(),
        description='Columns whose sum is the amount "credit - debit": ["credit", "-debit"]; [] where one has it.',
    )
    currency: str = Field(
        default="", description="Column with the currency of amount_from, whose amounts currency_rates makes one of."
    )
    currency_rates: dict[str, Annotated[float, Field(gt=0)]] = Field(
        default_factory=dict, description="What one unit of each currency is worth in the one that amounts are in."
    )
    time_zone: str = Field(
        default="UTC",
        description="Zone of timestamps that name none, of --from and --to, and of the hour that the model sees.",
    )
    label_fraud: tuple[str, ...] = Field(
        default=(), description="Words of the label that mean fraud, beside 1, true, yes, y, fraud and so on."
    )
    label_normal: tuple[str, ...] = Field(
        default=(),
        description='Words of the label that mean none, beside 0, false, no, n, legit and so on; "" for empty cells.',
    )
    label_unknown: tuple[str, ...] = Field(
        default=(),
        description="Words of the label that mean not known (yet), beside empty cells, null, n/a, pending and so on.",
    )

    @field_validator("path")
    @classmethod
    def _lies_here(cls, value: str) -> str:
        return refuse_store(
            value, "it is read more than once, so it lies on a disk; only table.incoming may be a store"
        )

    @field_validator("incoming")
    @classmethod
    def _can_be_listed(cls, value: str) -> str:
        return checked_store(value)

    @field_validator("label_fraud", "label_normal", "label_unknown", mode="before")
    @classmethod
    def _words(cls, value: Any) -> Any:
        # 2 is as good a word as "2".
        is_list = isinstance(value, (list, tuple))
        return (
            tuple(str(word).lower() if isinstance(word, (bool, int)) else word for word in value) if is_list else value
        )

    @model_validator(mode="after")
    def _one_meaning_a_word(self) -> "TableConfig":
        words: dict[str, str] = {}
        for name in ("label_fraud", "label_normal", "label_unknown"):
            for word in getattr(self, name):
                other = words.setdefault(word.strip().casefold(), name)
                if other != name:
                    raise ValueError(f"table.{other} and table.{name} both hold {word!r}; keep it in one of them")
        return self

    @field_validator("timestamp_formats")
    @classmethod
    def _read_one_day(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if fault := fault_of_formats(value):
            raise ValueError(fault)
        return value

    @model_validator(mode="after")
    def _settings_fit(self) -> "TableConfig":
        if bool(self.currency) != bool(self.currency_rates) or (self.currency and not self.amount_from):
            raise ValueError("table.currency, table.currency_rates and table.amount_from go together; set all three")
        both = {_mark(word) for word in self.plus_words} & {_mark(word) for word in self.minus_words}
        if both:
            raise ValueError(f"table.plus_words and table.minus_words both hold {min(both)!r}; keep it in one of them")
        if self.thousands == self.decimal:
            raise ValueError(f"table.decimal and table.thousands are both {self.decimal!r}; keep one of them")
        return self

    @field_validator("columns")
    @classmethod
    def _names_differ(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        folded = [name.casefold() for name in value]
        double = next((name for name in value if folded.count(name.casefold()) > 1), None)
        if double is not None:
            raise ValueError(f"{double!r} is there twice, case aside; give each column a name of its own")
        return value

    @field_validator("delimiter")
    @classmethod
    def _can_delimit(cls, value: str) -> str:
        if not value.isascii() or value in '"\r\n':
            raise ValueError(f'{value!r} cannot separate cells; use e.g. ",", ";" or "\\t"')
        return value

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        if value not in available_timezones():
            near = difflib.get_close_matches(value, available_timezones(), 1)
            raise ValueError(f"{value!r} is no time zone" + (f"; did you mean {near[0]!r}?" if near else ""))
        return value


def _mark(word: str) -> str:
    return word.upper().rstrip(".")


class ValidationConfig(_Section):
    """What a row and a batch must satisfy."""

    suite: str = Field(
        default="",
        description="Your own Great Expectations suite (JSON) for this table, on top of the contract's rules.",
    )
    max_rejected: float = Field(
        default=0.05,
        ge=0,
        le=1,
        description="Share of a batch's rows that may fail; above it the whole batch is refused.",
    )
    earliest: date = Field(default=date(2000, 1, 1), description="A timestamp before this day is taken for a mistake.")
    latest_days_ahead: float = Field(
        default=1,
        ge=0,
        description="A timestamp more than this many days after the run is taken for a mistake.",
    )
    negative_amounts: bool = Field(default=False, description="Whether amounts below zero (refunds) are allowed.")
    max_amount: float = Field(default=1e9, gt=0, description="An amount beyond this is taken for a mistake.")
    max_empty: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description=(
            "How much larger than in the training the share of a column's empty cells may be; above it a batch is not "
            "scored. 1 asks nothing."
        ),
    )
    max_unseen: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description=(
            "How much larger than in the training the share of rows may be whose category the model has never seen; "
            "above it a batch is not scored. 1 asks nothing."
        ),
    )
    amount_tail: float = Field(
        default=0.01,
        ge=0,
        lt=0.5,
        description=(
            "A batch whose median amount is below, or above, all but this share of the training's amounts is not "
            "scored. 0 asks nothing."
        ),
    )
    max_unusual: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description=(
            "Share of a batch's rows that may score above 99 % of the training's normal rows; above it the batch is "
            "refused. 1 asks nothing."
        ),
    )
    min_volume: float = Field(
        default=0.6,
        ge=0,
        le=1,
        description="Share of the rows usual for a weekday, or its hours, below which a batch is told. 0 asks nothing.",
    )
    on_low_volume: Literal["report", "refuse"] = Field(
        default="report", description="What happens to a batch with fewer rows than that."
    )
    batch_rows: int = Field(
        default=500_000,
        ge=1,
        description="Rows validated at a time at most, fewer of a wide table; the outcome does not depend on it.",
    )


class FeaturesConfig(_Section):
    """Behavioural features: what each entity has been doing up to a row, and no later."""

    families: tuple[str, ...] = Field(
        default=("amount", "columns", "change", "recent", "hours", "risk"),
        min_length=1,
        description=(
            "What the model sees: amount, calendar (hour and weekday), columns (numeric and categorical ones), "
            "distance (between the row's places, told by names such as lat and long, which then are no columns of "
            "their own), peers (the amount against others of its category); of an entity: activity (the aggregates "
            "over the windows), change, robust, rank and highest (the amount against the entity's own past), recent "
            "(the highest amount of the last days against it), recency (when it was last seen), rhythm (nights and "
            "weekends), hours (the time of day against its usual one), seen (how rare its other entities and "
            "categories are for it, new ones most), travel (way and speed from its last place), velocity (minutes, an "
            "hour and a day against its usual pace), risk (known labels over the windows). "
            '"change:CUSTOMER" takes one entity, '
            '"recency:CUSTOMER+TERMINAL" a pair, "change" every entity.'
        ),
    )
    core: tuple[str, ...] = Field(
        default=(),
        description=(
            "Those of the families whose combination says something: one member of the model committee sees them "
            "alone. [] takes all."
        ),
    )
    aggregates: tuple[Aggregate, ...] = Field(
        default=("count", "mean"),
        min_length=1,
        description=(
            "What activity computes over each window: count, sum, mean, std, max, distinct (how many different "
            "other entities)."
        ),
    )
    windows_days: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        default=(1, 7, 30), min_length=1, description="Trailing windows of activity and risk, in days."
    )
    history_days: int = Field(
        default=60,
        ge=2,
        description="An entity's own past, for change, in days.",
    )
    past_gap_hours: float = Field(
        default=24,
        ge=0,
        description=(
            "The last hours before a row that are no part of the own past it is held against, so that a burst does not "
            "become usual while it lasts."
        ),
    )
    recent_days: int = Field(default=7, ge=1, description="What counts as recent, for the family recent, in days.")
    change_counts: Literal["above", "both"] = Field(
        default="above",
        description='"above": only more than an entity\'s usual amount or pace is change; "both": less is change, too.',
    )
    past_weight: float = Field(
        default=5,
        gt=0,
        description="An entity's past is drawn towards everybody's as if it had this many more rows, of everybody's.",
    )
    risk_weight: float = Field(
        default=2,
        gt=0,
        description="The same for the risk: rows at everybody's fraud rate that each entity starts with.",
    )
    label_delay_days: float = Field(
        default=7,
        ge=0,
        description="A label counts as known this many days after its row, unless the table says when.",
    )
    on_gap: Literal["report", "refuse"] = Field(
        default="report",
        description="What happens to a batch whose features look back to days of which the history holds no row.",
    )
    memory_limit: str = Field(
        default="2GB",
        pattern=r"^\d+(\.\d+)?\s?[KMGT]i?B$",
        description="Memory for DuckDB; beyond it, it spills to disk.",
    )

    @field_validator("families", "core")
    @classmethod
    def _known_families(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for item in value:
            family, _, entity = item.partition(":")
            if family not in FAMILIES or (entity and family not in ENTITY_FAMILIES):
                near = difflib.get_close_matches(family, FAMILIES, 1)
                hint = (
                    f"did you mean {near[0]!r}?" if near and near[0] != family else f"valid are {', '.join(FAMILIES)}"
                )
                raise ValueError(f"{item!r} is no family of features; {hint}")
        return value

    @model_validator(mode="after")
    def _some_past(self) -> "FeaturesConfig":
        if self.past_gap_hours >= 24 * self.history_days:
            raise ValueError(
                f"features.past_gap_hours = {self.past_gap_hours:g} leaves nothing of history_days = "
                f"{self.history_days}; lower it, or look further back"
            )
        return self

    @staticmethod
    def pair(name: str, entities: tuple[str, ...]) -> tuple[str, ...]:
        """Return the two different entities that a name such as "CUSTOMER+TERMINAL" joins, or nothing.

        Examples
        --------
        >>> FeaturesConfig.pair("card+shop", ("card", "shop")), FeaturesConfig.pair("card", ("card", "shop"))
        (('card', 'shop'), ())
        """
        pairs = ((one, other) for one in entities for other in entities if one != other)
        return next((pair for pair in pairs if "+".join(pair) == name), ())

    @property
    def max_window_days(self) -> int:
        """The furthest that any feature looks back, label delay included."""
        return max(self.history_days, self.recent_days, math.ceil(max(self.windows_days) + self.label_delay_days))


class EncodingConfig(_Section):
    """How features become the numbers that the model sees."""

    bound: float = Field(
        default=20,
        ge=10,
        description="Heavy tails are bounded at this many standard deviations (at least 10).",
    )
    max_categories: int = Field(
        default=32,
        ge=1,
        description="Most frequent values of a categorical column that get a column of their own.",
    )


class ModelConfig(_Section):
    """The model and its training. Settings left out are the family's own; one that it has no use for is not read."""

    name: str = Field(
        default="denoising",
        min_length=1,
        description=(
            "Family: committee, denoising, dense, linear, sparse, contractive, variational, convolutional, belief, "
            "memory, ensemble; to compare with: pca, knn, isolation_forest, one_class_svm."
        ),
    )
    hidden: tuple[Annotated[int, Field(ge=1)], ...] | None = Field(
        default=None, examples=[(128,)], description="Nodes of each encoder layer; the decoder mirrors them."
    )
    code_size: int | None = Field(
        default=None, ge=1, examples=[64], description="Nodes of the code, the layer in the middle."
    )
    loss: Literal["squared", "huber", "gaussian", "mixed"] | None = Field(
        default=None,
        examples=["squared"],
        description="Loss of the numbers; mixed: squared for numbers, cross-entropies for indicators and categories.",
    )
    score: str | None = Field(
        default=None,
        examples=["mahalanobis"],
        description=(
            "How a row's residuals become one score: mahalanobis, mean_squared, normalised, worst_share, or one that "
            "only a family has, such as elbo (variational)."
        ),
    )
    batch_size: int | None = Field(default=None, ge=1, examples=[512], description="Rows of a training step.")
    learning_rate: float | None = Field(
        default=None, gt=0, examples=[0.003], description="Peak learning rate of AdamW."
    )
    max_epochs: int | None = Field(
        default=None,
        ge=1,
        examples=[30],
        description="Training stops after this many passes over the rows at the latest.",
    )
    patience: int | None = Field(
        default=None,
        ge=1,
        examples=[5],
        description="Passes without a better loss on the held-out rows before training stops.",
    )
    seed: int = Field(default=0, ge=0, description="Same seed, same data, same scores.")
    trim: float = Field(
        default=0.0,
        ge=0,
        lt=0.5,
        description="Share of the fit rows, the most anomalous ones, that a second fit leaves out: not all are normal.",
    )
    options: dict[str, Any] = Field(
        default_factory=dict, description="What only this family has, such as noise = 0.02 (denoising)."
    )


class TrainingConfig(_Section):
    """The three parts of the training period, disjoint: fit, early stopping, calibration."""

    calibration_share: Share = Field(
        default=0.25, description="Last share of the period's rows, in time, kept for calibration."
    )
    early_stopping_share: Share = Field(
        default=0.1, description="Share of the earlier normal rows kept from the fit to stop it in time."
    )
    min_fit_rows: int = Field(default=100, ge=10, description="Fewer normal rows than this to fit on are refused.")
    min_calibration_rows: int = Field(
        default=100, ge=10, description="Fewer normal rows than this to calibrate on are refused."
    )
    allow_giveaway: tuple[str, ...] = Field(
        default=(), description="Input columns that may be used although they nearly give the label away."
    )


class FeedbackConfig(_Section):
    """What known frauds teach: a second stage beside the one-class model, which learns from normal rows alone."""

    enabled: bool = Field(
        default=True,
        description=(
            "Whether known frauds count: for as much as they prove worth on the last days of the training period, with "
            "nothing among the choices. false: the one-class score alone."
        ),
    )
    min_frauds: int = Field(
        default=30, ge=20, description="Known frauds in the training period that boosted trees are fitted from."
    )
    explore: float = Field(
        default=0.1,
        ge=0,
        le=0.5,
        description=(
            "Share of the queue, where known frauds count, that goes to rows which only the one-class score finds "
            "unusual (threshold by capacity or false_alert_rate); twice as much where its precision fell, 0 for none."
        ),
    )


class ReportConfig(_Section):
    """What the page of a run shows."""

    tsne: bool = Field(default=False, description="Whether to add a t-SNE map of the code, which takes some seconds.")


class TrackingConfig(_Section):
    """Where runs and models are kept."""

    uri: str = Field(default="", description='MLflow tracking server; "" for a SQLite database in the work folder.')
    experiment: str = Field(
        default="", description='Experiment that training runs are logged to; "" for one of the table\'s name.'
    )
    owner: str = Field(
        default="",
        description=(
            "Whose name on a shared MLflow server this table's is, so that another table of this name is refused; "
            '"" for the work folder. Copies of one configuration in several places need the same text.'
        ),
    )
    ledger_url: str = Field(
        default="",
        description='SQLAlchemy URL of the ledger of scored batches; "" for SQLite in the work folder.',
    )


class Config(_Section):
    """All settings of one table's pipeline.

    ``Config.model_validate`` takes the same nested mapping that assay.toml holds.

    Examples
    --------
    >>> config = Config.model_validate({"contract": {"id": "tx", "timestamp": "at", "amount": "eur"}})
    >>> config.threshold.strategy
    'false_alert_rate'
    """

    name: str = Field(
        default="assay",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
        description="Name of this table's model in the MLflow registry, and of its history folder.",
    )
    work_dir: str = Field(
        default="assay-data",
        description="Everything Assay keeps lies here; a relative path starts at this file's folder.",
    )
    prefect: bool = Field(
        default=True,
        description="Train, score and backtest as Prefect flows; false runs the same stages without its engine.",
    )
    contract: Contract
    columns: dict[ColumnName, ColumnConfig] = Field(
        default_factory=dict,
        description="What people read in reports, CSV files and at the desk for a column, in place of its name.",
    )
    table: TableConfig = TableConfig()
    incoming: IncomingConfig = IncomingConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    validation: ValidationConfig = ValidationConfig()
    features: FeaturesConfig = FeaturesConfig()
    engine: EngineConfig = EngineConfig()
    encoding: EncodingConfig = EncodingConfig()
    model: ModelConfig = ModelConfig()
    training: TrainingConfig = TrainingConfig()
    feedback: FeedbackConfig = FeedbackConfig()
    threshold: ThresholdConfig = ThresholdConfig()
    promotion: PromotionConfig = PromotionConfig()
    tuning: TuningConfig = TuningConfig()
    audit: AuditConfig = AuditConfig()
    review: ReviewConfig = ReviewConfig()
    monitor: MonitorConfig = MonitorConfig()
    retrain: RetrainConfig = RetrainConfig()
    report: ReportConfig = ReportConfig()
    notify: NotifyConfig = NotifyConfig()
    metrics: MetricsConfig = MetricsConfig()
    lineage: LineageConfig = LineageConfig()
    tracking: TrackingConfig = TrackingConfig()

    @model_validator(mode="after")
    def _families_name_entities(self) -> "Config":
        for item in (*self.features.families, *self.features.core):
            entity = item.partition(":")[2]
            known = self.contract.entities
            if entity and entity not in known and not self.features.pair(entity, known):
                raise ValueError(
                    f"features.families or features.core names {item!r}, but the contract's entities are "
                    f"{', '.join(known) or 'none'}"
                )
        return self

    @model_validator(mode="after")
    def _segment_is_a_category(self) -> "Config":
        column, contract = self.threshold.segment, self.contract
        columns = segments(contract)
        if column and column not in columns:
            raise ValueError(
                f"threshold.segment is {column!r}, and the categorical columns that are not sensitive are "
                f"{', '.join(columns) or 'none'}"
            )
        if column and self.threshold.strategy == "capacity" and self.threshold.unit == "customers":
            raise ValueError(
                "threshold.segment cannot be used with capacity in customers, who may have alerts in several segments; "
                'set unit = "alerts", or segment = ""'
            )
        return self

    @model_validator(mode="after")
    def _titles_tell_columns_apart(self) -> "Config":
        names = dict.fromkeys((*self.contract.columns, *self.contract.ignored))
        for name in self.columns:
            if name not in names:
                near = difflib.get_close_matches(name, names, 1)
                raise ValueError(
                    f"columns.{name} is no column of the contract"
                    + (f"; did you mean {near[0]!r}?" if near else "; name it in contract.ignored if the table has it")
                )
        owners = {name: name for name in names}
        for name, column in self.columns.items():
            owner = owners.setdefault(column.title or name, name)
            if owner != name:
                raise ValueError(
                    f"columns.{name}.title is {column.title!r}, which people would take for {owner!r}; give it a title "
                    "of its own"
                )
        return self

    @field_validator("work_dir")
    @classmethod
    def _can_be_locked(cls, value: str) -> str:
        return refuse_store(
            value,
            "a store has no lock and renames no folder at once, so two runs could publish a batch twice and a killed "
            "one leave half of it; keep history and results on a local disk, and copy results to the store from there",
        )

    @model_validator(mode="after")
    def _archive_is_reached(self) -> "Config":
        incoming, archive = self.table.incoming, self.incoming.archive
        if archive and is_address(incoming) != is_address(archive):
            raise ValueError("table.incoming and incoming.archive lie in one store or both on a disk; mend one of them")
        if archive and is_address(archive):
            if archive.partition("://")[0] != incoming.partition("://")[0]:
                raise ValueError("table.incoming and incoming.archive lie in one store; mend one of them")
            if f"{archive}/".startswith(f"{incoming}/"):
                raise ValueError(f"incoming.archive lies in {incoming}, where files come in; name a place beside it")
        return self

    @model_validator(mode="after")
    def _paths_are_named(self) -> "Config":
        if not self.work_dir.strip():
            raise ValueError('work_dir is empty; name a folder, such as "assay-data"')
        return self
