"""The HTTP door: a store's verbs under `/v1`, for programs that speak JSON (`memstore serve`).

`running` starts the server, `app` puts it together, `routes` has the verbs, one file per subject.
Every request passes `gate` (hosts, load, metrics, the last resort for errors) and then
`guarding` (who asks, what the body is, and whether it was asked before) before a verb sees it.
"""

from __future__ import annotations

from memstore.errors import MissingExtra

try:
    import fastapi  # noqa: F401
    import prometheus_client  # noqa: F401
    import uvicorn  # noqa: F401
except ImportError as error:
    raise MissingExtra(
        f"The HTTP server needs {error.name}, which is not installed. Install it with:\n"
        "    pip install 'memstore[serve]'"
    ) from error
