"""Every event of the log: what moves money and its accounts (`ledger.py`), and each other kind of thing that has a stream."""

from __future__ import annotations

from isthmus.domain.api_keys import ApiKeyEvent
from isthmus.domain.bank_accounts import BankAccountEvent, BankTransactionTagged
from isthmus.domain.batches import BatchEvent
from isthmus.domain.consent_events import ConsentEvent
from isthmus.domain.ledger import LedgerEvent
from isthmus.domain.payment_events import PaymentEvent
from isthmus.domain.personal_limits import LimitEvent
from isthmus.domain.reconciliation_cases import CaseEvent
from isthmus.domain.saved_payees import SavedPayeeEvent
from isthmus.domain.sca import ScaEvent, ScaGuardEvent
from isthmus.domain.sca_apps import AppEvent
from isthmus.domain.sca_devices import DeviceEvent

Event = (
    LedgerEvent
    | ApiKeyEvent
    | ConsentEvent
    | BankAccountEvent
    | BankTransactionTagged
    | PaymentEvent
    | ScaEvent
    | ScaGuardEvent
    | DeviceEvent
    | AppEvent
    | BatchEvent
    | LimitEvent
    | SavedPayeeEvent
    | CaseEvent
)
