"""Generated sample images: two classes that a person tells apart at a glance, drawn by seed, without network or files.

For the demo and the tests, and easy on purpose, so that a backbone that was never trained can tell them apart: drugs
are close-ups of many small glossy things, everything else is larger and duller. Backdrop, light, size, camera and file
format are drawn alike for both. What is reached on them says nothing of real pictures: for those, train on real ones.
"""

from sniffer_local.samples.bucket import BucketObject, bucket_objects
from sniffer_local.samples.generate import SLICES, Domain, SampleImage, labelled_images
from sniffer_local.samples.hostile import HOSTILE_KINDS, HostileKind

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
