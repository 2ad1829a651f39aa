"""llama-cpp-python's server with our line; its settings come from the environment, `MODEL` first of all."""

from llama_cpp.server.app import create_app

from budget_middleware import BudgetMiddleware

app = create_app()
app.add_middleware(BudgetMiddleware)
