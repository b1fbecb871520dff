"""From a trained model to a SavedModel that is proved to serve."""
