"""The API's routes, one file a subject. Each asks an operation and writes what it returned."""

from fastapi import APIRouter, Depends
from fastapi.security import HTTPBearer

from budget_middleware.admin.api import accounts, changes, checks, journal, limits
from budget_middleware.admin.rows import EVERY_ROUTE

# The gate has looked at it: this describes it.
_BEARER = HTTPBearer(auto_error=False, description="BUDGET_ADMIN_TOKEN, or BUDGET_ADMIN_READ_TOKEN to read")

api_router = APIRouter(prefix="/api", responses=EVERY_ROUTE, dependencies=[Depends(_BEARER)])
for _subject in (accounts, journal, limits, changes, checks):
    api_router.include_router(_subject.router)
