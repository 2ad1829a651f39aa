"""Tools (MCP) and agents (A2A), whose calls are JSON-RPC and have prices of their own."""
