"""Shared state: what budgets and rates stand on."""
