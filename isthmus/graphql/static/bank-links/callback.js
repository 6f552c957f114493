/**
 * Where a bank sends people back to. What it brought is taken once, for the consent that this tab began; whether both belong
 * together, and to who is signed in, is for the API to say.
 */
import { ACCOUNTS, SignedOut, accountList, ask, underway } from './api.js';

const COMPLETE = `mutation CompleteBankLink($input: CompleteBankLinkInput!) { completeBankLink(input: $input) {
  consent { id status ${ACCOUNTS} } errors { message } } }`;
const DECLINED = ['access_denied', 'USER_DECLINED'];

const [said, links, paste, again] = ['said', 'links', 'paste', 'again'].map((id) => document.getElementById(id));
const told = new URLSearchParams(location.search);
history.replaceState(null, '', location.pathname); // a code is not left where the next one to look can see it

/** A parameter that comes twice is none (RFC 6749, 3.1). */
function only(name) {
  const values = told.getAll(name);
  return values.length === 1 && values[0] ? values[0] : null;
}

/** Null where nothing was brought. Update mode of Plaid's Link brings its own token only. */
function credentialOf() {
  for (const [code, state] of [['code', 'state'], ['one-time-token', 'application-user-id']]) {
    if (only(code) && only(state)) return { code: only(code), state: only(state) };
  }
  const publicToken = only('public_token') ?? only('link_token');
  return publicToken ? { publicToken } : null;
}

async function complete(input) {
  again.hidden = true;
  said.textContent = 'The bank is asked.';
  try {
    const { consent, errors } = (await ask(COMPLETE, { input })).completeBankLink;
    if (errors.length) {
      said.textContent = errors[0].message;
      return;
    }
    underway.forget();
    said.textContent = `Linked: ${consent.status}.`;
    links.replaceChildren(...accountList(consent));
  } catch (error) {
    said.textContent = error.message;
    if (error instanceof SignedOut) forPlayground(input);
    again.hidden = !error.again; // the same again is safe
  }
}

/** For whoever completes it elsewhere: an app, curl, the playground. */
function forPlayground(input, operation = 'CompleteBankLink') {
  said.textContent += ` Variables for ${operation}:`;
  paste.textContent = JSON.stringify({ input }, null, 2);
  paste.hidden = false;
}

const error = only('error');
const payment = only('payment_id'); // TrueLayer's name for a payment is all that comes back with it
const credential = credentialOf();
const consentId = underway.consentId();
if (payment) {
  said.textContent = 'Your bank has your answer; the payment goes on by itself.';
  const answer = { redirectResult: { code: payment, state: payment } };
  forPlayground({ challengeId: 'the id of its challenge', answer }, 'AnswerScaChallenge');
} else if (DECLINED.includes(error)) {
  said.textContent = 'You declined at the bank: nothing was linked.';
} else if (error) {
  said.textContent = `The bank did not agree (${error.replace(/[^\w.-]/g, '').slice(0, 64)}): nothing was linked.`;
} else if (!credential) {
  said.textContent = 'Nothing came back from a bank. Begin with your banks.';
} else if (!consentId) {
  said.textContent = 'This link was not begun in this tab.';
  forPlayground({ consentId: 'the id that startBankLink answered', credential });
} else {
  const input = { consentId, credential };
  again.addEventListener('click', () => void complete(input));
  void complete(input);
}
