"""The one ledger: a row a call, on disk before the response ends."""
