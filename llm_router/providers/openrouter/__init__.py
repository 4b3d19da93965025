"""OpenRouter: its request, its wire, its errors, its catalogue."""
