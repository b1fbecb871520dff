"""The classifier: from labelled images to a served SavedModel, and a model server for machines without TF Serving."""

import logging
import os

# TensorFlow reads this when it is imported; below warnings it is chatty about the machine, not about our work.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
logging.getLogger("tensorflow").setLevel(logging.WARNING)
