"""The dashboard: pages rendered here, a script and a style sheet of our own, and events for what is live."""

from budget_middleware.admin.pages.routes import is_page_of, page_routes, with_slash

__all__ = ["is_page_of", "page_routes", "with_slash"]
