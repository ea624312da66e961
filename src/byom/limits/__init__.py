"""The one limiter: windows, concurrency and budgets; reserve, then settle."""
