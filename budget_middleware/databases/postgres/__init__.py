"""Postgres by psycopg: addresses, connections, and errors in one line. Nothing else imports psycopg."""
