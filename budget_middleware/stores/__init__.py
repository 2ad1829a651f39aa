"""Where counters live. Every store keeps the same promise: ``base.Store``."""
