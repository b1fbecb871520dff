"""Images: encoded bytes in, what a person sees of them out. The only package that touches Pillow.

The trainer calls `render.decode`, the fleet `render.render`; both see the same pixels. Here are the versions alone: who
only names them needs neither NumPy nor a codec, which take a tenth of a second to import.
"""

from PIL import __version__ as pillow_version

PREPROCESSING_VERSION = f"2-draft-bilinear-pillow{pillow_version.split('.')[0]}"
"""Names all that defines the pixels: our steps (the leading number; raise it with any change), the resampling, and
Pillow's major version, which may change its decoders."""


DECODER_VERSION = 3
"""Rises when a release decodes more than the one before: what was unreadable is then tried again."""
