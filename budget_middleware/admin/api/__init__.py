"""The API's routes, one file a subject. Each asks an operation and writes what it returned."""

from fastapi import APIRouter

from budget_middleware.admin.api import accounts

api_router = APIRouter(prefix="/api")
api_router.include_router(accounts.router)
