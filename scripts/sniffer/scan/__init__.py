"""The scan: listing, ledger, dispatch, scoring, certificate, and its programs."""
