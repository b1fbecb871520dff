"""The tables of review, beside those in `schema`."""

from __future__ import annotations

from sqlalchemy import (
    BINARY,
    CHAR,
    VARBINARY,
    BigInteger,
    Boolean,
    Column,
    Date,
    Double,
    Integer,
    SmallInteger,
    String,
    Table,
)
from sqlalchemy.dialects.mysql import DATETIME, SMALLINT

from sniffer.adapters.mysql.schema import metadata

_REVIEWER_DOC = "the account's name, or what another program calls its reviewer"

review_decisions = Table(
    "review_decisions",
    metadata,
    Column("number", BigInteger, primary_key=True, doc="counts up"),
    Column("image_id", BigInteger, doc="as in `images`"),
    Column("content_hash", BINARY(32), doc="SHA-256 of the bytes that were shown; empty: not known"),
    Column("decision", String(16), doc="`drug`, `not_drug`, `unsure`, or `withdrawn`, which only takes one back"),
    Column(
        "reason",
        String(32),
        doc="of `drug`: `recreational_drug`, `cannabis`, `prescription_medicine`, `paraphernalia`, "
        "`advertisement_text` or `other`",
    ),
    Column("note", String(2000), doc="what the reviewer has written"),
    Column("reviewer", String(200), doc=_REVIEWER_DOC),
    Column("decided_at", DATETIME(fsp=6), doc="UTC"),
    Column("model_version", Integer, doc="whose score was the reason to ask, as in `models`"),
    Column("score", Double, doc="its score then; empty: not known"),
    Column("threshold", Double, doc="its threshold then"),
    Column(
        "entered_by",
        String(16),
        doc="how the image came up: `flagged`, `sample`, `second` (a second reviewer), `appeal` (a lead, who settles "
        "it) or `import`",
    ),
    Column("probability", Double, doc="with which it came into the queue: 1 unless it was drawn at random"),
    Column("batch", CHAR(32), doc="the same for what was decided together; empty: alone"),
    Column(
        "replaces", BigInteger, unique=True, doc="the decision that this one corrects or takes back; empty: a first one"
    ),
    Column("was_replaced", Boolean, doc="the object had a newer version when it was decided"),
    Column("was_unblurred", Boolean, doc="the reviewer has seen it unblurred"),
    Column("submit_key", String(64), doc="of one submission, which is stored once however often it is sent"),
    info={
        "doc": "Every decision about an image: rows are only added, and go only with the image, by `sniffer erase`. "
        "A row that another one `replaces` counts no more."
    },
)

review_queue = Table(
    "review_queue",
    metadata,
    Column("image_id", BigInteger, primary_key=True, autoincrement=False, doc="as in `images`"),
    Column("is_for_lead", Boolean, doc="reviewers disagree, or are not sure: a lead settles it"),
    Column("entered_by", String(16), doc="`flagged`, `sample`, `second` or `appeal`"),
    Column("decided_by", String(200), doc="of `second`: who has decided it already, and does not get it again"),
    Column("model_version", Integer, doc="as in `models`"),
    Column(
        "place",
        Double,
        doc="its place in the order: the score, or, of what was drawn at random, that of some other image",
    ),
    Column("probability", Double, doc="with which it came into the queue"),
    Column("bucket", String(255), doc="the S3 bucket"),
    Column("entered_at", DATETIME(fsp=6), doc="UTC"),
    info={
        "doc": "What may wait for a reviewer: an index of `flagged_images`, brought up to date every minute, with what "
        "was drawn at random and what needs a second look. Each page checks again that its images are to be decided."
    },
)

review_leases = Table(
    "review_leases",
    metadata,
    Column("image_id", BigInteger, primary_key=True, autoincrement=False, doc="as in `images`"),
    Column("reviewer", String(200), doc="who has it open"),
    Column("lease_until", DATETIME(fsp=6), doc="UTC, by the server's clock; afterwards anybody may have it"),
    Column("entered_by", String(16), doc="as in `review_queue` when it was taken"),
    Column("model_version", Integer, doc="the same"),
    Column("score", Double, doc="as in `predictions` then"),
    Column("threshold", Double, doc="as in `models` then"),
    Column("probability", Double, doc="as in `review_queue` then"),
    info={"doc": "Which image is open before which reviewer. A decision is taken only from who holds it."},
)

review_samples = Table(
    "review_samples",
    metadata,
    Column("number", BigInteger, primary_key=True, doc="counts up"),
    Column("night", Date, doc="of the drawing"),
    Column("scan_number", BigInteger, doc="the certified scan that it was drawn from, as in `scans`"),
    Column("image_id", BigInteger, doc="as in `images`"),
    Column("model_version", Integer, doc="as in `models`"),
    Column("score", Double, doc="then"),
    Column("stratum", SmallInteger, doc="as in `review_sample_strata`"),
    Column("probability", Double, doc="of its being in the sample"),
    Column("drawn_at", DATETIME(fsp=6), doc="UTC"),
    info={"doc": "Unflagged images that were drawn at random, for measuring what is missed: rows are only added."},
)

review_sample_strata = Table(
    "review_sample_strata",
    metadata,
    Column("night", Date, primary_key=True, doc="of the drawing"),
    Column("scan_number", BigInteger, primary_key=True, autoincrement=False, doc="as in `scans`"),
    Column("stratum", SmallInteger, primary_key=True, autoincrement=False, doc="counts up with the score"),
    Column("low", Double, doc="scores from this one"),
    Column("high", Double, doc="and below this one"),
    Column("population", BigInteger, doc="images of the scan with such a score"),
    Column("drawn", BigInteger, doc="how many of them were drawn"),
    Column("probability", Double, doc="of each of its images, of being drawn; empty: there was none"),
    info={"doc": "From what each night's sample was drawn."},
)

near_duplicates = Table(
    "near_duplicates",
    metadata,
    Column("image_id", BigInteger, primary_key=True, autoincrement=False, doc="as in `images`"),
    Column("perceptual_hash", BINARY(8), doc="64 bits that differ little between pictures that look alike"),
    *(
        Column(f"part_{part}", SMALLINT(unsigned=True), doc=f"its bytes {2 * part - 1} and {2 * part}, as a number")
        for part in range(1, 5)
    ),
    Column("computed_at", DATETIME(fsp=6), doc="UTC"),
    info={
        "doc": "By which reviewers get pictures that look alike together. Of two hashes that differ in at most 7 bits "
        "one of the four parts differs in at most one, so an index of each part finds them."
    },
)

kept_images = Table(
    "kept_images",
    metadata,
    Column("content_hash", BINARY(32), primary_key=True, doc="SHA-256 of the bytes, as in `review_decisions`"),
    Column("bucket", String(255), doc="the S3 bucket that the copy lies in"),
    Column("object_key", VARBINARY(1024), doc="its key, which ends in the hash"),
    Column("version_id", String(1024), doc="its version there; empty: the bucket has none"),
    Column("size_bytes", BigInteger, doc="its size"),
    Column("begun_at", DATETIME(fsp=6), doc="UTC, when it was last begun: no copy is made without its row"),
    Column("kept_at", DATETIME(fsp=6), doc="UTC, when it was whole; empty: it is not, yet or for the `problem`"),
    Column("problem", String(32), doc="why there is none: `gone`, `replaced`, `unreadable`; empty: none, or refused"),
    Column("tried_number", BigInteger, doc="the newest decision by which it was tried: a later one tries again"),
    info={
        "doc": "Copies of decided images in a bucket of your own, where that is asked for. `sniffer erase` deletes a "
        "copy, and its row, once no decision is about these bytes."
    },
)
