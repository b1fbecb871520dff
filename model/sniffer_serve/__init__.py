"""The model server's stages: flags and config in, SavedModels loaded and watched, TensorFlow Serving's REST API out."""
