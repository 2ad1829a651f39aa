"""Where the admin app is mounted: below BUDGET_ADMIN_PATH it answers, and nothing else does.

Whatever path begins there is the admin app's own, also one with dot segments. That app hands nothing on, so no such
path leads past the guard to the gateway's app.

Any other spelling of it, such as one with a slash too many, is a path of the gateway's, and metered or passed as ever.
So a proxy that keeps strangers from this prefix keeps them from the admin app: it has no second name.

Nothing of `admin` is imported where neither a token is set nor the gateway's own login is named.
"""

from typing import TYPE_CHECKING

from starlette.types import Receive, Scope, Send

from budget_middleware.ledger import Ledger
from budget_middleware.opening import require_async
from budget_middleware.operations.admin_extra import missing_extra
from budget_middleware.operations.operators import OperatorSource
from budget_middleware.settings import Settings, SettingsError

if TYPE_CHECKING:
    from budget_middleware.admin import AdminApp


class AdminMount:
    """The admin app below its path."""

    def __init__(self, app: "AdminApp", path: str, *, is_context_shared: bool) -> None:
        self._app = app
        self._path = path
        self._prefix = f"{path}/"
        self._is_context_shared = is_context_shared

    def takes(self, scope: Scope) -> bool:
        """Whether a request or a handshake is the admin app's."""
        path = _split_path(scope)[1]
        return path == self._path or path.startswith(self._prefix)

    async def respond(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer what is its own."""
        root, path = _split_path(scope)
        await self._app({**scope, "root_path": root + self._path, "path": root + path}, receive, send)

    async def aclose(self, *, timeout_s: float) -> None:
        """Let go of the store, unless that is the gateway's own."""
        if not self._is_context_shared:
            await self._app.aclose(timeout_s=timeout_s)


def admin_mount_of(
    settings: Settings, ledger: Ledger, operator_source: OperatorSource | None, *, is_store_given: bool
) -> AdminMount | None:
    """What the settings ask for; None where that is nothing. SettingsError where the extra is not installed."""
    require_async("operator_source", operator_source)
    if operator_source is None and not settings.has_admin_token:
        return None
    if missing := missing_extra():
        raise SettingsError(f"BUDGET_ADMIN_TOKEN: {missing}")
    from budget_middleware.admin import AdminApp
    from budget_middleware.operations.context import OperatorContext, lasting_context
    from budget_middleware.stores.opening import MEMORY_URL

    is_shared = is_store_given or settings.store_url == MEMORY_URL
    if is_shared:
        context = OperatorContext(settings, ledger.store, ledger, ledger.prices)
    else:
        context = lasting_context(settings, ledger.prices)
    app = AdminApp(context, operator_source=operator_source)
    return AdminMount(app, settings.admin_path, is_context_shared=is_shared)


def _split_path(scope: Scope) -> tuple[str, str]:
    """Where the gateway's app is mounted, and the path there, which some servers give behind the mount."""
    root, path = str(scope.get("root_path") or "").rstrip("/"), str(scope["path"])
    return root, path[len(root) :] if root and path.startswith(f"{root}/") else path
