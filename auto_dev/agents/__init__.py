"""Agents: the protocol, and one module per kind."""
