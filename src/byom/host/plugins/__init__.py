"""Plugin folders as the hub sees them: read, checked, made into a form, given an environment. None of their code runs
here; that is the worker's (`byom.host.worker.contracts.plugin`)."""
