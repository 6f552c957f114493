"""How people are told something: adapters of `isthmus.domain.notifications.Notifier`."""
