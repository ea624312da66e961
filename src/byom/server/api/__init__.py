"""The management API below ``/api``. Nothing imports it before the first request that needs it: FastAPI is large."""
