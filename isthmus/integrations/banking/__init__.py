"""Banks through their providers: an adapter each, behind the port of `domain/banking.py`."""
