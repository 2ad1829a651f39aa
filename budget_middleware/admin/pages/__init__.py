"""The dashboard: pages rendered here, a script and a style sheet of our own, and events for what is live."""

from budget_middleware.admin.pages.routes import is_entrance, is_page_of, page_routes

__all__ = ["is_entrance", "is_page_of", "page_routes"]
