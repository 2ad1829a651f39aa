"""The dashboard: pages of HTML, one script, one style sheet, and a stream of events for what changes meanwhile."""

from budget_middleware.admin.pages.routes import is_page_of, page_routes, with_slash

__all__ = ["is_page_of", "page_routes", "with_slash"]
