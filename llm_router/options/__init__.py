"""What may be asked: options, messages, parts, tools, and the request that an adapter gets."""
