"""What exists: connections, models, users, keys, prices, settings, secrets."""
