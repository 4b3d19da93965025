"""The sandbox, also where the package is not installed and its pytest plugin not loaded."""
