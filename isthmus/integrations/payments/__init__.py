"""Who pays for us: adapters of the ports in `isthmus.domain.paying`."""
