"""What to do about each error: the text of docs/errors.md, made from the enums, so that none can be forgotten."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum

from isthmus.domain.refusals import RefusalCode
from isthmus.graphql.errors import RETRYABLE, ErrorCode
from isthmus.settings import ApiSettings, variable_name

REFUSALS: Mapping[RefusalCode, tuple[str, str]] = {
    RefusalCode.INVALID_INPUT: (
        "A field of the input is missing, too long or malformed.",
        "Correct the field that `path` names.",
    ),
    RefusalCode.INVALID_AMOUNT: (
        "The amount is not more than zero, has more decimal places than the asset, or too many digits.",
        "Send plain digits with at most the asset's `scale` places (query `assets`).",
    ),
    RefusalCode.UNKNOWN_ASSET: ("The asset is not one that can be held here.", "Take a code from the query `assets`."),
    RefusalCode.IDEMPOTENCY_KEY_REUSED: (
        "The key came with another input before; that input's answer stands.",
        "Use a new key for a new wish; send the same input to hear the first answer again.",
    ),
    RefusalCode.CONFLICT: (
        "Others kept changing the same thing while this was tried.",
        "Send it again with the same key, after a short wait.",
    ),
    RefusalCode.ACCOUNT_NOT_FOUND: (
        "There is no such account among yours.",
        "Check the id; it may be another person's.",
    ),
    RefusalCode.RECIPIENT_NOT_FOUND: (
        "There is no open account with that id in that asset.",
        "Ask the recipient for the id of an open account in the asset you send.",
    ),
    RefusalCode.ASSET_MISMATCH: ("The account holds another asset.", "Send the account's own asset."),
    RefusalCode.SAME_ACCOUNT: ("Source and target are the same account.", "Choose another target."),
    RefusalCode.INSUFFICIENT_FUNDS: (
        "`available` is less than `required`; holds count.",
        "Lower the amount or add money. The refusal sticks to its key: use a new key for the next try.",
    ),
    RefusalCode.ACCOUNT_FROZEN: (
        "A frozen account only receives.",
        "Ask an operator; an overdrawn account thaws when money arrives.",
    ),
    RefusalCode.ACCOUNT_CLOSED: ("The account is closed.", "Use another account; closing is for ever."),
    RefusalCode.ACCOUNT_NOT_EMPTY: (
        "Only an empty account is closed.",
        "Move the balance out and let pending movements settle.",
    ),
    RefusalCode.JOURNAL_NOT_FOUND: ("There is no such journal or hold.", "Check the id."),
    RefusalCode.ALREADY_REVERSED: (
        "A journal is reversed once, and a reversal never.",
        "Post what is meant as a new journal.",
    ),
    RefusalCode.ALREADY_RESOLVED: ("The hold was posted or voided, or its time is over.", "Reserve anew."),
    RefusalCode.EXCEEDS_HOLD: (
        "More was to be posted than is held.",
        "Post at most what is held, to those it is held for.",
    ),
    RefusalCode.HOLD_NOT_DUE: ("The hold's time is not over.", "Nothing: the timer comes again."),
    RefusalCode.UNBALANCED: ("Debits and credits differ in an asset.", "Balance the journal per asset."),
    RefusalCode.API_KEY_NOT_FOUND: ("There is no such API key among yours.", "Check the id with the query `apiKeys`."),
    RefusalCode.TOO_MANY_API_KEYS: (
        "You have as many working API keys as one person may have (20).",
        "Revoke one that is not needed, then make the new one under a new idempotency key.",
    ),
    RefusalCode.CONSENT_NOT_FOUND: (
        "There is no such consent among yours.",
        "Check the id.",
    ),
    RefusalCode.CONSENT_OVER: (
        "The consent was revoked, rejected or has failed.",
        "Link the bank anew (`startBankLink`).",
    ),
    RefusalCode.LINK_NOT_BEGUN: (
        "What came back from the bank was used before, or was never waited for.",
        "Begin the link anew.",
    ),
    RefusalCode.INSTITUTION_NOT_FOUND: (
        "The institution is not one that can be linked.",
        "Take an id from the query `institutions`.",
    ),
    RefusalCode.REDIRECT_NOT_REGISTERED: (
        "`redirectUri` is not registered for this platform, to the letter.",
        "Use one that is (`ISTHMUS_BANKING__REDIRECT_URIS`).",
    ),
    RefusalCode.BANK_REFUSED: (
        "The provider refused what the person brought back, or the wish itself.",
        "Begin the link anew. Money that cannot be brought here from this bank by `topUp`: send it with the account's `fundingReference`.",
    ),
    RefusalCode.BANK_TRANSACTION_NOT_FOUND: (
        "There is no such bank transaction among yours.",
        "Check the id.",
    ),
    RefusalCode.PAYMENT_NOT_FOUND: (
        "There is no such payment among yours.",
        "Check the id.",
    ),
    RefusalCode.PAYMENT_NOT_CANCELLABLE: (
        "The bank may have the payment already, or it has come to another end.",
        "Follow it with `paymentProgressed`.",
    ),
    RefusalCode.PAYMENT_NOT_PARKED: (
        "No payment of that id is parked, or it is your own; what waits for a review is judged elsewhere.",
        "Look at `paymentsParked`; `paymentsForReview` has those that wait for a review.",
    ),
    RefusalCode.PAYMENT_CONTRADICTED: (
        "The provider definitely says otherwise: the message says what, `path` whether it is the state or the amount.",
        "Find out at the provider; `lookAtPaymentAgain` records what it says now.",
    ),
    RefusalCode.PAYMENT_NOT_IN_REVIEW: (
        "No payment of that id waits for an operator's judgement, or it is your own.",
        "Look at `paymentsForReview`. Another operator judges what you pay yourself.",
    ),
    RefusalCode.PAYMENT_PROPOSAL_OVER: (
        "The proposal was confirmed or replaced, or something was heard of the payment since.",
        "Look at the payment in `paymentsParked`, and propose anew what is still right.",
    ),
    RefusalCode.CASE_PROPOSAL_OVER: (
        "The proposal was confirmed, or another took its place.",
        "Look at the case in `reconciliationCases`, and propose anew what is still right.",
    ),
    RefusalCode.SECOND_OPERATOR_NEEDED: (
        "Who proposes a decision does not confirm it, nor does whoever owns the account that it would credit.",
        "Ask another operator to confirm it.",
    ),
    RefusalCode.MONEY_IN_SUSPENSE: (
        "The case is about money in suspense, which closing it would leave there.",
        "Say by `proposeSuspenseDecision` whose it is, or by which of the bank's entries it was sent back.",
    ),
    RefusalCode.PAYEE_ACCOUNT_INVALID: (
        "The payee's account cannot be one: not an IBAN by its check digits, or not a sort code and an account number.",
        "Look at the digits again and send it with the same key.",
    ),
    RefusalCode.RECONCILIATION_CASE_NOT_FOUND: (
        "There is no such case; or an account or an entry was given, and the case is not about money in suspense.",
        "Check the id.",
    ),
    RefusalCode.SCA_REJECTED: (
        "The answer is not accepted: wrong, late, given before, or to a challenge that is not yours. Nobody is told which.",
        "Look at `attemptsLeft` and `challengeState`; where the challenge is over, ask for the same again with a new key.",
    ),
    RefusalCode.SCA_BLOCKED: (
        "Five wrong answers in a row, over all challenges.",
        "Nothing can be authorised for 24 hours: wait until `resetsAt` and send it with the same key.",
    ),
    RefusalCode.LIMIT_EXCEEDED: (
        "More than may be paid at once, or in a day: `used` of `limit` is spoken for already.",
        "Pay less, or wait until `resetsAt` and send it with the same key; your own limit is raised by `changeLimit`, as far as ours goes.",
    ),
    RefusalCode.TOO_MANY_CODES: (
        "As many codes were sent to you as may be in ten minutes, or in 24 hours.",
        "Wait until `resetsAt` and send it with the same key, or answer with a device or an app (`method`).",
    ),
    RefusalCode.SCA_REQUIRED: (
        "What is wished for needs a challenge to be answered first.",
        "Answer it (`answerScaChallenge`), then send the wish again with the same key. A transfer to another person above `threshold`: pay "
        "them by `initiatePayment` (`payee: { name, accountId }`).",
    ),
    RefusalCode.SCA_METHOD_UNAVAILABLE: (
        "You have no device, or no app, that could be asked, no devices are set up on this platform, or your bank asks you itself.",
        "Leave `method` out, or enrol a device (`beginDeviceEnrolment`) or an app (`beginAuthenticatorApp`).",
    ),
    RefusalCode.DEVICE_NOT_FOUND: ("There is no such device among yours.", "Check the id."),
    RefusalCode.DEVICE_REFUSED: (
        "What the device answered is not accepted: made for something else, on another page, without its owner being verified, too "
        "late, or its key is known already. Nobody is told which.",
        "Begin the enrolment anew.",
    ),
    RefusalCode.TOO_MANY_DEVICES: (
        "You have as many devices as one person may have (10).",
        "Remove one that is not needed.",
    ),
    RefusalCode.PAYEE_NOT_FOUND: ("There is no such payee among those you saved.", "Check the id."),
    RefusalCode.PAYEE_EXISTS: (
        "You saved this payee already, under this name and with this account.",
        "Nothing is left to do.",
    ),
}

ERRORS: Mapping[ErrorCode, tuple[str, str]] = {
    ErrorCode.UNAUTHENTICATED: (
        "The access token is missing, forged, expired or not meant for this API.",
        "Sign in again, or use the refresh token. A WebSocket closes with 4403.",
    ),
    ErrorCode.FORBIDDEN: (
        "The token's scopes or roles do not reach this field.",
        "Ask for the scope, or for the role.",
    ),
    ErrorCode.BAD_USER_INPUT: (
        "The document, a variable or an argument is wrong.",
        "Correct it; the message says what.",
    ),
    ErrorCode.NOT_YET_VISIBLE: (
        "The read side has not reached the position that was asked for.",
        "Ask again after a moment, with the same position.",
    ),
    ErrorCode.QUERY_TOO_COMPLEX: (
        "The document exceeds a limit (below): tokens, depth, aliases, root fields, directives or cost.",
        "Ask for less at once: smaller pages, fewer levels.",
    ),
    ErrorCode.PERSISTED_QUERY_NOT_FOUND: (
        "No published document has that SHA-256.",
        "Publish the client's operations (`isthmus operations publish`). In development mode, send the text along once.",
    ),
    ErrorCode.DOCUMENT_NOT_TRUSTED: (
        "In production only published operations run, and the text that came is none of them, not even by a blank.",
        "Publish it (`isthmus operations publish`), or send the SHA-256 of one that is.",
    ),
    ErrorCode.RATE_LIMITED: (
        "Too many requests in a minute, or too many connections.",
        "Wait as long as `Retry-After` (over WebSocket `extensions.retryAfterMs`) says.",
    ),
    ErrorCode.UNAVAILABLE: (
        "A part of the service does not answer. The outcome of a mutation is unknown, not failed.",
        "Send it again with the same idempotency key until the answer is definite.",
    ),
    ErrorCode.INTERNAL: (
        "Something went wrong on our side.",
        "Report the correlation id. A mutation may be sent again with the same key.",
    ),
}


#: Of each limit: what is counted, the setting that holds its number, and how it is answered.
LIMITS: Sequence[tuple[str, str, str]] = (
    (
        "bytes of a body, or of a WebSocket message",
        "body_bytes_max",
        "`BAD_USER_INPUT`, HTTP 413; WebSocket closes 4400",
    ),
    ("nesting of its JSON", "json_depth_max", "`BAD_USER_INPUT`, HTTP 400; WebSocket closes 4400"),
    ("lexical tokens of a document", "tokens_max", "`QUERY_TOO_COMPLEX`"),
    ("depth of a selection, introspection apart", "depth_max", "`QUERY_TOO_COMPLEX`"),
    ("aliases, fragments expanded", "aliases_max", "`QUERY_TOO_COMPLEX`"),
    ("fields at an operation's root, fragments expanded", "root_fields_max", "`QUERY_TOO_COMPLEX`"),
    ("directives, fragments expanded", "directives_max", "`QUERY_TOO_COMPLEX`"),
    ("objects asked for (product of page sizes)", "cost_max", "`QUERY_TOO_COMPLEX`"),
    ("seconds for a body to come, and for an operation", "request_timeout_s", "HTTP 408; `UNAVAILABLE`"),
    ("operations that run at once, per process", "operations_max", "`UNAVAILABLE`, HTTP 503 with `Retry-After`"),
    ("milliseconds of waiting for a position", "position_wait_ms", "`NOT_YET_VISIBLE`"),
    ("operations of one user in a minute", "user_rate", "`RATE_LIMITED`, HTTP 429 with `Retry-After`"),
    ("operations of one API key in a minute", "api_key_rate", "`RATE_LIMITED`, HTTP 429 with `Retry-After`"),
    ("operations of one address in a minute", "address_rate", "`RATE_LIMITED`, HTTP 429 with `Retry-After`"),
    (
        "WebSockets and streams of one user, per process",
        "sockets_max",
        "`RATE_LIMITED`, HTTP 429; WebSocket closes 1013",
    ),
    ("operations under way on one WebSocket", "socket_operations_max", "`RATE_LIMITED` for the operation"),
)
_SETTINGS = {
    "user_rate": "user_requests_per_minute",
    "api_key_rate": "api_key_requests_per_minute",
    "address_rate": "address_requests_per_minute",
    "sockets_max": "sockets_per_user_max",
}


def page() -> str:
    """docs/errors.md, whole."""
    lines = [
        "# Errors",
        "",
        "Made by `isthmus errors` from the enums; do not edit.",
        "",
        "Business answers are data: each mutation's payload has `errors`, a list of objects that implement `UserError` with a",
        "`code`, a `message` and the `path` of the input field. Everything else is a top-level error with `extensions.code`;",
        "`extensions.correlationId` finds it in the logs and in the audit trail.",
        "",
        "## In a payload's `errors`",
        "",
        *_table(REFUSALS),
        "",
        "## In `extensions.code`",
        "",
        "`extensions.retryable` is true for " + ", ".join(f"`{code}`" for code in sorted(RETRYABLE)) + ".",
        "",
        *_table(ERRORS),
        "",
        "## Limits",
        "",
        "Numbers are those of production mode where no setting changes them; in development mode the limits by user, key, address",
        "and connections are out of reach. What exceeds a limit is refused before anything runs.",
        "",
        "| what is counted | most | setting | answer beyond |",
        "| --- | --- | --- | --- |",
        *(f"| {what} | {_number(name)} | `{_variable(name)}` | {answer} |" for what, name, answer in LIMITS),
        "",
        "One page of a connection has 200 items at most (`first`). Where Redis is away, the limits per minute are counted by each",
        "`serve` for itself, at its share (`ISTHMUS_API__PROCESSES`), and nobody can sign in.",
        "",
    ]
    return "\n".join(lines)


def _variable(name: str) -> str:
    return variable_name(("api", _SETTINGS.get(name, name)))


def _number(name: str) -> str:
    return f"{getattr(ApiSettings(), name):,}".replace(",", " ")


def _table(rows: Mapping[RefusalCode, tuple[str, str]] | Mapping[ErrorCode, tuple[str, str]]) -> list[str]:
    codes: list[tuple[StrEnum, tuple[str, str]]] = sorted(rows.items())
    body = [f"| `{code}` | {means} | {remedy} |" for code, (means, remedy) in codes]
    return ["| code | what it means | what to do |", "| --- | --- | --- |", *body]
