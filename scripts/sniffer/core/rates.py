"""What S3, GPUs and machines cost: a table that a team fills in with its own prices, and examples until it has."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Self

from sniffer.core.errors import ContractError, SettingsError
from sniffer.core.json_records import json_values, parse_record

OTHER = "OTHER"
"""The entry of all storage classes that the table does not name."""
_HIGHEST = 1e6
"""A price above it is a slip of the keyboard."""


@dataclass(frozen=True, slots=True)
class StorageRates:
    """What it costs to read objects of one storage class: 1,000 GETs, and what is charged for each GB (10^9 bytes)."""

    get_per_1000: float
    retrieval_per_gb: float = 0.0


def _named_once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """ValueError for a name that is there twice, of which JSON would take the last."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)} is there more than once")
    return found


def _examples() -> dict[str, StorageRates]:
    infrequent = StorageRates(0.001, 0.01)
    return {
        "STANDARD": StorageRates(0.0004),
        "INTELLIGENT_TIERING": StorageRates(0.0004),
        "STANDARD_IA": infrequent,
        "ONEZONE_IA": infrequent,
        "GLACIER_IR": StorageRates(0.01, 0.03),
        OTHER: infrequent,
    }


@dataclass(frozen=True, slots=True)
class Rates:
    """Prices in one currency, as of a day. Without arguments: examples, which are nobody's contract.

    `gpus` model servers' GPUs and `machines` machines are there for the whole time. `predicted_per_1000` is what 1,000
    images cost on the way to a model server in another zone, `transfer_per_gb` what a GB costs on the way from S3.
    """

    as_of: date = date(2026, 11, 26)
    currency: str = "USD"
    list_per_1000: float = 0.005
    storage: Mapping[str, StorageRates] = field(default_factory=_examples)
    transfer_per_gb: float = 0.0
    predicted_per_1000: float = 0.004
    gpu_hour: float = 0.55
    gpus: int = 1
    machine_hour: float = 0.2
    machines: int = 2
    are_examples: bool = True

    @classmethod
    def parse(cls, text: str, where: str) -> Self:
        """From JSON with any of the fields; those that are left out are the examples'. SettingsError names the field.

        `where` is what the text is, in words, such as `the Variable sniffer_rates`.
        """
        remedy = "docs/scale.md, Backfill a whole bucket, has an example"
        try:
            values = json.loads(text, object_pairs_hook=_named_once)
        except (ValueError, RecursionError) as error:
            raise SettingsError(f"{where} is not JSON ({error}): {remedy}") from None
        if not isinstance(values, dict):
            raise SettingsError(f"{where} must be a JSON object of prices: {remedy}")
        if "as_of" not in values:
            raise SettingsError(f"{where} has no as_of, the day of its prices, such as 2026-11-26")
        if "are_examples" in values:
            raise SettingsError(f"{where} has a field are_examples, which is no price: leave it out")
        try:
            rates = parse_record(values | {"are_examples": False}, cls, where, remedy)
        except ContractError as error:
            raise SettingsError(str(error)) from error
        rates._check(where)
        return rates

    def of_class(self, storage_class: str) -> StorageRates:
        """What objects of that storage class cost to read."""
        return self.storage.get(storage_class) or self.storage[OTHER]

    def _check(self, where: str) -> None:
        prices = {
            "list_per_1000": self.list_per_1000,
            "transfer_per_gb": self.transfer_per_gb,
            "predicted_per_1000": self.predicted_per_1000,
            "gpu_hour": self.gpu_hour,
            "machine_hour": self.machine_hour,
            "gpus": self.gpus,
            "machines": self.machines,
        }
        for name, rates in self.storage.items():
            prices[f"storage.{name}.get_per_1000"] = rates.get_per_1000
            prices[f"storage.{name}.retrieval_per_gb"] = rates.retrieval_per_gb
        for name, price in prices.items():
            if not 0 <= price <= _HIGHEST:  # which NaN is not
                raise SettingsError(f"{name} in {where} must be 0 to {_HIGHEST:,.0f}, not {price!r}")
        if OTHER not in self.storage:
            raise SettingsError(f"storage in {where} has no entry {OTHER}, for the classes that it does not name")
        if not (self.currency.isprintable() and 1 <= len(self.currency) <= 8):
            raise SettingsError(f"currency in {where} must be 1 to 8 characters such as USD, not {self.currency!r}")

    def document(self) -> str:
        """As JSON, which parse() takes."""
        values = json_values(self)
        del values["are_examples"]
        return json.dumps(values)
