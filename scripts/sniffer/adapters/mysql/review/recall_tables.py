"""The tables of measured recall, beside those in `schema`."""

from __future__ import annotations

from sqlalchemy import BINARY, JSON, BigInteger, Column, Date, Double, Integer, String, Table
from sqlalchemy.dialects.mysql import DATETIME

from sniffer.adapters.mysql.schema import metadata

SHARES = ("prevalence", "recall", "precision")
"""Each has four columns; `precision` alone would be a reserved word."""


def _share_columns(name: str, doc: str) -> tuple[Column[float], ...]:
    return (
        Column(f"{name}_value", Double, doc=f"{doc}: the posterior's median; empty: of nothing"),
        Column(f"{name}_low", Double, doc="the lower end of its 95 % interval"),
        Column(f"{name}_high", Double, doc="the upper end"),
        Column(f"{name}_weighted", Double, doc="the same share by inverse probability weighting"),
    )


recall_draws = Table(
    "recall_draws",
    metadata,
    Column("scan_number", BigInteger, primary_key=True, autoincrement=False, doc="the frame, as in `scans`"),
    Column("night", Date, doc="when that scan began, UTC"),
    Column("bucket", String(255), doc="the S3 bucket"),
    Column("model_version", Integer, doc="as in `models`"),
    Column("threshold", Double, doc="the threshold of the scan"),
    Column(
        "draw_key", BINARY(32), doc="random, made after the scans: it orders the images of each stratum; one for a draw"
    ),
    Column("labels", Integer, doc="how many images were to be drawn, of all scans of this draw together"),
    Column("score_height", Double, doc="ln(odds) of drugs were taken to be height + slope * ln(odds) of the score"),
    Column("score_slope", Double, doc="see there"),
    Column("prior", String(200), doc="where height and slope came from"),
    Column("begun_at", DATETIME(fsp=6), doc="UTC"),
    Column("scored", BigInteger, doc="images with a score, as the certificate has them; empty: it was interrupted"),
    Column("flagged", BigInteger, doc="those at or above the threshold"),
    Column("mean_log_odds", JSON, doc="the mean ln(odds) of the score in each stratum"),
    Column("histogram", JSON, doc="images by ln(odds) of the score, from -16 to 16 in steps of 1"),
    info={
        "doc": "How a sample of a scan was drawn, by `sniffer recall draw`: with the key, the same images are drawn "
        "again. The images are in `review_samples`."
    },
)

drift_tests = Table(
    "drift_tests",
    metadata,
    Column("model_version", Integer, primary_key=True, autoincrement=False, doc="as in `models`"),
    Column("threshold", Double, primary_key=True, autoincrement=False, doc="from which score an image is flagged"),
    Column("bucket", String(255), primary_key=True, doc="the S3 bucket"),
    Column("kind", String(64), primary_key=True, doc="`flagged share`, or `scores`"),
    Column("night", Date, primary_key=True, doc="the night that was compared with those before it"),
    Column("value", Double, doc="its flagged share; of `scores`, how far they are from those of the past"),
    Column("usual", Double, doc="the same of the nights before it; empty: too few"),
    Column("p_value", Double, doc="how likely a night like the past is at least as far off; empty: too few"),
    Column("alarm_below", Double, doc="below this p-value somebody is to look"),
    Column("nights", Integer, doc="with how many nights it was compared"),
    Column("tested_at", DATETIME(fsp=6), doc="UTC"),
    info={
        "doc": "Whether a bucket's newest night was like its past, by `sniffer recall measure`; a rerun replaces it."
    },
)

recall_figures = Table(
    "recall_figures",
    metadata,
    Column("night", Date, primary_key=True, doc="the last night that counts"),
    Column("model_version", Integer, primary_key=True, autoincrement=False, doc="as in `models`"),
    Column("bucket", String(255), primary_key=True, doc="the S3 bucket; empty: all"),
    Column("slice", String(64), primary_key=True, doc="drugs of one kind, by the reviewers' reason; empty: all"),
    Column("threshold", Double, doc="from which score an image is flagged"),
    Column("first_night", Date, doc="the first night that counts"),
    Column("images", BigInteger, doc="images that were scored in these nights"),
    Column("flagged", BigInteger, doc="those at or above the threshold"),
    Column("labels", BigInteger, doc="images of the sample with a decision that counts"),
    Column("positives", BigInteger, doc="those that are drugs"),
    Column("undecided", BigInteger, doc="images of the sample without such a decision"),
    Column("disputed", BigInteger, doc="those that wait for a lead"),
    Column("pairs", BigInteger, doc="images that two reviewers decided, by which their errors are known"),
    *_share_columns("prevalence", "the share of drugs among the images"),
    *_share_columns("recall", "the share of the drugs that is flagged"),
    *_share_columns("precision", "the share of the flagged images that are drugs"),
    Column("recall_at_least", Double, doc="a lower recall is excluded by the labels alone, whatever scores are worth"),
    Column("score_height", Double, doc="as in `recall_draws`, learnt from these labels"),
    Column("score_slope", Double, doc="see there"),
    Column("method", String(64), doc="which method: figures of different ones are not compared"),
    Column("measured_at", DATETIME(fsp=6), doc="UTC"),
    info={"doc": "Measured prevalence, recall and precision, by `sniffer recall measure`; a rerun replaces its row."},
)
