"""Infer a table's configuration: which column plays which role, and why.

What a person says comes first. For the rest, a column's name, its type and its content speak: uniqueness for
the id (over the whole table), repetition for entities, few values for categories; a sample of the rows
decides on the content.
"""

import difflib
import re
import tempfile
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import ValidationError

from pipeline.errors import InputError
from pipeline.inference.attributes import is_attribute
from pipeline.inference.clock import Clock
from pipeline.inference.column_names import name_score, names_fraud, personal_data
from pipeline.inference.currencies import several_currencies
from pipeline.inference.families import every_family, suggest_families
from pipeline.inference.formats import find_formats, name_columns
from pipeline.inference.giveaways import giveaways
from pipeline.inference.label_values import MOST_WORDS, LabelReading, count_words, read_words, speaks_of_fraud
from pipeline.inference.mending import MISSING_ENTITY, mend
from pipeline.inference.profiles import FITS, Profile, profile_table, sniff
from pipeline.inference.tally import Tally
from pipeline.numbers import percent
from pipeline.settings.config import Config, TableConfig
from pipeline.settings.file import first_fault
from pipeline.settings.places import find_places
from pipeline.tables.label_words import describe_words
from pipeline.tables.made import made_columns
from pipeline.tables.parsing import parse, parse_column
from pipeline.tables.period import DAY_US
from pipeline.tables.reading import Table, open_table
from pipeline.tables.sql import database

MAX_CATEGORIES = 200  # a text column of more values is no category
MAX_CODES = 10  # a whole number of more values is a quantity
MAX_ENTITIES = 8
UNIQUE = 0.99  # of an id's values: the others are quarantined as duplicates
_ID_TRIES = 5


def infer(
    table: Table | str | Path,
    *,
    settings: TableConfig,
    id: str | None = None,
    timestamp: str | None = None,
    amount: str | None = None,
    entities: Sequence[str] = (),
    categorical: Sequence[str] = (),
    label: str | None = None,
    ignore: Sequence[str] = (),
    sensitive: Sequence[str] = (),
    name: str | None = None,
    few_features: bool = False,
) -> tuple[Config, dict[str, str], list[str]]:
    """Infer the configuration of a table.

    Parameters
    ----------
    table : Table, str or Path
        A path is opened with the delimiter that its header suggests, unless ``settings`` names one.
    settings : TableConfig
        How the table is read; the decimal sign and the unit of numeric timestamps are found out.
    id, timestamp, amount, label : str, optional
        Columns of these roles, where a person names them.
    entities, categorical, ignore, sensitive : sequence of str
        Columns named by a person; further ones are found.
    name : str, optional
        Name of the model; made from the file's name by default.
    few_features : bool
        Whether only the families of features that suit a single network are to be computed. Else, in a table with
        entities, every family is that holds something, for the model that can tell what says something from the rest.

    Returns
    -------
    config : Config
    reasons : dict
        For a role of the contract, and for "families", why its columns were chosen.
    warnings : list of str
        One sentence each: an id that repeats, a column that gives the label away.

    Raises
    ------
    InputError
        When a named column does not exist or cannot play its role, or no column can be the id, timestamp or
        amount.
    """
    notes: list[str] = []
    if not isinstance(table, Table):
        settings, notes = name_columns(table, sniff(table, settings))
        table = open_table(table, settings)
    columns = [column for column in (id, timestamp, amount, label) if column]
    for column in (*columns, *entities, *categorical, *ignore, *sensitive):
        if column not in table.schema.names:
            near = difflib.get_close_matches(column, table.schema.names, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"it has {_first(table.schema.names)}"
            raise InputError(f"{table.path} has no column {column!r}; {hint}")
    named = {role for role, column in (("timestamp", timestamp), ("amount", amount)) if column}
    formats = find_formats(table, settings, named)
    table, sample = formats.table, formats.sample
    settings, profiles = profile_table(table, sample, formats.settings)
    made = made_columns(settings)
    for column, parts in made.items():
        if parts == settings.timestamp_from:
            timestamp = timestamp or column
        else:
            amount = amount or column
    roles = _Roles(table, profiles, settings, {*columns, *made})
    for column in ignore:
        roles.give(column, "ignored", "named by you")
    for column, parts in made.items():
        for part in set(parts) - {*columns, *entities, *categorical, *ignore}:
            roles.give(part, "ignored", f"a part of {column!r}")
    for column in entities:
        roles.give(column, "entities", "named by you")
    for column in categorical:
        roles.give(column, "categorical", "named by you")
    roles.find_label(label)
    roles.find_timestamp(timestamp)
    roles.find_id(id)
    roles.find_amount(amount)
    roles.find_the_rest()
    config = roles.mended(sensitive, name, {*columns, *entities, *categorical})
    roles.warnings += several_currencies(sample, config.contract)
    rows = pa.Table.from_batches([parse(batch, config)[0] for batch in sample.to_batches()])
    for column, reason in giveaways(rows, config.contract).items():
        is_amount = column == config.contract.amount
        way_out = "name another with --amount" if is_amount else f"leave it out with --ignore {column}"
        roles.warnings.append(f"{reason}; unless it is known when the transaction happens, {way_out}")
    config, reason = _with_families(config, rows, few=few_features)
    reasons = {**formats.reasons, **roles.reasons(), "families": reason}
    reasons |= {
        role: f"{column!r}: made of others"
        for role in ("timestamp", "amount")
        if (column := getattr(config.contract, role)) in made
    }
    return config, reasons, [*notes, *_names(table), *formats.warnings, *roles.warnings]


def _with_families(config: Config, rows: pa.Table, *, few: bool) -> tuple[Config, str]:
    """Return the configuration with all families of features and their model, or the few that suit a table; and why."""
    core, reason = suggest_families(rows, config.contract)
    if few or not config.contract.entities:
        return config.model_copy(update={"features": config.features.model_copy(update={"families": core})}), reason
    families = every_family(rows, config.contract)
    core += tuple(family for family in families if family == "seen")
    features = config.features.model_copy(update={"families": families, "core": core})
    model = config.model.model_copy(update={"name": "committee"})
    return config.model_copy(update={"features": features, "model": model}), f"all that hold something; core: {reason}"


def _names(table: Table) -> list[str]:
    return [
        f"a second column {name!r} is called {word!r}" if name else f"a column without a name is called {word!r}"
        for word, name in table.renamed.items()
    ]


class _Roles:
    """The roles of columns, with the reasons; each column has one.

    ``reserved`` are columns that a person named for a role, so that no other role takes them.
    """

    def __init__(self, table: Table, profiles: dict[str, Profile], settings: TableConfig, reserved: set[str]) -> None:
        self.table, self.profiles, self.settings = table, profiles, settings
        self._reserved = reserved
        self.warnings: list[str] = []
        self._roles: dict[str, tuple[str, str]] = {}
        self._repeats: dict[str, str] = {}
        self._optional: list[str] = []
        self._copies = 0  # rows whose id an earlier row has

    def give(self, column: str, role: str, reason: str) -> None:
        if column in self._roles and self._roles[column][0] != role:
            raise InputError(f"column {column!r} is named for two roles, {self._roles[column][0]} and {role}; keep one")
        self._roles[column] = (role, reason)

    def _free(self) -> Iterable[Profile]:
        names = self._roles.keys() | self._reserved
        return (profile for name, profile in self.profiles.items() if name not in names)

    def _best(self, role: str, candidates: Iterable[Profile]) -> Profile | None:
        scores = [(name_score(role, profile.name), profile) for profile in candidates]
        return max(scores, key=lambda pair: pair[0])[1] if scores else None

    def _fail(self, role: str, rule: str) -> InputError:
        candidates = [f"{profile.name} ({profile.kind})" for profile in self._free()]
        return InputError(
            f"{self.table.path}: no column can be the {role}, {rule}; looked at {_first(candidates)}; "
            f"name one with --{role}"
            + (", and how it is written with --timestamp-format" if role == "timestamp" else "")
        )

    def find_label(self, column: str | None) -> None:
        """Give the label to the named column, or to one whose name or words, in the whole table, speak of fraud."""
        if column:
            self._give_named_label(column)
            return
        free = {
            p.name: p
            for p in self._free()
            if p.kind not in ("timestamp", "empty", "other")
            and p.distinct <= MOST_WORDS
            and (name_score("label", p.name) > 0 or (p.kind == "text" and speaks_of_fraud(p.values)))
        }
        counts = count_words(self.table, free)
        readings = {name: read_words(counts[name], self.settings) for name in counts}
        labels = {name: reading for name, reading in readings.items() if reading and _is_label(name, reading)}
        best = max(labels, key=lambda name: max(name_score("label", name), 0), default=None)
        if best is None:
            return
        self._give_label(
            best, labels[best], "its name says so" if name_score("label", best) > 0 else "its words say so"
        )
        for name in labels:
            if name != best:
                self.give(name, "ignored", f"looks like a second label beside {best!r}")
        dates = [p for p in self._free() if p.kind == "timestamp" and name_score("labelled_at", p.name) > 0]
        label_date = self._best("labelled_at", dates)
        if label_date:
            self.give(label_date.name, "labelled_at", "a date, and its name speaks of the label")

    def _give_named_label(self, column: str) -> None:
        counts = count_words(self.table, [column]).get(column)
        reading = read_words(counts, self.settings) if counts else None
        if reading is None:
            _, failures = parse_column(self.profiles[column].cells, "label", self.settings)
            cells = self.profiles[column].cells.filter(pa.array(failures))
            example = repr(cells[0].as_py()) if len(cells) else self.profiles[column].example
            raise InputError(
                f"{self.table.path}: column {column!r} cannot be the label: it holds {example}, and a label "
                f"is {describe_words(self.settings)}; say what its words mean with --fraud-word and --normal-word, "
                "or name another with --label"
            )
        self._give_label(column, reading, "named by you")

    def _give_label(self, column: str, reading: LabelReading, why: str) -> None:
        self.settings = reading.settings
        self.give(column, "label", f"holds {reading.text}, {why}")
        self.warnings += [f"the label {column!r} {warning}" for warning in reading.warnings]

    def find_timestamp(self, column: str | None) -> None:
        """Give the timestamp, and ignore the columns that only say it again."""
        rule = "which holds dates and times such as 2018-04-01 12:30:00 or 01.04.2018 12:30"
        candidates = [self.profiles[column]] if column else list(self._free())
        dates = [
            profile
            for profile in candidates
            if profile.kind == "timestamp" and (column or name_score("timestamp", profile.name) >= 0)
        ]
        counts = [
            profile
            for profile in candidates
            if profile.kind in ("integer", "number")
            and (column or name_score("timestamp", profile.name) > 0)
            and _unit(profile)
        ]
        best = self._best("timestamp", dates or counts)
        if best and not column:
            best = self._with_times(best, [*dates, *counts])
        if best is None:
            if column:
                profile = self.profiles[column]
                raise InputError(
                    f"{self.table.path}: column {column!r} holds {profile.kind} values such as {profile.example} and "
                    f"cannot be the timestamp, {rule} or counts since 1970; name another with --timestamp"
                )
            raise self._fail("timestamp", rule)
        has_times = self._has_times(best)
        reason = "holds dates and times" if has_times else "holds days without a time of day"
        reason = reason if best.kind == "timestamp" else "counts from 1970"
        if best.kind != "timestamp":
            self.settings = self.settings.model_copy(update={"timestamp_unit": _unit(best)})
        self.give(best.name, "timestamp", "named by you" if column else reason)
        moments = parse_column(best.cells, "timestamp", self.settings)[0]
        clock = Clock(moments, self.settings.time_zone)
        for profile in self._free():
            repetition = clock.repeated_by(profile) if profile.kind in ("integer", "number", "text") else None
            if repetition:
                self._repeats[profile.name] = repetition

    def _moments(self, profile: Profile) -> pa.Array:
        unit = _unit(profile) if profile.kind != "timestamp" else None
        settings = self.settings.model_copy(update={"timestamp_unit": unit}) if unit else self.settings
        return parse_column(profile.cells, "timestamp", settings)[0]

    def _has_times(self, profile: Profile) -> bool:
        """Return whether a column says more than the day; local midnight is at two hours of UTC where clocks change."""
        times = pc.unique(_time_of_day(self._moments(profile)).drop_null())
        return len(times) > (1 if self.settings.time_zone == "UTC" else 2)

    def _with_times(self, best: Profile, candidates: Sequence[Profile]) -> Profile:
        """Return the best column, or where it holds days only, one that says the time on that day, too."""
        if self._has_times(best):
            return best
        days = self._moments(best).cast(pa.int64())
        others = []
        for profile in candidates:
            if profile is best or not self._has_times(profile):
                continue
            apart = pc.divide(pc.abs(pc.subtract(self._moments(profile).cast(pa.int64()), days)), DAY_US)
            if (pc.mean(pc.less_equal(apart, 1)).as_py() or 0) >= FITS:
                others.append(profile)
        other = self._best("timestamp", others)
        if other is None:
            return best
        self.warnings.append(
            f"{other.name!r} is taken for the timestamp and not {best.name!r}, which holds the same days without a "
            "time; if that is not meant, name it with --timestamp"
        )
        return other

    def find_id(self, column: str | None) -> None:
        """Give the id to a column whose values come once each, in the whole table."""
        keys = [p for p in self._free() if p.kind in ("integer", "text") and p.missing <= 1 - FITS]
        keys = [p for p in keys if p.unique >= (UNIQUE if name_score("id", p.name) > 0 else 1)]
        keys = [p for p in keys if name_score("amount", p.name) <= 0 and name_score("timestamp", p.name) <= 0]
        keys.sort(key=lambda p: -name_score("id", p.name))
        for profile in [self.profiles[column]] if column else keys[:_ID_TRIES]:
            present, distinct = _count_values(self.table, profile.name)
            says_so = name_score("id", profile.name) > 0
            if column or distinct == present or (says_so and distinct >= UNIQUE * present):
                reason = f"its {distinct:,} values come once each" + (", and its name says so" if says_so else "")
                self._copies = present - distinct
                if self._copies:
                    reason = f"{distinct:,} values in {present:,} rows" + (", and its name says so" if says_so else "")
                    self.warnings.append(
                        f"{profile.name!r} repeats a value in {self._copies:,} of {present:,} rows; these rows will "
                        f"be quarantined; if that is not meant, name another column with --id"
                    )
                self.give(profile.name, "id", "named by you" if column else reason)
                return
        raise self._fail("id", "which has another value in every row")

    def find_amount(self, column: str | None) -> None:
        """Give the amount to the number whose name speaks most for it, or to the only one with decimals.

        A column whose name speaks more for it, but that is no number, is not passed over in silence.
        """
        if column:
            if self.profiles[column].kind not in ("integer", "number"):
                raise InputError(
                    f"{self.table.path}: column {column!r} holds {self.profiles[column].kind} values such as "
                    f"{self.profiles[column].unfit('number', self.settings)} and cannot be the amount, which is a "
                    "number; name another with --amount"
                )
            self.give(column, "amount", "named by you")
            return
        numbers = [p for p in self._free() if p.kind in ("integer", "number") and p.name not in self._repeats]
        decimals = [p for p in numbers if p.kind == "number"]
        # Among equal names the one with decimals wins.
        best = self._best("amount", sorted(numbers, key=lambda p: p.kind == "integer"))
        texts = [p for p in self._free() if p.kind == "text" and name_score("amount", p.name) > 0]
        text = self._best("amount", texts)
        if text and not (best and name_score("amount", best.name) > 0):
            raise InputError(
                f"{self.table.path}: column {text.name!r} is named like the amount and holds "
                f"{text.unfit('number', self.settings)}, which is no number as the table is read; say in [table] how "
                "numbers are written, or name another column with --amount"
            )
        decimals = [p for p in decimals if name_score("amount", p.name) >= 0]
        if best and name_score("amount", best.name) > 0:
            self.give(best.name, "amount", "a number, and its name says so")
        elif len(decimals) == 1:
            self.give(decimals[0].name, "amount", "the only number with decimals")
        else:
            raise self._fail("amount", "a number whose name speaks of money")

    def find_the_rest(self) -> None:
        """Give every column that is left a role by its content."""
        room = MAX_ENTITIES - sum(role == "entities" for role, _ in self._roles.values())
        codes = {p.name for p in self._free() if p.kind == "integer" and _family(p.name)}
        families = [_family(name) for name in codes]
        found: list[str] = []
        for profile in sorted(self._free(), key=lambda p: -name_score("entities", p.name)):
            in_family = profile.name in codes and families.count(_family(profile.name)) >= 5
            role, reason = self._role_by_content(profile, in_family=in_family)
            if role != "ignored" and self._is_label_like(profile):
                role, reason = "ignored", "named like a label, and its words are not understood"
                self.warnings.append(
                    f"{profile.name!r} is named like a label and holds {profile.example} among others, so that it is "
                    "left out; where it is the label, name it with --label and say what its words mean with "
                    "--fraud-word and --normal-word, and where it is known when the transaction happens, with "
                    "--categorical"
                )
            if role == "entities" and room <= 0:
                role, reason = "ignored", f"an entity too many beside {MAX_ENTITIES} others"
            room -= role == "entities"
            self.give(profile.name, role, reason)
            found.append(profile.name)
        self._leave_out_attributes(found)

    def _leave_out_attributes(self, columns: Collection[str]) -> None:
        """Take the role from columns that are facts of the first entity: they dilute what a transaction shows.

        A column that is named like an entity of its own stays one, and so do coordinates that a distance needs.
        """
        entities = [name for name in self.profiles if self._roles[name][0] == "entities"]
        if not entities:
            return
        first = self.profiles[min(entities, key=lambda name: self.profiles[name].missing > 0)]
        places = find_places(name for name in self.profiles if self._roles[name][0] == "numeric").values()
        facts = {
            name
            for name in columns
            if self._roles[name][0] in ("categorical", "numeric", "entities")
            and name != first.name
            and not (self._roles[name][0] == "entities" and name_score("entities", name) > 0)
            and is_attribute(self.profiles[name].values, first.values)
        }
        # Between the places of a row one may be a home; homes alone are a fact.
        needed = (
            {name for place in places for name in place} if any(not {*place} <= facts for place in places) else set()
        )
        for name in facts - needed:
            self._roles[name] = ("ignored", f"one value for each {first.name!r}, so nothing that a transaction shows")

    def _is_label_like(self, profile: Profile) -> bool:
        """Return whether a column that nobody named may be told after the fact: it must not become an input unseen."""
        score, has_label = name_score("label", profile.name), any(role == "label" for role, _ in self._roles.values())
        if names_fraud(profile.name):
            return not has_label or (score >= 2 and profile.distinct <= MOST_WORDS)
        return score > 0 and profile.distinct <= 2 and not has_label

    def _role_by_content(self, profile: Profile, *, in_family: bool) -> tuple[str, str]:
        name = profile.name
        if profile.kind == "empty":
            return "ignored", "always missing"
        if profile.kind == "other":
            return "ignored", f"of type {profile.cells.type}, which is no input"
        if profile.kind == "timestamp":
            return "ignored", "dates other than the timestamp"
        if profile.distinct == 1 and not profile.missing:
            return "ignored", "the same in every row"
        if name in self._repeats:
            return "ignored", self._repeats[name]
        if profile.is_rounded_key:
            self.warnings.append(
                f"{name!r} holds long numbers in a spreadsheet's short form, such as 4.01100E+15, whose last digits "
                "are lost, so that it is left out; export the column as text from where it came"
            )
            return "ignored", "long numbers whose last digits are lost"
        if profile.kind == "number":
            return "numeric", "numbers"
        says_so = name_score("entities", name) > 0
        repeats = profile.unique <= 0.5 or (says_so and profile.unique <= 0.9)
        many = profile.distinct > 30 or name_score("entities", name) >= 3
        if says_so and many and repeats:
            if profile.missing <= MISSING_ENTITY:
                but = f"; empty in {percent(profile.missing)} of the rows" if profile.missing else ""
                return "entities", f"come again and again, and the name says so{but}"
            return "ignored", f"like an entity, but empty in {percent(profile.missing)} of the rows"
        if says_so and many:
            return "ignored", "nearly every value comes once"
        if profile.kind == "text":
            return self._text_role(profile)
        return self._integer_role(profile, in_family=in_family)

    def _text_role(self, profile: Profile) -> tuple[str, str]:
        if profile.distinct <= MAX_CATEGORIES and profile.unique <= 0.5:
            return "categorical", "text of few values"
        if profile.unique <= 0.5 and profile.missing <= MISSING_ENTITY:
            present = profile.values.drop_null()
            keys = pc.match_substring_regex(present, r"^\S*\d\S*$")
            if pc.mean(keys).as_py() >= FITS:
                return "entities", "keys that come again and again"
        return "ignored", "text of many values"

    def _integer_role(self, profile: Profile, *, in_family: bool) -> tuple[str, str]:
        if name_score("code", profile.name) > 0:
            if profile.distinct <= MAX_CATEGORIES:
                return "categorical", "codes by their names"
            return "ignored", "codes of many values"
        if name_score("quantity", profile.name) > 0:
            return "numeric", "quantities by their names"
        if in_family:
            return "numeric", "a family of numbered columns"
        if profile.distinct <= MAX_CODES and profile.unique <= 0.1:
            return "categorical", f"at most {MAX_CODES} different whole numbers, like codes"
        return "numeric", "whole numbers of many values"

    def mended(self, sensitive: Sequence[str], name: str | None, named: Collection[str]) -> Config:
        """Return the configuration whose rules the whole table keeps.

        Parameters
        ----------
        sensitive : sequence of str
            Columns that a person named.
        name : str, optional
        named : collection of str
            Columns whose role a person named.
        """
        config, now = self.config(sensitive, name), datetime.now(UTC).replace(tzinfo=None)
        tally = Tally.of(self.table, config, now)
        try:
            mending = mend(tally, config, named=named, repeats=self._copies, now=now)
        except InputError as error:
            raise InputError(f"{self.table.path}: {error}") from None
        self._roles |= mending.roles
        self._optional = mending.optional
        for column in mending.text:
            self.profiles[column] = replace(self.profiles[column], kind="text")
        self.warnings += mending.warnings
        return self.config(sensitive, name, **mending.validation)

    def config(self, sensitive: Sequence[str], name: str | None, **validation: Any) -> Config:
        """Return the configuration; ``sensitive`` are columns that a person named."""
        by_role: dict[str, list[str]] = {}
        for column in self.profiles:
            by_role.setdefault(self._roles[column][0], []).append(column)
        # The first one is the customer, whom every row should have.
        by_role.get("entities", []).sort(key=self._optional.__contains__)
        contract: dict[str, Any] = {**by_role, "optional": self._optional}
        for role in ("id", "timestamp", "amount", "label", "labelled_at"):
            if role in by_role:
                contract[role] = by_role[role][0]
        keys = [contract["id"], *by_role.get("entities", ()), *by_role.get("categorical", ())]
        contract["types"] = {key: "integer" if self.profiles[key].kind == "integer" else "text" for key in keys}
        self._sensitive = {
            column: "named by you" if column in sensitive else str(personal_data(column))
            for column in self.profiles
            if column in sensitive or personal_data(column)
        }
        contract["sensitive"] = list(self._sensitive)
        path = self.table.path.resolve()
        stem = re.sub(r"[^A-Za-z0-9._-]+", "-", path.name.split(".")[0]).lstrip("._-")
        table = self.settings.model_copy(update={"path": str(path)})
        try:
            return Config.model_validate(
                {
                    "name": name or stem or "assay",
                    "contract": contract,
                    "table": table.model_dump(),
                    "validation": validation,
                }
            )
        except ValidationError as error:
            raise InputError(f"{self.table.path}: {first_fault(error)}") from None

    def reasons(self) -> dict[str, str]:
        """Return for each role why its columns have it."""
        columns_of: dict[str, dict[str, list[str]]] = {}
        for column in self.profiles:
            role, reason = self._roles[column]
            columns_of.setdefault(role, {}).setdefault(reason, []).append(column)
        for column, reason in self._sensitive.items():
            columns_of.setdefault("sensitive", {}).setdefault(reason, []).append(column)
        return {
            role: "; ".join(f"{_first([repr(c) for c in columns])}: {reason}" for reason, columns in causes.items())
            for role, causes in columns_of.items()
        }


def _is_label(name: str, reading: LabelReading) -> bool:
    """Return whether a column that is read so is the label: one that only has a usual name needs usual words, too."""
    return reading.speaks or (name_score("label", name) > 0 and (names_fraud(name) or reading.is_code))


def _unit(profile: Profile) -> Literal["s", "ms", "us"] | None:
    """Return the unit in which numbers count from 1970 to a day between 2000 and 2100, or None."""
    median = pc.quantile(profile.values, 0.5)[0].as_py() if profile.kind in ("integer", "number") else None
    units: tuple[tuple[Literal["s", "ms", "us"], float], ...] = (("s", 1), ("ms", 1e3), ("us", 1e6))
    return next((u for u, n in units if median and 946_684_800 <= median / n <= 4_102_444_800), None)


def _time_of_day(moments: pa.Array) -> pa.Array:
    counts = moments.cast(pa.int64())
    return pc.subtract(counts, pc.multiply(pc.divide(counts, DAY_US), DAY_US))


def _family(name: str) -> str:
    """Return "V" for V12, and "" for a name that is not letters and a number."""
    match = re.fullmatch(r"([^\W\d]+?)_?\d+", name)
    return match[1] if match else ""


def _first(names: Sequence[str]) -> str:
    return ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")


def _count_values(table: Table, column: str) -> tuple[int, int]:
    """Return the number of rows with a value in a column, and of different values, over the whole table."""
    field = table.schema.field(column).with_name("key")
    batches = (batch.select([column]).rename_columns(["key"]) for batch in table.batches(65_536))
    rows = pa.RecordBatchReader.from_batches(pa.schema([field]), batches)
    query = "SELECT count(*) AS n FROM rows WHERE key IS NOT NULL GROUP BY key"
    with (
        tempfile.TemporaryDirectory() as folder,
        database("2GB", Path(folder)) as connection,
    ):
        connection.register("rows", rows)
        counts = connection.execute(f"SELECT coalesce(sum(n), 0), count(*) FROM ({query})").fetchone()
    assert counts is not None
    return int(counts[0]), int(counts[1])
