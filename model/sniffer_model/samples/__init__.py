"""Generated sample images: two classes that a person tells apart at a glance, drawn by seed, without network or files.

For the demo and the tests. A classifier for real work is trained on real, labelled images.
"""

from sniffer_model.samples.bucket import BucketObject, bucket_objects
from sniffer_model.samples.generate import SLICES, Domain, SampleImage, labelled_images
from sniffer_model.samples.hostile import HOSTILE_KINDS, HostileKind

__all__ = [
    "HOSTILE_KINDS",
    "SLICES",
    "BucketObject",
    "Domain",
    "HostileKind",
    "SampleImage",
    "bucket_objects",
    "labelled_images",
]
