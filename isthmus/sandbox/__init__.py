"""The outside world, where it cannot be reached: banks, and the providers that speak for them, in their own wire formats over HTTP.

A server of its own with its own book. Nothing of the product is imported here but its settings, and nothing of the product knows
whether it speaks with this or with the real thing: only the addresses differ.
"""
