"""The contract: schema assembly, scalars, connections, errors, context, limits and the two transports."""
