"""Alerts: who is told, when, and in which words."""
