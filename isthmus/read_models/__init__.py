"""Questions: projectors write these tables and feeds, readers answer from them. Shares nothing with the write side but events."""
