"""One module per format: what a file holds and would cost, read from its structure alone, before it is decoded."""
