/** How challenges are answered: each shows what it is for, then asks in its own way. */
import { ask, button, made } from './api.js';

const ANSWER = `mutation AnswerScaChallenge($input: AnswerScaChallengeInput!) { answerScaChallenge(input: $input) {
  errors { message ... on ScaRejected { attemptsLeft } } } }`;

export const CHALLENGE = `challenge { __typename id state expiresAt
  dynamicLink { amount { amount asset } payeeName payeeAccount digest }
  ... on RedirectChallenge { url } ... on DecoupledChallenge { deviceLabel pollAfter }
  ... on OneTimeCodeChallenge { deliveredTo } ... on DeviceChallenge { publicKeyOptions } }`;

/** Whose answer this tab is on its way to a bank for: the address that it comes back with does not say. */
const underway = 'challengeId';
/** As banks' providers call what they send people back with: [what it is, what says whose it is]. TrueLayer has one name for both. */
const BROUGHT = [['payment_id', 'payment_id'], ['code', 'state'], ['one-time-token', 'application-user-id']];

/** Throws what a person is to read. */
export async function answer(challengeId, given) {
  const [error] = (await ask(ANSWER, { input: { challengeId, answer: given } })).answerScaChallenge.errors;
  if (!error) return;
  const left = error.attemptsLeft === undefined ? '' : ` ${error.attemptsLeft} answers are left.`;
  throw new Error(`${error.message}${left}`);
}

/** Elements that ask for the answer; `given` is called with each attempt, a function that does it. */
export function asking(challenge, given) {
  const { dynamicLink: link, expiresAt } = challenge;
  const until = `until ${new Date(expiresAt).toLocaleTimeString()}`;
  const bound = link && `For ${link.amount.amount} ${link.amount.asset} to ${link.payeeName}, ${link.payeeAccount}, and nothing else (${link.digest.slice(0, 12)}…), ${until}.`;
  return [made('p', bound ?? `For nothing else, ${until}.`), ...ways[challenge.__typename](challenge, given)];
}

/** A field for six digits. */
function codeForm(text, given, use) {
  const code = made('input', '');
  Object.assign(code, { inputMode: 'numeric', maxLength: 6, size: 6, required: true, autocomplete: 'one-time-code' });
  const form = made('form', '', made('label', text, code), made('button', 'Answer'));
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    given(() => use(code.value.trim()));
  });
  return [form];
}

const ways = {
  OneTimeCodeChallenge: ({ id, deliveredTo }, given) =>
    codeForm(`Code, sent to your ${deliveredTo} `, given, (code) => answer(id, { oneTimeCode: code })),
  TotpChallenge: ({ id }, given) => codeForm('Code, shown by your authenticator app ', given, (code) => answer(id, { totp: code })),
  DeviceChallenge: ({ id, publicKeyOptions }, given) => [button('Answer with your device', () => given(async () => {
    const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(JSON.parse(publicKeyOptions));
    await answer(id, { deviceAssertion: JSON.stringify(await navigator.credentials.get({ publicKey })) });
  }))],
  RedirectChallenge: ({ id, url }) => {
    if (!url) return [made('p', 'The bank is asked where to send you.')];
    const link = Object.assign(made('a', 'Answer at your bank'), { href: url });
    link.addEventListener('click', () => sessionStorage.setItem(underway, id));
    return [link];
  },
  DecoupledChallenge: ({ id, deviceLabel }, given) => [
    made('p', `Answer on ${deviceLabel}.`),
    button('I did', () => given(() => answer(id, { decoupledPoll: true }))),
  ],
};

/** What a bank sent this tab back with, as an attempt; null where nothing, or nothing that was begun here. Taken once. */
export function broughtBack(told) {
  const only = (name) => (told.getAll(name).length === 1 && told.get(name)) || null; // twice is not at all (RFC 6749, 3.1)
  const challengeId = sessionStorage.getItem(underway);
  const [code, state] = BROUGHT.find((names) => names.every(only)) ?? [];
  if (!challengeId || !code) return null;
  sessionStorage.removeItem(underway);
  return () => answer(challengeId, { redirectResult: { code: only(code), state: only(state) } });
}
